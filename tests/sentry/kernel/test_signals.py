"""Signal masks and actions, through exec and fork (signal(7))."""

from signal_senders import HANDLER, handle, ordinary, send

from support import (
    fork,
    get,
    put,
    room,
)
from wardian.sentry.kernel.signal_delivery import next_delivery
from wardian.sentry.kernel.signal_numbers import (
    SA_RESTART,
    SIG_DFL,
    SIG_IGN,
    SIGHUP,
    SIGINT,
    SIGUSR1,
    bit,
)
from wardian.sentry.kernel.signals import (
    flush_for_exec,
    pending_mask,
    restore_mask,
    set_blocked,
    set_temporary_mask,
)


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
