"""The signal system calls as the guest makes them."""

import struct

import pytest

from fake_platform import RESTART
from support import (
    PARKED,
    advance,
    call,
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
from wardian.sentry.errno import EBADF, EFAULT, EINVAL, ENOMEM, EPERM, ESRCH
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.exit import exit_task, reap
from wardian.sentry.kernel.signal_numbers import (
    SA_RESTART,
    SIG_DFL,
    SIG_IGN,
    SIGALRM,
    SIGCHLD,
    SIGCONT,
    SIGINT,
    SIGKILL,
    SIGRTMIN,
    SIGSTOP,
    SIGTERM,
    SIGUSR1,
    SIGUSR2,
    SS_AUTODISARM,
    SS_DISABLE,
    SS_ONSTACK,
    bit,
)
from wardian.sentry.kernel.signals import pending_mask, set_blocked
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import process, signal

HANDLER = 0x40_1000
SET = struct.Struct("<Q")


def child() -> Task:
    return fork(make_task(make_kernel()))


def sigaction(handler: int, flags: int = 0, mask: int = 0) -> bytes:
    return struct.pack("<QQQQ", handler, flags | 0x0400_0000, 0x40_2000, mask)


def sigset(*signals: int) -> bytes:
    return SET.pack(sum(bit(signo) for signo in signals))


def timespec(seconds: int, ns: int = 0) -> bytes:
    return struct.pack("<qq", seconds, ns)


# -- actions ---------------------------------------------------------------------------------------
def test_sigaction_sets_and_tells_the_old_one():
    t = child()
    old = room(t, 32)
    assert signal.rt_sigaction(t, SIGUSR1, sigaction(HANDLER, SA_RESTART, bit(SIGINT)), 0, 8) == 0
    assert signal.rt_sigaction(t, SIGUSR1, None, old, 8) == 0
    assert struct.unpack("<QQQQ", get(t, old, 32)) == (
        HANDLER,
        SA_RESTART | 0x0400_0000,
        0x40_2000,
        bit(SIGINT),
    )


def test_sigaction_forgets_unknown_flags_and_unblockable_signals():
    t = child()
    act = sigaction(HANDLER, 0x400 | 0x40, (1 << 64) - 1)
    signal.rt_sigaction(t, SIGUSR1, act, 0, 8)
    action = t.group.actions.get(SIGUSR1)
    assert action.flags == 0x0400_0000
    assert action.mask == ((1 << 64) - 1) & ~(bit(SIGKILL) | bit(SIGSTOP))


@pytest.mark.parametrize("signo", [0, -1, 65, SIGKILL, SIGSTOP])
def test_sigaction_refuses(signo):
    with pytest.raises(EINVAL):
        signal.rt_sigaction(child(), signo, sigaction(SIG_IGN), 0, 8)


def test_sigaction_may_look_at_sigkill():
    t = child()
    assert signal.rt_sigaction(t, SIGKILL, None, room(t, 32), 8) == 0


def test_sigaction_wants_the_right_size():
    with pytest.raises(EINVAL):
        signal.rt_sigaction(child(), SIGUSR1, None, 0, 4)


@pytest.mark.parametrize(
    "signo,handler,dropped",
    [(SIGUSR1, SIG_IGN, True), (SIGCHLD, SIG_DFL, True), (SIGUSR1, SIG_DFL, False)],
)
def test_ignoring_a_signal_discards_what_is_pending(signo, handler, dropped):
    t = child()
    set_blocked(t, bit(signo))
    signal.kill(t, t.tid, signo)
    signal.tkill(t, t.tid, signo)
    signal.rt_sigaction(t, signo, sigaction(handler), 0, 8)
    assert (pending_mask(t) == 0) == dropped


# -- masks -----------------------------------------------------------------------------------------
def test_sigprocmask_blocks_unblocks_and_sets():
    t = child()
    old = room(t, 8)
    signal.rt_sigprocmask(t, signal.SIG_BLOCK, sigset(SIGINT, SIGUSR1, SIGKILL), old, 8)
    assert get(t, old, 8) == sigset()
    signal.rt_sigprocmask(t, signal.SIG_UNBLOCK, sigset(SIGINT), old, 8)
    assert get(t, old, 8) == sigset(SIGINT, SIGUSR1)
    signal.rt_sigprocmask(t, signal.SIG_SETMASK, sigset(SIGTERM), old, 8)
    assert get(t, old, 8) == sigset(SIGUSR1)
    signal.rt_sigprocmask(t, 99, None, old, 8)  # how does not matter without a set
    assert get(t, old, 8) == sigset(SIGTERM)
    with pytest.raises(EINVAL):
        signal.rt_sigprocmask(t, 3, sigset(), 0, 8)


def test_sigpending_shows_only_blocked_ones():
    t = child()
    set_blocked(t, bit(SIGUSR1) | bit(SIGUSR2))
    signal.kill(t, t.tid, SIGUSR1)
    out = room(t, 8)
    signal.rt_sigpending(t, out, 8)
    assert get(t, out, 8) == sigset(SIGUSR1)


# -- sending ---------------------------------------------------------------------------------------
def test_kill_tells_who_sent_it():
    t = child()
    t.credentials = user_credentials(1000, 1000)
    set_blocked(t, bit(SIGUSR1))
    signal.kill(t, t.tid, SIGUSR1)
    info = t.group.pending.take(bit(SIGUSR1))
    assert (info.code, info.pid, info.uid) == (0, t.tid, 1000)


def test_kill_zero_only_asks():
    t = child()
    assert signal.kill(t, 1, 0) == 0
    with pytest.raises(ESRCH):
        signal.kill(t, 999, 0)
    with pytest.raises(EINVAL):
        signal.kill(t, 1, 65)


def test_kill_reaches_a_process_by_any_of_its_threads():
    t = child()
    thread = make_thread(t)
    set_blocked(t, bit(SIGUSR1))
    set_blocked(thread, bit(SIGUSR1))
    signal.kill(t, thread.tid, SIGUSR1)
    assert t.group.pending.mask == bit(SIGUSR1)


def test_kill_of_a_zombie_succeeds():
    t = child()
    dead = fork(t)
    exit_task(dead, 0)
    assert signal.kill(t, dead.tid, SIGKILL) == 0


def test_kill_needs_permission():
    t = child()
    other = fork(t)
    t.credentials = user_credentials(1000, 1000)
    with pytest.raises(EPERM):
        signal.kill(t, other.tid, SIGTERM)
    assert signal.kill(t, other.tid, SIGCONT) == 0  # same session
    other.credentials = user_credentials(1000, 50)
    assert signal.kill(t, other.tid, 0) == 0


def test_set_uid_program_can_still_be_killed_by_its_real_user():
    t = child()
    other = fork(t)
    t.credentials = user_credentials(1000, 1000)
    other.credentials = other.credentials.copy()
    other.credentials.uid = 1000
    assert signal.kill(t, other.tid, SIGTERM) == 0


def test_kill_minus_one_spares_init_and_the_caller():
    t = child()
    others = [fork(t), fork(t)]
    assert signal.kill(t, -1, SIGKILL) == 0
    assert [other.exited for other in others] == [True, True]
    assert not t.exited and not t.kernel.init.zombie


def test_kill_minus_one_with_nobody_else():
    with pytest.raises(ESRCH):
        signal.kill(make_task(), -1, SIGTERM)


def test_kill_process_group():
    t = child()
    first, second = fork(t), fork(t)
    process.setpgid(first, 0, 0)
    process.setpgid(second, 0, first.tid)
    signal.kill(t, -first.tid, SIGKILL)
    assert first.exited and second.exited and not t.exited
    with pytest.raises(ESRCH):
        signal.kill(t, -4000, SIGKILL)


def test_kill_own_process_group_counts_as_sent_when_one_was():
    t = child()
    stranger = fork(t)
    t.credentials = user_credentials(1000, 1000)
    set_blocked(t, bit(SIGUSR1))
    assert signal.kill(t, 0, SIGUSR1) == 0
    assert pending_mask(t) and not pending_mask(stranger)


def test_tgkill_checks_the_group():
    t = child()
    thread = make_thread(t)
    set_blocked(thread, bit(SIGUSR1))
    assert signal.tgkill(t, t.tid, thread.tid, SIGUSR1) == 0
    info = thread.signals.pending.take(bit(SIGUSR1))
    assert (info.code, info.pid) == (-6, t.tid)
    for ids, error in (((1, thread.tid), ESRCH), ((0, thread.tid), EINVAL), ((t.tid, 999), ESRCH)):
        with pytest.raises(error):
            signal.tgkill(t, *ids, SIGUSR1)


def test_tgkill_of_a_dead_leader_succeeds_without_effect():
    t = child()
    thread = make_thread(t)
    exit_task(t, 0)
    assert signal.tgkill(thread, t.tid, t.tid, SIGUSR1) == 0
    assert pending_mask(thread) == 0


# -- queued signals --------------------------------------------------------------------------------
def siginfo(code: int, value: int = 0, signo: int = 0) -> bytes:
    return struct.pack("<iii4xiIQ", signo, 0, code, 77, 88, value).ljust(128, b"\xee")


def test_sigqueue_passes_the_value_and_nothing_beyond_the_struct():
    t = child()
    other = fork(t)
    set_blocked(other, bit(SIGRTMIN))
    signal.rt_sigqueueinfo(t, other.tid, SIGRTMIN, siginfo(-1, 0x1234))
    info = other.group.pending.take(bit(SIGRTMIN))
    assert (info.signo, info.code, info.pid, info.uid, info.value) == (SIGRTMIN, -1, 77, 88, 0x1234)
    packed = info.pack()
    assert struct.unpack_from("<iii4xiIQ", packed) == (SIGRTMIN, 0, -1, 77, 88, 0x1234)
    assert packed[48:] == bytes(80)


@pytest.mark.parametrize("code", [0, 0x80, -6, 1])
def test_sigqueue_may_not_forge_the_kernel(code):
    t = child()
    other = fork(t)
    with pytest.raises(EPERM):
        signal.rt_sigqueueinfo(t, other.tid, SIGUSR1, siginfo(code))
    set_blocked(t, bit(SIGUSR1))
    assert signal.rt_sigqueueinfo(t, t.tid, SIGUSR1, siginfo(code)) == 0  # to itself it may


def test_tgsigqueue_goes_to_one_thread():
    t = child()
    thread = make_thread(t)
    set_blocked(thread, bit(SIGUSR1))
    signal.rt_tgsigqueueinfo(t, t.tid, thread.tid, SIGUSR1, siginfo(-1))
    assert thread.signals.pending.mask == bit(SIGUSR1)


# -- pidfds ----------------------------------------------------------------------------------------
def test_pidfd_send_signal():
    t = child()
    other = fork(t)
    fd = process.pidfd_open(t, other.tid, 0)
    assert signal.pidfd_send_signal(t, fd, 0, None, 0) == 0
    assert signal.pidfd_send_signal(t, fd, SIGKILL, None, 0) == 0
    assert other.exited
    assert signal.pidfd_send_signal(t, fd, 0, None, 0) == 0  # a zombie still is there
    reap(other.group)
    with pytest.raises(ESRCH):
        signal.pidfd_send_signal(t, fd, 0, None, 0)
    with pytest.raises(EINVAL):
        signal.pidfd_send_signal(t, fd, 0, None, 8)
    with pytest.raises(EBADF):
        signal.pidfd_send_signal(t, 55, 0, None, 0)


def test_pidfd_send_signal_wants_siginfo_to_match():
    t = child()
    fd = process.pidfd_open(t, t.tid, 0)
    with pytest.raises(EINVAL):
        signal.pidfd_send_signal(t, fd, SIGUSR1, siginfo(-1, signo=SIGUSR2), 0)


# -- waiting ---------------------------------------------------------------------------------------
def test_sigsuspend_returns_to_the_old_mask_through_the_handler():
    t = child()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    t.group.actions.get(SIGUSR1).flags = SA_RESTART
    set_blocked(t, bit(SIGUSR1))
    assert call(t, signal.rt_sigsuspend, sigset(SIGINT), 8, restart="nohand") == PARKED
    assert t.signals.blocked == bit(SIGINT)
    signal.kill(t, t.tid, SIGUSR1)
    frame, result, _ = host(t).frames[0]
    assert frame.saved_mask == bit(SIGUSR1) and result == -4


def test_sigsuspend_takes_what_is_pending_already():
    t = child()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    set_blocked(t, bit(SIGUSR1))
    signal.kill(t, t.tid, SIGUSR1)
    call(t, signal.rt_sigsuspend, sigset(), 8, restart="nohand")
    assert len(host(t).frames) == 1 and not t.parked


def test_sigtimedwait_takes_a_pending_signal():
    t = child()
    set_blocked(t, bit(SIGUSR1) | bit(SIGUSR2))
    signal.kill(t, t.tid, SIGUSR2)
    info = room(t, 128)
    assert signal.rt_sigtimedwait(t, sigset(SIGUSR1, SIGUSR2), info, None, 8) == SIGUSR2
    assert struct.unpack_from("<iii4xi", get(t, info, 24)) == (SIGUSR2, 0, 0, t.tid)
    assert pending_mask(t) == 0


def test_sigtimedwait_with_zero_timeout_only_looks():
    t = child()
    assert call(t, signal.rt_sigtimedwait, sigset(SIGUSR1), 0, timespec(0), 8) == -11


def test_sigtimedwait_times_out():
    t = child()
    set_blocked(t, bit(SIGUSR1))
    assert call(t, signal.rt_sigtimedwait, sigset(SIGUSR1), 0, timespec(1), 8) == PARKED
    advance(t.kernel, 999_999_999)
    assert t.parked
    advance(t.kernel, 1)
    assert host(t).results == [-11]
    assert t.signals.waiting == 0


def test_sigtimedwait_wakes_for_a_signal_that_is_not_blocked():
    t = child()
    assert call(t, signal.rt_sigtimedwait, sigset(SIGUSR1), 0, None, 8) == PARKED
    signal.kill(t, t.tid, SIGUSR1)
    run(t.kernel)
    assert host(t).results == [SIGUSR1] and not t.exited


def test_sigwait_thread_takes_a_signal_sent_to_the_process():
    t = child()
    waiter = make_thread(t)
    set_blocked(t, bit(SIGUSR1))
    set_blocked(waiter, bit(SIGUSR1))
    assert call(waiter, signal.rt_sigtimedwait, sigset(SIGUSR1), 0, None, 8) == PARKED
    signal.kill(t, t.tid, SIGUSR1)
    run(t.kernel)
    assert host(waiter).results == [SIGUSR1]


def test_sigtimedwait_is_interrupted_by_another_handler():
    t = child()
    t.group.actions.get(SIGALRM).handler = HANDLER
    t.group.actions.get(SIGALRM).flags = SA_RESTART
    call(t, signal.rt_sigtimedwait, sigset(SIGUSR1), 0, None, 8, restart="never")
    signal.kill(t, t.tid, SIGALRM)
    run(t.kernel)
    assert host(t).frames[0][1] == -4
    assert t.signals.waiting == 0


def test_restartable_call_restarts_under_sa_restart():
    t = child()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    t.group.actions.get(SIGUSR1).flags = SA_RESTART
    call(t, signal.pause, restart="auto")
    signal.kill(t, t.tid, SIGUSR1)
    assert host(t).frames[0][1] == RESTART


def test_kill_of_oneself_delivers_before_the_call_returns():
    t = child()
    t.group.actions.get(SIGUSR1).handler = HANDLER
    assert call(t, signal.kill, t.tid, SIGUSR1) == 0
    assert host(t).frames[0][1:] == (0, True) and not host(t).results


# -- alternate stack -------------------------------------------------------------------------------
def stack(sp: int, flags: int, size: int) -> bytes:
    return struct.pack("<QI4xQ", sp, flags, size)


def at_sp(t: Task, sp: int) -> None:
    host(t).where = (0, sp)


def test_sigaltstack_sets_and_shows():
    t = child()
    old = room(t, 24)
    assert signal.sigaltstack(t, stack(0x10000, 0, 8192), old) == 0
    assert struct.unpack("<QI4xQ", get(t, old, 24)) == (0, SS_DISABLE, 0)
    signal.sigaltstack(t, None, old)
    assert struct.unpack("<QI4xQ", get(t, old, 24)) == (0x10000, 0, 8192)
    signal.sigaltstack(t, stack(0, SS_DISABLE, 0), old)
    signal.sigaltstack(t, None, old)
    assert struct.unpack("<QI4xQ", get(t, old, 24)) == (0, SS_DISABLE, 0)


def test_sigaltstack_in_use_cannot_be_changed():
    t = child()
    old = room(t, 24)
    signal.sigaltstack(t, stack(0x10000, 0, 8192), 0)
    at_sp(t, 0x10000 + 4096)
    with pytest.raises(EPERM):
        signal.sigaltstack(t, stack(0x20000, 0, 8192), 0)
    signal.sigaltstack(t, None, old)
    assert struct.unpack("<QI4xQ", get(t, old, 24)) == (0x10000, SS_ONSTACK, 8192)


def test_sigaltstack_autodisarm_shows_its_flag():
    t = child()
    old = room(t, 24)
    signal.sigaltstack(t, stack(0x10000, SS_AUTODISARM, 8192), 0)
    signal.sigaltstack(t, None, old)
    assert struct.unpack("<QI4xQ", get(t, old, 24)) == (0x10000, SS_AUTODISARM, 8192)


def test_sigaltstack_refuses():
    t = child()
    with pytest.raises(EINVAL):
        signal.sigaltstack(t, stack(0x10000, 4, 8192), 0)
    with pytest.raises(ENOMEM):
        signal.sigaltstack(t, stack(0x10000, 0, 2047), 0)
    with pytest.raises(EFAULT):
        signal.sigaltstack(t, None, 8)
    put(t, b"")
