"""Waiting for children: the core of wait4(2) and waitid(2).

:func:`find_child` looks once; the handlers park on ``task.group.wait_queue`` when there is nothing
yet.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ECHILD
from wardian.sentry.kernel.exit import exit_reason, reap
from wardian.sentry.kernel.siginfo import CLD_CONTINUED, CLD_STOPPED
from wardian.sentry.kernel.signal_numbers import SIGCHLD, SIGCONT

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup

WNOHANG: Final = 1
WUNTRACED: Final = 2
WSTOPPED: Final = 2
WEXITED: Final = 4
WCONTINUED: Final = 8
WNOWAIT: Final = 0x0100_0000
WNOTHREAD: Final = 0x2000_0000  # taken and ignored: children belong to the whole group here
WALL: Final = 0x4000_0000
WCLONE: Final = 0x8000_0000

P_ALL: Final = 0
P_PID: Final = 1
P_PGID: Final = 2
P_PIDFD: Final = 3

CONTINUED_STATUS: Final = 0xFFFF


class ChildEvent:
    """A child that changed state, as both calls report it."""

    def __init__(self, child: ThreadGroup, code: int, status: int, wait_status: int) -> None:
        self.pid = child.pid
        leader = child.leader
        self.uid = leader.credentials.uid if leader is not None else 0
        self.code = code  # CLD_*
        self.status = status  # exit code or signal
        self.wait_status = wait_status  # as wait4(2) packs it
        self.cpu_ns = child.cpu_time_ns() + child.children_cpu_ns
        self.system_ns = child.system_time_ns() + child.children_system_ns
        self.peak_resident = max(child.peak_resident, child.children_peak_resident)


class Selector:
    """Which children a call waits for."""

    def __init__(self, kind: int, number: int, group: ThreadGroup | None = None) -> None:
        self.kind = kind  # P_*
        self.number = number
        self.group = group  # for P_PIDFD

    def matches(self, child: ThreadGroup) -> bool:
        if self.kind == P_ALL:
            return True
        if self.kind == P_PID:
            return child.pid == self.number
        if self.kind == P_PGID:
            return child.process_group.pgid == self.number
        return child is self.group


def wait4_selector(task: Task, pid: int) -> Selector:
    """What the pid argument of wait4(2) means."""
    if pid == -1:
        return Selector(P_ALL, 0)
    if pid > 0:
        return Selector(P_PID, pid)
    if pid == 0:
        return Selector(P_PGID, task.group.process_group.pgid)
    return Selector(P_PGID, -pid)


def find_child(task: Task, selector: Selector, options: int) -> ChildEvent | None:
    """A matching child with news, consumed unless WNOWAIT; None when there may be some later.
    ECHILD."""
    eligible = False
    for child in task.group.children:
        if not selector.matches(child) or not right_kind(child, options):
            continue
        eligible = True
        event = look_at(child, options)
        if event is not None:
            if child.zombie and not options & WNOWAIT:
                account_and_reap(task.group, child)
            return event
    if not eligible:
        raise ECHILD("no such child")
    return None


def right_kind(child: ThreadGroup, options: int) -> bool:
    """__WCLONE and __WALL: children that do not send SIGCHLD are waited for apart."""
    if options & WALL:
        return True
    return (child.exit_signal != SIGCHLD) == bool(options & WCLONE)


def look_at(child: ThreadGroup, options: int) -> ChildEvent | None:
    """The child's news under ``options``, marked as told unless WNOWAIT."""
    if child.zombie:
        if not options & WEXITED:
            return None
        code, status = exit_reason(child)
        return ChildEvent(child, code, status, child.exit_code)
    keep = bool(options & WNOWAIT)
    if options & WSTOPPED and child.stopped and child.stop_unreported:
        child.stop_unreported = keep
        signo = child.stop_signal
        return ChildEvent(child, CLD_STOPPED, signo, signo << 8 | 0x7F)
    if options & WCONTINUED and child.continue_unreported and not child.stopped:
        child.continue_unreported = keep
        return ChildEvent(child, CLD_CONTINUED, SIGCONT, CONTINUED_STATUS)
    return None


def account_and_reap(parent: ThreadGroup, child: ThreadGroup) -> None:
    """Add what the child used to its parent's RUSAGE_CHILDREN, and forget it."""
    parent.children_system_ns += child.system_time_ns() + child.children_system_ns
    parent.children_cpu_ns += child.cpu_time_ns() + child.children_cpu_ns
    peak = max(child.peak_resident, child.children_peak_resident)
    if peak > parent.children_peak_resident:
        parent.children_peak_resident = peak
    reap(child)
