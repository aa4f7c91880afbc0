"""timerfd_create(2): a timer whose expirations are read from a descriptor.

An expired interval timer is armed again when it is read or asked for its time, not when it fires: a
guest that asks for a nanosecond's interval and never reads costs one expiration. The guest cannot
set CLOCK_REALTIME, so TFD_TIMER_CANCEL_ON_SET is accepted and never cancels.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, ENOTTY, WOULD_BLOCK
from wardian.sentry.fs.anon import AnonFile
from wardian.sentry.kernel.timers import Timer
from wardian.sentry.time import CLOCK_REALTIME, CLOCK_REALTIME_ALARM, SECOND, TIME_MAX
from wardian.sentry.vfs.buffers import Sink
from wardian.sentry.vfs.file import O_RDWR, POLLIN, POLLRDNORM
from wardian.sentry.vfs.inode import Inode

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

TFD_TIMER_ABSTIME: Final = 1
TFD_TIMER_CANCEL_ON_SET: Final = 2
TFD_IOC_SET_TICKS: Final = 0x40085400


class Expiry(Timer):
    """The kernel timer behind a timerfd."""

    def __init__(self, owner: TimerFd) -> None:
        super().__init__()
        self.owner = owner

    def fire(self) -> None:
        self.owner.expire()


class TimerFd(AnonFile):
    """One timer. Times are nanoseconds; ``next_ns`` is on the timer's own clock."""

    def __init__(self, kernel: Kernel, inode: Inode, flags: int, clock: int) -> None:
        super().__init__(inode, O_RDWR | flags)
        self.kernel = kernel
        self.clock = clock
        self.expiry = Expiry(self)
        self.interval_ns = 0
        self.next_ns = 0  # 0: disarmed
        self.ticks = 0
        self.expired = False  # an interval timer fired and waits to be read
        self.settime_flags = 0

    def now(self) -> int:
        """The timer's clock."""
        if self.clock in (CLOCK_REALTIME, CLOCK_REALTIME_ALARM):
            return self.kernel.clock.realtime_ns()
        return self.kernel.clock.monotonic_ns()

    def arm(self) -> None:
        """Have :meth:`expire` called at ``next_ns``."""
        clock = self.kernel.clock
        wait = max(0, self.next_ns - self.now())
        self.kernel.timers.arm(self.expiry, clock.monotonic_ns() + wait)

    def expire(self) -> None:
        """The kernel timer fired."""
        if self.now() < self.next_ns:  # the host's CLOCK_REALTIME was set back
            self.arm()
            return
        self.ticks += 1
        self.expired = True
        self.queue.wake(POLLIN | POLLRDNORM)

    def forward(self) -> None:
        """Count the intervals that have passed since the timer fired, and arm it again."""
        if not self.expired:
            return
        self.expired = False
        if self.interval_ns == 0:
            self.next_ns = 0
            return
        # not below 0: the host's CLOCK_REALTIME may have been set back since
        passed = max(self.now() - self.next_ns, 0) // self.interval_ns
        self.ticks += passed
        self.next_ns += (passed + 1) * self.interval_ns
        self.arm()

    def settime(self, flags: int, value_ns: int, interval_ns: int) -> None:
        """timerfd_settime(2)."""
        self.kernel.timers.cancel(self.expiry)
        self.ticks = 0
        self.expired = False
        self.settime_flags = flags
        self.interval_ns = interval_ns
        if value_ns == 0:
            self.next_ns = 0
            return
        self.next_ns = value_ns if flags & TFD_TIMER_ABSTIME else self.now() + value_ns
        self.next_ns = min(self.next_ns, TIME_MAX)
        self.arm()

    def gettime(self) -> tuple[int, int]:
        """(time to the next expiration, interval)."""
        if self.expired and self.interval_ns:
            self.forward()
        if self.next_ns == 0 or self.expired:
            return 0, self.interval_ns
        return max(1, self.next_ns - self.now()), self.interval_ns

    def read(self, sink: Sink, offset: int) -> int:
        if sink.left < 8:
            raise EINVAL("a timerfd is read 8 bytes at a time")
        if self.ticks == 0:
            return WOULD_BLOCK
        self.forward()
        sink.put(min(self.ticks, (1 << 64) - 1).to_bytes(8, "little"))
        self.ticks = 0
        return 8

    def poll(self) -> int:
        return POLLIN | POLLRDNORM if self.ticks else 0

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command != TFD_IOC_SET_TICKS:
            raise ENOTTY("no such timerfd ioctl")
        ticks = int.from_bytes(task.copy_in(argument, 8), "little")
        if ticks == 0:
            raise EINVAL("no ticks")
        self.ticks = ticks
        self.queue.wake(POLLIN | POLLRDNORM)
        return 0

    def release(self) -> None:
        self.kernel.timers.cancel(self.expiry)

    def fdinfo(self) -> str:
        value, interval = self.gettime()
        return (
            f"clockid: {self.clock}\nticks: {self.ticks}\n"
            f"settime flags: {self.settime_flags:02o}\n"
            f"it_value: ({value // SECOND}, {value % SECOND})\n"
            f"it_interval: ({interval // SECOND}, {interval % SECOND})\n"
        )

    def describe(self) -> str:
        return "anon_inode:[timerfd]"
