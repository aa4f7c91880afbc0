"""Clocks and time values: what the guest's clock ids mean and how its structs read
(clock_gettime(2)).

Everything inside is nanoseconds as ``int``. Deadlines the kernel waits for are CLOCK_MONOTONIC of
the host; :func:`monotonic_deadline` turns a time of another clock into one. The guest's vDSO reads
the host's clocks, so the answers here must be the host's too.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, EOPNOTSUPP

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

CLOCK_REALTIME: Final = 0
CLOCK_MONOTONIC: Final = 1
CLOCK_PROCESS_CPUTIME_ID: Final = 2
CLOCK_THREAD_CPUTIME_ID: Final = 3
CLOCK_MONOTONIC_RAW: Final = 4
CLOCK_REALTIME_COARSE: Final = 5
CLOCK_MONOTONIC_COARSE: Final = 6
CLOCK_BOOTTIME: Final = 7
CLOCK_REALTIME_ALARM: Final = 8
CLOCK_BOOTTIME_ALARM: Final = 9
CLOCK_TAI: Final = 11

CPUCLOCK_PERTHREAD: Final = 4
CPUCLOCK_WHICH: Final = 3

SECOND: Final = 1_000_000_000
MICROSECOND: Final = 1_000
CLOCK_TICK_NS: Final = 10_000_000
"""USER_HZ is 100: the unit of times(2) and of /proc/<pid>/stat."""

TIME_MAX: Final = (1 << 63) - 1
"""KTIME_MAX: longer times are cut to this."""

TIMESPEC: Final = struct.Struct("<qq")
TIMESPEC2: Final = struct.Struct("<qqqq")


# -- structs ----------------------------------------------------------------------------------
def timespec_ns(data: bytes) -> int:
    """A struct timespec as nanoseconds; EINVAL unless it is a proper time span."""
    seconds, nanoseconds = unpack_pair(data)
    return checked_ns(seconds, nanoseconds)


def unpack_pair(data: bytes) -> tuple[int, int]:
    """The two numbers of a timespec or timeval."""
    first: int
    second: int
    first, second = TIMESPEC.unpack(data)
    return first, second


def checked_ns(seconds: int, nanoseconds: int) -> int:
    """Seconds and nanoseconds as one number, at most TIME_MAX; EINVAL when malformed."""
    if seconds < 0 or not 0 <= nanoseconds < SECOND:
        raise EINVAL("time value out of range")
    return min(seconds * SECOND + nanoseconds, TIME_MAX)


def timeval_ns(data: bytes) -> int:
    """A struct timeval as nanoseconds; EINVAL unless it is a proper time span."""
    seconds, microseconds = unpack_pair(data)
    if seconds < 0 or not 0 <= microseconds < 1_000_000:
        raise EINVAL("time value out of range")
    return min(seconds * SECOND + microseconds * MICROSECOND, TIME_MAX)


def pack_timespec(ns: int) -> bytes:
    """A struct timespec."""
    return TIMESPEC.pack(ns // SECOND, ns % SECOND)


def pack_timeval(ns: int) -> bytes:
    """A struct timeval."""
    return TIMESPEC.pack(ns // SECOND, ns % SECOND // MICROSECOND)


def itimerspec_ns(data: bytes) -> tuple[int, int]:
    """(interval, value) of a struct itimerspec; EINVAL."""
    a, b, c, d = TIMESPEC2.unpack(data)
    return checked_ns(a, b), checked_ns(c, d)


def pack_itimerspec(interval_ns: int, value_ns: int) -> bytes:
    """A struct itimerspec."""
    return pack_timespec(interval_ns) + pack_timespec(value_ns)


# -- clocks -----------------------------------------------------------------------------------
def clock_ns(kernel: Kernel, clock_id: int) -> int:
    """The time now of a clock that belongs to no process; EINVAL for any other."""
    if clock_id in (CLOCK_REALTIME, CLOCK_REALTIME_COARSE, CLOCK_REALTIME_ALARM, CLOCK_TAI):
        return kernel.clock.realtime_ns()
    if clock_id in (
        CLOCK_MONOTONIC,
        CLOCK_MONOTONIC_RAW,
        CLOCK_MONOTONIC_COARSE,
        CLOCK_BOOTTIME,
        CLOCK_BOOTTIME_ALARM,
    ):
        return kernel.clock.monotonic_ns()
    raise EINVAL("no such clock")


def task_clock_ns(task: Task, clock_id: int) -> int:
    """The time now of any clock as ``task`` may read it; EINVAL."""
    if clock_id == CLOCK_THREAD_CPUTIME_ID:
        return thread_cpu_ns(task)
    if clock_id == CLOCK_PROCESS_CPUTIME_ID:
        return task.group.cpu_time_ns()
    if clock_id < 0:
        return cpu_clock_ns(task, clock_id)
    return clock_ns(task.kernel, clock_id)


def thread_cpu_ns(task: Task) -> int:
    """CPU time of one task."""
    return task.host.cpu_time_ns() if task.host is not None else 0


def is_cpu_clock(clock_id: int) -> bool:
    """True for clocks that count CPU time."""
    return clock_id < 0 or clock_id in (CLOCK_PROCESS_CPUTIME_ID, CLOCK_THREAD_CPUTIME_ID)


def cpu_clock_ns(task: Task, clock_id: int) -> int:
    """The clock clock_getcpuclockid(3) names: ``~pid << 3`` and what to count; EINVAL."""
    number = ~(clock_id >> 3)
    if clock_id & CPUCLOCK_WHICH == CPUCLOCK_WHICH:
        raise EINVAL("no such clock")  # a descriptor's clock (CLOCKFD): there are none
    pids = task.kernel.pids
    if clock_id & CPUCLOCK_PERTHREAD:
        other = task if number == 0 else pids.task(number)
        if other is None or other.group is not task.group:
            raise EINVAL("no such thread here")
        return thread_cpu_ns(other)
    group = task.group if number == 0 else pids.group(number)
    if group is None:
        raise EINVAL("no such process")
    return group.cpu_time_ns()


def clock_resolution_ns(clock_id: int) -> int:
    """clock_getres(2)."""
    if clock_id in (CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE):
        return 4_000_000
    return 1


def check_waitable_clock(clock_id: int) -> None:
    """EINVAL for no clock, EOPNOTSUPP for one that nothing can wait for."""
    if clock_id in (
        CLOCK_REALTIME,
        CLOCK_MONOTONIC,
        CLOCK_BOOTTIME,
        CLOCK_TAI,
        CLOCK_REALTIME_ALARM,
        CLOCK_BOOTTIME_ALARM,
    ):
        return
    if clock_id in (CLOCK_MONOTONIC_RAW, CLOCK_REALTIME_COARSE, CLOCK_MONOTONIC_COARSE):
        raise EOPNOTSUPP("this clock cannot be waited for")
    raise EINVAL("no such clock")


def monotonic_deadline(kernel: Kernel, clock_id: int, when_ns: int) -> int:
    """When the host's CLOCK_MONOTONIC will read what ``clock_id`` calls ``when_ns``."""
    now = kernel.clock.monotonic_ns()
    return min(max(now + when_ns - clock_ns(kernel, clock_id), 0), TIME_MAX)


def deadline_after(kernel: Kernel, span_ns: int) -> int:
    """The monotonic deadline ``span_ns`` from now."""
    return min(kernel.clock.monotonic_ns() + span_ns, TIME_MAX)
