"""Resource limits and niceness (getrlimit(2), prlimit(2), getpriority(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EACCES, EINVAL, EPERM, ESRCH
from wardian.sentry.kernel.credentials import CAP_SYS_NICE, CAP_SYS_RESOURCE
from wardian.sentry.kernel.itimers import group_timers
from wardian.sentry.kernel.rlimits import (
    NOFILE_MAX,
    RLIM_NLIMITS,
    RLIMIT_AS,
    RLIMIT_CPU,
    RLIMIT_DATA,
    RLIMIT_NICE,
    RLIMIT_NOFILE,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.mm.sizes import pass_limit
from wardian.sentry.syscalls.kinds import Addr, InRlimit, Int, Pid, UInt

RLIMIT: Final = struct.Struct("<QQ")

PRIO_PROCESS: Final = 0
PRIO_PGRP: Final = 1
PRIO_USER: Final = 2
NICE_MIN: Final = -20
NICE_MAX: Final = 19

HOST_LIMITS: Final = (RLIMIT_AS, RLIMIT_DATA)
"""Enforced by the host on the guest's own process."""


# -- limits -----------------------------------------------------------------------------------
def getrlimit(t: Task, resource: UInt, rlim: Addr) -> int:
    """getrlimit(2)."""
    check_resource(resource)
    t.copy_out(rlim, pack_rlimit(t.group, resource))
    return 0


def setrlimit(t: Task, resource: UInt, rlim: InRlimit) -> int:
    """setrlimit(2)."""
    check_resource(resource)
    set_limit(t, t.group, resource, rlim)
    return 0


def prlimit64(t: Task, pid: Pid, resource: UInt, new_rlim: InRlimit | None, old_rlim: Addr) -> int:
    """prlimit(2)."""
    check_resource(resource)
    group = limited_group(t, pid)
    old = pack_rlimit(group, resource)
    if new_rlim is not None:
        set_limit(t, group, resource, new_rlim)
    if old_rlim:
        t.copy_out(old_rlim, old)
    return 0


def check_resource(resource: int) -> None:
    """EINVAL unless there is such a limit."""
    if resource >= RLIM_NLIMITS:
        raise EINVAL("no such limit")


def pack_rlimit(group: ThreadGroup, resource: int) -> bytes:
    """A struct rlimit64."""
    soft, hard = group.rlimits.get(resource)
    return RLIMIT.pack(soft, hard)


def limited_group(t: Task, pid: int) -> ThreadGroup:
    """Whose limits ``pid`` means, if the caller may touch them; ESRCH, EPERM."""
    if pid == 0:
        return t.group
    task = t.kernel.pids.task(pid)
    if task is None:
        zombie = t.kernel.pids.group(pid)  # still has its limits
        task = zombie.leader if zombie is not None else None
    if task is None:
        raise ESRCH("no such process")
    mine, theirs = t.credentials, task.credentials
    same_user = mine.uid == theirs.euid == theirs.suid == theirs.uid
    same_group = mine.gid == theirs.egid == theirs.sgid == theirs.gid
    if (
        task.group is not t.group
        and not (same_user and same_group)
        and not mine.has_cap(CAP_SYS_RESOURCE)
    ):
        raise EPERM("no permission to see that process's limits")
    return task.group


def set_limit(t: Task, group: ThreadGroup, resource: int, data: bytes) -> None:
    """Check and apply one limit; EINVAL, EPERM."""
    soft, hard = RLIMIT.unpack(data)
    if soft > hard:
        raise EINVAL("the soft limit is above the hard one")
    if resource == RLIMIT_NOFILE and hard > NOFILE_MAX:
        raise EPERM("more descriptors than fs.nr_open")
    _, old_hard = group.rlimits.get(resource)
    if hard > old_hard and not t.credentials.has_cap(CAP_SYS_RESOURCE):
        raise EPERM("a hard limit can only be lowered")
    group.rlimits.set(resource, soft, hard)
    apply_limit(t, group, resource, soft)


def apply_limit(t: Task, group: ThreadGroup, resource: int, soft: int) -> None:
    """Tell whoever enforces it; nobody does for a zombie."""
    if not group.tasks:
        return
    task = t if group is t.group else group.tasks[0]
    if resource == RLIMIT_NOFILE:
        for each in group.tasks:
            each.files.limit = soft
    elif resource == RLIMIT_CPU:
        group_timers(task).watch_cpu_limit()
    elif resource in HOST_LIMITS:
        pass_limit(task.memory, resource, soft)


# -- niceness ---------------------------------------------------------------------------------
def getpriority(t: Task, which: Int, who: Int) -> int:
    """getpriority(2): 20 minus the lowest niceness, so that it is never negative."""
    groups = priority_groups(t, which, who)
    return 20 - min(group.nice for group in groups)


def setpriority(t: Task, which: Int, who: Int, niceval: Int) -> int:
    """setpriority(2); remembered, not passed on to the host's scheduler."""
    nice = min(max(niceval, NICE_MIN), NICE_MAX)
    for group in priority_groups(t, which, who):
        check_nice(t, group, nice)
        group.nice = nice
    return 0


def priority_groups(t: Task, which: int, who: int) -> list[ThreadGroup]:
    """Whom ``which`` and ``who`` mean; EINVAL, ESRCH."""
    found: list[ThreadGroup] = []
    if which == PRIO_PROCESS:
        task = t if who == 0 else t.kernel.pids.task(who)
        if task is not None:
            found.append(task.group)
    elif which == PRIO_PGRP:
        process_group = t.group.process_group if who == 0 else t.kernel.pids.process_group(who)
        if process_group is not None:
            found.extend(member for member in process_group.members if not member.zombie)
    elif which == PRIO_USER:
        uid = t.credentials.uid if who == 0 else who & 0xFFFF_FFFF
        for group in t.kernel.pids.groups():
            member = group.any_task()
            if member is not None and member.credentials.uid == uid:
                found.append(group)
    else:
        raise EINVAL("which must be PRIO_PROCESS, PRIO_PGRP or PRIO_USER")
    if not found:
        raise ESRCH("nobody there")
    return found


def check_nice(t: Task, group: ThreadGroup, nice: int) -> None:
    """Whether the caller may give ``group`` that niceness; EPERM, EACCES."""
    mine = t.credentials
    task = group.any_task()
    if mine.has_cap(CAP_SYS_NICE):
        return
    if task is not None and mine.euid not in (task.credentials.uid, task.credentials.euid):
        raise EPERM("another user's process")
    limit, _ = group.rlimits.get(RLIMIT_NICE)
    if nice < group.nice and 20 - nice > limit:
        raise EACCES("only CAP_SYS_NICE may lower niceness")
