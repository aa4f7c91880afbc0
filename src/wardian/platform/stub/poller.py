"""Readiness of host descriptors for the kernel, through the hub's epoll set."""

from __future__ import annotations

import select
from typing import Final

from wardian import _core
from wardian.sentry.hostport import HostPoller
from wardian.sentry.kernel.waitqueue import WaitQueue

EPOLL_CTL_ADD: Final = 1
EPOLL_CTL_DEL: Final = 2


class EnginePoller(HostPoller):
    """Readiness of host descriptors through the hub's epoll set."""

    def __init__(self, hub: _core.Hub) -> None:
        self.hub = hub
        self.queues: dict[int, WaitQueue] = {}

    def watch(self, fd: int, events: int) -> WaitQueue:
        queue = self.queues.get(fd)
        if queue is None:
            queue = WaitQueue()
            self.queues[fd] = queue
            wanted = (
                select.EPOLLIN
                | select.EPOLLOUT
                | select.EPOLLRDHUP
                | select.EPOLLPRI
                | select.EPOLLET
            )
            try:
                self.hub.epoll(EPOLL_CTL_ADD, fd, wanted)
            except PermissionError:
                pass  # a regular file is always ready
        return queue

    def forget(self, fd: int) -> None:
        if self.queues.pop(fd, None) is not None:
            try:
                self.hub.epoll(EPOLL_CTL_DEL, fd)
            except OSError:
                pass

    def ready(self, fd: int, events: int) -> int:
        poller = select.poll()
        poller.register(fd, events)
        found = poller.poll(0)
        return found[0][1] if found else 0
