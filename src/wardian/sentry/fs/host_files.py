"""Open host files: descriptions over a host descriptor, used by ``fs.host``.

Reads and writes are positional (pread(2), pwrite(2)), so one host descriptor can serve many
descriptions: the offset is the Sentry's. Regular files do not block the host for long; they are
read inline.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import EINVAL, ENXIO, LinuxError
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import O_APPEND, File, MapSource
from wardian.sentry.vfs.file_part import FilePart
from wardian.sentry.vfs.inode import S_IFMT, DirEntry
from wardian.sentry.vfs.libfs import DirectoryFile
from wardian.sentry.vfs.seek import SEEK_CUR, SEEK_DATA, SEEK_END, SEEK_HOLE, SEEK_SET

if TYPE_CHECKING:
    from wardian.sentry.fs.host_directory import HostDirectory
    from wardian.sentry.fs.host_inode import HostRegular


class HostHandle:
    """A host descriptor of a regular file and who uses it."""

    def __init__(self, inode: HostRegular, fd: int) -> None:
        self.inode = inode
        self.fd = fd
        self.users = 0
        self.shared = False  # read-only opens share it, and it may stay open unused
        self.queued = False  # on the superblock's list of idle ones
        self.writable = False

    def drop(self) -> None:
        """One user less."""
        self.users -= 1
        if self.users > 0:
            return
        if self.shared and self.inode.handle is self:
            self.inode.fs.park_handle(self)
        else:
            self.close()

    def close(self) -> None:
        """Close the host descriptor."""
        if self.fd >= 0:
            self.inode.close_handle(self)
            self.inode.fs.host.close(self.fd)
            self.fd = -1


class HandleUse:
    """Keeps a handle open for as long as somebody has it."""

    def __init__(self, handle: HostHandle) -> None:
        self.handle = handle
        handle.users += 1

    def __del__(self) -> None:
        self.handle.drop()


class HostFile(File):
    """A regular host file."""

    def __init__(self, inode: HostRegular, flags: int, handle: HostHandle) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.handle = handle
        self.host = inode.fs.host
        if not handle.shared:
            handle.users += 1
            handle.writable = self.writable

    def release(self) -> None:
        self.handle.drop()

    # -- data ------------------------------------------------------------------------------------
    def read(self, sink: Sink, offset: int) -> int:
        return self.host.read(self.handle.fd, sink, offset)

    def write(self, source: Source, offset: int) -> int:
        total = 0
        while source.left:
            try:
                written = self.write_piece(source, offset + total)
            except LinuxError:
                if total == 0:
                    raise
                break
            total += written
            if written == 0:
                break
        return total

    def write_piece(self, source: Source, offset: int) -> int:
        """As much as the host takes at once."""
        if self.flags & O_APPEND:
            return self.host.append(self.handle.fd, source)
        return self.host.write(self.handle.fd, source, offset)

    @property
    def seekable(self) -> bool:
        return True

    def pollable(self) -> bool:
        return False

    def lseek(self, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.offset
        elif whence == SEEK_END:
            offset += self.end()
        elif whence in (SEEK_DATA, SEEK_HOLE):
            if offset < 0:
                raise ENXIO("before the file")
            offset = self.host.lseek(self.handle.fd, offset, whence)
        elif whence != SEEK_SET:
            raise EINVAL("unknown whence")
        if offset >> 63:
            raise EINVAL("offset out of range")
        self.offset = offset
        return offset

    # -- the rest ----------------------------------------------------------------------------------
    def fsync(self, data_only: bool) -> None:
        if not self.node.fs.read_only:
            self.host.fsync(self.handle.fd, data_only)

    def truncate(self, length: int) -> None:
        self.host.ftruncate(self.handle.fd, length)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        self.host.fallocate(self.handle.fd, mode, offset, length)

    def part(self, offset: int, count: int) -> FilePart | None:
        return FilePart(HandleUse(self.handle), self.handle.fd, offset, count)

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return MapSource(self.handle.fd, offset)


class HostDirFile(DirectoryFile):
    """An open host directory, read with the host's own stable positions; ``fd < 0``: empty."""

    def __init__(self, inode: HostDirectory, flags: int, fd: int) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.fd = fd
        self.cursor = 0  # where the host descriptor stands
        self.started = False
        self.entries: list[DirEntry] = []  # the last piece read; callers may take part of it

    def release(self) -> None:
        if self.fd >= 0:
            self.node.fs.host.close(self.fd)
            self.fd = -1

    def fsync(self, data_only: bool) -> None:
        if not self.node.fs.read_only and self.fd >= 0:
            self.node.fs.host.fsync(self.fd, data_only)

    def readdir(self, position: int) -> list[DirEntry]:
        if self.fd < 0:
            return self.nothing(position)
        if position != self.cursor:
            for i in range(len(self.entries)):
                if self.entries[i].position == position:
                    return self.entries[i + 1 :]
        host = self.node.fs.host
        if position != self.cursor or (position == 0 and self.started):
            self.cursor = host.lseek(self.fd, position, SEEK_SET)
        self.started = True
        self.entries = self.next_entries()
        return self.entries

    def next_entries(self) -> list[DirEntry]:
        """The next piece from the host, in our numbers."""
        node = self.node
        fs = node.fs
        entries = fs.host.getdents(self.fd)
        if entries:
            self.cursor = entries[-1].position
        foreign = node.index != 0
        odd = node.parent is None or node.parent.index != node.index
        for entry in entries:
            if foreign:
                entry.ino = fs.foreign_ino(node.index, entry.ino)
            if odd and entry.name == b"..":
                entry.ino = node.ino if node.parent is None else node.parent.ino
            elif entry.kind == 0:
                attributes = fs.host.stat(self.fd, entry.name)
                if attributes is not None:
                    entry.kind = attributes.mode & S_IFMT
        return entries

    def packed_entries(self, position: int, count: int) -> tuple[bytes, int] | None:
        """The host's own records, where its numbers are ours."""
        node = self.node
        if self.fd < 0 or node.index != 0 or node.parent is None or node.parent.index != 0:
            return None
        host = node.fs.host
        if position != self.cursor or (position == 0 and self.started):
            self.cursor = host.lseek(self.fd, position, SEEK_SET)
        packed = host.packed_dirents(self.fd, count)
        if packed is not None:
            self.started = True
            self.entries = []
            self.cursor = packed[1]
        return packed

    def nothing(self, position: int) -> list[DirEntry]:
        """What an empty directory holds."""
        above = self.node.parent
        kind = self.node.kind
        dots = [
            DirEntry(b".", self.node.ino, kind, 1),
            DirEntry(b"..", self.node.ino if above is None else above.ino, kind, 2),
        ]
        return [entry for entry in dots if entry.position > position]
