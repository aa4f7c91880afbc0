"""Scheduling calls (sched(7)): kept and shown, not passed on to the host (see
``kernel.scheduling``)."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import E2BIG, EINVAL, EPERM, ESRCH
from wardian.sentry.kernel.credentials import CAP_SYS_NICE
from wardian.sentry.kernel.rlimits import RLIMIT_RTPRIO
from wardian.sentry.kernel.scheduling import (
    SCHED_BATCH,
    SCHED_FIFO,
    SCHED_IDLE,
    SCHED_OTHER,
    SCHED_RESET_ON_FORK,
    SCHED_RR,
    scheduling,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls.kinds import Addr, Int, Pid, UInt
from wardian.sentry.time import pack_timespec

RT_PRIORITY_MAX: Final = 99
RR_INTERVAL_NS: Final = 100_000_000
SCHED_ATTR: Final = struct.Struct("<IIQiIQQQ")
SCHED_ATTR_MAX: Final = 4096
SCHED_FLAG_RESET_ON_FORK: Final = 1
CPU_BYTES_MAX: Final = 1024


def sched_yield(t: Task) -> int:
    """sched_yield(2)."""
    return 0


def getcpu(t: Task, cpu: Addr, node: Addr, unused: Addr) -> int:
    """getcpu(2): only asked for when the vDSO could not tell; CPU 0 is as true as any."""
    for address in (cpu, node):
        if address:
            t.copy_out(address, bytes(4))
    return 0


# -- CPU masks --------------------------------------------------------------------------------
def sched_getaffinity(t: Task, pid: Pid, length: UInt, mask: Addr) -> int:
    """sched_getaffinity(2): the size of the mask written."""
    everything = all_cpus(t)
    cpus = everything.bit_length()
    if length & 7 or length * 8 < cpus:
        raise EINVAL("the mask must be whole longs with room for every CPU")
    other = named_task(t, pid)
    chosen = other.scheduling.affinity if other.scheduling is not None else 0
    size = min(length, (cpus + 63) // 64 * 8)
    t.copy_out(mask, (chosen or everything).to_bytes(size, "little"))
    return size


def all_cpus(t: Task) -> int:
    """The mask of the CPUs that the sandbox may run on."""
    mask = 0
    for cpu in t.kernel.host_cpu.cpus:
        mask |= 1 << cpu
    return mask


def sched_setaffinity(t: Task, pid: Pid, length: UInt, mask: Addr) -> int:
    """sched_setaffinity(2)."""
    data = t.copy_in(mask, min(length, CPU_BYTES_MAX)) if length else b""
    other = named_task(t, pid)
    check_may_change(t, other)
    chosen = int.from_bytes(data, "little") & all_cpus(t)
    if not chosen:
        raise EINVAL("no CPU of this machine is in the mask")
    scheduling(other).affinity = chosen
    return 0


def named_task(t: Task, pid: int) -> Task:
    """The caller for 0, else thread ``pid``; ESRCH."""
    task = t if pid == 0 else t.kernel.pids.task(pid)
    if task is None:
        raise ESRCH("no such thread")
    return task


def check_may_change(t: Task, other: Task) -> None:
    """Own threads, those of the same user, or all with CAP_SYS_NICE; EPERM."""
    euid = t.credentials.euid
    theirs = other.credentials
    if euid not in (theirs.uid, theirs.euid) and not t.credentials.has_cap(CAP_SYS_NICE):
        raise EPERM("another user's thread")


# -- policies ---------------------------------------------------------------------------------
def sched_getscheduler(t: Task, pid: Pid) -> int:
    """sched_getscheduler(2)."""
    if pid < 0:
        raise EINVAL("a pid must not be negative")
    kept = named_task(t, pid).scheduling
    if kept is None:
        return SCHED_OTHER
    return kept.policy | (SCHED_RESET_ON_FORK if kept.reset_on_fork else 0)


def sched_setscheduler(t: Task, pid: Pid, policy: Int, param: Addr) -> int:
    """sched_setscheduler(2)."""
    if policy < 0:
        raise EINVAL("no such policy")
    set_policy(
        t,
        pid,
        policy & ~SCHED_RESET_ON_FORK,
        read_priority(t, param),
        bool(policy & SCHED_RESET_ON_FORK),
    )
    return 0


def sched_getparam(t: Task, pid: Pid, param: Addr) -> int:
    """sched_getparam(2)."""
    if pid < 0 or not param:
        raise EINVAL("a pid must not be negative, param not null")
    kept = named_task(t, pid).scheduling
    priority = kept.priority if kept is not None else 0
    t.copy_out(param, priority.to_bytes(4, "little"))
    return 0


def sched_setparam(t: Task, pid: Pid, param: Addr) -> int:
    """sched_setparam(2)."""
    priority = read_priority(t, param)
    if pid < 0:
        raise EINVAL("a pid must not be negative")
    kept = named_task(t, pid).scheduling
    policy = kept.policy if kept is not None else SCHED_OTHER
    set_policy(t, pid, policy, priority, kept is not None and kept.reset_on_fork)
    return 0


def read_priority(t: Task, param: int) -> int:
    """sched_priority of a struct sched_param; EINVAL when null."""
    if not param:
        raise EINVAL("param must not be null")
    return int.from_bytes(t.copy_in(param, 4), "little", signed=True)


def set_policy(t: Task, pid: int, policy: int, priority: int, reset_on_fork: bool) -> None:
    """Check and keep; EINVAL, ESRCH, EPERM."""
    if pid < 0:
        raise EINVAL("a pid must not be negative")
    other = named_task(t, pid)
    real_time = policy in (SCHED_FIFO, SCHED_RR)
    if not real_time and policy not in (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE):
        raise EINVAL("no such policy")
    if not 0 <= priority <= RT_PRIORITY_MAX or real_time != (priority > 0):
        raise EINVAL("the priority does not fit the policy")
    limit, _ = other.group.rlimits.get(RLIMIT_RTPRIO)
    if real_time and priority > limit and not t.credentials.has_cap(CAP_SYS_NICE):
        raise EPERM("real-time priority above RLIMIT_RTPRIO")
    check_may_change(t, other)
    kept = scheduling(other)
    kept.policy = policy
    kept.priority = priority
    kept.reset_on_fork = reset_on_fork


def sched_get_priority_max(t: Task, policy: Int) -> int:
    """sched_get_priority_max(2)."""
    if policy in (SCHED_FIFO, SCHED_RR):
        return RT_PRIORITY_MAX
    if policy in (SCHED_OTHER, SCHED_BATCH, SCHED_IDLE, 6):
        return 0
    raise EINVAL("no such policy")


def sched_get_priority_min(t: Task, policy: Int) -> int:
    """sched_get_priority_min(2)."""
    return 1 if sched_get_priority_max(t, policy) else 0


def sched_rr_get_interval(t: Task, pid: Pid, interval: Addr) -> int:
    """sched_rr_get_interval(2)."""
    if pid < 0:
        raise EINVAL("a pid must not be negative")
    kept = named_task(t, pid).scheduling
    policy = kept.policy if kept is not None else SCHED_OTHER
    span = RR_INTERVAL_NS if policy == SCHED_RR else 0 if policy == SCHED_FIFO else 4_000_000
    t.copy_out(interval, pack_timespec(span))
    return 0


def sched_getattr(t: Task, pid: Pid, uattr: Addr, usize: UInt, flags: UInt) -> int:
    """sched_getattr(2)."""
    if not uattr or pid < 0 or flags or not SCHED_ATTR.size <= usize <= SCHED_ATTR_MAX:
        raise EINVAL("bad pid, size or flags")
    other = named_task(t, pid)
    kept = other.scheduling
    policy = kept.policy if kept is not None else SCHED_OTHER
    reset = SCHED_FLAG_RESET_ON_FORK if kept is not None and kept.reset_on_fork else 0
    priority = kept.priority if kept is not None else 0
    t.copy_out(
        uattr, SCHED_ATTR.pack(SCHED_ATTR.size, policy, reset, other.group.nice, priority, 0, 0, 0)
    )
    return 0


def sched_setattr(t: Task, pid: Pid, uattr: Addr, flags: UInt) -> int:
    """sched_setattr(2)."""
    if not uattr or pid < 0 or flags:
        raise EINVAL("bad pid or flags")
    size = int.from_bytes(t.copy_in(uattr, 4), "little")
    if size == 0:
        size = SCHED_ATTR.size
    if not SCHED_ATTR.size <= size <= SCHED_ATTR_MAX:
        t.memory.process.write(uattr, SCHED_ATTR.size.to_bytes(4, "little"))
        raise E2BIG("unknown size")
    data = t.copy_in(uattr, SCHED_ATTR.size)
    _, policy, attr_flags, _, priority, _, _, _ = SCHED_ATTR.unpack(data)
    set_policy(t, pid, policy, priority, bool(attr_flags & SCHED_FLAG_RESET_ON_FORK))
    return 0


# -- I/O priority -----------------------------------------------------------------------------
def ioprio_get(t: Task, which: Int, who: Int) -> int:
    """ioprio_get(2): never set."""
    check_ioprio_which(which)
    return 0


def ioprio_set(t: Task, which: Int, who: Int, ioprio: Int) -> int:
    """ioprio_set(2): accepted and forgotten."""
    check_ioprio_which(which)
    if not 0 <= ioprio >> 13 <= 3:
        raise EINVAL("no such I/O class")
    return 0


def check_ioprio_which(which: int) -> None:
    """EINVAL unless it is a process, process group or user."""
    if which not in (1, 2, 3):
        raise EINVAL("which must be a process, a process group or a user")
