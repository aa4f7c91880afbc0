"""Clocks, sleeps and timers as the guest uses them."""

import struct

import pytest

from fake_host import START_MONOTONIC, START_REALTIME
from support import (
    PARKED,
    advance,
    call,
    clock,
    fork,
    get,
    host,
    make_kernel,
    make_task,
    make_thread,
    put,
    room,
    run,
)
from wardian.sentry.errno import EFAULT, EINVAL, EOPNOTSUPP, EPERM
from wardian.sentry.kernel.exit import exit_task
from wardian.sentry.kernel.itimers import SIGEV_NONE, SIGEV_SIGNAL, SIGEV_THREAD_ID
from wardian.sentry.kernel.siginfo import SI_TIMER, user_siginfo
from wardian.sentry.kernel.signal_delivery import next_delivery
from wardian.sentry.kernel.signal_numbers import (
    SA_RESTART,
    SIG_IGN,
    SIGALRM,
    SIGPROF,
    SIGRTMIN,
    SIGUSR1,
    SIGVTALRM,
    bit,
)
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.signals import flush_for_exec, pending_mask, set_blocked
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import time
from wardian.sentry.time import (
    CLOCK_BOOTTIME,
    CLOCK_MONOTONIC,
    CLOCK_MONOTONIC_RAW,
    CLOCK_PROCESS_CPUTIME_ID,
    CLOCK_REALTIME,
    CLOCK_REALTIME_COARSE,
    CLOCK_TAI,
    CLOCK_THREAD_CPUTIME_ID,
    SECOND,
)

MS = 1_000_000
HANDLER = 0x40_1000


def ordinary() -> Task:
    return fork(make_task(make_kernel()))


def timespec(ns: int) -> bytes:
    return struct.pack("<qq", ns // SECOND, ns % SECOND)


def read_timespec(t: Task, address: int) -> int:
    seconds, ns = struct.unpack("<qq", get(t, address, 16))
    return int(seconds * SECOND + ns)


def now(t: Task, which: int) -> int:
    address = room(t, 16)
    assert time.clock_gettime(t, which, address) == 0
    return read_timespec(t, address)


# -- clocks ----------------------------------------------------------------------------------------
def test_clocks():
    t = ordinary()
    make_thread(t)
    host(t).cpu_ns = 5
    host(t.group.tasks[1]).cpu_ns = 7
    assert now(t, CLOCK_REALTIME) == now(t, CLOCK_TAI) == START_REALTIME
    assert now(t, CLOCK_MONOTONIC) == now(t, CLOCK_BOOTTIME) == START_MONOTONIC
    assert now(t, CLOCK_THREAD_CPUTIME_ID) == 5
    assert now(t, CLOCK_PROCESS_CPUTIME_ID) == 12


def test_cpu_clock_of_another_process_and_thread():
    t = ordinary()
    other = fork(t)
    thread = make_thread(t)
    host(other).cpu_ns, host(thread).cpu_ns = 11, 13
    assert now(t, (~other.tid) << 3 | 2) == 11
    assert now(t, (~thread.tid) << 3 | 6) == 13
    for clock_id in ((~999) << 3 | 2, (~other.tid) << 3 | 6, (~3) << 3 | 3, 12, 99):
        with pytest.raises(EINVAL):
            now(t, clock_id)


def test_getres_and_the_rest():
    t = ordinary()
    out = room(t, 16)
    time.clock_getres(t, CLOCK_MONOTONIC, out)
    assert read_timespec(t, out) == 1
    time.clock_getres(t, CLOCK_REALTIME_COARSE, out)
    assert read_timespec(t, out) == 4 * MS
    assert time.clock_getres(t, CLOCK_MONOTONIC, 0) == 0
    assert time.time(t, out) == START_REALTIME // SECOND
    assert time.gettimeofday(t, out, out + 8) == 0
    with pytest.raises(EFAULT):
        time.clock_gettime(t, CLOCK_REALTIME, 16)


def test_the_hosts_clock_cannot_be_set():
    t = ordinary()
    for attempt in (
        lambda: time.clock_settime(t, CLOCK_REALTIME, timespec(0)),
        lambda: time.settimeofday(t, timespec(0), 0),
        lambda: time.adjtimex(t, room(t, 208)),
    ):
        with pytest.raises(EPERM):
            attempt()
    with pytest.raises(EINVAL):
        time.clock_settime(t, CLOCK_MONOTONIC, timespec(0))


# -- sleeping --------------------------------------------------------------------------------------
def test_nanosleep_sleeps_its_time():
    t = ordinary()
    assert call(t, time.nanosleep, timespec(5 * MS), 0) == PARKED
    advance(t.kernel, 5 * MS - 1)
    assert t.parked
    advance(t.kernel, 1)
    assert host(t).results == [0]


def test_nanosleep_of_nothing_returns_at_once():
    assert call(ordinary(), time.nanosleep, timespec(0), 0) == 0


@pytest.mark.parametrize("seconds,ns", [(-1, 0), (0, -1), (0, SECOND)])
def test_nanosleep_refuses_malformed_times(seconds, ns):
    assert call(ordinary(), time.nanosleep, struct.pack("<qq", seconds, ns), 0) == -22


def test_nanosleep_for_ever_is_bounded():
    t = ordinary()
    assert call(t, time.nanosleep, struct.pack("<qq", (1 << 63) - 1, 0), 0) == PARKED
    assert t.kernel.timers.next_deadline() == (1 << 63) - 1


def test_interrupted_nanosleep_tells_what_is_left():
    t = ordinary()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    t.group.actions.get(SIGUSR1).flags = SA_RESTART
    left = room(t, 16)
    assert call(t, time.nanosleep, timespec(2 * SECOND), left, restart="nohand") == PARKED
    advance(t.kernel, SECOND // 2)
    send_to_group(t.group, user_siginfo(SIGUSR1, 0, 1, 0))
    assert host(t).frames[0][1] == -4
    assert read_timespec(t, left) == SECOND * 3 // 2
    advance(t.kernel, 10 * SECOND)
    assert not host(t).results


def test_interrupted_nanosleep_with_a_bad_address_does_not_hurt():
    t = ordinary()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    for address in (64, memory_end(t)):
        set_blocked(t, 0)
        call(t, time.nanosleep, timespec(SECOND), address, restart="nohand")
        send_to_group(t.group, user_siginfo(SIGUSR1, 0, 1, 0))
    assert [frame[1] for frame in host(t).frames] == [-4, -4]


def memory_end(t: Task) -> int:
    """Eight bytes before an unmapped page."""
    return room(t, 4096) + 4088


def test_absolute_sleep_on_either_clock():
    t = ordinary()
    for which, start in ((CLOCK_REALTIME, START_REALTIME), (CLOCK_MONOTONIC, START_MONOTONIC)):
        advance(t.kernel, START_REALTIME - clock(t.kernel).realtime)
        clock(t.kernel).monotonic = START_MONOTONIC
        assert call(t, time.clock_nanosleep, which, 1, timespec(start + MS), 0) == PARKED
        advance(t.kernel, MS)
        assert host(t).results[-1] == 0
        assert call(t, time.clock_nanosleep, which, 1, timespec(start), 0) == 0


def test_sleep_on_clocks_that_cannot_wait():
    t = ordinary()
    with pytest.raises(EOPNOTSUPP):
        time.clock_nanosleep(t, CLOCK_MONOTONIC_RAW, 0, timespec(1), 0)
    with pytest.raises(EINVAL):
        time.clock_nanosleep(t, CLOCK_THREAD_CPUTIME_ID, 0, timespec(1), 0)
    with pytest.raises(EINVAL):
        time.clock_nanosleep(t, 42, 0, timespec(1), 0)


def test_sleep_on_the_cpu_clock_waits_for_work():
    t = ordinary()
    worker = make_thread(t)
    clock_id = CLOCK_PROCESS_CPUTIME_ID
    assert call(t, time.clock_nanosleep, clock_id, 0, timespec(10 * MS), 0) == PARKED
    advance(t.kernel, 20 * MS)
    assert t.parked and not host(t).results  # nobody worked
    host(worker).cpu_ns = 10 * MS
    advance(t.kernel, 20 * MS)
    assert host(t).results == [0]


# -- interval timers -------------------------------------------------------------------------------
def itimerval(interval: int, value: int) -> bytes:
    return struct.pack(
        "<qqqq",
        interval // SECOND,
        interval % SECOND // 1000,
        value // SECOND,
        value % SECOND // 1000,
    )


def read_itimerval(t: Task, which: int) -> tuple[int, int]:
    address = room(t, 32)
    time.getitimer(t, which, address)
    a, b, c, d = struct.unpack("<qqqq", get(t, address, 32))
    return a * SECOND + b * 1000, c * SECOND + d * 1000


def test_alarm_sends_sigalrm_and_tells_what_was_left():
    t = ordinary()
    set_blocked(t, bit(SIGALRM))
    assert time.alarm(t, 10) == 0
    advance(t.kernel, 3 * SECOND)
    assert time.alarm(t, 2) == 7
    advance(t.kernel, 2 * SECOND)
    assert pending_mask(t) == bit(SIGALRM)
    assert time.alarm(t, 0) == 0


def test_alarm_rounds_what_is_left():
    t = ordinary()
    time.alarm(t, 2)
    advance(t.kernel, SECOND // 4)
    assert time.alarm(t, 5) == 2
    advance(t.kernel, 5 * SECOND - 1000)
    assert time.alarm(t, 0) == 1


def test_periodic_timer_starts_over_when_its_signal_is_taken():
    t = ordinary()
    t.group.actions.get(SIGALRM).handler = HANDLER
    time.setitimer(t, 0, itimerval(10 * MS, 10 * MS), 0)
    advance(t.kernel, 10 * MS)
    assert t.kernel.timers.next_deadline() == -1  # no signal taken, nothing to spin on
    advance(t.kernel, 25 * MS)
    assert next_delivery(t) is not None
    assert t.kernel.timers.next_deadline() == START_MONOTONIC + 40 * MS


def test_timer_with_an_ignored_signal_neither_spins_nor_stops():
    t = ordinary()
    t.group.actions.get(SIGALRM).handler = SIG_IGN
    time.setitimer(t, 0, itimerval(1000, 1000), 0)
    advance(t.kernel, MS)
    deadline = t.kernel.timers.next_deadline()
    assert deadline >= clock(t.kernel).monotonic + MS // 2


def test_getitimer_counts_down():
    t = ordinary()
    time.setitimer(t, 0, itimerval(SECOND, 3 * SECOND), 0)
    advance(t.kernel, SECOND)
    assert read_itimerval(t, 0) == (SECOND, 2 * SECOND)
    old = room(t, 32)
    time.setitimer(t, 0, itimerval(0, 0), old)
    assert struct.unpack("<qqqq", get(t, old, 32)) == (1, 0, 2, 0)
    assert read_itimerval(t, 0) == (0, 0)
    with pytest.raises(EINVAL):
        time.getitimer(t, 3, old)


@pytest.mark.parametrize("which,signo", [(1, SIGVTALRM), (2, SIGPROF)])
def test_cpu_timers_count_work(which, signo):
    t = ordinary()
    set_blocked(t, bit(signo))
    time.setitimer(t, which, itimerval(0, 50 * MS), 0)
    advance(t.kernel, SECOND)
    assert pending_mask(t) == 0
    host(t).cpu_ns = 50 * MS
    advance(t.kernel, SECOND)
    assert pending_mask(t) == bit(signo)


def test_timers_end_with_the_process():
    t = ordinary()
    time.alarm(t, 5)
    exit_task(t, 0)
    assert t.kernel.timers.next_deadline() == -1


# -- POSIX timers ----------------------------------------------------------------------------------
def sigevent(notify: int, signo: int, value: int = 0, tid: int = 0) -> bytes:
    return struct.pack("<Qiii", value, signo, notify, tid).ljust(64, b"\0")


def create(t: Task, event: bytes | None, which: int = CLOCK_MONOTONIC) -> int:
    out = room(t, 4)
    time.timer_create(t, which, put(t, event) if event else 0, out)
    return int.from_bytes(get(t, out, 4), "little")


def itimerspec(interval: int, value: int) -> bytes:
    return timespec(interval) + timespec(value)


def test_timer_sends_its_signal_with_value_and_id():
    t = ordinary()
    set_blocked(t, bit(SIGRTMIN))
    first, number = create(t, None), create(t, sigevent(SIGEV_SIGNAL, SIGRTMIN, 0xABCD))
    assert (first, number) == (0, 1)
    time.timer_settime(t, number, 0, itimerspec(0, 5 * MS), 0)
    advance(t.kernel, 5 * MS)
    info = t.group.pending.take(bit(SIGRTMIN))
    assert (info.code, info.timer_id, info.value) == (SI_TIMER, number, 0xABCD)
    head = struct.unpack_from("<iii4xiiQ", info.pack())
    assert head == (SIGRTMIN, 0, SI_TIMER, number, 0, 0xABCD)


def test_timer_without_event_sends_sigalrm_with_its_number():
    t = ordinary()
    set_blocked(t, bit(SIGALRM))
    create(t, None)
    number = create(t, None)
    time.timer_settime(t, number, 0, itimerspec(0, 1), 0)
    advance(t.kernel, 1)
    assert t.group.pending.take(bit(SIGALRM)).value == number


def test_overrun_counts_periods_between_signal_and_delivery():
    t = ordinary()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    set_blocked(t, bit(SIGUSR1))
    number = create(t, sigevent(SIGEV_SIGNAL, SIGUSR1))
    time.timer_settime(t, number, 0, itimerspec(10 * MS, 10 * MS), 0)
    for _ in range(11):
        advance(t.kernel, 5 * MS)
    set_blocked(t, 0)
    delivery = next_delivery(t)
    assert delivery is not None
    assert struct.unpack_from("<ii", delivery.frame.siginfo, 16) == (number, 4)
    assert time.timer_getoverrun(t, number) == 4
    assert t.kernel.timers.next_deadline() == START_MONOTONIC + 60 * MS


def test_nanosecond_period_does_not_spin_the_kernel():
    t = ordinary()
    set_blocked(t, bit(SIGUSR1))
    number = create(t, sigevent(SIGEV_SIGNAL, SIGUSR1))
    time.timer_settime(t, number, 0, itimerspec(1, 1), 0)
    advance(t.kernel, SECOND)
    assert t.kernel.timers.next_deadline() == -1
    assert len(t.group.pending.queue) == 1


def test_silent_timer_counts_without_signals():
    t = ordinary()
    number = create(t, sigevent(SIGEV_NONE, 0))
    time.timer_settime(t, number, 0, itimerspec(10 * MS, 10 * MS), 0)
    advance(t.kernel, 25 * MS)
    out = room(t, 32)
    time.timer_gettime(t, number, out)
    assert get(t, out, 32) == itimerspec(10 * MS, 5 * MS)
    assert pending_mask(t) == 0


def test_timer_to_one_thread():
    t = ordinary()
    thread = make_thread(t)
    set_blocked(thread, bit(SIGUSR1))
    number = create(t, sigevent(SIGEV_THREAD_ID, SIGUSR1, 0, thread.tid))
    time.timer_settime(t, number, 0, itimerspec(0, 1), 0)
    advance(t.kernel, 1)
    assert thread.signals.pending.mask == bit(SIGUSR1) and t.group.pending.mask == 0


def test_absolute_timer_and_the_old_setting():
    t = ordinary()
    set_blocked(t, bit(SIGUSR1))
    number = create(t, sigevent(SIGEV_SIGNAL, SIGUSR1), CLOCK_REALTIME)
    when = START_REALTIME + SECOND
    time.timer_settime(t, number, 1, itimerspec(0, when), 0)
    old = room(t, 32)
    advance(t.kernel, SECOND // 2)
    time.timer_settime(t, number, 1, itimerspec(0, when), old)
    assert get(t, old, 32) == itimerspec(0, SECOND // 2)
    advance(t.kernel, SECOND // 2)
    assert pending_mask(t) == bit(SIGUSR1)


def test_timer_on_the_thread_clock_ends_with_the_thread():
    t = ordinary()
    thread = make_thread(t)
    number = create(thread, sigevent(SIGEV_SIGNAL, SIGUSR1), CLOCK_THREAD_CPUTIME_ID)
    time.timer_settime(t, number, 0, itimerspec(0, MS), 0)
    exit_task(thread, 0)
    advance(t.kernel, SECOND)
    assert pending_mask(t) == 0


def test_timers_are_numbered_deleted_and_forgotten_at_exec():
    t = ordinary()
    number = create(t, None)
    time.timer_settime(t, number, 0, itimerspec(0, SECOND), 0)
    time.timer_delete(t, number)
    with pytest.raises(EINVAL):
        time.timer_gettime(t, number, 0)
    kept = create(t, None)
    time.timer_settime(t, kept, 0, itimerspec(0, SECOND), 0)
    time.alarm(t, 5)
    flush_for_exec(t)
    with pytest.raises(EINVAL):
        time.timer_delete(t, kept)
    assert read_itimerval(t, 0) == (0, 5 * SECOND)


@pytest.mark.parametrize(
    "event",
    [
        sigevent(SIGEV_SIGNAL, 0),
        sigevent(SIGEV_SIGNAL, 65),
        sigevent(3, SIGUSR1),
        sigevent(SIGEV_THREAD_ID, SIGUSR1, 0, 999),
    ],
)
def test_timer_create_refuses_bad_events(event):
    t = ordinary()
    with pytest.raises(EINVAL):
        create(t, event)
    assert t.group.timers is not None and t.group.timers.posix == {}


def test_timer_create_that_cannot_tell_the_number_leaves_nothing():
    t = ordinary()
    with pytest.raises(EFAULT):
        time.timer_create(t, CLOCK_MONOTONIC, 0, 8)
    assert t.group.timers is not None and t.group.timers.posix == {}


def test_timer_settime_refuses_malformed_times():
    t = ordinary()
    number = create(t, None)
    with pytest.raises(EINVAL):
        time.timer_settime(t, number, 0, struct.pack("<qqqq", 0, 0, 0, SECOND), 0)
    run(t.kernel)
