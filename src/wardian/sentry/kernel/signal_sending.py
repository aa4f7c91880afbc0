"""Sending signals: to a task, a thread group, a process group (kill(2), sigqueue(3)).

Sending ends with a signal in a pending set and, when some task should look, a call of
``kernel.hooks.signal_pending``. Who may send is for callers to judge.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import EAGAIN
from wardian.sentry.kernel.rlimits import RLIMIT_SIGPENDING
from wardian.sentry.kernel.siginfo import CLD_CONTINUED, SI_USER, SigInfo
from wardian.sentry.kernel.signal_numbers import (
    CONT_SIGNAL,
    SA_NOCLDSTOP,
    SIG_DFL,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGKILL,
    SIGRTMIN,
    SIGSTOP,
    STOP_SIGNALS,
    bit,
)
from wardian.sentry.kernel.signals import attend, wants
from wardian.sentry.time import CLOCK_TICK_NS

if TYPE_CHECKING:
    from wardian.sentry.kernel.process_group import ProcessGroup
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup


def send_to_task(task: Task, info: SigInfo) -> None:
    """Send to one task (tgkill(2), faults, timers with SIGEV_THREAD_ID)."""
    send(task, task.group, info, task)


def send_to_group(group: ThreadGroup, info: SigInfo) -> None:
    """Send to a thread group: any of its tasks that does not block the signal takes it."""
    task = group.any_task()
    if task is not None:
        send(task, group, info, None)


def send_to_process_group(process_group: ProcessGroup, info: SigInfo) -> None:
    """Send to every member (terminal signals; kill(2) checks permission for each itself)."""
    for group in list(process_group.members):
        send_to_group(group, info)


def send(task: Task, group: ThreadGroup, info: SigInfo, only: Task | None) -> None:
    """Queue ``info`` for ``only`` or the whole ``group``; ``task`` judges whether it is ignored."""
    if group.zombie or group.exiting or (only is not None and only.exited):
        return
    job_control_effects(group, info.signo)
    if is_ignored(task, info.signo):
        if info.timer is not None:
            info.timer.dropped()
        return
    if info.signo == SIGKILL:
        group.begin_exit(SIGKILL)
        return
    pending = group.pending if only is None else only.signals.pending
    if has_room(group, info):
        pending.add(info)
    elif info.signo >= SIGRTMIN and info.code != SI_USER:
        raise EAGAIN("RLIMIT_SIGPENDING")
    else:
        pending.mask |= bit(info.signo)
    announce(group, info.signo, only)


def announce(group: ThreadGroup, signo: int, only: Task | None) -> None:
    """Wake signalfds and sigtimedwaits, and choose the task that takes the signal."""
    if only is not None:
        only.signals.queue.wake(0)
        if wants(only, signo):
            attend(only)
        return
    for task in list(group.tasks):
        task.signals.queue.wake(0)
    target = group.any_task()
    if target is None or takes(target, signo):
        return
    for task in group.tasks:
        if takes(task, signo):
            return


def takes(task: Task, signo: int) -> bool:
    """Have ``task`` take the group's signal if it does not block it; True when it will."""
    if task.signals.waiting & bit(signo):
        return True  # its sigtimedwait was woken already
    if wants(task, signo):
        attend(task)
        return True
    return False


def job_control_effects(group: ThreadGroup, signo: int) -> None:
    """SIGCONT and SIGKILL start a stopped group and SIGCONT cancels pending stops, even when
    blocked or ignored; a stop signal cancels a pending SIGCONT."""
    if STOP_SIGNALS & bit(signo):
        discard_everywhere(group, CONT_SIGNAL)
        return
    if signo == SIGCONT:
        discard_everywhere(group, STOP_SIGNALS)
    if signo in (SIGCONT, SIGKILL) and group.stopped:
        continue_group(group, signo == SIGCONT)


def discard_everywhere(group: ThreadGroup, mask: int) -> None:
    """Throw away pending signals of the group and of each task."""
    group.pending.discard(mask)
    for task in group.tasks:
        task.signals.pending.discard(mask)


def continue_group(group: ThreadGroup, report: bool) -> None:
    """End a job-control stop; ``report`` makes wait(2) and SIGCHLD tell the parent."""
    group.stopped = False
    group.stop_unreported = False
    if report:
        group.continue_unreported = True
        notify_parent_of_job_control(group, CLD_CONTINUED, SIGCONT)
    for task in list(group.tasks):
        group.kernel.hooks.continue_(task)


def notify_parent_of_job_control(group: ThreadGroup, code: int, status: int) -> None:
    """SIGCHLD (unless SA_NOCLDSTOP) and a wake-up for wait(2)."""
    parent = group.parent
    if parent is None:
        return
    parent.wait_queue.wake(0)  # first: see exit.notify_parent
    action = parent.actions.get(SIGCHLD)
    if action.handler != SIG_IGN and not action.flags & SA_NOCLDSTOP:
        send_to_group(parent, child_siginfo(group, SIGCHLD, code, status))


def child_siginfo(group: ThreadGroup, signo: int, code: int, status: int) -> SigInfo:
    """What the parent of ``group`` is told: ``code`` is CLD_EXITED and the like."""
    info = SigInfo(signo, code)
    info.pid = group.pid
    info.status = status
    leader = group.leader
    if leader is not None:
        info.uid = leader.credentials.uid
    system = group.system_time_ns()
    info.utime = (group.cpu_time_ns() - system) // CLOCK_TICK_NS
    info.stime = system // CLOCK_TICK_NS
    return info


def is_ignored(task: Task, signo: int) -> bool:
    """True when the signal need not even become pending. A blocked signal always does: its action
    may have changed when it is unblocked."""
    if task.signals.blocked & bit(signo) and signo != SIGKILL:
        return False
    group = task.group
    if group.unkillable and group.actions.handler(signo) == SIG_DFL:
        return True
    if signo in (SIGKILL, SIGSTOP):
        return False
    return group.actions.ignores(signo)


def has_room(group: ThreadGroup, info: SigInfo) -> bool:
    """Whether ``info`` may be queued under RLIMIT_SIGPENDING. Standard signals of the kernel and
    of kill(2) always may, and those of timers, which have their place already; a standard signal
    of sigqueue(3) and a real-time one of kill(2) go on without their siginfo (send_signal_locked).
    Linux counts what a user's processes have queued together; here it is each process."""
    if info.timer is not None or (info.signo < SIGRTMIN and info.code >= 0):
        return True
    limit, _ = group.rlimits.get(RLIMIT_SIGPENDING)
    return queued_count(group) < limit


def queued_count(group: ThreadGroup) -> int:
    """How many signals are queued for ``group`` and its tasks, and POSIX timers that may be."""
    count = len(group.pending.queue)
    for task in group.tasks:
        count += len(task.signals.pending.queue)
    return count if group.timers is None else count + group.timers.count()


def force(task: Task, info: SigInfo) -> None:
    """Send a fault: one that is blocked or ignored kills (the action becomes SIG_DFL)."""
    signo = info.signo
    action = task.group.actions.get(signo)
    if task.signals.blocked & bit(signo) or action.handler == SIG_IGN:
        action.handler = SIG_DFL
        task.signals.blocked &= ~bit(signo)
    if action.handler == SIG_DFL:
        task.group.unkillable = False
    task.signals.pending.add(info)
    task.signals.attention = True
