"""Fakes for ``wardian.sentry.hostport``: clocks that stand still, randomness that repeats, a poller
by hand."""

from __future__ import annotations

from wardian.sentry.hostport import Clock, HostPoller
from wardian.sentry.kernel.waitqueue import WaitQueue

START_MONOTONIC = 1_000 * 10**9
START_REALTIME = 1_700_000_000 * 10**9


class FakeClock(Clock):
    """Time moves only by :meth:`advance`."""

    def __init__(self) -> None:
        self.monotonic = START_MONOTONIC
        self.realtime = START_REALTIME
        self.random_calls = 0

    def monotonic_ns(self) -> int:
        return self.monotonic

    def realtime_ns(self) -> int:
        return self.realtime

    def advance(self, ns: int) -> None:
        """Let ``ns`` nanoseconds pass on both clocks."""
        self.monotonic += ns
        self.realtime += ns

    def random(self, count: int) -> bytes:
        """Repeatable, different at each call."""
        self.random_calls += 1
        return bytes((self.random_calls * 37 + i * 11) & 0xFF for i in range(count))


class FakePoller(HostPoller):
    """Readiness set by the test: :meth:`set_ready`."""

    def __init__(self) -> None:
        self.queues: dict[int, WaitQueue] = {}
        self.events: dict[int, int] = {}
        self.forgotten: list[int] = []

    def watch(self, fd: int, events: int) -> WaitQueue:
        if fd not in self.queues:
            self.queues[fd] = WaitQueue()
        return self.queues[fd]

    def forget(self, fd: int) -> None:
        self.queues.pop(fd, None)
        self.events.pop(fd, None)
        self.forgotten.append(fd)

    def ready(self, fd: int, events: int) -> int:
        return self.events.get(fd, 0) & events

    def set_ready(self, fd: int, events: int) -> None:
        """Make ``events`` true for ``fd`` and wake whoever watches."""
        self.events[fd] = events
        if fd in self.queues:
            self.queues[fd].wake(events)
