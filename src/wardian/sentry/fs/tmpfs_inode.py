"""Inodes of tmpfs that are no directories: files, symbolic links, nodes; and open files.

File data is :class:`~wardian.sentry.fs.contents.Contents`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EEXIST,
    EINVAL,
    ENODATA,
    ENOSPC,
    ENXIO,
    EPERM,
)
from wardian.sentry.fs.contents import Contents
from wardian.sentry.fs.devices import open_device
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.dentry import MS_NOATIME
from wardian.sentry.vfs.file import O_NOATIME, File, MapSource
from wardian.sentry.vfs.file_part import FilePart
from wardian.sentry.vfs.inode import (
    S_IFCHR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    AttributeChange,
    Attributes,
)
from wardian.sentry.vfs.libfs import SimpleInode
from wardian.sentry.vfs.seek import SEEK_DATA, SEEK_HOLE, seek_regular

if TYPE_CHECKING:
    from wardian.sentry.fs.tmpfs import TmpFS
    from wardian.sentry.kernel.task import Task

XATTR_BYTES_MAX: Final = 128 * 1024

F_SEAL_SEAL: Final = 0x01
F_SEAL_SHRINK: Final = 0x02
F_SEAL_GROW: Final = 0x04
F_SEAL_WRITE: Final = 0x08
F_SEAL_FUTURE_WRITE: Final = 0x10
F_SEAL_EXEC: Final = 0x20

XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2


class TmpInode(SimpleInode):
    """What all kinds of inodes have: attributes and extended attributes. Used as is for nodes."""

    def __init__(self, sb: TmpFS, mode: int, uid: int, gid: int) -> None:
        self.fs = sb
        self.counted = False
        sb.quota.add_inode()
        self.counted = True
        now = sb.clock.realtime_ns()
        super().__init__(sb, sb.next_ino(), mode, uid, gid, now)
        self.nlink = 1
        self.rdev = 0
        self.btime_ns = now
        self.xattrs: dict[bytes, bytes] | None = None
        self.xattr_bytes = 0

    def __del__(self) -> None:
        if self.counted:
            self.fs.quota.count_inodes(-1)

    def size(self) -> int:
        """st_size."""
        return 0

    def blocks(self) -> int:
        """st_blocks."""
        return 0

    def getattr(self) -> Attributes:
        a = super().getattr()
        a.nlink = self.nlink
        a.rdev = self.rdev
        a.size = self.size()
        a.blocks = self.blocks()
        a.btime_ns = self.btime_ns
        return a

    def setattr(self, change: AttributeChange) -> None:
        now = self.fs.clock.realtime_ns()
        if change.size is not None:
            self.resize(change.size)
            self.mtime_ns = now
        super().setattr(change)
        self.ctime_ns = now

    def resize(self, length: int) -> None:
        """truncate(2)."""
        raise EINVAL("not a regular file")

    def open(self, task: Task, flags: int) -> File:
        if self.mode & S_IFMT == S_IFIFO:
            from wardian.sentry.fs.pipe import open_fifo

            return open_fifo(task, self, flags)
        if self.mode & S_IFMT == S_IFCHR:
            return open_device(task, self, self.rdev, flags)
        raise ENXIO("no such device, or a socket")

    def changed(self) -> None:
        """Contents changed now: mtime and ctime."""
        self.mtime_ns = self.ctime_ns = self.fs.clock.realtime_ns()

    def accessed(self, file: File) -> None:
        """Read now: atime, by the rules of relatime (mount(8))."""
        if self.atime_ns > self.mtime_ns and self.atime_ns > self.ctime_ns:
            return
        if file.flags & O_NOATIME:
            return
        path = file.path
        if path is not None and (path.mount.flags & MS_NOATIME or path.mount.read_only):
            return
        self.atime_ns = self.fs.clock.realtime_ns()

    # -- extended attributes ---------------------------------------------------------------------
    def getxattr(self, name: bytes) -> bytes:
        if self.xattrs is None or name not in self.xattrs:
            raise ENODATA("no such attribute")
        return self.xattrs[name]

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        xattrs = self.xattrs
        if xattrs is None:
            xattrs = {}
        old = xattrs.get(name)
        if old is None and flags & XATTR_REPLACE:
            raise ENODATA("no such attribute")
        if old is not None and flags & XATTR_CREATE:
            raise EEXIST("the attribute exists")
        total = self.xattr_bytes + len(value) - (len(old) if old is not None else -len(name))
        if total > XATTR_BYTES_MAX:
            raise ENOSPC("too many extended attributes")
        xattrs[name] = value
        self.xattrs = xattrs
        self.xattr_bytes = total
        self.ctime_ns = self.fs.clock.realtime_ns()

    def listxattr(self) -> list[bytes]:
        return list(self.xattrs) if self.xattrs is not None else []

    def removexattr(self, name: bytes) -> None:
        if self.xattrs is None or name not in self.xattrs:
            raise ENODATA("no such attribute")
        self.xattr_bytes -= len(name) + len(self.xattrs.pop(name))
        self.ctime_ns = self.fs.clock.realtime_ns()


class TmpSymlink(TmpInode):
    """A symbolic link."""

    def __init__(self, sb: TmpFS, target: bytes, uid: int, gid: int) -> None:
        super().__init__(sb, S_IFLNK | 0o777, uid, gid)
        self.target = target

    def size(self) -> int:
        return len(self.target)

    def readlink(self) -> bytes:
        return self.target


# -- regular files -------------------------------------------------------------------------------
class TmpRegular(TmpInode):
    """A regular file. ``seals`` are those of fcntl(2); without memfd_create there can be none."""

    def __init__(self, sb: TmpFS, mode: int, uid: int, gid: int) -> None:
        super().__init__(sb, S_IFREG | (mode & 0o7777), uid, gid)
        self.contents = Contents(sb.quota)
        self.seals = F_SEAL_SEAL

    def size(self) -> int:
        return self.contents.size

    def blocks(self) -> int:
        return self.contents.blocks()

    def resize(self, length: int) -> None:
        contents = self.contents
        if self.seals & F_SEAL_SHRINK and length < contents.size:
            raise EPERM("sealed against shrinking")
        if self.seals & F_SEAL_GROW and length > contents.size:
            raise EPERM("sealed against growing")
        contents.truncate(length)

    def open(self, task: Task, flags: int) -> File:
        return TmpFile(self, flags)

    def add_seals(self, seals: int) -> None:
        """fcntl(2) F_ADD_SEALS; EPERM once F_SEAL_SEAL is set, EBUSY while writable mappings
        exist."""
        if self.seals & F_SEAL_SEAL:
            raise EPERM("sealed against seals")
        if seals & ~0x3F:
            raise EINVAL("unknown seal")
        host_seals = seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
        if host_seals:
            self.contents.seal(host_seals)
        self.seals |= seals


class TmpFile(File):
    """An open regular file."""

    def __init__(self, inode: TmpRegular, flags: int) -> None:
        super().__init__(inode, flags)
        self.node = inode

    def read(self, sink: Sink, offset: int) -> int:
        node = self.node
        n = node.contents.read(sink, offset)
        node.accessed(self)
        return n

    def write(self, source: Source, offset: int) -> int:
        node = self.node
        if source.left == 0:
            return 0
        if node.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE):
            raise EPERM("sealed against writing")
        if node.seals & F_SEAL_GROW and offset + source.left > node.contents.size:
            raise EPERM("sealed against growing")
        n = node.contents.write(source, offset)
        node.changed()
        return n

    def end(self) -> int:
        return self.node.contents.size

    @property
    def seekable(self) -> bool:
        return True

    def lseek(self, offset: int, whence: int) -> int:
        contents = self.node.contents
        if whence in (SEEK_DATA, SEEK_HOLE):
            self.offset = contents.seek(offset, whence)
            return self.offset
        return seek_regular(self, offset, whence, contents.size)

    def pollable(self) -> bool:
        return False

    def fsync(self, data_only: bool) -> None:
        pass

    def truncate(self, length: int) -> None:
        change = AttributeChange()
        change.size = length
        self.node.setattr(change)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        node = self.node
        if node.seals & F_SEAL_GROW and not mode & 1 and offset + length > node.contents.size:
            raise EPERM("sealed against growing")
        if node.seals & F_SEAL_WRITE and mode & 2:
            raise EPERM("sealed against writing")
        node.contents.allocate(mode, offset, length)
        node.changed()

    def part(self, offset: int, count: int) -> FilePart | None:
        contents = self.node.contents
        if contents.fd < 0:
            return None
        self.node.accessed(self)
        return FilePart(contents, contents.fd, offset, count)

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        node = self.node
        sealed = node.seals & (F_SEAL_WRITE | F_SEAL_FUTURE_WRITE)
        if shared and writable and sealed:
            raise EPERM("sealed against writing")
        contents = node.contents
        return MapSource(contents.memory(), offset, contents.size)


def unnamed_file(fs: TmpFS, mode: int, uid: int, gid: int) -> TmpRegular:
    """The inode of a memfd: not linked anywhere, not sealed yet."""
    inode = TmpRegular(fs, mode, uid, gid)
    inode.nlink = 0
    inode.seals = 0
    return inode
