"""Lower files of an overlay that are not directories, and their copy-up.

Copying up has two steps, as with overlayfs' metacopy: attributes first (chmod, chown, utimes,
link, rename need no more), the data of a regular file when it is opened for writing or truncated.
Until then reads come from the lower file. Descriptions that were opened before the copy-up go on
with the upper data; what was mapped before stays as it was, a documented peculiarity of overlayfs
too.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, ENOSPC, ENXIO, LinuxError
from wardian.sentry.fs.contents import Contents
from wardian.sentry.fs.devices import open_device
from wardian.sentry.fs.host_files import HostFile
from wardian.sentry.fs.host_inode import HostRegular
from wardian.sentry.fs.pipe import open_fifo
from wardian.sentry.fs.tmpfs_inode import TmpFile, TmpInode, TmpRegular, TmpSymlink
from wardian.sentry.vfs.buffers import BytesSink, BytesSource, Sink
from wardian.sentry.vfs.file import O_ACCMODE, O_RDONLY, File, MapSource
from wardian.sentry.vfs.inode import (
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    AttributeChange,
    Attributes,
    Inode,
)
from wardian.sentry.vfs.seek import SEEK_DATA, SEEK_END, SEEK_HOLE, seek_regular

if TYPE_CHECKING:
    from wardian.sentry.fs.overlay import OverlayDir, OverlayFS
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file_part import FilePart

PIECE: Final = 1 << 20


def shown(attributes: Attributes, inode: Inode, nlink: int) -> Attributes:
    """A copy of another layer's ``attributes`` with the overlay's numbers."""
    result = Attributes()
    result.dev = inode.sb.dev
    result.ino = inode.ino
    result.mode = attributes.mode
    result.nlink = nlink
    result.uid = attributes.uid
    result.gid = attributes.gid
    result.rdev = attributes.rdev
    result.size = attributes.size
    result.blocksize = attributes.blocksize
    result.blocks = attributes.blocks
    result.atime_ns = attributes.atime_ns
    result.mtime_ns = attributes.mtime_ns
    result.ctime_ns = attributes.ctime_ns
    result.btime_ns = attributes.btime_ns
    return result


def copy_metadata(lower: Inode, upper: TmpInode) -> None:
    """Times and extended attributes; owner and mode were given when ``upper`` was made."""
    attributes = lower.getattr()
    try:
        for name in lower.listxattr():
            upper.setxattr(name, lower.getxattr(name), 0)
    except ENOSPC:
        raise
    except LinuxError:
        pass  # unreadable for the Sentry: the guest would not have seen them either
    upper.atime_ns = attributes.atime_ns
    upper.mtime_ns = attributes.mtime_ns
    upper.ctime_ns = attributes.ctime_ns
    upper.btime_ns = attributes.btime_ns


def open_lower(lower: Inode) -> File:
    """A description of a lower regular file, for reading."""
    if isinstance(lower, HostRegular):
        return HostFile(lower, O_RDONLY, lower.share_handle())
    if isinstance(lower, TmpRegular):
        return TmpFile(lower, O_RDONLY)
    raise EINVAL("not a regular file of a known lower file system")


class OverlayNode(Inode):
    """A file, link or node that was found in the lower tree.

    ``upper is None``: untouched. Both layers: attributes above, data below. ``lower is None``: all
    above.
    """

    def __init__(self, fs: OverlayFS, parent: OverlayDir, name: bytes, lower: Inode) -> None:
        super().__init__(fs, lower.ino, lower.mode)
        self.fs = fs
        self.uid = lower.uid
        self.gid = lower.gid
        self.parent = parent
        self.name = name
        self.lower: Inode | None = lower
        self.upper: TmpInode | None = None
        self.lost = 0  # lower names that no longer show
        self.lower_links = 0  # lower names, once there is an upper inode

    def found_at(self, parent: OverlayDir, name: bytes) -> None:
        """Looked up again, perhaps under another of its names."""
        if self.upper is None:
            self.parent = parent
            self.name = name

    def still_below(self, parent: OverlayDir, name: bytes, directory: Inode) -> bool:
        """Is our untouched lower file still at ``name`` in the lower ``directory``?"""
        lower = self.lower
        if lower is None or self.upper is not None or not directory.still(name, lower):
            return False
        self.parent = parent
        self.name = name
        self.mode, self.uid, self.gid = lower.mode, lower.uid, lower.gid
        return True

    # -- attributes --------------------------------------------------------------------------------
    def seen_attributes(self) -> Attributes:
        lower = self.lower
        if self.upper is None and lower is not None and self.lost == 0:
            attributes = lower.seen_attributes()
            if attributes.ino == self.ino and attributes.dev == self.sb.dev:
                return attributes
        return self.getattr()

    def getattr(self) -> Attributes:
        upper, lower = self.upper, self.lower
        if upper is None:
            assert lower is not None
            attributes = lower.getattr()
            if self.lost == 0 and attributes.ino == self.ino and attributes.dev == self.sb.dev:
                return attributes
            return shown(attributes, self, max(0, attributes.nlink - self.lost))
        attributes = upper.getattr()
        attributes.ino = self.ino
        attributes.nlink += max(0, self.lower_links - self.lost)
        if lower is not None:
            data = lower.getattr()
            attributes.size = data.size
            attributes.blocks = data.blocks
        return attributes

    def setattr(self, change: AttributeChange) -> None:
        upper = self.make_upper()
        if change.size is not None and self.lower is not None:
            self.copy_data(change.size)
        upper.setattr(change)
        self.mode, self.uid, self.gid = upper.mode, upper.uid, upper.gid

    # -- copy-up -----------------------------------------------------------------------------------
    def make_upper(self) -> TmpInode:
        """The upper inode, made now when there is none yet; data stays below."""
        upper = self.upper
        if upper is not None:
            return upper
        lower = self.lower
        assert lower is not None
        upper = self.new_upper(lower)
        upper.nlink = 0
        copy_metadata(lower, upper)
        self.lower_links = lower.getattr().nlink
        if self.name not in self.parent.whiteouts:
            self.parent.place(self.name, upper)
            upper.nlink = 1
            self.lost += 1
        self.upper = upper
        if upper.kind != S_IFREG:
            self.lower = None
        self.fs.copied(self, upper)
        if self.lost < self.lower_links:
            self.fs.kept[self.ino] = self
        return upper

    def new_upper(self, lower: Inode) -> TmpInode:
        """An upper inode of the same kind."""
        kind = self.mode & S_IFMT
        if kind == S_IFREG:
            return TmpRegular(self.fs, self.mode, self.uid, self.gid)
        if kind == S_IFLNK:
            return TmpSymlink(self.fs, lower.readlink(), self.uid, self.gid)
        upper = TmpInode(self.fs, self.mode, self.uid, self.gid)
        upper.rdev = lower.getattr().rdev
        return upper

    def copy_data(self, limit: int = -1) -> None:
        """Bring the first ``limit`` bytes (all: -1) of the data up; on ENOSPC it stays below."""
        lower, upper = self.lower, self.upper
        assert lower is not None and isinstance(upper, TmpRegular)
        contents = Contents(self.fs.quota)
        if limit != 0:
            file = open_lower(lower).hold()
            try:
                copy_contents(file, contents, limit)
            finally:
                file.drop()
        upper.contents = contents
        self.lower = None

    # -- names -------------------------------------------------------------------------------------
    def lost_lower_name(self) -> None:
        """A lower name of ours was hidden; the others must remember that."""
        self.lost += 1
        if self.upper is None:
            assert self.lower is not None
            self.lower_links = self.lower.getattr().nlink
        if self.lost < self.lower_links:
            self.fs.kept[self.ino] = self
        else:
            self.forget()

    def lost_upper_name(self) -> None:
        """An upper name of ours was removed."""
        self.forget()

    def forget(self) -> None:
        """Without any name left only open files hold us."""
        if self.lost < self.lower_links:
            return
        self.fs.kept.pop(self.ino, None)
        if self.upper is not None and self.upper.nlink == 0:
            self.fs.dropped(self.upper)

    # -- contents ----------------------------------------------------------------------------------
    def readlink(self) -> bytes:
        if self.upper is not None:
            return self.upper.readlink()
        assert self.lower is not None
        return self.lower.readlink()

    def open(self, task: Task, flags: int) -> File:
        kind = self.mode & S_IFMT
        if kind == S_IFIFO:
            return open_fifo(task, self, flags)
        if kind in (S_IFCHR, S_IFBLK):
            return open_device(task, self, self.getattr().rdev, flags)
        if kind != S_IFREG:
            raise ENXIO("a socket")
        if self.lower is not None:
            if flags & O_ACCMODE == O_RDONLY:
                return OverlayFile(self, flags, open_lower(self.lower))
            self.make_upper()
            self.copy_data()
        upper = self.upper
        assert isinstance(upper, TmpRegular)
        file = TmpFile(upper, flags)
        file.inode = self
        return file

    # -- extended attributes -----------------------------------------------------------------------
    def getxattr(self, name: bytes) -> bytes:
        if self.upper is not None:
            return self.upper.getxattr(name)
        assert self.lower is not None
        return self.lower.getxattr(name)

    def listxattr(self) -> list[bytes]:
        if self.upper is not None:
            return self.upper.listxattr()
        assert self.lower is not None
        return self.lower.listxattr()

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self.make_upper().setxattr(name, value, flags)

    def removexattr(self, name: bytes) -> None:
        self.make_upper().removexattr(name)


def copy_contents(file: File, contents: Contents, limit: int) -> None:
    """Copy a lower file's data; holes stay holes."""
    size = file.end()
    end = size if limit < 0 else min(size, limit)
    offset, hole = 0, 0
    while offset < end:
        if offset >= hole:
            offset, hole = next_data(file, offset, end)
            continue
        sink = BytesSink(min(PIECE, hole - offset))
        count = file.read(sink, offset)
        if count <= 0:
            break
        if contents.write(BytesSource(sink.data), offset) < count:
            raise ENOSPC("no room to copy the file up")
        offset += count
    if contents.size < end:
        contents.truncate(end)


def next_data(file: File, offset: int, end: int) -> tuple[int, int]:
    """Where data begins at or after ``offset``, and where it stops."""
    try:
        start = file.lseek(offset, SEEK_DATA)
        return start, min(end, max(start + 1, file.lseek(start, SEEK_HOLE)))
    except ENXIO:
        return end, end
    except LinuxError:
        return offset, end


class OverlayFile(File):
    """A lower file opened for reading; follows a copy-up of the data."""

    def __init__(self, inode: OverlayNode, flags: int, real: File) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.real = real.hold()
        self.below = True

    def current(self) -> File:
        """The description to read from now."""
        if self.below and self.node.lower is None:
            upper = self.node.upper
            assert isinstance(upper, TmpRegular)
            self.real.drop()
            self.real = TmpFile(upper, O_RDONLY).hold()
            self.below = False
        return self.real

    def release(self) -> None:
        self.real.drop()

    def read(self, sink: Sink, offset: int) -> int:
        return self.current().read(sink, offset)

    def end(self) -> int:
        return self.current().end()

    @property
    def seekable(self) -> bool:
        return True

    def lseek(self, offset: int, whence: int) -> int:
        if whence in (SEEK_DATA, SEEK_HOLE):
            self.offset = self.current().lseek(offset, whence)
            return self.offset
        return seek_regular(self, offset, whence, self.end() if whence == SEEK_END else 0)

    def pollable(self) -> bool:
        return False

    def fsync(self, data_only: bool) -> None:
        pass

    def part(self, offset: int, count: int) -> FilePart | None:
        return self.current().part(offset, count)

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return self.current().map(shared, writable, offset, length)
