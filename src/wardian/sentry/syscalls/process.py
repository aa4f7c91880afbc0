"""Processes among each other: ids, process groups, sessions, waiting, pidfds (credentials(7),
wait(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EACCES, EAGAIN, EBADF, ECHILD, EINVAL, EPERM, ESRCH
from wardian.sentry.fs.anon import anon_inode, install_new
from wardian.sentry.kernel.credentials import CAP_SYS_PTRACE
from wardian.sentry.kernel.pidfd import PidFD
from wardian.sentry.kernel.signal_numbers import SIGCHLD
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import SUID_DUMP_USER, ThreadGroup
from wardian.sentry.kernel.usage import children_rusage, group_rusage, pack_rusage
from wardian.sentry.kernel.wait import (
    P_ALL,
    P_PGID,
    P_PID,
    P_PIDFD,
    WALL,
    WCLONE,
    WCONTINUED,
    WEXITED,
    WNOHANG,
    WNOTHREAD,
    WNOWAIT,
    WSTOPPED,
    WUNTRACED,
    ChildEvent,
    Selector,
    find_child,
    wait4_selector,
)
from wardian.sentry.syscalls.ids import tell_ids
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, Int, Pid
from wardian.sentry.time import CLOCK_TICK_NS, thread_cpu_ns
from wardian.sentry.vfs.file import O_NONBLOCK

RUSAGE_SELF: Final = 0
RUSAGE_CHILDREN: Final = -1
RUSAGE_THREAD: Final = 1

TMS: Final = struct.Struct("<4q")
WAITID_HEAD: Final = struct.Struct("<iii")  # signo, errno, code
WAITID_PART: Final = struct.Struct("<iIi")  # pid, uid, status
WAITID_PART_OFFSET: Final = 16

PIDFD_THREAD: Final = 0x80


# -- ids --------------------------------------------------------------------------------------
def getpid(t: Task) -> int:
    """getpid(2)."""
    tell_ids(t)
    return t.group.pid


def gettid(t: Task) -> int:
    """gettid(2)."""
    tell_ids(t)
    return t.tid


def getppid(t: Task) -> int:
    """getppid(2)."""
    parent = t.group.parent
    return parent.pid if parent is not None else 0


def getpgrp(t: Task) -> int:
    """getpgrp(2)."""
    return t.group.process_group.pgid


def getpgid(t: Task, pid: Pid) -> int:
    """getpgid(2)."""
    return named_group(t, pid).process_group.pgid


def getsid(t: Task, pid: Pid) -> int:
    """getsid(2)."""
    return named_group(t, pid).session.sid


def named_group(t: Task, pid: int) -> ThreadGroup:
    """The caller's thread group for 0, else the one with a thread ``pid``; ESRCH."""
    if pid == 0:
        return t.group
    task = t.kernel.pids.task(pid)
    group = task.group if task is not None else t.kernel.pids.group(pid)
    if group is None:
        raise ESRCH("no such process")
    return group


# -- process groups and sessions --------------------------------------------------------------
def setpgid(t: Task, pid: Pid, pgid: Pid) -> int:
    """setpgid(2)."""
    if pgid < 0:
        raise EINVAL("pgid must not be negative")
    group = settable_group(t, pid)
    if group.session.leader is group:
        raise EPERM("a session leader stays in its process group")
    number = pgid if pgid else group.pid
    pids = t.kernel.pids
    process_group = pids.process_group(number)
    if number != group.pid and (
        process_group is None or process_group.session is not t.group.session
    ):
        raise EPERM("no such process group in this session")
    if process_group is None:
        process_group = pids.new_process_group(number, group.session)
    pids.join(group, process_group)
    return 0


def settable_group(t: Task, pid: int) -> ThreadGroup:
    """The caller or a child of it that has not called execve; ESRCH, EINVAL, EPERM, EACCES."""
    group = named_group(t, pid)
    if pid and group.pid != pid and pid != t.tid:
        raise EINVAL("a thread is not a process")
    if group is t.group:
        return group
    if group.parent is not t.group:
        raise ESRCH("not a child of the caller")
    if group.session is not t.group.session:
        raise EPERM("the child is in another session")
    if group.has_execed:
        raise EACCES("the child has called execve")
    return group


def setsid(t: Task) -> int:
    """setsid(2)."""
    group = t.group
    if group.session.leader is group or t.kernel.pids.process_group(group.pid) is not None:
        raise EPERM("the caller leads a process group")
    t.kernel.pids.new_session(group)
    return group.pid


# -- waiting ----------------------------------------------------------------------------------
def wait4(t: Task, upid: Pid, stat_addr: Addr, options: Flags, ru: Addr) -> int:
    """wait4(2)."""
    allowed = WNOHANG | WUNTRACED | WCONTINUED | WNOTHREAD | WCLONE | WALL
    if options & ~allowed:
        raise EINVAL("unknown option")
    if upid == -(1 << 31):
        raise ESRCH("no such process group")
    event = find_child(t, wait4_selector(t, upid), options | WEXITED)
    if event is None:
        if options & WNOHANG:
            return 0
        return t.park(t.group.wait_queue)
    if stat_addr:
        t.copy_out(stat_addr, event.wait_status.to_bytes(4, "little"))
    if ru:
        t.copy_out(ru, pack_rusage(event.cpu_ns, event.system_ns, event.peak_resident))
    return event.pid


def waitid(t: Task, which: Int, upid: Pid, infop: Addr, options: Flags, ru: Addr) -> int:
    """waitid(2)."""
    allowed = WNOHANG | WNOWAIT | WEXITED | WSTOPPED | WCONTINUED | WNOTHREAD | WCLONE | WALL
    if options & ~allowed or not options & (WEXITED | WSTOPPED | WCONTINUED):
        raise EINVAL("options must name what to wait for, and nothing unknown")
    selector = waitid_selector(t, which, upid)
    event = find_child(t, selector, options)
    if event is None and not options & WNOHANG:
        if which == P_PIDFD and t.files.get(upid).nonblocking:
            raise EAGAIN("the pidfd is non-blocking")
        return t.park(t.group.wait_queue)
    if infop:
        write_siginfo(t, infop, event)
    if ru and event is not None:
        t.copy_out(ru, pack_rusage(event.cpu_ns, event.system_ns, event.peak_resident))
    return 0


def waitid_selector(t: Task, which: int, number: int) -> Selector:
    """What idtype and id mean; EINVAL, EBADF."""
    if which == P_ALL:
        return Selector(P_ALL, 0)
    if which == P_PID:
        if number <= 0:
            raise EINVAL("a pid must be positive")
        return Selector(P_PID, number)
    if which == P_PGID:
        if number < 0:
            raise EINVAL("a process group must not be negative")
        return Selector(P_PGID, number if number else t.group.process_group.pgid)
    if which != P_PIDFD:
        raise EINVAL("no such idtype")
    if number < 0:
        raise EINVAL("a descriptor must not be negative")
    file = t.files.get(number)
    if not isinstance(file, PidFD):
        raise EBADF("not a pidfd")
    if file.group.reaped:
        raise ECHILD("waited for already")
    return Selector(P_PIDFD, 0, file.group)


def write_siginfo(t: Task, infop: int, event: ChildEvent | None) -> None:
    """The fields waitid(2) sets, all zero when nothing happened (WNOHANG)."""
    if event is None:
        head, part = WAITID_HEAD.pack(0, 0, 0), WAITID_PART.pack(0, 0, 0)
    else:
        head = WAITID_HEAD.pack(SIGCHLD, 0, event.code)
        part = WAITID_PART.pack(event.pid, event.uid, event.status)
    t.copy_out(infop, head)
    t.copy_out(infop + WAITID_PART_OFFSET, part)


# -- accounting -------------------------------------------------------------------------------
def getrusage(t: Task, who: Int, ru: Addr) -> int:
    """getrusage(2)."""
    if who == RUSAGE_SELF:
        data = group_rusage(t.group)
    elif who == RUSAGE_CHILDREN:
        data = children_rusage(t.group)
    elif who == RUSAGE_THREAD:
        used = thread_cpu_ns(t)
        system = used * t.group.system_time_ns() // max(t.group.cpu_time_ns(), 1)
        data = pack_rusage(used, min(system, used), t.group.peak_resident)
    else:
        raise EINVAL("who must be RUSAGE_SELF, RUSAGE_CHILDREN or RUSAGE_THREAD")
    t.copy_out(ru, data)
    return 0


def times(t: Task, tbuf: Addr) -> int:
    """times(2)."""
    if tbuf:
        group = t.group
        system, children = group.system_time_ns(), group.children_system_ns
        parts = [
            max(group.cpu_time_ns() - system, 0),
            system,
            group.children_cpu_ns - children,
            children,
        ]
        t.copy_out(tbuf, TMS.pack(*[part // CLOCK_TICK_NS for part in parts]))
    return t.kernel.clock.monotonic_ns() // CLOCK_TICK_NS


# -- pidfds -----------------------------------------------------------------------------------
def pidfd_open(t: Task, pid: Pid, flags: Flags) -> int:
    """pidfd_open(2)."""
    if flags & ~O_NONBLOCK or pid <= 0:
        raise EINVAL("flags must be PIDFD_NONBLOCK or 0, pid positive")
    group = t.kernel.pids.group(pid)
    if group is None:
        if t.kernel.pids.task(pid) is not None:
            raise EINVAL("a thread is not a process")
        raise ESRCH("no such process")
    return install_new(t, PidFD(anon_inode(t), group, bool(flags & O_NONBLOCK)), True)


def pidfd_getfd(t: Task, pidfd: FD, fd: FD, flags: Flags) -> int:
    """pidfd_getfd(2): as ptrace(2) would allow, that is, between processes of the same user."""
    if flags:
        raise EINVAL("flags must be 0")
    file = t.files.get(pidfd)
    if not isinstance(file, PidFD):
        raise EBADF("not a pidfd")
    task = file.group.any_task()
    if task is None:
        raise ESRCH("the process is gone")
    if not may_inspect(t, task):
        raise EPERM("no permission to inspect that process")
    return t.files.install(task.files.get(fd), True)


def may_inspect(t: Task, other: Task) -> bool:
    """ptrace(2), "Ptrace access mode checking", PTRACE_MODE_ATTACH_REALCREDS."""
    if other.group is t.group or t.credentials.has_cap(CAP_SYS_PTRACE):
        return True
    mine, theirs = t.credentials, other.credentials
    same_user = mine.uid == theirs.euid == theirs.suid == theirs.uid
    same_group = mine.gid == theirs.egid == theirs.sgid == theirs.gid
    if not same_user or not same_group or other.group.dumpable != SUID_DUMP_USER:
        return False
    return theirs.cap_permitted & ~mine.cap_permitted == 0
