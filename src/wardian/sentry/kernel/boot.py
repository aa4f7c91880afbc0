"""Building a kernel: its parts, its root file system, and its first process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.kernel.credentials import Credentials
from wardian.sentry.kernel.dispatch import Dispatcher
from wardian.sentry.kernel.fdtable import FDTable
from wardian.sentry.kernel.fscontext import FSContext
from wardian.sentry.kernel.kernel import Kernel
from wardian.sentry.kernel.pids import PidTable
from wardian.sentry.kernel.process_group import ProcessGroup, Session
from wardian.sentry.kernel.rlimits import Rlimits
from wardian.sentry.kernel.signals import SignalActions, TaskSignals
from wardian.sentry.kernel.task import RUNNING, Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.kernel.uts import UTSNamespace
from wardian.sentry.mm.image import build_image
from wardian.sentry.mm.memory import Memory
from wardian.sentry.mm.program_file import AT_FDCWD, open_exec
from wardian.sentry.vfs.mount_tree import MountNamespace

if TYPE_CHECKING:
    from wardian.platform.interface import HostProcess
    from wardian.platform.stub.engine import StubEngine
    from wardian.sentry.hostport import Clock, HostPoller
    from wardian.sentry.vfs.inode import SuperBlock


def make_kernel(clock: Clock, poller: HostPoller, hostname: bytes) -> Kernel:
    """A kernel without file systems and processes."""
    kernel = Kernel(clock, poller)
    kernel.hooks = Dispatcher(kernel)
    kernel.pids = PidTable()
    kernel.uts = UTSNamespace(hostname)
    return kernel


def mount_root(kernel: Kernel, sb: SuperBlock, source: str) -> None:
    """Give the kernel its root file system."""
    kernel.mounts = MountNamespace(sb, source)


def first_task(kernel: Kernel, process: HostProcess, credentials: Credentials, umask: int) -> Task:
    """Task 1: leader of its own session, with no descriptors, standing in ``/``."""
    pid = kernel.pids.allocate()
    group = ThreadGroup(kernel, pid, None, ProcessGroup(pid, Session(pid, None)), SignalActions(), Rlimits())
    root = kernel.mounts.root_path()
    task = Task(kernel, pid, group, credentials, FDTable(), FSContext(root, root, umask), Memory(process),
                TaskSignals())
    group.tasks.append(task)
    group.leader = task
    kernel.pids.add_task(task)
    kernel.init = group
    kernel.pids.new_session(group)
    return task


def start_program(task: Task, engine: StubEngine, path: bytes, argv: list[bytes], envp: list[bytes]) -> None:
    """Load the first program and let it run; raises what execve(2) may."""
    kernel = task.kernel
    kernel.vdso = engine.vdso
    file = open_exec(task, AT_FDCWD, path)
    file.hold()
    try:
        image = build_image(kernel, task, file, argv, envp, path, kernel.vdso)
    finally:
        file.drop()
    group = task.group
    group.exe, group.cmdline, group.environ = image.exe, image.cmdline, image.environ
    group.has_execed = True
    task.name = image.name
    task.credentials = image.credentials
    host = engine.launch(image)
    host.owner = task
    task.host = host
    task.host_state = RUNNING
    task.memory.process = host.process
    image.settle(task.memory)
    image.release()
