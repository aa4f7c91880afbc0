"""Clocks, sleeping and timers (time(7))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EFAULT, EINVAL, EOPNOTSUPP, EPERM
from wardian.sentry.kernel.itimers import (
    ITIMER_PROF,
    ITIMER_REAL,
    SIGEV_NONE,
    SIGEV_SIGNAL,
    SIGEV_THREAD,
    SIGEV_THREAD_ID,
    GroupTimer,
    PosixTimer,
    group_timers,
)
from wardian.sentry.kernel.signal_numbers import NSIG, SIGALRM
from wardian.sentry.kernel.task import InterruptAction, Task
from wardian.sentry.syscalls.kinds import (
    Addr,
    ClockId,
    InItimerspec,
    InItimerval,
    Int,
    InTimespec,
    InTimeval,
    UInt,
)
from wardian.sentry.time import (
    CLOCK_REALTIME,
    CLOCK_THREAD_CPUTIME_ID,
    CPUCLOCK_PERTHREAD,
    SECOND,
    TIME_MAX,
    check_waitable_clock,
    clock_resolution_ns,
    deadline_after,
    is_cpu_clock,
    itimerspec_ns,
    monotonic_deadline,
    pack_itimerspec,
    pack_timespec,
    pack_timeval,
    task_clock_ns,
    timespec_ns,
    timeval_ns,
)

TIMER_ABSTIME: Final = 1
SIGEVENT_SIZE: Final = 64
SIGEVENT: Final = struct.Struct("<Qiii")  # value, signo, notify, tid
CPU_WAIT_MIN_NS: Final = 1_000_000


# -- reading and setting clocks ---------------------------------------------------------------
def time(t: Task, tloc: Addr) -> int:
    """time(2)."""
    now = t.kernel.clock.realtime_ns() // SECOND
    if tloc:
        t.copy_out(tloc, now.to_bytes(8, "little", signed=True))
    return now


def gettimeofday(t: Task, tv: Addr, tz: Addr) -> int:
    """gettimeofday(2); the time zone is always UTC."""
    if tv:
        t.copy_out(tv, pack_timeval(t.kernel.clock.realtime_ns()))
    if tz:
        t.copy_out(tz, bytes(8))
    return 0


def settimeofday(t: Task, tv: InTimeval | None, tz: Addr) -> int:
    """settimeofday(2): the host's clock is not the guest's to set."""
    if tv is not None:
        timeval_ns(tv)
    raise EPERM("the clock belongs to the host")


def clock_gettime(t: Task, which: ClockId, tp: Addr) -> int:
    """clock_gettime(2)."""
    t.copy_out(tp, pack_timespec(task_clock_ns(t, which)))
    return 0


def clock_settime(t: Task, which: ClockId, tp: InTimespec) -> int:
    """clock_settime(2): the host's clock is not the guest's to set."""
    if which != CLOCK_REALTIME:
        raise EINVAL("this clock cannot be set")
    timespec_ns(tp)
    raise EPERM("the clock belongs to the host")


def clock_getres(t: Task, which: ClockId, tp: Addr) -> int:
    """clock_getres(2)."""
    task_clock_ns(t, which)
    if tp:
        t.copy_out(tp, pack_timespec(clock_resolution_ns(which)))
    return 0


def adjtimex(t: Task, txc: Addr) -> int:
    """adjtimex(2): neither shown nor set."""
    t.copy_in(txc, 4)
    raise EPERM("the clock belongs to the host")


def clock_adjtime(t: Task, which: ClockId, txc: Addr) -> int:
    """clock_adjtime(2)."""
    if which != CLOCK_REALTIME:
        raise EOPNOTSUPP("this clock cannot be adjusted")
    return adjtimex(t, txc)


# -- sleeping ---------------------------------------------------------------------------------
class SleepRemainder(InterruptAction):
    """Writes the time left of an interrupted relative sleep."""

    def __init__(self, address: int) -> None:
        self.address = address

    def interrupted(self, task: Task, restarts: bool) -> None:
        call = task.call
        assert call is not None
        left = max(call.deadline_ns - task.kernel.clock.monotonic_ns(), 0)
        try:
            task.memory.process.write(self.address, pack_timespec(left))
        except EFAULT:
            pass  # Linux would turn the EINTR into EFAULT


class CpuTarget:
    """The reading of a CPU clock that a sleep waits for."""

    def __init__(self, target: int) -> None:
        self.target = target


def nanosleep(t: Task, rqtp: InTimespec, rmtp: Addr) -> int:
    """nanosleep(2)."""
    return sleep_for(t, timespec_ns(rqtp), rmtp)


def sleep_for(t: Task, span: int, rmtp: int) -> int:
    """Park until ``span`` nanoseconds have passed since the call began."""
    deadline = min(t.deadline(span), TIME_MAX)
    if t.expired():
        return 0
    assert t.call is not None
    if rmtp and t.call.on_interrupt is None:
        t.call.on_interrupt = SleepRemainder(rmtp)
    return t.park_until(deadline)


def clock_nanosleep(t: Task, which: ClockId, flags: Int, rqtp: InTimespec, rmtp: Addr) -> int:
    """clock_nanosleep(2)."""
    absolute = bool(flags & TIMER_ABSTIME)
    if is_cpu_clock(which):
        return sleep_cpu(t, which, absolute, timespec_ns(rqtp))
    check_waitable_clock(which)
    span = timespec_ns(rqtp)
    if not absolute:
        return sleep_for(t, span, rmtp)
    call = t.call
    assert call is not None
    if call.deadline_ns < 0:
        call.deadline_ns = monotonic_deadline(t.kernel, which, span)
    return 0 if t.expired() else t.park_until(call.deadline_ns)


def sleep_cpu(t: Task, which: int, absolute: bool, span: int) -> int:
    """Sleep until CPU time was used: look again when that could have happened."""
    if which == CLOCK_THREAD_CPUTIME_ID or (which < 0 and which & CPUCLOCK_PERTHREAD):
        raise EINVAL("a thread cannot wait for its own CPU time")
    now = task_clock_ns(t, which)
    call = t.call
    assert call is not None
    state = call.state
    if not isinstance(state, CpuTarget):
        state = CpuTarget(span if absolute else now + span)
        call.state = state
    left = state.target - now
    if left <= 0:
        return 0
    threads = max(len(t.group.tasks), 1)
    return t.park_until(deadline_after(t.kernel, max(left // threads, CPU_WAIT_MIN_NS)))


# -- interval timers --------------------------------------------------------------------------
def getitimer(t: Task, which: Int, value: Addr) -> int:
    """getitimer(2)."""
    check_which(which)
    t.copy_out(value, pack_itimerval(group_timers(t).interval[which]))
    return 0


def setitimer(t: Task, which: Int, value: InItimerval | None, ovalue: Addr) -> int:
    """setitimer(2); a null ``value`` disarms, as Linux has it."""
    interval = span = 0
    if value is not None:
        interval, span = timeval_ns(value[:16]), timeval_ns(value[16:])
    check_which(which)
    timer = group_timers(t).interval[which]
    old = pack_itimerval(timer)
    timer.set(timer.now() + span if span else -1, interval)
    if ovalue:
        t.copy_out(ovalue, old)
    return 0


def check_which(which: int) -> None:
    """EINVAL unless it names one of the three timers."""
    if not ITIMER_REAL <= which <= ITIMER_PROF:
        raise EINVAL("no such interval timer")


def pack_itimerval(timer: GroupTimer) -> bytes:
    """A struct itimerval; an armed timer never shows zero."""
    left = timer.remaining()
    if 0 < left < 1000:
        left = 1000
    return pack_timeval(timer.interval if left else 0) + pack_timeval(left)


def alarm(t: Task, seconds: UInt) -> int:
    """alarm(2)."""
    timer = group_timers(t).interval[ITIMER_REAL]
    left = timer.remaining()
    timer.set(timer.now() + seconds * SECOND if seconds else -1, 0)
    if 0 < left < SECOND:
        return 1
    return (left + SECOND // 2) // SECOND


# -- POSIX timers -----------------------------------------------------------------------------
def timer_create(t: Task, which: ClockId, event: Addr, created: Addr) -> int:
    """timer_create(2)."""
    if is_cpu_clock(which):
        task_clock_ns(t, which)
    else:
        check_waitable_clock(which)
    data = t.copy_in(event, SIGEVENT_SIZE) if event else b""
    timers = group_timers(t)
    timer = timers.create(t, which)
    try:
        if data:
            configure(t, timer, data)
        t.copy_out(created, timer.number.to_bytes(4, "little"))
    except BaseException:
        timers.delete(timer.number)
        raise
    return 0


def configure(t: Task, timer: PosixTimer, data: bytes) -> None:
    """Take over a struct sigevent; EINVAL."""
    value, signo, notify, tid = SIGEVENT.unpack_from(data)
    if notify not in (SIGEV_SIGNAL, SIGEV_NONE, SIGEV_THREAD, SIGEV_THREAD_ID | SIGEV_SIGNAL):
        raise EINVAL("sigev_notify is not known")
    if notify != SIGEV_NONE and not 1 <= signo <= NSIG:
        raise EINVAL("no such signal")
    if notify == SIGEV_THREAD_ID:
        target = t.kernel.pids.task(tid)
        if target is None or target.group is not t.group:
            raise EINVAL("the thread is not of this process")
        timer.target = target
    timer.notify = notify
    timer.signo = signo if signo else SIGALRM
    timer.value = value


def timer_settime(t: Task, timer_id: Int, flags: Int, new: InItimerspec, old: Addr) -> int:
    """timer_settime(2)."""
    interval, value = itimerspec_ns(new)
    timer = group_timers(t).get(timer_id)
    before = pack_itimerspec(timer.interval if timer.expires >= 0 else 0, timer.remaining())
    if not value:
        timer.set(-1, interval)
    else:
        timer.set(value if flags & TIMER_ABSTIME else timer.now() + value, interval)
    if old:
        t.copy_out(old, before)
    return 0


def timer_gettime(t: Task, timer_id: Int, setting: Addr) -> int:
    """timer_gettime(2)."""
    timer = group_timers(t).get(timer_id)
    t.copy_out(setting, pack_itimerspec(timer.interval, timer.remaining()))
    return 0


def timer_getoverrun(t: Task, timer_id: Int) -> int:
    """timer_getoverrun(2)."""
    return group_timers(t).get(timer_id).overrun


def timer_delete(t: Task, timer_id: Int) -> int:
    """timer_delete(2)."""
    group_timers(t).delete(timer_id)
    return 0
