"""clone(2), fork(2), vfork(2): making tasks. The engine makes the host thread
or process; here is what it means.

Two halves meet: :func:`start` checks the flags and asks the engine; :func:`child_exists` builds the
Task when the host's child is there. The dispatcher answers the parent afterwards.
"""

from __future__ import annotations

import struct
from typing import Final

from wardian.platform.interface import CloneRequest, HostThread
from wardian.sentry.errno import EAGAIN, EINVAL, EPERM, LinuxError
from wardian.sentry.fs.anon import anon_inode, install_new
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN
from wardian.sentry.kernel.itimers import group_timers
from wardian.sentry.kernel.pidfd import PidFD
from wardian.sentry.kernel.rlimits import RLIM_INFINITY, RLIMIT_CPU, RLIMIT_NPROC
from wardian.sentry.kernel.scheduling import child_scheduling
from wardian.sentry.kernel.signals import lease_mask
from wardian.sentry.kernel.task import NO_REPLY, RUNNING, Task
from wardian.sentry.kernel.thread_group import ThreadGroup

CSIGNAL: Final = 0xFF
CLONE_VM: Final = 0x100
CLONE_FS: Final = 0x200
CLONE_FILES: Final = 0x400
CLONE_SIGHAND: Final = 0x800
CLONE_PIDFD: Final = 0x1000
CLONE_VFORK: Final = 0x4000
CLONE_PARENT: Final = 0x8000
CLONE_THREAD: Final = 0x10000
CLONE_NEWNS: Final = 0x20000
CLONE_SETTLS: Final = 0x80000
CLONE_PARENT_SETTID: Final = 0x100000
CLONE_CHILD_CLEARTID: Final = 0x200000
CLONE_CHILD_SETTID: Final = 0x1000000
CLONE_CLEAR_SIGHAND: Final = 0x100000000
CLONE_INTO_CGROUP: Final = 0x200000000
NAMESPACES: Final = (
    0x02000000 | 0x04000000 | 0x08000000 | 0x10000000 | 0x20000000 | 0x40000000 | CLONE_NEWNS | 0x80
)

TID: Final = struct.Struct("<i")


class CloneArguments:
    """struct clone_args, as far as it is supported."""

    def __init__(
        self,
        flags: int,
        stack: int,
        parent_tid: int,
        child_tid: int,
        tls: int,
        exit_signal: int,
        pidfd: int,
    ) -> None:
        self.flags = flags
        self.stack = stack  # the new stack pointer; 0: keep
        self.parent_tid = parent_tid
        self.child_tid = child_tid
        self.tls = tls
        self.exit_signal = exit_signal
        self.pidfd = pidfd


class CloneState:
    """One clone on its way."""

    def __init__(self, parent: Task, arguments: CloneArguments, tid: int) -> None:
        self.parent = parent
        self.arguments = arguments
        self.tid = tid
        self.child: Task | None = None
        self.parent_returned = False  # from the host's call; the vfork child still runs
        self.released = False
        self.pidfd = -1  # CLONE_PIDFD: the parent's descriptor

    def wait_for_child(self) -> bool:
        """The parent is back; True when it must go on waiting (CLONE_VFORK)."""
        self.parent_returned = True
        return bool(self.arguments.flags & CLONE_VFORK) and not self.released

    def release(self) -> bool:
        """The vfork child is done; True when the parent can be answered now."""
        self.released = True
        return self.parent_returned and not self.parent.exited


def check_flags(flags: int, exit_signal: int) -> None:
    """The rules of clone(2), "EINVAL"."""
    if flags & CLONE_SIGHAND and not flags & CLONE_VM:
        raise EINVAL("CLONE_SIGHAND needs CLONE_VM")
    if flags & CLONE_THREAD and not flags & CLONE_SIGHAND:
        raise EINVAL("CLONE_THREAD needs CLONE_SIGHAND")
    if flags & CLONE_SIGHAND and flags & CLONE_CLEAR_SIGHAND:
        raise EINVAL("CLONE_CLEAR_SIGHAND excludes CLONE_SIGHAND")
    if flags & CLONE_FS and flags & CLONE_NEWNS:
        raise EINVAL("CLONE_NEWNS excludes CLONE_FS")
    if exit_signal > 64:
        raise EINVAL("no such exit signal")
    if flags & CLONE_THREAD and flags & CLONE_PIDFD:
        raise EINVAL("no pidfd for threads")


def start(task: Task, arguments: CloneArguments) -> int:
    """Check, number the child and have the host make it."""
    flags = arguments.flags
    check_flags(flags, arguments.exit_signal)
    if flags & NAMESPACES:
        if not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EPERM("new namespaces need CAP_SYS_ADMIN")
        raise EINVAL("nested namespaces are not supported")
    check_process_limit(task)
    if flags & CLONE_SETTLS and arguments.tls >= 1 << 47:
        raise EPERM("TLS outside of the address space")
    tid = task.kernel.pids.allocate()
    state = CloneState(task, arguments, tid)
    request = CloneRequest()
    request.thread = bool(flags & CLONE_THREAD)
    request.share_memory = bool(flags & CLONE_VM)
    request.stack = arguments.stack
    request.set_tls = bool(flags & CLONE_SETTLS)
    request.tls = arguments.tls
    request.tid = tid
    # a bad address is ignored (clone(2))
    request.parent_tid_at = arguments.parent_tid if flags & CLONE_PARENT_SETTID else 0
    request.child_tid_at = arguments.child_tid if flags & CLONE_CHILD_SETTID else 0
    request.cookie = state
    host = task.host
    assert host is not None
    try:
        host.clone(request)
    except LinuxError:
        undo(task, state)
        raise
    return NO_REPLY


def check_process_limit(task: Task) -> None:
    """RLIMIT_NPROC for users without capabilities (getrlimit(2))."""
    limit, _ = task.group.rlimits.get(RLIMIT_NPROC)
    uid = task.credentials.uid
    if uid == 0 or limit >= len(task.kernel.pids.tasks):
        return
    count = 0
    for other in task.kernel.pids.tasks.values():
        if other.credentials.uid == uid:
            count += 1
    if count >= limit:
        raise EAGAIN("RLIMIT_NPROC")


def child_exists(parent: Task, host: HostThread, state: CloneState) -> None:
    """The host makes the child: build its task."""
    arguments = state.arguments
    flags = arguments.flags
    group = parent.group if flags & CLONE_THREAD else new_group(parent, state.tid, arguments)
    child = new_task(parent, host, state, group)
    child.host = host
    child.host_state = RUNNING
    host.owner = child
    lease_mask(child)
    if flags & CLONE_CHILD_CLEARTID:
        child.clear_child_tid = arguments.child_tid
    if flags & CLONE_VFORK:
        child.vfork = state
    state.child = child
    enter(child)
    if group is not parent.group and group.rlimits.get(RLIMIT_CPU)[0] != RLIM_INFINITY:
        group_timers(child).watch_cpu_limit()
    if flags & CLONE_PIDFD:
        write_pidfd(parent, state, group)


def new_task(parent: Task, host: HostThread, state: CloneState, group: ThreadGroup) -> Task:
    """The child with its share or copy of what the parent has."""
    flags = state.arguments.flags
    memory = parent.memory.hold() if flags & CLONE_VM else parent.memory.fork(host.process)
    files, fs = parent.files, parent.fs
    if flags & CLONE_FILES:
        files.users += 1
    else:
        files = files.clone()
    if flags & CLONE_FS:
        fs.users += 1
    else:
        fs = fs.clone()
    keep_stack = not flags & CLONE_VM or bool(flags & CLONE_VFORK)
    child = Task(
        parent.kernel,
        state.tid,
        group,
        parent.credentials.copy(),
        files,
        fs,
        memory,
        parent.signals.copy_for_clone(keep_stack),
    )
    child.name = parent.name
    child.scheduling = child_scheduling(parent)
    return child


def new_group(parent: Task, pid: int, arguments: CloneArguments) -> ThreadGroup:
    """The child's process: a child of the caller, or its sibling (CLONE_PARENT)."""
    flags = arguments.flags
    mother = parent.group
    above: ThreadGroup | None = mother
    exit_signal = arguments.exit_signal
    if flags & CLONE_PARENT:
        above = mother.parent
        exit_signal = mother.exit_signal
    actions = mother.actions if flags & CLONE_SIGHAND else mother.actions.copy()
    if flags & CLONE_CLEAR_SIGHAND:
        actions.reset_to_default()
    group = ThreadGroup(
        parent.kernel, pid, above, mother.process_group, actions, mother.rlimits.copy()
    )
    group.exe = mother.exe
    group.cmdline = mother.cmdline
    group.environ = mother.environ
    group.dumpable = mother.dumpable
    group.nice = mother.nice
    group.personality = mother.personality
    group.exit_signal = exit_signal
    if above is not None:
        above.children.append(group)
    mother.process_group.members.append(group)
    return group


def enter(child: Task) -> None:
    """Make the task visible."""
    group = child.group
    group.tasks.append(child)
    if group.leader is None:
        group.leader = child
    child.kernel.pids.add_task(child)


def write_pidfd(parent: Task, state: CloneState, group: ThreadGroup) -> None:
    """CLONE_PIDFD; EMFILE, EFAULT."""
    state.pidfd = install_new(parent, PidFD(anon_inode(parent), group, False), True)
    parent.memory.process.write(state.arguments.pidfd, TID.pack(state.pidfd))


def undo(parent: Task, state: CloneState) -> None:
    """The clone failed after the child's task was built; it may have been killed meanwhile."""
    child = state.child
    if child is None:
        return
    pidfd = parent.files.find(state.pidfd)
    if isinstance(pidfd, PidFD) and pidfd.group is child.group:
        parent.files.close(state.pidfd)
    from wardian.sentry.kernel.exit import exit_task, reap

    if child.host is not None:
        child.host.owner = None
    child.host = None
    group = child.group
    if group is not parent.group:
        disown(group)
    exit_task(child, 0)
    if group.zombie and not group.reaped:
        reap(group)


def disown(group: ThreadGroup) -> None:
    """Nobody is to hear of its end, and nobody waits for it any longer."""
    above = group.parent
    group.parent = None
    if above is not None and group in above.children:
        above.children.remove(group)
        above.wait_queue.wake(0)
