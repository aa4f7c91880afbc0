"""siginfo_t: what a signal tells about itself (sigaction(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.kernel.signal_numbers import SIGCHLD, SIGIO

SI_USER: Final = 0
SI_KERNEL: Final = 0x80
SI_QUEUE: Final = -1
SI_TIMER: Final = -2
SI_MESGQ: Final = -3
SI_ASYNCIO: Final = -4
SI_SIGIO: Final = -5
SI_TKILL: Final = -6

CLD_EXITED: Final = 1
CLD_KILLED: Final = 2
CLD_DUMPED: Final = 3
CLD_TRAPPED: Final = 4
CLD_STOPPED: Final = 5
CLD_CONTINUED: Final = 6

SEGV_MAPERR: Final = 1
SEGV_ACCERR: Final = 2

SIGINFO_SIZE: Final = 128

HEAD: Final = struct.Struct("<iiii")  # si_signo, si_errno, si_code, padding
KILL_PART: Final = struct.Struct("<iIQ")  # pid, uid, value
TIMER_PART: Final = struct.Struct("<iiQ")  # timer id, overrun, value
CHILD_PART: Final = struct.Struct("<iIiiqq")  # pid, uid, status, padding, utime, stime
FAULT_PART: Final = struct.Struct("<Qh")  # address, lsb
POLL_PART: Final = struct.Struct("<qi")  # band, fd


class SigInfo:
    """siginfo_t (sigaction(2)); which fields count depends on the signal and on ``code``."""

    def __init__(self, signo: int, code: int = SI_KERNEL) -> None:
        self.signo = signo
        self.code = code
        self.errno = 0
        self.pid = 0
        self.uid = 0
        self.status = 0
        self.utime = 0  # clock ticks
        self.stime = 0
        self.value = 0  # sigval, 64 bits
        self.timer_id = 0
        self.overrun = 0
        self.addr = 0
        self.band = 0
        self.fd = 0
        self.is_poll = False  # of a file's readiness, whatever the signal is (F_SETSIG)
        self.raw = b""  # when set: the 128 bytes as rt_sigqueueinfo(2) was given them
        self.timer: SignalTimer | None = None  # the timer that sent it, waiting to be told

    def pack(self) -> bytes:
        """The 128 bytes a guest sees."""
        if self.raw:
            return self.raw
        head = HEAD.pack(self.signo, self.errno, self.code, 0)
        return (head + self.pack_part()).ljust(SIGINFO_SIZE, b"\0")

    def pack_part(self) -> bytes:
        """The union behind the head (siginfo_layout() of Linux decides which member)."""
        if self.code == SI_TIMER:
            return TIMER_PART.pack(self.timer_id, self.overrun, self.value)
        if self.code == SI_SIGIO or self.is_poll:
            return POLL_PART.pack(self.band, self.fd)
        if self.code <= 0 or self.code == SI_KERNEL:
            return KILL_PART.pack(self.pid, self.uid, self.value)
        if self.signo == SIGCHLD:
            return CHILD_PART.pack(self.pid, self.uid, self.status, 0, self.utime, self.stime)
        if self.signo == SIGIO:
            return POLL_PART.pack(self.band, self.fd)
        return FAULT_PART.pack(self.addr, 0)


class SignalTimer:
    """A timer whose next period starts when its signal was taken (timer_getoverrun(2))."""

    def taken(self, info: SigInfo) -> None:
        """The signal is about to be delivered: fill in the overrun, start the next period."""
        raise NotImplementedError

    def dropped(self) -> None:
        """The signal was thrown away: start the next period."""
        raise NotImplementedError


def user_siginfo(signo: int, code: int, pid: int, uid: int) -> SigInfo:
    """What kill(2) and tgkill(2) send."""
    info = SigInfo(signo, code)
    info.pid = pid
    info.uid = uid
    return info
