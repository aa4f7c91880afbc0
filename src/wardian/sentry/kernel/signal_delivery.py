"""Acting on pending signals before a task goes back to guest code (signal(7), sigaction(2)).

The dispatcher calls :func:`next_delivery` when ``task.signals.attention`` is set: after a system
call, after an interruption or fault, and when a signal arrives for a parked task. Default actions
happen in there; a handler comes back as a :class:`Delivery`. Afterwards look at ``task.exited`` and
``task.group.stopped`` too: both mean that the task must not run.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.platform.interface import SignalFrame
from wardian.sentry.kernel.exit import exit_group, exit_task
from wardian.sentry.kernel.siginfo import CLD_STOPPED, SigInfo
from wardian.sentry.kernel.signal_numbers import (
    IGNORED_BY_DEFAULT,
    SA_NODEFER,
    SA_RESETHAND,
    SA_RESTART,
    SIG_DFL,
    SIG_IGN,
    SIGSEGV,
    SIGSTOP,
    SS_AUTODISARM,
    STOP_SIGNALS,
    UNBLOCKABLE,
    bit,
)
from wardian.sentry.kernel.signal_sending import notify_parent_of_job_control
from wardian.sentry.kernel.signals import Action, dequeue, recalculate

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task


class Delivery:
    """A handler to enter."""

    def __init__(self, frame: SignalFrame, restart: bool) -> None:
        self.frame = frame
        self.restart = restart  # SA_RESTART


def has_deliverable(task: Task) -> bool:
    """True when :func:`next_delivery` should be called."""
    return task.signals.attention


def call_restarts(kind: str, delivery: Delivery | None) -> bool:
    """Whether an interrupted call of table kind ``restart`` runs again rather than fail with EINTR.

    Without a handler every call goes on waiting; with one only "auto" calls do, under SA_RESTART.
    """
    if delivery is None:
        return True
    return kind == "auto" and delivery.restart


def next_delivery(task: Task) -> Delivery | None:
    """Take pending signals until one has a handler; None when there is nothing (more) to enter."""
    signals = task.signals
    group = task.group
    while signals.attention:
        if group.exiting:
            exit_task(task, group.exit_code)
            return None
        if group.stopped:
            return None  # attention stays set for the time after SIGCONT
        info = dequeue(task, ~(signals.blocked | signals.waiting))
        if info is None:
            recalculate(task)
            return None
        action = group.actions.get(info.signo)
        if action.handler == SIG_IGN:
            continue
        if action.handler == SIG_DFL:
            default_action(task, info)
            continue
        return enter_handler(task, info, action)
    return None


def default_action(task: Task, info: SigInfo) -> None:
    """SIG_DFL: ignore, stop or kill. There are no core dumps."""
    group = task.group
    signo = info.signo
    if IGNORED_BY_DEFAULT & bit(signo) or group.unkillable:
        return
    if not STOP_SIGNALS & bit(signo):
        exit_group(group, signo)
    elif signo == SIGSTOP or not group.process_group.is_orphaned():
        stop_group(task, signo)


def stop_group(task: Task, signo: int) -> None:
    """Job control: no task of the group runs until SIGCONT."""
    group = task.group
    group.stopped = True
    group.stop_signal = signo
    group.stop_unreported = True
    group.continue_unreported = False
    notify_parent_of_job_control(group, CLD_STOPPED, signo)
    for other in list(group.tasks):
        other.kernel.hooks.stop(other)


def enter_handler(task: Task, info: SigInfo, action: Action) -> Delivery:
    """Make the frame, and change the mask for the time the handler runs."""
    signals = task.signals
    frame = SignalFrame()
    frame.signo = info.signo
    frame.handler = action.handler
    frame.restorer = action.restorer
    frame.flags = action.flags
    frame.siginfo = info.pack()
    frame.saved_mask = signals.saved_mask if signals.saved_mask >= 0 else signals.blocked
    signals.saved_mask = -1
    signals.waiting = 0
    choose_stack(task, frame)
    blocked = signals.blocked | action.mask
    if not action.flags & SA_NODEFER:
        blocked |= bit(info.signo)
    signals.blocked = blocked & ~UNBLOCKABLE
    delivery = Delivery(frame, bool(action.flags & SA_RESTART))
    if action.flags & SA_RESETHAND:
        action.handler = SIG_DFL
    recalculate(task)
    return delivery


def choose_stack(task: Task, frame: SignalFrame) -> None:
    """Tell the engine the alternate stack: it goes into uc_stack, and under SA_ONSTACK the engine,
    which knows the stack pointer, switches to it unless the task is on it already."""
    signals = task.signals
    frame.stack_sp = signals.stack_sp
    frame.stack_size = signals.stack_size
    frame.stack_flags = signals.stack_flags
    if signals.stack_flags & SS_AUTODISARM:
        signals.reset_stack()  # rt_sigreturn(2) puts it back from the frame


def frame_fault(task: Task) -> None:
    """A signal frame could not be written or read: nothing but death is left (force_sigsegv)."""
    exit_group(task.group, SIGSEGV)
    if not task.exited:
        exit_task(task, SIGSEGV)
