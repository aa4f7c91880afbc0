"""Thread groups: what POSIX calls a process (clone(2) CLONE_THREAD).

State that all threads share and that fork(2) makes anew. Made by ``kernel.clone`` (fork) and
``kernel.boot`` (the first one); taken apart by ``kernel.exit``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.kernel.process_group import ProcessGroup, Session
from wardian.sentry.kernel.rlimits import Rlimits
from wardian.sentry.kernel.signal_numbers import SIGCHLD
from wardian.sentry.kernel.signals import PendingSignals, SignalActions
from wardian.sentry.kernel.waitqueue import WaitQueue

if TYPE_CHECKING:
    from wardian.sentry.kernel.itimers import GroupTimers
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.dentry import Path

SUID_DUMP_DISABLE: Final = 0
SUID_DUMP_USER: Final = 1


class ThreadGroup:
    """One process. ``leader`` is set by whoever makes the first task; it stays after the leader
    exits."""

    def __init__(
        self,
        kernel: Kernel,
        pid: int,
        parent: ThreadGroup | None,
        process_group: ProcessGroup,
        actions: SignalActions,
        rlimits: Rlimits,
    ) -> None:
        self.kernel = kernel
        self.pid = pid
        self.leader: Task | None = None
        self.tasks: list[Task] = []  # live ones
        self.parent = parent
        self.children: list[ThreadGroup] = []  # zombies included
        self.process_group = process_group
        self.actions = actions
        self.pending = PendingSignals()  # shared by all tasks
        self.rlimits = rlimits
        self.exe: Path | None = None
        self.cmdline = b""  # NUL-terminated strings, as in /proc/pid/cmdline
        self.environ = b""
        self.start_ns = kernel.clock.monotonic_ns()
        self.dumpable = SUID_DUMP_USER
        self.child_subreaper = False
        self.unkillable = False  # init: only signals with a handler arrive (pid_namespaces(7))
        self.exit_signal = SIGCHLD  # sent to the parent; 0: none (clone(2))
        # host processes of ours or a descendant's that were killed from outside
        self.host_kills = 0
        self.has_execed = False  # setpgid(2) by the parent is over (EACCES)
        self.nice = 0
        self.personality = 0  # personality(2)
        self.oom_score_adj: int = parent.oom_score_adj if parent is not None else 0  # proc(5)
        # -- exit and wait
        self.exiting = False  # every task must exit with ``exit_code``
        self.exit_code = 0  # wait(2) status once exiting or a zombie
        self.zombie = False
        self.reaped = False
        self.wait_queue = WaitQueue()  # woken when a child of this group changes state
        self.state_queue = WaitQueue()  # woken when this group exits (pidfd)
        # -- job control
        self.stopped = False
        self.stop_signal = 0
        self.stop_unreported = False  # waitid(2) WSTOPPED has not seen it yet
        self.continue_unreported = False
        # -- accounting, nanoseconds and bytes
        self.past_cpu_ns = 0  # of host processes it has left: before execve(2), and at the end
        self.past_system_ns = 0  # how much of that in the kernel
        self.children_cpu_ns = 0
        self.children_system_ns = 0
        self.peak_resident = 0
        self.told_peak = 0  # what it says with its exit
        self.children_peak_resident = 0
        self.timers: GroupTimers | None = None  # interval and POSIX timers, made at first use

    @property
    def session(self) -> Session:
        return self.process_group.session

    def cpu_time_ns(self) -> int:
        """CPU time of all threads, dead ones included."""
        task = self.any_task()
        if task is None or task.host is None:
            return self.past_cpu_ns
        return self.past_cpu_ns + task.host.process.cpu_time_ns()

    def system_time_ns(self) -> int:
        """How much of :meth:`cpu_time_ns` was in the kernel: the host's, for it runs their memory
        calls and page faults. What the Sentry does for them is not counted."""
        task = self.any_task()
        if task is None or task.host is None:
            return self.past_system_ns
        process = task.host.process
        return self.past_system_ns + process.system_time_ns(process.cpu_time_ns())

    def leave_host_process(self) -> None:
        """The host process is about to go (execve(2), exit): keep what it used."""
        task = self.any_task()
        if task is None or task.host is None:
            return
        used = task.host.process.cpu_time_ns()
        self.past_system_ns += task.host.process.system_time_ns(used)
        self.past_cpu_ns += used

    def any_task(self) -> Task | None:
        """The leader while it lives, else any live task."""
        leader = self.leader
        if leader is not None and not leader.exited:
            return leader
        return self.tasks[0] if self.tasks else None

    def begin_exit(self, status: int) -> None:
        """Every task of this group is to exit with wait(2) ``status``; the first caller decides."""
        if self.exiting or self.zombie:
            return
        self.exiting = True
        self.exit_code = status
        self.stopped = False
        for task in self.tasks:
            task.signals.attention = True
        self.kernel.hooks.group_exit(self)
