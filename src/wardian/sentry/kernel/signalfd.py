"""signalfd(2): pending signals read from a descriptor.

What is read are the signals of whoever reads (``kernel.current``), not of the descriptor's maker.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, WOULD_BLOCK
from wardian.sentry.fs.anon import AnonFile
from wardian.sentry.kernel.siginfo import SI_KERNEL, SI_TIMER, SigInfo
from wardian.sentry.kernel.signal_numbers import SIGCHLD, SYNCHRONOUS, UNBLOCKABLE, bit
from wardian.sentry.kernel.signals import dequeue, pending_mask, recalculate
from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.vfs.buffers import Sink
from wardian.sentry.vfs.file import O_RDWR, POLLIN, POLLRDNORM
from wardian.sentry.vfs.inode import Inode

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

INFO_SIZE: Final = 128
# signo errno code | pid uid fd tid band overrun trapno | status int | ptr utime stime addr
INFO: Final = struct.Struct("<IiiIIiIIIIiiQQQQ")


class SignalFd(AnonFile):
    """The signals of ``mask``; ``maker`` stands in when nobody's handler runs."""

    def __init__(self, kernel: Kernel, maker: Task, inode: Inode, flags: int, mask: int) -> None:
        super().__init__(inode, O_RDWR | flags)
        self.kernel = kernel
        self.maker = maker
        self.mask = mask & ~UNBLOCKABLE

    def reader(self) -> Task:
        """Whose signals are meant."""
        current = self.kernel.current
        return current if current is not None else self.maker

    def read(self, sink: Sink, offset: int) -> int:
        if sink.left < INFO_SIZE:
            raise EINVAL("no room for one signalfd_siginfo")
        task = self.reader()
        total = 0
        while sink.left >= INFO_SIZE:
            info = dequeue(task, self.mask)
            if info is None:
                break
            total += sink.put(pack_signalfd_info(info))
        if total == 0:
            return WOULD_BLOCK
        recalculate(task)
        return total

    def set_mask(self, mask: int) -> None:
        """signalfd(2) on an existing descriptor."""
        self.mask = mask & ~UNBLOCKABLE
        self.reader().signals.queue.wake(0)

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if pending_mask(self.reader()) & self.mask else 0

    def poll_queue(self) -> WaitQueue:
        return self.reader().signals.queue

    def fdinfo(self) -> str:
        return f"sigmask:\t{self.mask:016x}\n"

    def describe(self) -> str:
        return "anon_inode:[signalfd]"


def pack_signalfd_info(info: SigInfo) -> bytes:
    """struct signalfd_siginfo; as signalfd_copyinfo() chooses the fields."""
    pid, uid, status, value = info.pid, info.uid, 0, 0
    utime = stime = tid = overrun = address = 0
    if info.code == SI_TIMER:
        pid = uid = 0
        tid, overrun, value = info.timer_id, info.overrun, info.value
    elif info.code <= 0 or info.code == SI_KERNEL:
        value = info.value
    elif info.signo == SIGCHLD:
        status, utime, stime = info.status, info.utime, info.stime
    elif bit(info.signo) & SYNCHRONOUS:
        pid = uid = 0
        address = info.addr
    integer = value & 0xFFFFFFFF
    if integer >= 1 << 31:
        integer -= 1 << 32
    packed = INFO.pack(
        info.signo,
        info.errno,
        info.code,
        pid & 0xFFFFFFFF,
        uid & 0xFFFFFFFF,
        info.fd,
        tid,
        info.band & 0xFFFFFFFF,
        overrun,
        0,
        status,
        integer,
        value & 0xFFFFFFFFFFFFFFFF,
        utime,
        stime,
        address,
    )
    return packed.ljust(INFO_SIZE, b"\0")
