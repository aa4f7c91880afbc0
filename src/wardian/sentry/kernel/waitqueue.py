"""Wait queues: how anything in the kernel tells others that it became ready.

One mechanism serves blocked tasks, epoll items, poll(2) and timers. The owner of a state change
calls :meth:`WaitQueue.wake` with the poll(2) events that may now be true; waiters look again for
themselves, so a wake is a hint and may be spurious. The Sentry is one thread (design D2), so
"check, then register" has no race.
"""

from typing import Final

MORE: Final = 1 << 20
"""With poll(2) events: more is about to come, there is no hurry."""


class Waiter:
    """Something that wants to know; registered on queues until it removes itself."""

    def woken(self, queue: "WaitQueue", events: int) -> None:
        """Called by :meth:`WaitQueue.wake`; must not block and must not raise."""
        raise NotImplementedError

    def takes(self) -> bool:
        """Whether a waiter registered as exclusive will do something about a wake."""
        return True


class Registration:
    """One waiter on one queue, with the poll events it cares about (0 means any)."""

    def __init__(self, queue: "WaitQueue", waiter: Waiter, events: int) -> None:
        self.queue = queue
        self.waiter = waiter
        self.events = events
        self.exclusive = False  # of those, one that takes the wake is enough

    def cancel(self) -> None:
        """Take the waiter off the queue; harmless when done twice."""
        self.queue.remove(self)


class WaitQueue:
    """The set of waiters of one object, in order of arrival."""

    def __init__(self) -> None:
        self.registrations: list[Registration] | None = None  # most are never waited on

    def add(self, waiter: Waiter, events: int) -> Registration:
        """Register ``waiter`` for the poll(2) ``events`` (0: any)."""
        registration = Registration(self, waiter, events)
        if self.registrations is None:
            self.registrations = []
        self.registrations.append(registration)
        return registration

    def remove(self, registration: Registration) -> None:
        """Forget a registration; harmless when it is not there."""
        registrations = self.registrations
        if registrations is not None and registration in registrations:
            registrations.remove(registration)

    def wake(self, events: int) -> None:
        """Tell every waiter interested in ``events``; they may remove themselves meanwhile. Of the
        exclusive ones the first that takes it is the last to be told, unless all must know (0)."""
        if not self.registrations:
            return
        taken = False
        for registration in list(self.registrations):
            if events == 0 or registration.events == 0 or registration.events & events:
                if registration.exclusive and events:
                    if taken:
                        continue
                    taken = registration.waiter.takes()
                registration.waiter.woken(self, events)
