"""Queueing signals and choosing who takes them (signal(7))."""

import struct

import pytest
from signal_senders import handle, ordinary, send

from support import (
    fork,
    host,
    make_kernel,
    make_task,
    make_thread,
)
from wardian.sentry.errno import EAGAIN
from wardian.sentry.kernel.rlimits import RLIMIT_SIGPENDING
from wardian.sentry.kernel.siginfo import CLD_CONTINUED, CLD_STOPPED, SigInfo, user_siginfo
from wardian.sentry.kernel.signal_delivery import next_delivery
from wardian.sentry.kernel.signal_numbers import (
    SA_NOCLDSTOP,
    SIGCHLD,
    SIGCONT,
    SIGINT,
    SIGKILL,
    SIGRTMIN,
    SIGSTOP,
    SIGTERM,
    SIGTSTP,
    SIGUSR1,
    bit,
)
from wardian.sentry.kernel.signal_sending import (
    send_to_group,
    send_to_process_group,
    send_to_task,
)
from wardian.sentry.kernel.signals import (
    pending_mask,
    set_blocked,
)


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
