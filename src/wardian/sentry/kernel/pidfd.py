"""Descriptors for processes: pidfd_open(2). Readable once the process has ended."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.vfs.file import O_NONBLOCK, O_RDWR, POLLIN, POLLRDNORM, File

if TYPE_CHECKING:
    from wardian.sentry.kernel.thread_group import ThreadGroup
    from wardian.sentry.vfs.inode import Inode


class PidFD(File):
    """Refers to a thread group for good, also when its number is used again."""

    def __init__(self, inode: Inode, group: ThreadGroup, nonblocking: bool) -> None:
        super().__init__(inode, O_RDWR | (O_NONBLOCK if nonblocking else 0))
        self.group = group

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.group.zombie else 0

    def poll_queue(self) -> WaitQueue:
        return self.group.state_queue

    def fdinfo(self) -> str:
        pid = -1 if self.group.reaped else self.group.pid
        return f"Pid:\t{pid}\nNSpid:\t{pid}\n"

    def describe(self) -> str:
        return "anon_inode:[pidfd]"
