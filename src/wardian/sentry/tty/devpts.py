"""devpts (Documentation/filesystems/devpts.rst): ``ptmx`` and one node per open pseudoterminal.

Each instance numbers its own pairs. ``Kernel.devpts`` is the one that device 5:2 opens; boot mounts
it on /dev/pts. :func:`register_terminals` gives /dev/tty and /dev/ptmx to ``kernel.devices``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, EIO, ENOSPC
from wardian.sentry.fs.devices import CONSOLE, PTMX, TTY, DeviceTable, Driver, make_dev
from wardian.sentry.tty.pty import UNIX98_SLAVE_MAJOR, MasterFile, Pty
from wardian.sentry.tty.tty import Terminal
from wardian.sentry.tty.tty_file import open_controlling, open_terminal
from wardian.sentry.vfs.file import O_NOCTTY, File
from wardian.sentry.vfs.filesystems import FileSystemType
from wardian.sentry.vfs.inode import (
    S_IFCHR,
    S_IFDIR,
    AttributeChange,
    Attributes,
    DirEntry,
    Inode,
    StatFs,
    SuperBlock,
)
from wardian.sentry.vfs.libfs import DirectoryFile, SimpleInode, dots
from wardian.sentry.vfs.trust import Trust

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

DEVPTS_SUPER_MAGIC: Final = 0x1CD1
MAX_PTYS: Final = 4096  # /proc/sys/kernel/pty/max
ROOT_INO: Final = 1
PTMX_INO: Final = 2
FIRST_SLAVE_INO: Final = 3
TTY_GID: Final = 5


class DevPts(SuperBlock):
    """One instance. ``gid`` and ``mode`` are those of new slaves; gid -1 means the opener's."""

    name = "devpts"

    def __init__(
        self,
        kernel: Kernel,
        dev: int,
        gid: int = TTY_GID,
        mode: int = 0o620,
        ptmx_mode: int = 0o666,
    ) -> None:
        super().__init__(dev)
        self.kernel = kernel
        self.slave_gid = gid
        self.slave_mode = mode
        self.ptys: dict[int, Pty] = {}
        self.slaves: dict[int, SlaveInode] = {}
        self.top = PtsRoot(self)
        self.trust = Trust(None, 0)
        self.ptmx = PtmxInode(self, ptmx_mode)

    def root(self) -> Inode:
        return self.top

    def statfs(self) -> StatFs:
        return StatFs(DEVPTS_SUPER_MAGIC)

    def options(self) -> str:
        gid = f",gid={self.slave_gid}" if self.slave_gid >= 0 else ""
        return f"{gid},mode={self.slave_mode:03o},ptmxmode={self.ptmx.mode & 0o777:03o}"

    def new_pty(self, uid: int, gid: int) -> Pty:
        """A pair with the lowest free number; ENOSPC."""
        index = 0
        while index in self.ptys:
            index += 1
        if index >= MAX_PTYS:
            raise ENOSPC("no pseudoterminal is free")
        pty = Pty(self.kernel, index, self)
        self.ptys[index] = pty
        owner = self.slave_gid if self.slave_gid >= 0 else gid
        self.slaves[index] = SlaveInode(self, pty, self.slave_mode, uid, owner)
        return pty

    def slave_inode(self, index: int) -> Inode | None:
        """The node of a live pair."""
        return self.slaves.get(index)

    def forget(self, pty: Pty) -> None:
        """The master is closed: number and name are free again."""
        if self.ptys.get(pty.index) is pty:
            del self.ptys[pty.index]
            del self.slaves[pty.index]


class PtsInode(SimpleInode):
    """What the three kinds of inodes share."""

    def __init__(self, sb: DevPts, ino: int, mode: int, uid: int, gid: int, rdev: int) -> None:
        super().__init__(sb, ino, mode, uid, gid, sb.kernel.clock.realtime_ns())
        self.instance = sb
        self.rdev = rdev

    def getattr(self) -> Attributes:
        a = super().getattr()
        a.rdev = self.rdev
        a.blocksize = 1024
        a.nlink = 2 if self.is_dir else 1
        return a

    def setattr(self, change: AttributeChange) -> None:
        super().setattr(change)
        self.ctime_ns = self.instance.kernel.clock.realtime_ns()


class PtsRoot(PtsInode):
    """The directory."""

    def __init__(self, sb: DevPts) -> None:
        super().__init__(sb, ROOT_INO, S_IFDIR | 0o755, 0, 0, 0)

    def lookup(self, name: bytes) -> Inode | None:
        if name == b"ptmx":
            return self.instance.ptmx
        if not name.isdigit() or len(name) > 5 or (name[0] == 48 and len(name) > 1):
            return None
        return self.instance.slaves.get(int(name))

    def open(self, task: Task, flags: int) -> File:
        return PtsDirectory(self, flags)


class PtsDirectory(DirectoryFile):
    """The open directory; positions: 0 ``.``, 1 ``..``, 2 ptmx, 3 + number."""

    def __init__(self, inode: PtsRoot, flags: int) -> None:
        super().__init__(inode, flags)
        self.directory = inode

    def readdir(self, position: int) -> list[DirEntry]:
        entries = dots(position, ROOT_INO, ROOT_INO)
        entries.append(DirEntry(b"ptmx", PTMX_INO, S_IFCHR, 3))
        slaves = self.directory.instance.slaves
        for index in sorted(slaves):
            entries.append(DirEntry(b"%d" % index, slaves[index].ino, S_IFCHR, 4 + index))
        return [entry for entry in entries if entry.position > position]


class PtmxInode(PtsInode):
    """``ptmx``: every open makes a pair."""

    def __init__(self, sb: DevPts, mode: int) -> None:
        super().__init__(sb, PTMX_INO, S_IFCHR | mode, 0, 0, make_dev(PTMX[0], PTMX[1]))

    def open(self, task: Task, flags: int) -> File:
        return open_ptmx(task, self.instance, self, flags)


class SlaveInode(PtsInode):
    """One slave."""

    def __init__(self, sb: DevPts, pty: Pty, mode: int, uid: int, gid: int) -> None:
        super().__init__(
            sb,
            FIRST_SLAVE_INO + pty.index,
            S_IFCHR | mode,
            uid,
            gid,
            make_dev(UNIX98_SLAVE_MAJOR, pty.index),
        )
        self.pty = pty

    def open(self, task: Task, flags: int) -> File:
        if self.pty.locked:
            raise EIO("the slave is locked")
        return open_terminal(self.pty, task, self, flags)


def open_ptmx(task: Task, instance: DevPts, inode: Inode, flags: int) -> MasterFile:
    """open(2) of ptmx: a new pair, its slave locked until TIOCSPTLCK."""
    cred = task.credentials
    return MasterFile(instance.new_pty(cred.fsuid, cred.fsgid), inode, flags)


class TtyDriver(Driver):
    """Device 5:0, /dev/tty."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        return open_controlling(task, inode, flags)


class ConsoleDriver(Driver):
    """Device 5:1, /dev/console: the sandbox's own terminal when it has one."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        console = task.kernel.console
        if not isinstance(console, Terminal):
            raise EIO("no console")
        return open_terminal(console, task, inode, flags | O_NOCTTY)


class PtmxDriver(Driver):
    """Device 5:2, /dev/ptmx."""

    def open(self, task: Task, inode: Inode, flags: int) -> File:
        return open_ptmx(task, task.kernel.devpts, inode, flags)


class DevPtsType(FileSystemType):
    """``devpts`` for mount(2): every mount is an instance of its own, as on Linux since 4.7."""

    def make(self, task: Task, source: bytes, options: bytes) -> SuperBlock:
        gid, mode, ptmx_mode = -1, 0o600, 0
        for option in options.split(b","):
            key, _, value = option.partition(b"=")
            if key == b"gid":
                gid = number(value, 10)
            elif key == b"mode":
                mode = number(value, 8) & 0o777
            elif key == b"ptmxmode":
                ptmx_mode = number(value, 8) & 0o777
            elif key not in (b"", b"newinstance", b"uid", b"max"):
                raise EINVAL("mount option")
        return DevPts(task.kernel, task.kernel.anonymous_dev(), gid, mode, ptmx_mode)


def number(text: bytes, base: int) -> int:
    """The value of a mount option; EINVAL."""
    try:
        found = int(text, base)
    except ValueError:
        raise EINVAL("mount option") from None
    if not 0 <= found <= 0xFFFFFFFF:
        raise EINVAL("mount option")
    return found


def register_terminals(devices: DeviceTable) -> None:
    """Drive the terminal devices."""
    devices.register(TTY, TtyDriver())
    devices.register(CONSOLE, ConsoleDriver())
    devices.register(PTMX, PtmxDriver())
