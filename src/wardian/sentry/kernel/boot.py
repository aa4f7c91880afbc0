"""Building a kernel: its parts, its root file system, and its first process."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.platform.stub.zygote import ZygoteError
from wardian.sentry.errno import ENOENT, LinuxError
from wardian.sentry.fs.devtmpfs import DevTmpFS
from wardian.sentry.fs.proc import ProcFS
from wardian.sentry.fs.sysfs import CgroupFS, SysFS
from wardian.sentry.fs.tmpfs import TmpFS, TmpFSType
from wardian.sentry.hostcpu import read_host_cpu
from wardian.sentry.kernel.credentials import Credentials
from wardian.sentry.kernel.dispatch import Dispatcher
from wardian.sentry.kernel.exec import load_first
from wardian.sentry.kernel.fdtable import FDTable
from wardian.sentry.kernel.fscontext import FSContext
from wardian.sentry.kernel.kernel import Kernel
from wardian.sentry.kernel.pids import PidTable
from wardian.sentry.kernel.process_group import ProcessGroup, Session
from wardian.sentry.kernel.rlimits import Rlimits
from wardian.sentry.kernel.signals import SignalActions, TaskSignals
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import ThreadGroup
from wardian.sentry.kernel.uts import UTSNamespace
from wardian.sentry.mm.memory import Memory
from wardian.sentry.mm.program_file import AT_FDCWD, read_at
from wardian.sentry.mm.unmapped import UnmappedFiles
from wardian.sentry.net.stack import NetworkStack
from wardian.sentry.tty.devpts import DevPts, DevPtsType, register_terminals
from wardian.sentry.vfs import dcache, namei
from wardian.sentry.vfs.dentry import MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_RDONLY, Mount, Path
from wardian.sentry.vfs.filesystems import SharedFileSystem
from wardian.sentry.vfs.inode import S_IFREG
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
    kernel.network = NetworkStack(kernel)
    kernel.file_space.reclaimer = UnmappedFiles(kernel)
    kernel.host_cpu = read_host_cpu()
    return kernel


def mount_root(kernel: Kernel, sb: SuperBlock, source: str) -> None:
    """Give the kernel its root file system."""
    kernel.mounts = MountNamespace(sb, source)


def first_task(kernel: Kernel, process: HostProcess, credentials: Credentials, umask: int) -> Task:
    """Task 1: leader of its own session, with no descriptors, standing in ``/``."""
    pid = kernel.pids.allocate()
    group = ThreadGroup(
        kernel, pid, None, ProcessGroup(pid, Session(pid, None)), SignalActions(), Rlimits()
    )
    root = kernel.mounts.root_path()
    task = Task(
        kernel,
        pid,
        group,
        credentials,
        FDTable(),
        FSContext(root, root, umask),
        Memory(process),
        TaskSignals(),
    )
    group.tasks.append(task)
    group.leader = task
    kernel.pids.add_task(task)
    kernel.init = group
    kernel.pids.new_session(group)
    return task


def start_program(
    task: Task, engine: StubEngine, path: bytes, argv: list[bytes], envp: list[bytes]
) -> None:
    """Load the first program and let it run; raises what execve(2) may."""
    task.kernel.vdso = engine.vdso
    engine.launch(load_first(task, path, argv, envp), task)
    while task.host is None:
        if engine.zygote_gone:
            raise ZygoteError(engine.zygote.why_dead())
        engine.poll(-1)


def make_directories(task: Task, path: bytes) -> Path | None:
    """The place ``path``, made when missing; None when it cannot be made (a read-only root)."""
    place = task.fs.root
    for name in [part for part in path.split(b"/") if part]:
        try:
            place = namei.resolve(task, AT_FDCWD, path_below(task, place, name))
        except ENOENT:
            try:
                made = place.inode.mkdir(name, 0o755, 0, 0)
                place = Path(place.mount, dcache.instantiate(place.dentry, name, made))
            except LinuxError:
                return None
    return place


def path_below(task: Task, place: Path, name: bytes) -> bytes:
    """The absolute path of ``name`` in ``place``."""
    return namei.path_text(place, task.fs.root).rstrip(b"/") + b"/" + name


def make_file(task: Task, path: bytes) -> None:
    """An empty file at ``path``, to mount a single host file on."""
    directory, _, name = path.rpartition(b"/")
    place = make_directories(task, directory)
    if place is not None and place.inode.lookup(name) is None:
        dcache.instantiate(place.dentry, name, place.inode.create(name, 0o644, 0, 0))


def read_small_file(task: Task, path: bytes) -> bytes:
    """The first 64 KiB of a regular file of the sandbox; empty when there is none."""
    try:
        place = namei.resolve(task, AT_FDCWD, path)
        if place.inode.kind != S_IFREG:
            return b""
        return read_at(place.inode.open(task, 0), 0, 65536)
    except LinuxError:
        return b""


def mount_at(task: Task, sb: SuperBlock, path: bytes, flags: int, source: str) -> Mount | None:
    """Mount ``sb`` on ``path``; None when there is no such place and it cannot be made."""
    place = make_directories(task, path)
    if place is None:
        return None
    return task.kernel.mounts.mount(sb, place, flags, source)


def mount_system(task: Task) -> None:
    """The file systems every container has: proc, sys, dev, devpts, shm
    (OCI runtime spec, config-linux)."""
    kernel = task.kernel
    nosuid = MS_NOSUID | MS_NODEV | MS_NOEXEC
    register_terminals(kernel.devices)
    kernel.devpts = DevPts(kernel, kernel.anonymous_dev())
    proc, sys = ProcFS(kernel), SysFS(kernel)
    kernel.proc = proc
    kernel.filesystems = {
        b"tmpfs": TmpFSType(),
        b"proc": SharedFileSystem(proc),
        b"sysfs": SharedFileSystem(sys),
        b"devpts": DevPtsType(),
    }
    mount_at(task, proc, b"/proc", nosuid, "proc")
    mount_at(task, sys, b"/sys", nosuid | MS_RDONLY, "sysfs")
    mount_at(task, CgroupFS(kernel), b"/sys/fs/cgroup", nosuid | MS_RDONLY, "cgroup")
    if mount_at(
        task, DevTmpFS(kernel.anonymous_dev(), kernel.clock), b"/dev", MS_NOSUID, "devtmpfs"
    ):
        mount_at(task, kernel.devpts, b"/dev/pts", MS_NOSUID | MS_NOEXEC, "devpts")
        shm = TmpFS(kernel.anonymous_dev(), kernel.clock, whole=kernel.file_space)
        mount_at(task, shm, b"/dev/shm", MS_NOSUID | MS_NODEV, "tmpfs")
