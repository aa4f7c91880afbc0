"""eventfd(2): a 64-bit counter as a file."""

from __future__ import annotations

from typing import Final

from wardian.platform.interface import register
from wardian.sentry.errno import EINVAL, WOULD_BLOCK
from wardian.sentry.fs.anon import AnonFile
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    O_RDWR,
    POLLERR,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
)
from wardian.sentry.vfs.inode import Inode

COUNTER_MAX: Final = (1 << 64) - 2
PLENTY: Final = 1 << 60


class EventFd(AnonFile):
    """The counter; ``semaphore`` readers take one at a time."""

    def __init__(self, inode: Inode, flags: int, count: int, semaphore: bool) -> None:
        super().__init__(inode, O_RDWR | flags)
        self.count = count
        self.semaphore = semaphore

    def read(self, sink: Sink, offset: int) -> int:
        if sink.left < 8:
            raise EINVAL("an eventfd is read 8 bytes at a time")
        if self.count == 0:
            return WOULD_BLOCK
        value = 1 if self.semaphore else self.count
        sink.put(value.to_bytes(8, "little"))
        self.count -= value
        self.queue.wake(POLLOUT | POLLWRNORM)
        return 8

    def write(self, source: Source, offset: int) -> int:
        if source.left < 8:
            raise EINVAL("an eventfd is written 8 bytes at a time")
        data = source.take(8)
        if len(data) < 8:
            raise EINVAL("the file of a sendfile(2) ended before")
        value = register(data, 0)
        total = self.count + value
        if total > PLENTY:  # only then are the larger numbers looked at, which are objects
            if value > COUNTER_MAX:
                source.give_back(8)
                raise EINVAL("the value is too large")
            if total > COUNTER_MAX:
                source.give_back(8)
                return WOULD_BLOCK
        self.count = total
        self.queue.wake(POLLIN | POLLRDNORM)
        return 8

    def signal(self, value: int) -> None:
        """Add from inside the kernel, saturating."""
        self.count = min(COUNTER_MAX + 1, self.count + value)
        self.queue.wake(POLLIN | POLLRDNORM)

    def poll(self) -> int:
        events = 0
        if self.count:
            events |= POLLIN | POLLRDNORM
        if self.count < PLENTY or self.count < COUNTER_MAX:
            events |= POLLOUT | POLLWRNORM
        elif self.count > COUNTER_MAX:
            events |= POLLERR
        return events

    def fdinfo(self) -> str:
        return f"eventfd-count: {self.count:16x}\neventfd-semaphore: {int(self.semaphore)}\n"

    def describe(self) -> str:
        return "anon_inode:[eventfd]"
