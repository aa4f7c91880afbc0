"""Inodes and superblocks: the objects a file system is made of (Documentation/filesystems/vfs.rst).

A file system subclasses :class:`SuperBlock` and :class:`Inode`. Permission checks, name-length
checks and mount crossing are done by ``sentry.vfs`` before an inode operation is called; inode
operations do the work and raise what only the file system can know (ENOENT, EEXIST, ENOTEMPTY,
ENOSPC, EROFS of the medium). Names are ``bytes`` without ``/``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EACCES, EINVAL, ENODATA, ENOTDIR, EOPNOTSUPP, EPERM, ETXTBSY

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.dentry import Dentry
    from wardian.sentry.vfs.file import File
    from wardian.sentry.vfs.locks import FileLocks
    from wardian.sentry.vfs.notify import InodeWatch
    from wardian.sentry.vfs.trust import Trust

S_IFMT: Final = 0o170000
S_IFSOCK: Final = 0o140000
S_IFLNK: Final = 0o120000
S_IFREG: Final = 0o100000
S_IFBLK: Final = 0o060000
S_IFDIR: Final = 0o040000
S_IFCHR: Final = 0o020000
S_IFIFO: Final = 0o010000
S_ISUID: Final = 0o4000
S_ISGID: Final = 0o2000
S_ISVTX: Final = 0o1000


class DirEntry:
    """One getdents64(2) entry; ``position`` is the d_off to continue after it."""

    def __init__(self, name: bytes, ino: int, kind: int, position: int) -> None:
        self.name = name
        self.ino = ino
        self.kind = kind  # S_IFMT bits
        self.position = position


class Attributes:
    """stat(2) fields. Times are nanoseconds since the epoch."""

    def __init__(self) -> None:
        self.dev = 0
        self.ino = 0
        self.mode = 0
        self.nlink = 1
        self.uid = 0
        self.gid = 0
        self.rdev = 0
        self.size = 0
        self.blocksize = 4096
        self.blocks = 0  # of 512 bytes
        self.atime_ns = 0
        self.mtime_ns = 0
        self.ctime_ns = 0
        self.btime_ns = 0


class AttributeChange:
    """What setattr may change; ``None`` leaves a field alone."""

    def __init__(self) -> None:
        self.mode: int | None = None  # permission bits only
        self.uid: int | None = None
        self.gid: int | None = None
        self.size: int | None = None
        self.atime_ns: int | None = None
        self.mtime_ns: int | None = None


class StatFs:
    """statfs(2) fields."""

    def __init__(self, magic: int) -> None:
        self.magic = magic
        self.block_size = 4096
        self.blocks = 0
        self.blocks_free = 0
        self.blocks_available = 0
        self.files = 0
        self.files_free = 0
        self.name_max = 255
        self.flags = 0


class SuperBlock:
    """One mounted file system instance."""

    name: str = "none"  # as in /proc/filesystems

    def __init__(self, dev: int) -> None:
        self.dev = dev  # st_dev of its files, as makedev(3)
        self.read_only = False
        self.root_dentry: Dentry | None = None  # made by vfs.mount_tree at the first mount
        self.dentries = 0  # about how many names vfs.dcache knows, and when it must forget some
        self.dentries_max = 131072
        self.trust: Trust | None = None  # names may change behind the dentry cache; see vfs.trust

    def root(self) -> Inode:
        """The root directory's inode."""
        raise NotImplementedError

    def statfs(self) -> StatFs:
        """statfs(2) of the whole."""
        raise NotImplementedError

    def sync(self) -> None:
        """syncfs(2)."""

    def options(self) -> str:
        """File-system options for /proc/mounts, each with a comma before it: ``,size=64k``."""
        return ""


class Inode:
    """One file, directory, link or device of a file system; identity is object identity."""

    def __init__(self, sb: SuperBlock, ino: int, mode: int) -> None:
        self.sb = sb
        self.ino = ino
        self.mode = mode  # type and permission bits, kept current by the file system
        self.uid = 0  # owner and group, kept current too: permission checks read them here
        self.gid = 0
        self.pipe: object | None = None  # a FIFO's pipe, made by fs.pipe at first open
        self.socket: object | None = None  # the AF_UNIX socket bound here
        self.program: object | None = None  # what execve(2) read of it: mm.known_programs
        self.mapped_writable = False  # by a guest, now or once: it may change unseen
        self.locks: FileLocks | None = None  # vfs.locks' state, made at the first lock
        self.watches: list[InodeWatch] | None = None  # inotify(7); see vfs.notify
        self.writers = 0  # descriptions open for writing; below zero: times it is being executed

    # -- a program is not written to while it runs (ETXTBSY; fs/namei.c, i_writecount) -----------
    def get_write_access(self) -> None:
        """Count one more writer; ETXTBSY while the file is executed."""
        if self.writers < 0:
            raise ETXTBSY("it is being executed")
        self.writers += 1

    def put_write_access(self) -> None:
        """One writer less."""
        self.writers -= 1

    def deny_write_access(self) -> None:
        """Count one more execution; ETXTBSY while the file is open for writing."""
        if self.writers > 0:
            raise ETXTBSY("it is open for writing")
        self.writers -= 1

    def allow_write_access(self) -> None:
        """One execution less."""
        self.writers += 1

    @property
    def kind(self) -> int:
        """S_IFMT bits."""
        return self.mode & S_IFMT

    @property
    def is_dir(self) -> bool:
        return self.mode & S_IFMT == S_IFDIR

    @property
    def is_symlink(self) -> bool:
        return self.mode & S_IFMT == S_IFLNK

    # -- attributes ------------------------------------------------------------------------------
    def getattr(self) -> Attributes:
        """The current attributes."""
        raise NotImplementedError

    def seen_attributes(self) -> Attributes:
        """The attributes, for somebody whose path walk has just come here and looked."""
        return self.getattr()

    def setattr(self, change: AttributeChange) -> None:
        """Apply ``change``; permission was checked."""
        raise EPERM("attributes cannot be changed here")

    # -- directories -----------------------------------------------------------------------------
    def lookup(self, name: bytes) -> Inode | None:
        """The child called ``name``, or None; never ``.`` or ``..``."""
        raise ENOTDIR("not a directory")

    def still(self, name: bytes, child: Inode | None) -> bool:
        """True when ``name`` still is ``child`` (None: still missing); its attributes are read
        anew. False leads to :meth:`lookup`. Asked where the superblock has a ``trust``."""
        return False

    def same_file(self, other: Inode) -> bool:
        """True when both stand for one file; inodes of some file systems are made at each
        lookup."""
        return self is other or (
            self.sb is other.sb
            and self.ino == other.ino
            and self.mode & S_IFMT == other.mode & S_IFMT
        )

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        """Make a regular file; EEXIST when the name is taken."""
        raise EACCES("no files can be made here")

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        """Make a directory."""
        raise EPERM("no directories can be made here")

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        """Make a FIFO, socket or device node; ``mode`` has the type."""
        raise EPERM("no nodes can be made here")

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        """Make a symbolic link."""
        raise EPERM("no links can be made here")

    def link(self, name: bytes, target: Inode) -> None:
        """Make a hard link to ``target`` of the same superblock."""
        raise EPERM("no links can be made here")

    def unlink(self, name: bytes, child: Inode) -> None:
        """Remove a name that is not a directory."""
        raise EPERM("nothing can be removed here")

    def rmdir(self, name: bytes, child: Inode) -> None:
        """Remove an empty directory; ENOTEMPTY."""
        raise EPERM("nothing can be removed here")

    def rename(
        self,
        name: bytes,
        child: Inode,
        target: Inode,
        target_name: bytes,
        replaced: Inode | None,
        exchange: bool,
    ) -> None:
        """Move ``child`` to ``target``/``target_name``; ``replaced`` is what was there."""
        raise EPERM("nothing can be renamed here")

    def tmpfile(self, mode: int, uid: int, gid: int) -> Inode:
        """An unnamed file for O_TMPFILE."""
        raise EOPNOTSUPP("no O_TMPFILE here")

    # -- links and contents ------------------------------------------------------------------------
    def readlink(self) -> bytes:
        """A symbolic link's target."""
        raise EINVAL("not a symbolic link")

    def magic_link(self, task: Task) -> object | None:
        """The ``Path`` a /proc magic link jumps to, or None for an ordinary link."""
        return None

    def open(self, task: Task, flags: int) -> File:
        """A new open file description; O_TRUNC is already done, permission checked."""
        raise NotImplementedError

    # -- extended attributes ---------------------------------------------------------------------
    def getxattr(self, name: bytes) -> bytes:
        raise ENODATA("no such attribute")

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        raise EOPNOTSUPP("no extended attributes here")

    def listxattr(self) -> list[bytes]:
        return []

    def removexattr(self, name: bytes) -> None:
        raise EOPNOTSUPP("no extended attributes here")

    # -- counting ----------------------------------------------------------------------------------
    def opened(self) -> None:
        """A dentry or file began to use this inode (for unlinked-but-open)."""

    def closed(self) -> None:
        """A dentry or file stopped using this inode."""
