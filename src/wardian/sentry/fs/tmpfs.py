"""tmpfs(5): a file system in memory. memfd_create(2) and the overlay's upper layer use it too.

Its files are in ``tmpfs_inode``. Directory entries carry a cookie that only grows, so that
getdents64(2) continues rightly while names come and go.
"""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EEXIST,
    EINVAL,
    ENOENT,
    ENOTEMPTY,
)
from wardian.sentry.fs.contents import Quota
from wardian.sentry.fs.tmpfs_inode import TmpInode, TmpRegular, TmpSymlink
from wardian.sentry.hostport import Clock
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.filesystems import FileSystemType
from wardian.sentry.vfs.inode import (
    S_IFDIR,
    S_IFMT,
    DirEntry,
    Inode,
    StatFs,
    SuperBlock,
)
from wardian.sentry.vfs.libfs import DirectoryFile, dots

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

TMPFS_MAGIC: Final = 0x01021994
READDIR_BATCH: Final = 256
DIRENT_SIZE: Final = 20  # what tmpfs adds to a directory's size per entry


class TmpFS(SuperBlock):
    """One instance; ``size`` in bytes and ``inodes`` bound it (0: no bound of its own), and so does
    the ``whole`` it is a part of."""

    name = "tmpfs"

    def __init__(
        self,
        dev: int,
        clock: Clock,
        size: int = 0,
        inodes: int = 0,
        mode: int = 0o1777,
        uid: int = 0,
        gid: int = 0,
        whole: Quota | None = None,
    ) -> None:
        super().__init__(dev)
        self.clock = clock
        self.quota = Quota(size, inodes, whole)
        self.last_ino = 0
        self.top = TmpDir(self, mode, uid, gid, None)

    def root(self) -> Inode:
        return self.top

    def next_ino(self) -> int:
        """A fresh inode number."""
        self.last_ino += 1
        return self.last_ino

    def statfs(self) -> StatFs:
        s = StatFs(TMPFS_MAGIC)
        quota = self.quota
        s.blocks = quota.bytes_limit // 4096
        s.blocks_free = s.blocks_available = quota.room() // 4096 if quota.bytes_limit else 0
        s.files = quota.inodes_limit
        s.files_free = quota.inodes_free() if quota.inodes_limit else 0
        return s

    def options(self) -> str:
        text = ""
        if self.quota.bytes_limit:
            text += f",size={self.quota.bytes_limit // 1024}k"
        if self.quota.inodes_limit:
            text += f",nr_inodes={self.quota.inodes_limit}"
        if self.top.mode & 0o7777 != 0o1777:
            text += f",mode={self.top.mode & 0o7777:o}"
        return text


class TmpDir(TmpInode):
    """A directory: names to inodes, and cookies in the order of creation for readdir."""

    def __init__(self, sb: TmpFS, mode: int, uid: int, gid: int, parent: TmpDir | None) -> None:
        super().__init__(sb, S_IFDIR | (mode & 0o7777), uid, gid)
        self.nlink = 2
        self.parent_ino = parent.ino if parent is not None else self.ino
        self.entries: dict[bytes, TmpInode] = {}
        self.cookies: dict[bytes, int] = {}
        self.order: list[int] = []  # cookies ascending, with some of removed names
        self.names: list[bytes] = []  # the name of each
        self.last_cookie = 1  # 0 and 1 are "." and ".."

    def size(self) -> int:
        return (len(self.entries) + 2) * DIRENT_SIZE

    def lookup(self, name: bytes) -> Inode | None:
        return self.entries.get(name)

    # -- entries -----------------------------------------------------------------------------------
    def add(self, name: bytes, inode: TmpInode) -> None:
        """Enter ``inode`` under a free name."""
        self.last_cookie += 1
        self.entries[name] = inode
        self.cookies[name] = self.last_cookie
        self.order.append(self.last_cookie)
        self.names.append(name)
        if isinstance(inode, TmpDir):
            self.nlink += 1
            inode.parent_ino = self.ino
        self.changed()

    def remove(self, name: bytes) -> TmpInode:
        """Take a name out."""
        inode = self.entries.pop(name)
        del self.cookies[name]
        if isinstance(inode, TmpDir):
            self.nlink -= 1
        if len(self.order) > 2 * len(self.entries) + 32:
            self._compact()
        self.changed()
        return inode

    def _compact(self) -> None:
        pairs = sorted((cookie, name) for name, cookie in self.cookies.items())
        self.order = [cookie for cookie, _ in pairs]
        self.names = [name for _, name in pairs]

    def _check_free(self, name: bytes) -> None:
        if name in self.entries:
            raise EEXIST("the name is taken")

    # -- making ------------------------------------------------------------------------------------
    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        self._check_free(name)
        inode = TmpRegular(self.fs, mode, uid, gid)
        self.add(name, inode)
        return inode

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        self._check_free(name)
        inode = TmpDir(self.fs, mode, uid, gid, self)
        self.add(name, inode)
        return inode

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        self._check_free(name)
        inode = TmpInode(self.fs, mode, uid, gid)
        inode.rdev = rdev
        self.add(name, inode)
        return inode

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        self._check_free(name)
        inode = TmpSymlink(self.fs, target, uid, gid)
        self.add(name, inode)
        return inode

    def tmpfile(self, mode: int, uid: int, gid: int) -> Inode:
        inode = TmpRegular(self.fs, mode, uid, gid)
        inode.nlink = 0
        return inode

    def link(self, name: bytes, target: Inode) -> None:
        self._check_free(name)
        assert isinstance(target, TmpInode)
        target.nlink += 1
        target.ctime_ns = self.fs.clock.realtime_ns()
        self.add(name, target)

    # -- removing and moving ---------------------------------------------------------------------
    def unlink(self, name: bytes, child: Inode) -> None:
        self._check_is(name, child)
        self.remove(name)
        assert isinstance(child, TmpInode)
        child.nlink -= 1
        child.ctime_ns = self.fs.clock.realtime_ns()

    def rmdir(self, name: bytes, child: Inode) -> None:
        self._check_is(name, child)
        assert isinstance(child, TmpDir)
        if child.entries:
            raise ENOTEMPTY("directory not empty")
        self.remove(name)
        child.nlink = 0

    def _check_is(self, name: bytes, child: Inode) -> None:
        if self.entries.get(name) is not child:
            raise ENOENT("no such name")

    def rename(
        self,
        name: bytes,
        child: Inode,
        target: Inode,
        target_name: bytes,
        replaced: Inode | None,
        exchange: bool,
    ) -> None:
        self._check_is(name, child)
        assert isinstance(target, TmpDir) and isinstance(child, TmpInode)
        if replaced is None:
            self.remove(name)
        elif exchange:
            target._check_is(target_name, replaced)
            self.remove(name)
            self.add(name, target.remove(target_name))
        else:
            target._displace(target_name, replaced)
            self.remove(name)
        target.add(target_name, child)
        child.ctime_ns = self.fs.clock.realtime_ns()

    def _displace(self, name: bytes, replaced: Inode) -> None:
        if isinstance(replaced, TmpDir):
            self.rmdir(name, replaced)
        else:
            self.unlink(name, replaced)

    def open(self, task: Task, flags: int) -> File:
        return TmpDirFile(self, flags)


class TmpDirFile(DirectoryFile):
    """An open directory."""

    def __init__(self, inode: TmpDir, flags: int) -> None:
        super().__init__(inode, flags)
        self.node = inode

    def readdir(self, position: int) -> list[DirEntry]:
        node = self.node
        found = dots(position, node.ino, node.parent_ino)
        at = bisect_left(node.order, position)
        while at < len(node.order) and len(found) < READDIR_BATCH:
            cookie, name = node.order[at], node.names[at]
            at += 1
            if node.cookies.get(name) == cookie:
                child = node.entries[name]
                found.append(DirEntry(name, child.ino, child.mode & S_IFMT, cookie + 1))
        node.accessed(self)
        return found


class TmpFSType(FileSystemType):
    """tmpfs and ramfs with their mount options (tmpfs(5))."""

    def make(self, task: Task, source: bytes, options: bytes) -> SuperBlock:
        size = inodes = 0
        mode, uid, gid = 0o1777, task.credentials.fsuid, task.credentials.fsgid
        for option in options.split(b","):
            key, _, value = option.partition(b"=")
            if key == b"size":
                size = parse_size(value)
            elif key == b"nr_blocks":
                size = parse_size(value) * 4096
            elif key == b"nr_inodes":
                inodes = parse_size(value)
            elif key == b"mode":
                mode = parse_number(value, 8) & 0o7777
            elif key == b"uid":
                uid = parse_number(value, 10)
            elif key == b"gid":
                gid = parse_number(value, 10)
        kernel = task.kernel
        return TmpFS(
            kernel.anonymous_dev(), kernel.clock, size, inodes, mode, uid, gid, kernel.file_space
        )


def parse_number(text: bytes, base: int) -> int:
    """A non-negative number of at most 32 bits; EINVAL."""
    if len(text) > 12 or not text.isalnum():
        raise EINVAL("mount option")
    try:
        number = int(text, base)
    except ValueError:
        raise EINVAL("mount option") from None
    if number > 0xFFFFFFFF:
        raise EINVAL("mount option")
    return number


def parse_size(text: bytes) -> int:
    """A size with an optional k, m or g (memparse); percentages mean no limit. EINVAL."""
    if text.endswith(b"%"):
        return 0
    units = {b"k": 10, b"m": 20, b"g": 30}
    shift = units.get(text[-1:].lower(), 0)
    digits = text[:-1] if shift else text
    if len(digits) > 16 or not digits.isdigit():
        raise EINVAL("size option")
    return int(digits) << shift
