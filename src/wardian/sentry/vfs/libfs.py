"""What file systems that keep their own state have in common, as fs/libfs.c of Linux: open
directories, and inodes whose attributes are here and nowhere else.
"""

from __future__ import annotations

from wardian.sentry.errno import EINVAL
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.inode import (
    S_IFDIR,
    S_IFMT,
    AttributeChange,
    Attributes,
    DirEntry,
    Inode,
    SuperBlock,
)
from wardian.sentry.vfs.seek import SEEK_CUR, SEEK_SET


class DirectoryFile(File):
    """An open directory: the offset is a position that ``readdir`` gave."""

    @property
    def seekable(self) -> bool:
        return True

    def lseek(self, offset: int, whence: int) -> int:
        if whence == SEEK_CUR:
            offset += self.offset
        elif whence != SEEK_SET:
            raise EINVAL("a directory has no end to seek from")
        if offset >> 63:  # below zero, or too large for an offset
            raise EINVAL("offset out of range")
        self.offset = offset
        return offset

    def pollable(self) -> bool:
        return False

    def fsync(self, data_only: bool) -> None:
        pass


def dots(position: int, own: int, above: int) -> list[DirEntry]:
    """``.`` and ``..``, as far as they come after ``position``; the next position is 2."""
    found: list[DirEntry] = []
    if position <= 0:
        found.append(DirEntry(b".", own, S_IFDIR, 1))
    if position <= 1:
        found.append(DirEntry(b"..", above, S_IFDIR, 2))
    return found


class SimpleInode(Inode):
    """An inode without storage but this object."""

    def __init__(
        self, sb: SuperBlock, ino: int, mode: int, uid: int, gid: int, now_ns: int
    ) -> None:
        super().__init__(sb, ino, mode)
        self.uid = uid
        self.gid = gid
        self.atime_ns = now_ns
        self.mtime_ns = now_ns
        self.ctime_ns = now_ns

    def getattr(self) -> Attributes:
        a = Attributes()
        a.dev = self.sb.dev
        a.ino = self.ino
        a.mode = self.mode
        a.uid = self.uid
        a.gid = self.gid
        a.atime_ns = self.atime_ns
        a.mtime_ns = self.mtime_ns
        a.ctime_ns = self.ctime_ns
        return a

    def setattr(self, change: AttributeChange) -> None:
        if change.mode is not None:
            self.mode = (self.mode & S_IFMT) | (change.mode & 0o7777)
        if change.uid is not None:
            self.uid = change.uid
        if change.gid is not None:
            self.gid = change.gid
        if change.atime_ns is not None:
            self.atime_ns = change.atime_ns
        if change.mtime_ns is not None:
            self.mtime_ns = change.mtime_ns
