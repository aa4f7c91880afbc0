"""Inodes without a name: what fstat(2) shows of pipes, eventfds, epolls, memfds and the like.

Linux keeps them on kernel-internal mounts (anon_inodefs, pipefs, sockfs); ``Kernel.anon``,
``Kernel.pipefs`` and ``NetworkStack.sockfs`` are ours. Such an inode cannot be reached by a path,
only through /proc/<pid>/fd.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENXIO
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.inode import Inode, StatFs, SuperBlock
from wardian.sentry.vfs.libfs import SimpleInode

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

ANON_INODE_MAGIC: Final = 0x09041934
PIPEFS_MAGIC: Final = 0x50495045
SOCKFS_MAGIC: Final = 0x534F434B
SOCKFS_DEV: Final = 8
ANON_DEV: Final = 0xE
PIPE_DEV: Final = 0xF


class AnonFS(SuperBlock):
    """A kernel-internal file system: it only numbers inodes."""

    def __init__(self, name: str, dev: int, magic: int) -> None:
        super().__init__(dev)
        self.name = name
        self.magic = magic
        self.last_ino = 0

    def next_ino(self) -> int:
        """A fresh inode number."""
        self.last_ino += 1
        return self.last_ino

    def root(self) -> Inode:
        raise ENXIO("an internal file system has no root")

    def statfs(self) -> StatFs:
        return StatFs(self.magic)


class AnonInode(SimpleInode):
    """One nameless inode."""

    def __init__(self, sb: AnonFS, mode: int, uid: int, gid: int, now_ns: int) -> None:
        super().__init__(sb, sb.next_ino(), mode, uid, gid, now_ns)

    def open(self, task: Task, flags: int) -> File:
        raise ENXIO("an anonymous inode cannot be opened again")


class AnonFile(File):
    """The file of an eventfd, epoll and the like: lseek(2) succeeds and moves nothing."""

    def lseek(self, offset: int, whence: int) -> int:
        return self.offset


def anon_inode(task: Task) -> AnonInode:
    """The inode of one eventfd, epoll, ...: mode 0600, owned by the caller."""
    cred = task.credentials
    kernel = task.kernel
    return AnonInode(kernel.anon, 0o600, cred.fsuid, cred.fsgid, kernel.clock.realtime_ns())


def install_new(task: Task, file: File, cloexec: bool) -> int:
    """Give a file just made a descriptor; when there is none (EMFILE) the file is released."""
    file.hold()
    try:
        return task.files.install(file, cloexec)
    finally:
        file.drop()
