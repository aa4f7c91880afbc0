"""Interval timers and POSIX timers of a thread group (setitimer(2), timer_create(2)).

A periodic timer sleeps from the moment its signal is queued until that signal is taken; missed
periods are counted then (``timer_getoverrun``). So a guest cannot make the Sentry's event loop spin
with a period of one nanosecond. CPU-time timers have no event of their own: they look at the clock
again when at the earliest it can have advanced enough.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EAGAIN, EINVAL
from wardian.sentry.kernel.rlimits import RLIM_INFINITY, RLIMIT_CPU, RLIMIT_SIGPENDING
from wardian.sentry.kernel.siginfo import SI_KERNEL, SI_TIMER, SigInfo, SignalTimer
from wardian.sentry.kernel.signal_numbers import SIGALRM, SIGKILL, SIGPROF, SIGVTALRM, SIGXCPU
from wardian.sentry.kernel.signal_sending import queued_count, send_to_group, send_to_task
from wardian.sentry.kernel.timers import Timer
from wardian.sentry.time import (
    CLOCK_MONOTONIC,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_THREAD_CPUTIME_ID,
    SECOND,
    TIME_MAX,
    is_cpu_clock,
    monotonic_deadline,
    task_clock_ns,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup

ITIMER_REAL: Final = 0
ITIMER_VIRTUAL: Final = 1
ITIMER_PROF: Final = 2
ITIMER_SIGNALS: Final = (SIGALRM, SIGVTALRM, SIGPROF)

SIGEV_SIGNAL: Final = 0
SIGEV_NONE: Final = 1
SIGEV_THREAD: Final = 2
SIGEV_THREAD_ID: Final = 4

TIMERS_MAX: Final = 4096
"""POSIX timers per thread group; they also count against RLIMIT_SIGPENDING."""

DELAYTIMER_MAX: Final = (1 << 31) - 1
CPU_POLL_MIN_NS: Final = 1_000_000
DROPPED_PERIOD_MIN_NS: Final = 1_000_000


class GroupTimer(Timer):
    """One timer of a thread group, on any clock; subclasses send the signal."""

    def __init__(self, group: ThreadGroup, owner: Task, clock_id: int) -> None:
        super().__init__()
        self.group = group
        self.owner = owner  # whose CPU clocks are meant
        self.clock_id = clock_id
        self.expires = -1  # on this timer's clock; -1: not set
        self.interval = 0
        self.waiting = False  # the signal is queued and not yet taken

    def now(self) -> int:
        """The time on this timer's clock."""
        clock_id = self.clock_id
        if clock_id < 0 or clock_id == CLOCK_THREAD_CPUTIME_ID:
            return self.now_of_thread()
        return task_clock_ns(self.owner, clock_id)

    def now_of_thread(self) -> int:
        """The same for clocks that end with a thread or process: then they stand still."""
        try:
            return task_clock_ns(self.owner, self.clock_id)
        except EINVAL:
            return 0

    def set(self, expires: int, interval: int) -> None:
        """Arm for ``expires`` on this timer's clock, or disarm with -1."""
        self.expires = min(expires, TIME_MAX)
        self.interval = interval
        self.waiting = False
        self.schedule()

    def schedule(self) -> None:
        """Put the deadline on the kernel's queue."""
        timers = self.group.kernel.timers
        if self.expires < 0 or self.is_silent():
            timers.cancel(self)
            return
        timers.arm(self, self.host_deadline())

    def host_deadline(self) -> int:
        """When to look, on the host's monotonic clock."""
        kernel = self.group.kernel
        if not is_cpu_clock(self.clock_id):
            return monotonic_deadline(kernel, self.clock_id, self.expires)
        left = max(self.expires - self.now(), 0)
        running = max(len(self.group.tasks), 1)
        return min(kernel.clock.monotonic_ns() + max(left // running, CPU_POLL_MIN_NS), TIME_MAX)

    def is_silent(self) -> bool:
        """True when expiry tells nobody (SIGEV_NONE): then nothing need be scheduled."""
        return False

    def fire(self) -> None:
        if self.expires < 0 or self.group.zombie:
            return
        if is_cpu_clock(self.clock_id) and self.now() < self.expires:
            self.schedule()
            return
        if self.interval == 0:
            self.expires = -1
        else:
            self.waiting = True
        self.expired()

    def expired(self) -> None:
        """Send the signal."""
        raise NotImplementedError

    def next_period(self, least: int) -> int:
        """Move on past now; the number of periods missed. ``least`` keeps off the shortest ones."""
        self.waiting = False
        if self.expires < 0 or self.interval == 0:
            return 0
        late = max(self.now() - self.expires, 0)
        periods = late // self.interval + 1
        self.expires = min(self.expires + periods * self.interval, TIME_MAX)
        if least:
            self.expires = max(self.expires, self.now() + least)
        self.schedule()
        return periods - 1

    def remaining(self) -> int:
        """Nanoseconds until the next expiry; 0 when disarmed."""
        if self.expires < 0:
            return 0
        now = self.now()
        if self.expires > now:
            return self.expires - now
        if self.interval == 0:
            return 0 if self.is_silent() else 1
        periods = (now - self.expires) // self.interval + 1
        return self.expires + periods * self.interval - now


class CpuLimitTimer(GroupTimer):
    """RLIMIT_CPU: SIGXCPU at the soft limit and each second after, SIGKILL at the hard one."""

    def __init__(self, group: ThreadGroup, owner: Task) -> None:
        super().__init__(group, owner, CLOCK_PROCESS_CPUTIME_ID)

    def expired(self) -> None:
        soft, hard = self.group.rlimits.get(RLIMIT_CPU)
        used = self.now() // SECOND
        if used >= hard:
            send_to_group(self.group, SigInfo(SIGKILL))
            return
        if used >= soft:
            send_to_group(self.group, SigInfo(SIGXCPU))
            soft = used + 1
        self.set(min(soft, hard) * SECOND, 0)


class SignalLink(SignalTimer):
    """Tells a timer what became of its signal."""

    def __init__(self, timer: GroupTimer) -> None:
        self.timer = timer

    def taken(self, info: SigInfo) -> None:
        if self.timer.waiting:
            self.timer.next_period(0)

    def dropped(self) -> None:
        if self.timer.waiting:
            self.timer.next_period(DROPPED_PERIOD_MIN_NS)


class IntervalTimer(GroupTimer):
    """One of the three of setitimer(2)."""

    def __init__(self, group: ThreadGroup, owner: Task, which: int) -> None:
        clock = CLOCK_MONOTONIC if which == ITIMER_REAL else CLOCK_PROCESS_CPUTIME_ID
        super().__init__(group, owner, clock)
        self.which = which

    def expired(self) -> None:
        info = SigInfo(ITIMER_SIGNALS[self.which], SI_KERNEL)
        info.timer = SignalLink(self)
        send_to_group(self.group, info)


class PosixTimer(GroupTimer):
    """One timer of timer_create(2)."""

    def __init__(self, group: ThreadGroup, owner: Task, clock_id: int, number: int) -> None:
        super().__init__(group, owner, clock_id)
        self.number = number
        self.notify: int = SIGEV_SIGNAL
        self.signo: int = SIGALRM
        self.value = number
        self.target: Task | None = None  # SIGEV_THREAD_ID
        self.queued = False  # a signal of this timer is pending
        self.overrun = 0  # of the signal taken last
        self.missed = 0  # since the pending signal was queued

    def is_silent(self) -> bool:
        return self.notify == SIGEV_NONE

    def expired(self) -> None:
        if self.queued:
            self.missed = min(self.missed + 1, DELAYTIMER_MAX)
            self.next_period(DROPPED_PERIOD_MIN_NS)
            return
        info = SigInfo(self.signo, SI_TIMER)
        info.timer_id = self.number
        info.value = self.value
        info.timer = PosixLink(self)
        target = self.target
        if target is not None and target.exited:
            return
        self.queued = True
        self.missed = 0
        if target is not None:
            send_to_task(target, info)
        else:
            send_to_group(self.group, info)


class PosixLink(SignalTimer):
    """Tells a POSIX timer what became of its signal, and the signal how many periods it missed."""

    def __init__(self, timer: PosixTimer) -> None:
        self.timer = timer

    def taken(self, info: SigInfo) -> None:
        timer = self.timer
        timer.queued = False
        missed = timer.missed
        if timer.waiting:
            missed += timer.next_period(0)
        timer.overrun = min(missed, DELAYTIMER_MAX)
        info.overrun = timer.overrun

    def dropped(self) -> None:
        timer = self.timer
        timer.queued = False
        if timer.waiting:
            timer.next_period(DROPPED_PERIOD_MIN_NS)


class GroupTimers:
    """All timers of one thread group."""

    def __init__(self, group: ThreadGroup, owner: Task) -> None:
        self.group = group
        self.interval = [IntervalTimer(group, owner, which) for which in range(3)]
        self.posix: dict[int, PosixTimer] = {}
        self.next_number = 0
        self.cpu_limit = CpuLimitTimer(group, owner)

    def watch_cpu_limit(self) -> None:
        """RLIMIT_CPU was set (or inherited by fork): count from here."""
        soft, hard = self.group.rlimits.get(RLIMIT_CPU)
        limit = min(soft, hard)
        self.cpu_limit.set(limit * SECOND if limit < RLIM_INFINITY else -1, 0)

    def count(self) -> int:
        """How many POSIX timers there are."""
        return len(self.posix)

    def create(self, owner: Task, clock_id: int) -> PosixTimer:
        """A new POSIX timer, disarmed; EAGAIN when there are too many."""
        limit, _ = self.group.rlimits.get(RLIMIT_SIGPENDING)
        if len(self.posix) >= TIMERS_MAX or queued_count(self.group) >= limit:
            raise EAGAIN("too many timers")
        number = self.next_number
        self.next_number = (number + 1) & 0x7FFF_FFFF
        while self.next_number in self.posix:
            self.next_number = (self.next_number + 1) & 0x7FFF_FFFF
        timer = PosixTimer(self.group, owner, clock_id, number)
        self.posix[number] = timer
        return timer

    def get(self, number: int) -> PosixTimer:
        """EINVAL when there is no such timer."""
        timer = self.posix.get(number)
        if timer is None:
            raise EINVAL("no such timer")
        return timer

    def delete(self, number: int) -> None:
        """timer_delete(2); a signal that is queued already still arrives."""
        self.get(number).set(-1, 0)
        del self.posix[number]

    def delete_posix(self) -> None:
        """execve(2): POSIX timers go, interval timers stay."""
        for number in list(self.posix):
            self.delete(number)

    def cancel_all(self) -> None:
        """The group has exited."""
        for timer in self.interval:
            timer.set(-1, 0)
        self.cpu_limit.set(-1, 0)
        self.delete_posix()


def group_timers(task: Task) -> GroupTimers:
    """The timers of ``task``'s group, made when first asked for."""
    timers = task.group.timers
    if timers is None:
        timers = GroupTimers(task.group, task)
        task.group.timers = timers
    return timers
