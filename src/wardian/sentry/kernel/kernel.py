"""Kernel: the object that owns one sandbox's state (design D13). Parts hang
here; rules live with the parts."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.fs.anon import ANON_DEV, ANON_INODE_MAGIC, PIPE_DEV, PIPEFS_MAGIC, AnonFS
from wardian.sentry.fs.contents import Quota
from wardian.sentry.fs.devices import DeviceTable
from wardian.sentry.hostcpu import HostCpu
from wardian.sentry.hostport import Clock, HostPoller
from wardian.sentry.kernel.ipc import IpcNamespace
from wardian.sentry.kernel.memory_count import MemoryCount
from wardian.sentry.kernel.timers import TimerQueue
from wardian.sentry.syscalls.unimplemented import UnimplementedLog
from wardian.sentry.sysctl import Sysctls
from wardian.sentry.vfs.permissions import Protected

if TYPE_CHECKING:
    from wardian.sentry.fs.tmpfs import TmpFS
    from wardian.sentry.kernel.hooks import TaskHooks
    from wardian.sentry.kernel.pids import PidTable
    from wardian.sentry.kernel.process_group import ControllingTerminal
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.kernel.thread_group import ThreadGroup
    from wardian.sentry.kernel.uts import UTSNamespace
    from wardian.sentry.mm.alternatives import Alternatives
    from wardian.sentry.net.stack import NetworkStack
    from wardian.sentry.tty.devpts import DevPts
    from wardian.sentry.vfs.filesystems import FileSystemType
    from wardian.sentry.vfs.inode import SuperBlock
    from wardian.sentry.vfs.mount_tree import MountNamespace


class Kernel:
    """One sandbox's kernel. Two of them can live in one process."""

    def __init__(self, clock: Clock, poller: HostPoller) -> None:
        self.clock = clock
        self.poller = poller
        self.timers = TimerQueue()
        self.run_list: list[Task] = []  # unparked tasks whose handlers run next
        self.hurry = False  # one of them is not to wait for more (waitqueue.MORE)
        # Whose handler runs right now: the dispatcher sets it before each. Files are not told who
        # reads them, but a terminal (job control) and a signalfd must know.
        self.current: Task | None = None
        self.anon = AnonFS("anon_inodefs", ANON_DEV, ANON_INODE_MAGIC)
        self.pipefs = AnonFS("pipefs", PIPE_DEV, PIPEFS_MAGIC)
        self.boot_ns = clock.monotonic_ns()
        self.host_cpu = HostCpu()  # boot replaces it by hostcpu.read_host_cpu()
        self.alternatives: Alternatives | None = None  # None: programs are loaded as they are
        self.memory_limit = 0  # bytes, as --memory says; 0: none
        self.memory_count = MemoryCount()
        self.cpu_limit = 0.0  # processors, as --cpus says; 0: none
        self.devices = DeviceTable(clock)
        self.sysctls = Sysctls()
        self.ipc = IpcNamespace()
        self.unimplemented = UnimplementedLog()
        self.anonymous_devs = 0x20
        self.filesystems: dict[bytes, FileSystemType] = {}  # what mount(2) can mount, by name
        self.protected = Protected()  # sysctl fs.protected_*
        self.rename_cookie = 0  # of the last rename that inotify was told of
        self.console: ControllingTerminal | None = None  # our terminal, for /dev/console
        self.file_space = Quota()  # what all files in memory may take together
        self.shmem: TmpFS | None = None  # the internal tmpfs of memfds, made at the first one
        self.proc: SuperBlock | None = None  # forgets the names of a task that ends
        self.devpts: DevPts  # what /dev/ptmx opens; boot mounts it on /dev/pts
        self.hooks: TaskHooks  # the dispatcher, as signals and exit see it
        self.vdso = 0  # where the engine has put the vDSO in every guest process; 0: nowhere
        self.init: ThreadGroup | None = None  # pid 1; its end is the sandbox's
        self.pids: PidTable
        self.uts: UTSNamespace
        self.mounts: MountNamespace
        self.network: NetworkStack

    def anonymous_dev(self) -> int:
        """A fresh st_dev (major 0) for a file system without a device."""
        self.anonymous_devs += 1
        minor = self.anonymous_devs
        return (minor & 0xFF) | (minor & ~0xFF) << 12
