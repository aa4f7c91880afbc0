"""Acting on signals: handlers, default actions, faults, blocked calls (signal(7))."""

import struct

import pytest
from signal_senders import HANDLER, handle, ordinary, send

from support import (
    PARKED,
    call,
    dispatcher,
    host,
    make_task,
    run,
)
from wardian.sentry.kernel.siginfo import SigInfo, user_siginfo
from wardian.sentry.kernel.signal_delivery import frame_fault, next_delivery
from wardian.sentry.kernel.signal_numbers import (
    SA_NODEFER,
    SA_ONSTACK,
    SA_RESETHAND,
    SA_RESTART,
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
    SIGUSR1,
    SIGUSR2,
    SIGWINCH,
    SS_AUTODISARM,
    SS_DISABLE,
    bit,
)
from wardian.sentry.kernel.signal_sending import (
    force,
    send_to_task,
)
from wardian.sentry.kernel.signals import (
    pending_mask,
    set_blocked,
)
from wardian.sentry.syscalls.signal import pause


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
