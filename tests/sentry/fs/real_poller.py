"""A HostPoller that asks the host, with waking done by hand: for tests with real descriptors."""

from __future__ import annotations

import select

from wardian.sentry.hostport import HostPoller
from wardian.sentry.kernel.waitqueue import WaitQueue


class RealPoller(HostPoller):
    """:meth:`run` wakes the queue of every watched descriptor that is ready."""

    def __init__(self) -> None:
        self.queues: dict[int, tuple[WaitQueue, int]] = {}

    def watch(self, fd: int, events: int) -> WaitQueue:
        if fd not in self.queues:
            self.queues[fd] = WaitQueue(), events
        return self.queues[fd][0]

    def forget(self, fd: int) -> None:
        self.queues.pop(fd, None)

    def ready(self, fd: int, events: int) -> int:
        return self.wait(fd, events, 0)

    def wait(self, fd: int, events: int, timeout_ms: int) -> int:
        poller = select.poll()
        poller.register(fd, events)
        found = poller.poll(timeout_ms)
        return found[0][1] if found else 0

    def run(self, timeout_ms: int = 100) -> None:
        """Wake once whatever is ready."""
        for fd, (queue, events) in list(self.queues.items()):
            now = self.wait(fd, events, timeout_ms)
            if now:
                queue.wake(now)
