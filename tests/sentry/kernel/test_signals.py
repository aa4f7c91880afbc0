"""Sending, blocking, queueing and delivering signals (signal(7))."""

import struct

import pytest

from support import (
    PARKED,
    call,
    dispatcher,
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
from wardian.sentry.errno import EAGAIN
from wardian.sentry.kernel.rlimits import RLIMIT_SIGPENDING
from wardian.sentry.kernel.signal_delivery import frame_fault, next_delivery
from wardian.sentry.kernel.signals import (
    CLD_CONTINUED,
    CLD_STOPPED,
    SA_NOCLDSTOP,
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
    SIG_DFL,
    SIG_IGN,
    SIGALRM,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGKILL,
    SIGRTMIN,
    SIGSEGV,
    SIGSTOP,
    SIGTERM,
    SIGTSTP,
    SIGUSR1,
    SIGUSR2,
    SIGWINCH,
    SS_AUTODISARM,
    SS_DISABLE,
    SigInfo,
    bit,
    flush_for_exec,
    force,
    pending_mask,
    restore_mask,
    send_to_group,
    send_to_process_group,
    send_to_task,
    set_blocked,
    set_temporary_mask,
    user_siginfo,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls.signal import pause

HANDLER = 0x40_1000


def ordinary() -> Task:
    """A process that is not init, with its parent pid 1."""
    kernel = make_kernel()
    return fork(make_task(kernel))


def handle(task: Task, signo: int, flags: int = 0, mask: int = 0) -> None:
    action = task.group.actions.get(signo)
    action.handler = HANDLER
    action.flags = flags
    action.mask = mask


def send(task: Task, signo: int, code: int = 0) -> None:
    send_to_group(task.group, user_siginfo(signo, code, 1, 0))


# -- delivery --------------------------------------------------------------------------------------
def test_handler_gets_a_frame_and_the_mask_changes_while_it_runs():
    task = ordinary()
    handle(task, SIGUSR1, SA_RESTART, bit(SIGHUP))
    set_blocked(task, bit(SIGINT))
    send(task, SIGUSR1)
    assert task.signals.attention
    assert host(task).interrupts == 1
    delivery = next_delivery(task)
    assert delivery is not None and delivery.restart
    frame = delivery.frame
    assert (frame.signo, frame.handler, frame.saved_mask) == (SIGUSR1, HANDLER, bit(SIGINT))
    assert struct.unpack_from("<iii4xiI", frame.siginfo) == (SIGUSR1, 0, 0, 1, 0)
    assert len(frame.siginfo) == 128
    assert task.signals.blocked == bit(SIGINT) | bit(SIGHUP) | bit(SIGUSR1)
    assert not task.signals.attention
    assert next_delivery(task) is None


def test_nodefer_leaves_the_signal_unblocked():
    task = ordinary()
    handle(task, SIGUSR1, SA_NODEFER)
    send(task, SIGUSR1)
    assert next_delivery(task) is not None
    assert task.signals.blocked == 0


def test_resethand_makes_the_second_signal_deadly():
    task = ordinary()
    handle(task, SIGUSR1, SA_RESETHAND | SA_NODEFER)
    send(task, SIGUSR1)
    assert next_delivery(task) is not None
    send(task, SIGUSR1)
    assert next_delivery(task) is None
    assert task.group.zombie and task.group.exit_code == SIGUSR1


def test_handler_mask_never_blocks_kill_and_stop():
    task = ordinary()
    handle(task, SIGUSR1, 0, (1 << 64) - 1)
    send(task, SIGUSR1)
    next_delivery(task)
    assert not task.signals.blocked & (bit(SIGKILL) | bit(SIGSTOP))


@pytest.mark.parametrize("signo", [SIGHUP, SIGINT, SIGTERM, SIGALRM, SIGSEGV, SIGRTMIN + 3])
def test_default_action_kills(signo):
    task = ordinary()
    send(task, signo)
    next_delivery(task)
    assert task.exited and task.group.zombie
    assert task.group.exit_code == signo


@pytest.mark.parametrize("signo", [SIGCHLD, SIGWINCH, SIGCONT])
def test_ignored_by_default(signo):
    task = ordinary()
    send(task, signo)
    assert pending_mask(task) == 0
    assert not task.signals.attention


def test_blocked_signal_stays_pending_even_when_ignored_by_default():
    task = ordinary()
    set_blocked(task, bit(SIGCHLD))
    send(task, SIGCHLD)
    assert pending_mask(task) == bit(SIGCHLD)
    handle(task, SIGCHLD)
    set_blocked(task, 0)
    assert task.signals.attention
    delivery = next_delivery(task)
    assert delivery is not None and delivery.frame.signo == SIGCHLD


def test_kill_works_though_blocked_and_ignored():
    task = ordinary()
    set_blocked(task, (1 << 64) - 1)
    task.group.actions.get(SIGKILL).handler = SIG_IGN  # cannot be set by the guest anyway
    send(task, SIGKILL)
    assert task.group.zombie and task.group.exit_code == SIGKILL


def test_own_signals_come_before_the_groups_and_faults_first():
    task = ordinary()
    for signo in (SIGUSR1, SIGUSR2, SIGSEGV):
        handle(task, signo, SA_NODEFER)
    send(task, SIGUSR1)
    send_to_task(task, user_siginfo(SIGUSR2, -6, 1, 0))
    send_to_task(task, user_siginfo(SIGSEGV, -6, 1, 0))
    order = []
    while True:
        delivery = next_delivery(task)
        if delivery is None:
            break
        order.append(delivery.frame.signo)
    assert order == [SIGSEGV, SIGUSR2, SIGUSR1]


# -- queueing --------------------------------------------------------------------------------------
def test_standard_signals_are_queued_once_and_real_time_ones_each_time():
    task = ordinary()
    set_blocked(task, (1 << 64) - 1)
    for value in range(3):
        for signo in (SIGUSR1, SIGRTMIN + 2):
            info = user_siginfo(signo, -1, 1, 0)
            info.value = value
            send_to_group(task.group, info)
    values = [(info.signo, info.value) for info in task.group.pending.queue]
    assert values == [(SIGUSR1, 0), (SIGRTMIN + 2, 0), (SIGRTMIN + 2, 1), (SIGRTMIN + 2, 2)]
    handle(task, SIGRTMIN + 2)
    set_blocked(task, bit(SIGUSR1))
    got = []
    for _ in range(3):
        delivery = next_delivery(task)
        assert delivery is not None
        got.append(struct.unpack_from("<Q", delivery.frame.siginfo, 24)[0])
        set_blocked(task, bit(SIGUSR1))
    assert got == [0, 1, 2]
    assert next_delivery(task) is None


def test_real_time_queue_is_limited():
    task = ordinary()
    set_blocked(task, (1 << 64) - 1)
    task.group.rlimits.set(RLIMIT_SIGPENDING, 3, 3)
    for _ in range(3):
        send_to_group(task.group, user_siginfo(SIGRTMIN, -1, 1, 0))
    with pytest.raises(EAGAIN):
        send_to_group(task.group, user_siginfo(SIGRTMIN, -1, 1, 0))
    send(task, SIGUSR1)  # a standard signal still fits
    assert pending_mask(task) & bit(SIGUSR1)


# -- threads ---------------------------------------------------------------------------------------
def test_group_signal_goes_to_the_thread_that_does_not_block_it():
    leader = ordinary()
    second = make_thread(leader)
    handle(leader, SIGUSR1)
    set_blocked(leader, bit(SIGUSR1))
    send(leader, SIGUSR1)
    assert not leader.signals.attention and second.signals.attention
    assert host(second).interrupts == 1


def test_group_signal_moves_on_when_its_taker_blocks_it():
    leader = ordinary()
    second = make_thread(leader)
    handle(leader, SIGUSR1)
    send(leader, SIGUSR1)
    assert leader.signals.attention and not second.signals.attention
    set_blocked(leader, bit(SIGUSR1))
    assert not leader.signals.attention and second.signals.attention


def test_deadly_signal_to_one_thread_ends_the_group():
    leader = ordinary()
    second = make_thread(leader)
    send_to_task(second, user_siginfo(SIGTERM, -6, 1, 0))
    assert next_delivery(second) is None
    assert leader.exited and second.exited and leader.group.exit_code == SIGTERM


def test_thread_signal_is_not_seen_by_siblings():
    leader = ordinary()
    second = make_thread(leader)
    set_blocked(second, bit(SIGUSR1))
    send_to_task(second, user_siginfo(SIGUSR1, -6, 1, 0))
    assert pending_mask(leader) == 0 and pending_mask(second) == bit(SIGUSR1)


# -- temporary masks -------------------------------------------------------------------------------
def test_temporary_mask_is_restored_by_the_frame():
    task = ordinary()
    handle(task, SIGUSR1)
    set_blocked(task, bit(SIGUSR1))
    send(task, SIGUSR1)
    set_temporary_mask(task, bit(SIGINT))
    assert task.signals.attention
    delivery = next_delivery(task)
    assert delivery is not None
    assert delivery.frame.saved_mask == bit(SIGUSR1)
    assert task.signals.blocked == bit(SIGINT) | bit(SIGUSR1)
    assert task.signals.saved_mask == -1


def test_temporary_mask_is_restored_without_a_signal():
    task = ordinary()
    set_blocked(task, bit(SIGUSR1))
    set_temporary_mask(task, 0)
    set_temporary_mask(task, 0)  # the handler ran twice
    restore_mask(task)
    assert task.signals.blocked == bit(SIGUSR1)
    restore_mask(task)
    assert task.signals.blocked == bit(SIGUSR1)


# -- job control -----------------------------------------------------------------------------------
def test_stop_and_continue_are_told_to_the_parent():
    child = ordinary()
    parent = child.group.parent.leader
    set_blocked(parent, bit(SIGCHLD))
    send(child, SIGSTOP)
    assert next_delivery(child) is None
    group = child.group
    assert group.stopped and group.stop_signal == SIGSTOP and not child.exited
    info = parent.group.pending.take(bit(SIGCHLD))
    assert (info.code, info.pid, info.status) == (CLD_STOPPED, group.pid, SIGSTOP)
    send(child, SIGCONT)
    assert not group.stopped and group.continue_unreported
    info = parent.group.pending.take(bit(SIGCHLD))
    assert (info.code, info.status) == (CLD_CONTINUED, SIGCONT)


def test_nocldstop_keeps_stops_from_the_parent():
    child = ordinary()
    parent = child.group.parent.leader
    handle(parent, SIGCHLD, SA_NOCLDSTOP)
    send(child, SIGSTOP)
    next_delivery(child)
    assert child.group.stopped and pending_mask(parent) == 0


def test_stopped_task_keeps_its_signals_until_sigcont():
    task = ordinary()
    handle(task, SIGUSR1)
    send(task, SIGSTOP)
    assert next_delivery(task) is None
    send(task, SIGUSR1)
    assert next_delivery(task) is None and pending_mask(task) == bit(SIGUSR1)
    send(task, SIGCONT)
    delivery = next_delivery(task)
    assert delivery is not None and delivery.frame.signo == SIGUSR1


def test_sigkill_ends_a_stopped_task():
    task = ordinary()
    send(task, SIGSTOP)
    next_delivery(task)
    send(task, SIGKILL)
    assert task.group.zombie and task.group.exit_code == SIGKILL


def test_sigcont_discards_pending_stops_and_the_other_way_round():
    task = ordinary()
    handle(task, SIGCONT)
    set_blocked(task, bit(SIGTSTP) | bit(SIGCONT))
    send(task, SIGTSTP)
    send(task, SIGCONT)
    assert pending_mask(task) == bit(SIGCONT)
    send(task, SIGTSTP)
    assert pending_mask(task) == bit(SIGTSTP)


def test_terminal_stop_does_not_stop_an_orphaned_process_group():
    kernel = make_kernel()
    init = make_task(kernel)
    task = fork(init)
    kernel.pids.new_session(task.group)
    send(task, SIGTSTP)
    assert next_delivery(task) is None
    assert not task.group.stopped
    send(task, SIGSTOP)
    assert next_delivery(task) is None
    assert task.group.stopped


def test_process_group_signal_reaches_every_member():
    kernel = make_kernel()
    init = make_task(kernel)
    first, second = fork(init), fork(init)
    pids = kernel.pids
    pids.join(first.group, pids.new_process_group(first.tid, first.group.session))
    pids.join(second.group, first.group.process_group)
    send_to_process_group(first.group.process_group, SigInfo(SIGINT))
    assert first.signals.attention and second.signals.attention and not init.signals.attention


# -- init ------------------------------------------------------------------------------------------
def test_protected_init_takes_only_signals_it_handles():
    init = make_task()
    init.group.unkillable = True
    for signo in (SIGTERM, SIGKILL, SIGSTOP, SIGSEGV):
        send(init, signo)
    assert next_delivery(init) is None
    assert not init.exited and not init.group.stopped
    handle(init, SIGTERM)
    send(init, SIGTERM)
    assert next_delivery(init) is not None


def test_fault_kills_even_a_protected_init():
    init = make_task()
    init.group.unkillable = True
    force(init, SigInfo(SIGSEGV, 1))
    next_delivery(init)
    assert init.exited


# -- faults ----------------------------------------------------------------------------------------
def test_fault_with_a_handler_tells_the_address():
    task = ordinary()
    handle(task, SIGSEGV)
    info = SigInfo(SIGSEGV, 1)
    info.addr = 0xDEAD_B000
    force(task, info)
    delivery = next_delivery(task)
    assert delivery is not None
    assert struct.unpack_from("<Q", delivery.frame.siginfo, 16)[0] == 0xDEAD_B000


@pytest.mark.parametrize("how", ["blocked", "ignored"])
def test_fault_that_cannot_be_handled_kills(how):
    task = ordinary()
    handle(task, SIGSEGV)
    if how == "blocked":
        set_blocked(task, bit(SIGSEGV))
    else:
        task.group.actions.get(SIGSEGV).handler = SIG_IGN
    force(task, SigInfo(SIGSEGV, 1))
    assert next_delivery(task) is None
    assert task.exited and task.group.exit_code == SIGSEGV


def test_unwritable_frame_kills():
    task = ordinary()
    frame_fault(task)
    assert task.exited and task.group.exit_code == SIGSEGV


# -- blocked calls ---------------------------------------------------------------------------------
def test_handler_ends_a_blocked_call_with_eintr():
    task = ordinary()
    handle(task, SIGUSR1)
    assert call(task, pause, restart="nohand") == PARKED
    send(task, SIGUSR1)
    frame, result, in_syscall = host(task).frames[0]
    assert (frame.signo, result, in_syscall) == (SIGUSR1, -4, True)
    assert not task.parked


def test_ignored_signal_does_not_wake_a_blocked_call():
    task = ordinary()
    assert call(task, pause) == PARKED
    send(task, SIGCHLD)
    assert task.parked and not host(task).results and not host(task).frames


def test_stop_and_continue_leave_a_blocked_call_waiting():
    task = ordinary()
    assert call(task, pause) == PARKED
    send(task, SIGSTOP)
    assert task.group.stopped and task.parked
    send(task, SIGCONT)
    run(task.kernel)
    assert not task.group.stopped and task.parked and not host(task).results


def test_deadly_signal_ends_a_blocked_task():
    task = ordinary()
    assert call(task, pause) == PARKED
    send(task, SIGTERM)
    assert task.exited and task in dispatcher(task.kernel).exited
    assert task not in task.kernel.run_list


# -- alternate stack -------------------------------------------------------------------------------
def test_frame_carries_the_alternate_stack():
    task = ordinary()
    handle(task, SIGUSR1, SA_ONSTACK)
    signals = task.signals
    signals.stack_sp, signals.stack_size, signals.stack_flags = 0x7000, 0x2000, 0
    send(task, SIGUSR1)
    delivery = next_delivery(task)
    assert delivery is not None
    frame = delivery.frame
    assert (frame.stack_sp, frame.stack_size, frame.stack_flags) == (0x7000, 0x2000, 0)
    assert signals.stack_size == 0x2000


def test_autodisarm_removes_the_stack_while_the_handler_runs():
    task = ordinary()
    handle(task, SIGUSR1, SA_ONSTACK)
    signals = task.signals
    signals.stack_sp, signals.stack_size, signals.stack_flags = 0x7000, 0x2000, SS_AUTODISARM
    send(task, SIGUSR1)
    delivery = next_delivery(task)
    assert delivery is not None and delivery.frame.stack_flags == SS_AUTODISARM
    assert (signals.stack_size, signals.stack_flags) == (0, SS_DISABLE)


# -- exec and fork ---------------------------------------------------------------------------------
def test_exec_resets_handlers_and_keeps_ignored_signals():
    task = ordinary()
    handle(task, SIGUSR1, SA_RESTART, 1)
    task.group.actions.get(SIGHUP).handler = SIG_IGN
    shared = task.group.actions
    set_blocked(task, bit(SIGINT))
    flush_for_exec(task)
    actions = task.group.actions
    assert actions is not shared and shared.get(SIGUSR1).handler == HANDLER
    assert actions.get(SIGUSR1).handler == SIG_DFL and actions.get(SIGUSR1).flags == 0
    assert actions.get(SIGHUP).handler == SIG_IGN
    assert task.signals.blocked == bit(SIGINT)


def test_fork_copies_mask_and_actions_but_no_pending_signals():
    task = ordinary()
    handle(task, SIGUSR1)
    set_blocked(task, bit(SIGUSR1))
    send(task, SIGUSR1)
    child = fork(task)
    assert child.signals.blocked == bit(SIGUSR1) and pending_mask(child) == 0
    child.group.actions.get(SIGUSR1).handler = SIG_DFL
    assert task.group.actions.get(SIGUSR1).handler == HANDLER


def test_guest_memory_helpers_work():
    task = ordinary()
    assert get(task, put(task, b"abc"), 3) == b"abc"
    assert get(task, room(task, 4), 4) == bytes(4)
