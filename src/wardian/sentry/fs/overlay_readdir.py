"""Reading directories of an overlay.

A directory that is only below, or only above, is passed through with the positions of its own file
system. A merged one is read in two parts: a list of the lower names taken at the first read
(positions 2 and up), then the upper entries at their tmpfs cookies (from :data:`UPPER_POSITION`
on). A name that moves from the lower to the upper part meanwhile, by copy-up, is reported once.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL
from wardian.sentry.fs.host_directory import HostDirectory
from wardian.sentry.fs.tmpfs import TmpDir, TmpDirFile
from wardian.sentry.vfs.file import O_DIRECTORY, File
from wardian.sentry.vfs.inode import DirEntry, Inode
from wardian.sentry.vfs.libfs import DirectoryFile, dots

if TYPE_CHECKING:
    from wardian.sentry.fs.overlay import OverlayDir

UPPER_POSITION: Final = 1 << 48
FIRST: Final = 2  # positions 0 and 1 are "." and ".."
BATCH: Final = 256


def open_lower_dir(lower: Inode) -> File:
    """A description of a lower directory."""
    if isinstance(lower, HostDirectory):
        return lower.open_file(O_DIRECTORY)
    if isinstance(lower, TmpDir):
        return TmpDirFile(lower, O_DIRECTORY)
    raise EINVAL("not a directory of a known lower file system")


def all_entries(file: File) -> list[DirEntry]:
    """All entries of a lower directory but the dots."""
    found: list[DirEntry] = []
    position = 0
    while True:
        piece = file.readdir(position)
        if not piece:
            return found
        position = piece[-1].position
        found += [entry for entry in piece if entry.name not in (b".", b"..")]


class OverlayDirFile(DirectoryFile):
    """An open directory of an overlay. How it is read is decided anew at position 0."""

    def __init__(self, inode: OverlayDir, flags: int) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.real: File | None = None  # the lower one, passed through
        self.names: list[DirEntry] = []  # the lower part of a merged directory
        self.listed: set[bytes] = set()  # its names
        if inode.lower is not None:
            self.real = open_lower_dir(inode.lower).hold()  # EACCES belongs to open(2)
        self.through = False
        self.begun = False

    def release(self) -> None:
        if self.real is not None:
            self.real.drop()
            self.real = None

    def readdir(self, position: int) -> list[DirEntry]:
        if position == 0 or not self.begun:
            self.begin()
        if self.through and self.real is not None:
            return self.read_through(self.real, position)
        if position >= UPPER_POSITION:
            return self.read_upper(position)
        found = self.dots(position)
        at = max(0, position - FIRST)
        while at < len(self.names) and len(found) < BATCH:
            at += 1
            entry = self.current(self.names[at - 1], FIRST + at)
            if entry is not None:
                found.append(entry)
        if at >= len(self.names) and len(found) < BATCH:
            found += self.read_upper(UPPER_POSITION)
        return found

    def packed_entries(self, position: int, count: int) -> tuple[bytes, int] | None:
        if position == 0 or not self.begun:
            self.begin()
        if not self.through or self.real is None or self.node.upper is not None:
            return None
        return self.real.packed_entries(position, count)

    def begin(self) -> None:
        """Choose how to read, at the start."""
        node = self.node
        self.through = node.upper is None
        self.names = []
        self.listed = set()
        self.begun = True
        if self.through or self.real is None:
            return
        self.names = [e for e in all_entries(self.real) if e.name not in node.whiteouts]
        self.listed = {entry.name for entry in self.names}

    def dots(self, position: int) -> list[DirEntry]:
        """``.`` and ``..``."""
        node = self.node
        above = node.parent if node.parent is not None else node
        return dots(position, node.ino, above.ino)

    def current(self, entry: DirEntry, position: int) -> DirEntry | None:
        """A listed lower entry as it is now: still below, copied up or replaced, or gone."""
        node = self.node
        if node.upper is not None:
            upper = node.upper.entries.get(entry.name)
            if upper is not None:
                inode = node.fs.visible(upper)
                return DirEntry(entry.name, inode.ino, inode.kind, position)
            if entry.name in node.whiteouts:
                return None
        return DirEntry(entry.name, entry.ino, entry.kind, position)

    def read_through(self, real: File, position: int) -> list[DirEntry]:
        """From the lower directory, leaving out what was removed since."""
        while True:
            piece = real.readdir(position)
            if not piece or self.node.upper is None:
                return piece
            found: list[DirEntry] = []
            for entry in piece:
                now = self.current(entry, entry.position)
                if now is not None:
                    found.append(now)
            if found:
                return found
            position = piece[-1].position

    def read_upper(self, position: int) -> list[DirEntry]:
        """The upper part, without what the lower part reported."""
        node = self.node
        if node.upper is None:
            return []
        cookie = max(FIRST, position - UPPER_POSITION)
        file = TmpDirFile(node.upper, O_DIRECTORY)
        while True:
            piece = file.readdir(cookie)
            if not piece:
                return []
            cookie = piece[-1].position
            found: list[DirEntry] = []
            for entry in piece:
                if entry.name in self.listed:
                    continue
                inode = node.fs.visible(node.upper.entries[entry.name])
                found.append(
                    DirEntry(entry.name, inode.ino, entry.kind, UPPER_POSITION + entry.position)
                )
            if found:
                return found
