"""The first process of a sandbox that runs many commands: pid 1 without a host thread.

``wardian do`` has its command as pid 1. The Python API starts and ends commands at will, so its
pid 1 is the kernel's own: it never runs guest code, every command is its child, orphans become its
children, and zombies are reaped at once. Its task is also the one on whose behalf the API reads and
writes files. Whoever makes an :class:`Init` (``sdk.server``) is told of the end of each command.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import HostMapping, HostProcess
from wardian.sentry.errno import EFAULT
from wardian.sentry.kernel.credentials import Credentials, root_credentials
from wardian.sentry.kernel.exec import load_first
from wardian.sentry.kernel.exit import exit_group
from wardian.sentry.kernel.fdtable import FDTable
from wardian.sentry.kernel.fscontext import FSContext
from wardian.sentry.kernel.process_group import ProcessGroup, Session
from wardian.sentry.kernel.rlimits import Rlimits
from wardian.sentry.kernel.signal_numbers import SIG_IGN, SIGCHLD, SIGKILL
from wardian.sentry.kernel.signals import SignalActions, TaskSignals
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.kernel.waitqueue import Waiter, WaitQueue
from wardian.sentry.mm.memory import Memory

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.platform.stub.engine import StubEngine
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.mm.image import ProgramImage

NAME: Final = b"wardian-init"
UMASK: Final = 0o022


class NoProcess(HostProcess):
    """What a task without a host process has instead: no memory, no time used."""

    def read(self, address: int, count: int) -> bytes:
        if count:
            raise EFAULT("no host process")
        return b""

    def read_some(self, address: int, count: int) -> bytes:
        return b""

    def write(self, address: int, data: bytes) -> None:
        raise EFAULT("no host process")

    def maps(self) -> list[HostMapping]:
        return []

    def brk_range(self) -> tuple[int, int]:
        return 0, 0

    def cpu_time_ns(self) -> int:
        return 0

    def resident_bytes(self) -> int:
        return 0

    def set_limit(self, resource: int, soft: int, besides: int) -> None:
        return

    def kill(self) -> None:
        return


class Ended:
    """What is left of a command."""

    def __init__(self, group: ThreadGroup) -> None:
        self.pid = group.pid
        self.wait_status = group.exit_code
        self.cpu_ns = group.cpu_time_ns() + group.children_cpu_ns
        self.peak_resident = max(group.peak_resident, group.children_peak_resident)
        self.wall_ns = group.kernel.clock.monotonic_ns() - group.start_ns
        self.host_kills = group.host_kills


class Init(Waiter):
    """Pid 1. ``ended`` is called for each command, once, before its number is free again; it must
    not raise."""

    def __init__(self, kernel: Kernel, engine: StubEngine, ended: Callable[[Ended], None]) -> None:
        self.kernel = kernel
        self.engine = engine
        self.ended = ended
        self.commands: dict[int, ThreadGroup] = {}  # running ones by pid
        kernel.vdso = engine.vdso
        self.task = self.make_task(kernel.pids.allocate(), None, root_credentials(), UMASK)
        group = self.task.group
        group.unkillable = True
        group.cmdline = NAME + b"\0"
        group.actions.get(SIGCHLD).handler = SIG_IGN  # kernel.exit reaps for us
        group.wait_queue.add(self, 0)
        self.task.name = NAME
        self.task.parked = True  # asleep, for ps(1)
        kernel.init = group
        enter(self.task)

    def make_task(
        self, pid: int, parent: ThreadGroup | None, credentials: Credentials, umask: int
    ) -> Task:
        """A process without a program, standing in ``/``, that nobody can see yet."""
        kernel = self.kernel
        own_group = ProcessGroup(pid, Session(pid, None))
        group = ThreadGroup(kernel, pid, parent, own_group, SignalActions(), Rlimits())
        root = kernel.mounts.root_path()
        fs = FSContext(root, root, umask)
        return Task(
            kernel, pid, group, credentials, FDTable(), fs, Memory(NoProcess()), TaskSignals()
        )

    # -- commands ----------------------------------------------------------------------------------
    def prepare(self, credentials: Credentials) -> Task:
        """A task to be given descriptors and a directory, then :meth:`load` and :meth:`start`;
        else :meth:`discard`."""
        return self.make_task(self.kernel.pids.allocate(), self.task.group, credentials, UMASK)

    def load(self, task: Task, path: bytes, argv: list[bytes], envp: list[bytes]) -> ProgramImage:
        """The program of a prepared task; raises what execve(2) may, and may be tried again."""
        return load_first(task, path, argv, envp)

    def start(self, task: Task, image: ProgramImage) -> None:
        """The command begins, at once or when a host process is free."""
        group = task.group
        enter(task)
        self.task.group.children.append(group)
        self.commands[group.pid] = group
        self.engine.launch(image, task)

    def discard(self, task: Task) -> None:
        """A prepared task is not wanted after all."""
        task.files.leave()

    def woken(self, queue: WaitQueue, events: int) -> None:
        """A child of ours changed state."""
        if self.task.exited:
            return  # the end of the sandbox, not of a command
        for group in list(self.commands.values()):
            if group.zombie:
                del self.commands[group.pid]
                leader = group.leader
                if leader is not None and leader.image is not None:
                    self.engine.forget_start(leader)
                self.ended(Ended(group))

    def end_tree(self, group: ThreadGroup) -> None:
        """SIGKILL for a command, all its descendants, and what else is in its session."""
        doomed = [group]
        for parent in doomed:  # grows meanwhile
            doomed += parent.children
        sid = group.pid
        doomed += [g for g in self.kernel.pids.groups() if g.session.sid == sid]
        for member in doomed:
            if not member.zombie and member is not self.task.group:
                exit_group(member, SIGKILL)

    def end(self) -> None:
        """The end of the sandbox (pid_namespaces(7))."""
        exit_group(self.task.group, SIGKILL)


def enter(task: Task) -> None:
    """Make a new process visible, as leader of a session of its own."""
    group = task.group
    group.tasks.append(task)
    group.leader = task
    task.kernel.pids.add_task(task)
    task.kernel.pids.new_session(group)
