"""What proc and sysfs are built from: text files made on reading, fixed directories, links.

Nothing is stored: a file's contents are rendered when it is read from the start, and served from
that snapshot until the next read from the start, as seq_file does on Linux.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EACCES, EINVAL, ENOENT, EPERM
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.inode import (
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    AttributeChange,
    Attributes,
    DirEntry,
    Inode,
    StatFs,
    SuperBlock,
)
from wardian.sentry.vfs.libfs import DirectoryFile, dots
from wardian.sentry.vfs.seek import seek_regular

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

WRITE_MAX: Final = 1 << 16
DIRECTORY_BATCH: Final = 256


class PseudoFS(SuperBlock):
    """One instance; subclasses make the root."""

    def __init__(self, kernel: Kernel, name: str, magic: int) -> None:
        super().__init__(kernel.anonymous_dev())
        self.kernel = kernel
        self.name = name
        self.magic = magic
        self.last_ino = 1
        self.made_ns = kernel.clock.realtime_ns()

    def next_ino(self) -> int:
        """A fresh inode number."""
        self.last_ino += 1
        return self.last_ino

    def statfs(self) -> StatFs:
        return StatFs(self.magic)


class PseudoInode(Inode):
    """Attributes of what has no storage."""

    def __init__(self, sb: PseudoFS, ino: int, mode: int) -> None:
        super().__init__(sb, ino, mode)
        self.fs = sb

    def size(self) -> int:
        """st_size."""
        return 0

    def links(self) -> int:
        """st_nlink."""
        return 1

    def getattr(self) -> Attributes:
        a = Attributes()
        a.dev = self.sb.dev
        a.ino = self.ino
        a.mode = self.mode
        a.nlink = self.links()
        a.uid, a.gid = self.uid, self.gid
        a.size = self.size()
        a.blocksize = 1024 if self.mode & S_IFMT == S_IFREG else 4096
        a.atime_ns = a.mtime_ns = a.ctime_ns = self.fs.made_ns
        return a

    def setattr(self, change: AttributeChange) -> None:
        """O_TRUNC of a writable file is harmless; nothing else changes."""
        if change.mode is not None or change.uid is not None or change.gid is not None:
            raise EPERM("attributes cannot be changed here")
        if change.size is not None and not self.mode & 0o222:
            raise EACCES("not writable")


# -- text ------------------------------------------------------------------------------------------
class TextInode(PseudoInode):
    """A file whose contents are made by :meth:`render` and, maybe, taken by :meth:`store`."""

    def __init__(self, sb: PseudoFS, ino: int, permissions: int) -> None:
        super().__init__(sb, ino, S_IFREG | permissions)

    def render(self) -> bytes:
        """The whole contents now."""
        raise NotImplementedError

    def store(self, task: Task, data: bytes) -> None:
        """What a write(2) does; EINVAL and others."""
        raise EINVAL("not writable")

    def check_open(self, task: Task, flags: int) -> None:
        """More than the mode bits say; EACCES."""

    def open(self, task: Task, flags: int) -> File:
        self.check_open(task, flags)
        return TextFile(self, flags, task)


class TextFile(File):
    """An open text file."""

    def __init__(self, inode: TextInode, flags: int, opener: Task) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.opener = opener
        self.snapshot: bytes | None = None

    def contents(self, offset: int) -> bytes:
        """What reads at ``offset`` see."""
        data = self.snapshot
        if data is None or offset == 0:
            data = self.snapshot = self.node.render()
        return data

    def read(self, sink: Sink, offset: int) -> int:
        data = self.contents(offset)
        if offset >= len(data):
            return 0
        return sink.put(data[offset : offset + sink.left])

    def write(self, source: Source, offset: int) -> int:
        data = source.take(min(source.left, WRITE_MAX))
        task = self.node.fs.kernel.current
        self.node.store(task if task is not None else self.opener, data)
        self.snapshot = None
        return len(data)

    @property
    def seekable(self) -> bool:
        return True

    def lseek(self, offset: int, whence: int) -> int:
        return seek_regular(self, offset, whence, len(self.contents(self.offset)))

    def pollable(self) -> bool:
        return False

    def truncate(self, length: int) -> None:
        if not self.writable:
            raise EINVAL("not open for writing")

    def release(self) -> None:
        self.snapshot = None


class FixedText(TextInode):
    """Contents that never change."""

    def __init__(self, sb: PseudoFS, ino: int, permissions: int, text: bytes) -> None:
        super().__init__(sb, ino, permissions)
        self.text = text

    def render(self) -> bytes:
        return self.text


# -- directories and links -------------------------------------------------------------------------
class PseudoDir(PseudoInode):
    """A directory; subclasses say what is in it."""

    def __init__(self, sb: PseudoFS, ino: int, permissions: int = 0o555) -> None:
        super().__init__(sb, ino, S_IFDIR | permissions)
        self.parent_ino = ino

    def links(self) -> int:
        return 2

    def lookup(self, name: bytes) -> Inode | None:
        raise NotImplementedError

    def entries(self, position: int) -> list[DirEntry]:
        """Entries from ``position`` (0: the first after ``..``) on, at most a batch; each
        with the position after it."""
        raise NotImplementedError

    def setattr(self, change: AttributeChange) -> None:
        raise EPERM("attributes cannot be changed here")

    # proc's lookup says ENOENT for what is not there, before anything could be made of it.
    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        raise ENOENT("nothing can be made here")

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        raise ENOENT("nothing can be made here")

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        raise ENOENT("nothing can be made here")

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        raise ENOENT("nothing can be made here")

    def check_open(self, task: Task) -> None:
        """More than the mode bits say."""

    def open(self, task: Task, flags: int) -> File:
        self.check_open(task)
        return PseudoDirFile(self, flags)


class PseudoDirFile(DirectoryFile):
    """An open directory; positions 0 and 1 are ``.`` and ``..``."""

    def __init__(self, inode: PseudoDir, flags: int) -> None:
        super().__init__(inode, flags)
        self.node = inode

    def readdir(self, position: int) -> list[DirEntry]:
        node = self.node
        found = dots(position, node.ino, node.parent_ino)
        for entry in node.entries(max(position - 2, 0)):
            entry.position += 2
            found.append(entry)
        return found


class FixedDir(PseudoDir):
    """A directory whose entries are set once, when the file system is made."""

    def __init__(self, sb: PseudoFS, permissions: int = 0o555) -> None:
        super().__init__(sb, sb.next_ino(), permissions)
        self.children: dict[bytes, Inode] = {}

    def add(self, name: bytes, inode: Inode) -> None:
        """Enter one more child."""
        self.children[name] = inode
        if isinstance(inode, PseudoDir):
            inode.parent_ino = self.ino

    def subdirectory(self, name: bytes) -> FixedDir:
        """The directory ``name``, made when it is missing."""
        child = self.children.get(name)
        if child is None:
            made = FixedDir(self.fs)
            self.add(name, made)
            return made
        assert isinstance(child, FixedDir)
        return child

    def links(self) -> int:
        return 2 + sum([1 for child in self.children.values() if child.is_dir])

    def lookup(self, name: bytes) -> Inode | None:
        return self.children.get(name)

    def entries(self, position: int) -> list[DirEntry]:
        names = list(self.children)
        found: list[DirEntry] = []
        for index in range(position, min(position + DIRECTORY_BATCH, len(names))):
            child = self.children[names[index]]
            found.append(DirEntry(names[index], child.ino, child.kind, index + 1))
        return found


class PseudoLink(PseudoInode):
    """A symbolic link with a fixed target."""

    def __init__(self, sb: PseudoFS, ino: int, target: bytes) -> None:
        super().__init__(sb, ino, S_IFLNK | 0o777)
        self.target = target

    def readlink(self) -> bytes:
        return self.target
