"""The end of tasks: exit(2), exit_group(2), zombies, orphans, and telling the parent.

``exit_task`` gives back what the Sentry holds for one task; ending the host thread is the
dispatcher's part (``HostThread.exit`` when the task asked itself, otherwise ``hooks.task_exited``).
Statuses are wait(2)'s: ``code << 8``, or the number of the signal that killed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.fs.proc_flush import flush_task
from wardian.sentry.kernel.robust import release_robust_futexes
from wardian.sentry.kernel.sem import undo_all
from wardian.sentry.kernel.siginfo import CLD_EXITED, CLD_KILLED, SigInfo
from wardian.sentry.kernel.signal_numbers import (
    SA_NOCLDWAIT,
    SIG_IGN,
    SIGCHLD,
    SIGCONT,
    SIGHUP,
    SIGKILL,
)
from wardian.sentry.kernel.signal_sending import child_siginfo, send_to_group, send_to_process_group
from wardian.sentry.kernel.signals import retarget
from wardian.sentry.kernel.task import CallState
from wardian.sentry.kernel.usage import note_peak

if TYPE_CHECKING:
    from wardian.sentry.kernel.process_group import ProcessGroup, Session
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup


def exit_group(group: ThreadGroup, wait_status: int) -> None:
    """Make every task of ``group`` exit; exit_group(2) and deadly signals."""
    group.begin_exit(wait_status)


def exit_task(task: Task, code: int) -> None:
    """One task ends with wait status ``code``; the last one makes its group a zombie."""
    if task.exited:
        return
    release_robust_futexes(task)
    task.signals.end_lease()
    group = task.group
    if len(group.tasks) == 1:
        note_peak(group)
        group.leave_host_process()
    task.exited = True
    leave_call(task)
    group.tasks.remove(task)
    task.kernel.pids.remove_task(task)
    if group.leader is not task:
        flush_task(task.kernel, group.pid, task.tid)
    if group.leader is task and not group.exiting:
        group.exit_code = code
    release_parts(task)
    if group.tasks:
        retarget(task, ~task.signals.blocked)
    else:
        end_group(group)
    task.kernel.hooks.task_exited(task)


def leave_call(task: Task) -> None:
    """Give up the call in progress."""
    task.parked = False
    task.forget_waits()
    run_list = task.kernel.run_list
    if task in run_list:
        run_list.remove(task)
    call = task.call
    if call is None:
        return
    if isinstance(call.state, CallState):
        call.state.abandon()
        call.state = None
    call.finish()


def release_parts(task: Task) -> None:
    """One user less of the descriptors, paths and memory."""
    task.files.leave()
    task.fs.users -= 1
    task.memory.drop()
    task.coming = None


# -- the group ends ---------------------------------------------------------------------------
def end_group(group: ThreadGroup) -> None:
    """The last task is gone: give up children, terminal and timers, and tell the parent."""
    group.exiting = True
    undo_all(group.kernel, group.pid)
    if group.timers is not None:
        group.timers.cancel_all()
    session = group.process_group.session
    if session.leader is group:
        end_session(session)
    hang_up_if_orphaned(group.process_group, group.parent, group)
    reparent_children(group)
    if group is group.kernel.init:
        kill_all_others(group)
    group.exe = None
    group.zombie = True
    group.state_queue.wake(0)
    notify_parent(group)


def kill_all_others(init: ThreadGroup) -> None:
    """pid_namespaces(7): nothing outlives init."""
    for other in init.kernel.pids.groups():
        if other is not init and not other.zombie:
            other.begin_exit(SIGKILL)


def end_session(session: Session) -> None:
    """The session's leader exits: its terminal is free, its foreground jobs are hung up
    (termios(3))."""
    session.leader = None
    tty = session.tty
    disassociate(session)
    if tty is not None:
        tty.leader_exited()


def disassociate(session: Session) -> None:
    """Take the controlling terminal from a session (TIOCNOTTY by the leader, or its exit)."""
    tty = session.tty
    if tty is None:
        return
    session.tty = None
    tty.session = None
    foreground = tty.foreground
    tty.foreground = None
    if foreground is not None:
        send_to_process_group(foreground, SigInfo(SIGHUP))
        send_to_process_group(foreground, SigInfo(SIGCONT))


def hang_up_if_orphaned(
    process_group: ProcessGroup, parent: ThreadGroup | None, leaving: ThreadGroup | None
) -> None:
    """SIGHUP and SIGCONT for a process group with stopped members that loses its last ``parent``
    outside in the same session (POSIX, _exit)."""
    if parent is None or parent.process_group is process_group:
        return
    if parent.process_group.session is not process_group.session:
        return
    if process_group.is_orphaned_without(leaving) and process_group.has_stopped():
        send_to_process_group(process_group, SigInfo(SIGHUP))
        send_to_process_group(process_group, SigInfo(SIGCONT))


def reparent_children(group: ThreadGroup) -> None:
    """Children go to the nearest living subreaper, or to init (PR_SET_CHILD_SUBREAPER)."""
    children = group.children
    group.children = []
    reaper = find_reaper(group)
    for child in children:
        child.parent = reaper
        for task in child.tasks:
            if task.death_signal:
                send_to_group(child, SigInfo(task.death_signal))
        if reaper is None:
            continue
        reaper.children.append(child)
        child.exit_signal = SIGCHLD
        if child.zombie:
            notify_parent(child)
    for child in children:
        if not child.zombie:
            hang_up_if_orphaned(child.process_group, group, None)


def find_reaper(group: ThreadGroup) -> ThreadGroup | None:
    """Who takes over the children of ``group``."""
    ancestor = group.parent
    for _ in range(len(group.kernel.pids.groups_by_pid)):
        if ancestor is None:
            break
        if ancestor.child_subreaper and not ancestor.exiting:
            return ancestor
        ancestor = ancestor.parent
    init = group.kernel.init
    return init if init is not group else None


def notify_parent(group: ThreadGroup) -> None:
    """A zombie tells its parent, or disappears at once when the parent does not care
    (sigaction(2))."""
    parent = group.parent
    if parent is None or parent.zombie:
        if group is not group.kernel.init:
            reap(group)
        return
    forget = False
    signo = group.exit_signal
    if signo == SIGCHLD:
        action = parent.actions.get(SIGCHLD)
        forget = action.handler == SIG_IGN or bool(action.flags & SA_NOCLDWAIT)
        if action.handler == SIG_IGN:
            signo = 0
    # a wait(2) in progress is woken first: it collects the child before a SIGCHLD handler runs
    parent.wait_queue.wake(0)
    code, status = exit_reason(group)
    info = child_siginfo(group, signo, code, status) if signo else None
    if forget:
        reap(group)
    if info is not None:
        send_to_group(parent, info)


def exit_reason(group: ThreadGroup) -> tuple[int, int]:
    """(si_code, si_status) of a zombie."""
    if group.exit_code & 0x7F:
        return CLD_KILLED, group.exit_code & 0x7F
    return CLD_EXITED, group.exit_code >> 8 & 0xFF


def reap(group: ThreadGroup) -> None:
    """The zombie was waited for, or nobody will: its number is free again."""
    group.reaped = True
    parent = group.parent
    if parent is not None and group in parent.children:
        parent.children.remove(group)
    pids = group.kernel.pids
    pids.leave(group)
    pids.remove_group(group)
    flush_task(group.kernel, group.pid, group.pid)
