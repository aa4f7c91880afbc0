"""Signals as a task and its thread group have them: actions, pending sets and masks (signal(7)).

``kernel.signal_sending`` puts a signal into a pending set and has the task that will take it look.
Acting on it is ``kernel.signal_delivery``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.kernel.siginfo import SI_USER, SigInfo
from wardian.sentry.kernel.signal_numbers import (
    ALL_SIGNALS,
    IGNORED_BY_DEFAULT,
    SIG_DFL,
    SIG_IGN,
    SIGRTMIN,
    SS_DISABLE,
    SYNCHRONOUS,
    UNBLOCKABLE,
    bit,
)
from wardian.sentry.kernel.waitqueue import WaitQueue

if TYPE_CHECKING:
    from wardian.platform.interface import HostThread
    from wardian.sentry.kernel.task import Task


class Action:
    """One struct sigaction."""

    def __init__(self) -> None:
        self.handler: int = SIG_DFL
        self.flags = 0
        self.restorer = 0
        self.mask = 0


class SignalActions:
    """The actions of a thread group (shared by CLONE_SIGHAND); those never set are not kept."""

    def __init__(self) -> None:
        self.actions: dict[int, Action] = {}

    def get(self, signo: int) -> Action:
        """The action for ``signo``, to read or change."""
        action = self.actions.get(signo)
        if action is None:
            action = Action()
            self.actions[signo] = action
        return action

    def handler(self, signo: int) -> int:
        """SIG_DFL, SIG_IGN or an address."""
        action = self.actions.get(signo)
        return action.handler if action is not None else SIG_DFL

    def copy(self) -> SignalActions:
        """For fork(2)."""
        new = SignalActions()
        for signo, old in self.actions.items():
            if old.handler == SIG_DFL and not old.flags:
                continue
            made = new.get(signo)
            made.handler, made.flags = old.handler, old.flags
            made.restorer, made.mask = old.restorer, old.mask
        return new

    def reset_for_exec(self) -> None:
        """execve(2): handlers become SIG_DFL, ignored signals stay ignored; flags and masks go."""
        for action in self.actions.values():
            if action.handler != SIG_IGN:
                action.handler = SIG_DFL
            action.flags = 0
            action.restorer = 0
            action.mask = 0

    def reset_to_default(self) -> None:
        """CLONE_CLEAR_SIGHAND: handlers become SIG_DFL; ignored signals stay ignored."""
        self.reset_for_exec()

    def ignores(self, signo: int) -> bool:
        """True when the action throws the signal away."""
        handler = self.handler(signo)
        if handler == SIG_IGN:
            return True
        return handler == SIG_DFL and bool(IGNORED_BY_DEFAULT & bit(signo))


class PendingSignals:
    """A set of pending signals: the mask, and the siginfo of each in order of arrival."""

    def __init__(self) -> None:
        self.mask = 0
        self.queue: list[SigInfo] = []

    def add(self, info: SigInfo) -> None:
        """Queue ``info``; standard signals are queued once (signal(7))."""
        if info.signo < SIGRTMIN and self.mask & bit(info.signo):
            return
        self.queue.append(info)
        self.mask |= bit(info.signo)

    def take(self, wanted: int) -> SigInfo | None:
        """Remove and return the most urgent signal of the ``wanted`` set."""
        candidates = self.mask & wanted
        if not candidates:
            return None
        urgent = candidates & SYNCHRONOUS
        lowest = urgent if urgent else candidates
        signo = (lowest & -lowest).bit_length()
        return self.take_one(signo)

    def take_one(self, signo: int) -> SigInfo:
        """Remove and return the oldest entry of ``signo``, which is pending."""
        found: SigInfo | None = None
        more = False
        for info in self.queue:
            if info.signo == signo:
                if found is not None:
                    more = True
                    break
                found = info
        if found is not None:
            self.queue.remove(found)
        else:
            found = SigInfo(signo, SI_USER)  # there was no room for more (see has_room)
        if not more:
            self.mask &= ~bit(signo)
        return found

    def discard(self, mask: int) -> None:
        """Throw away every pending signal of ``mask``."""
        if not self.mask & mask:
            return
        dropped = [info for info in self.queue if bit(info.signo) & mask]
        self.queue = [info for info in self.queue if not bit(info.signo) & mask]
        self.mask &= ~mask
        for info in dropped:
            if info.timer is not None:
                info.timer.dropped()


class TaskSignals:
    """The signal state of one task."""

    def __init__(self) -> None:
        self.mask = 0  # what ``blocked`` is while no lease is out
        self.lease: HostThread | None = None  # who changes it without asking (rt_sigprocmask(2))
        self.pending = PendingSignals()  # sent to this task alone
        self.saved_mask = -1  # to put back when a sigsuspend or ppoll ends; -1: none
        self.waiting = 0  # what sigtimedwait(2) waits for
        self.attention = False  # a deliverable signal may be pending: look before going back
        self.queue = WaitQueue()  # woken when a signal becomes pending, blocked or not (signalfd)
        self.stack_sp = 0  # sigaltstack(2)
        self.stack_size = 0
        self.stack_flags: int = SS_DISABLE

    @property
    def blocked(self) -> int:
        """The signal mask; whoever asks ends the lease."""
        if self.lease is not None:
            self.end_lease()
        return self.mask

    @blocked.setter
    def blocked(self, mask: int) -> None:
        if self.lease is not None:
            self.end_lease()
        self.mask = mask

    def end_lease(self) -> None:
        """Take the mask back from the engine."""
        lease = self.lease
        if lease is not None:
            self.lease = None
            self.mask = lease.recall_mask() & ALL_SIGNALS & ~UNBLOCKABLE

    def peek(self) -> int:
        """The mask; a lease goes on."""
        lease = self.lease
        self.end_lease()
        if lease is not None and lease.lease_mask(self.mask):
            self.lease = lease
        return self.mask

    def copy_for_clone(self, keep_stack: bool) -> TaskSignals:
        """A child's: mask kept, nothing pending; the alternate stack only with a memory of its own
        or CLONE_VFORK (sigaltstack(2))."""
        new = TaskSignals()
        new.mask = self.peek()
        if keep_stack:
            new.stack_sp = self.stack_sp
            new.stack_size = self.stack_size
            new.stack_flags = self.stack_flags
        return new

    def reset_stack(self) -> None:
        """No alternate stack (execve(2))."""
        self.stack_sp = 0
        self.stack_size = 0
        self.stack_flags = SS_DISABLE


def pending_mask(task: Task) -> int:
    """Everything pending for ``task``, its thread group's signals included (sigpending(2))."""
    return task.signals.pending.mask | task.group.pending.mask


def lease_mask(task: Task) -> None:
    """Let ``task`` change its mask without asking: with nothing pending that concerns nobody but
    itself (design D8)."""
    signals = task.signals
    if task.host is None or pending_mask(task) or signals.saved_mask >= 0:
        return
    if task.host.lease_mask(signals.blocked):
        signals.lease = task.host


def dequeue(task: Task, wanted: int) -> SigInfo | None:
    """Take the most urgent pending signal of the ``wanted`` set, the task's own before its group's
    (delivery, sigtimedwait(2), signalfd(2))."""
    info = task.signals.pending.take(wanted)
    if info is None:
        info = task.group.pending.take(wanted)
    if info is not None and info.timer is not None:
        info.timer.taken(info)
    return info


def recalculate(task: Task) -> None:
    """Set ``attention`` from the pending sets and the mask."""
    signals = task.signals
    deliverable = pending_mask(task) & ~(signals.blocked | signals.waiting)
    signals.attention = deliverable != 0 or task.group.exiting


def set_blocked(task: Task, mask: int) -> None:
    """Replace the signal mask; SIGKILL and SIGSTOP stay unblocked.

    Group signals this task can no longer take are offered to its siblings.
    """
    mask &= ALL_SIGNALS & ~UNBLOCKABLE
    signals = task.signals
    newly = mask & ~signals.blocked
    signals.blocked = mask
    if newly & task.group.pending.mask:
        retarget(task, newly)
    recalculate(task)


def set_temporary_mask(task: Task, mask: int) -> None:
    """Use ``mask`` until the call ends (sigsuspend, ppoll, pselect, epoll_pwait); may be repeated
    when the handler runs again. A signal handler returns to the mask saved here; without one the
    call itself ends with :func:`restore_mask`."""
    signals = task.signals
    if signals.saved_mask < 0:
        signals.saved_mask = signals.blocked
    set_blocked(task, mask)


def restore_mask(task: Task) -> None:
    """Put the mask back that :func:`set_temporary_mask` saved; harmless when there is none."""
    saved = task.signals.saved_mask
    if saved >= 0:
        task.signals.saved_mask = -1
        set_blocked(task, saved)


def retarget(task: Task, mask: int) -> None:
    """Find another task for the pending group signals of ``mask`` that ``task`` will not take."""
    waiting = task.group.pending.mask & mask
    signo = 1
    while waiting:
        if waiting & 1:
            for other in task.group.tasks:
                if other is not task and wants(other, signo):
                    attend(other)
                    break
        waiting >>= 1
        signo += 1


def wants(task: Task, signo: int) -> bool:
    """True when ``task`` would take ``signo`` now."""
    if task.exited:
        return False
    signals = task.signals
    return not (signals.blocked | signals.waiting) & bit(signo)


def attend(task: Task) -> None:
    """Have ``task`` look at its signals soon."""
    task.signals.attention = True
    task.kernel.hooks.signal_pending(task)


def flush_for_exec(task: Task) -> None:
    """execve(2): actions (no longer shared by CLONE_SIGHAND) reset, alternate stack and POSIX
    timers gone; the mask and pending signals stay."""
    group = task.group
    group.leave_host_process()
    group.actions = group.actions.copy()
    group.actions.reset_for_exec()
    if group.timers is not None:
        group.timers.delete_posix()
    task.signals.reset_stack()
