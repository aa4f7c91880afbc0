"""fd and fdinfo of /proc/<pid> (proc_pid_fd(5), proc_pid_fdinfo(5))."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENOENT
from wardian.sentry.fs.proc_pid_inode import (
    TaskLink,
    TaskPart,
    check_access,
    give_owner,
    inode_number,
    nameless,
    parse_number,
)
from wardian.sentry.fs.proc_pid_status import dead
from wardian.sentry.fs.pseudo import PseudoFS, TextInode
from wardian.sentry.vfs.dentry import Path
from wardian.sentry.vfs.inode import S_IFLNK, S_IFREG, Inode

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File

FD_BASE: Final = 0x100000
FDINFO_BASE: Final = 0x200000


class FdLink(TaskLink):
    """fd/<n>: its permission bits show how the descriptor was opened."""

    def __init__(self, fs: PseudoFS, task: Task, fd: int, file: File) -> None:
        permissions = (0o500 if file.readable else 0) | (0o300 if file.writable else 0)
        super().__init__(fs, FD_BASE + fd, task, permissions)
        self.fd = fd

    def size(self) -> int:
        return 64

    def file(self) -> File:
        """The description behind it now."""
        self.check_alive()
        file = self.task.files.find(self.fd)
        if file is None:
            raise ENOENT("the descriptor was closed")
        return file

    def target(self) -> Path:
        file = self.file()
        if file.path is not None:
            return file.path
        if file.inode is None:
            raise ENOENT("this file cannot be opened again")
        return nameless(file.inode, os.fsencode(file.describe()))

    def readlink(self) -> bytes:
        file = self.file()
        if file.path is None:
            check_access(self.fs.kernel.current, self.task)
            return os.fsencode(file.describe())
        return super().readlink()


class FdDir(TaskPart):
    """fd."""

    def check_open(self, task: Task) -> None:
        check_access(task, self.task)

    def lookup(self, name: bytes) -> Inode | None:
        fd = parse_number(name)
        if fd < 0 or dead(self.task):
            return None
        check_access(self.fs.kernel.current, self.task)
        file = self.task.files.find(fd)
        return FdLink(self.fs, self.task, fd, file) if file is not None else None

    def names(self) -> list[tuple[int, bytes, int, int]]:
        if dead(self.task):
            return []
        return [
            (fd, b"%d" % fd, inode_number(self.task, FD_BASE + fd), S_IFLNK)
            for fd in sorted(self.task.files.fds())
        ]


class FdInfoDir(FdDir):
    """fdinfo."""

    def lookup(self, name: bytes) -> Inode | None:
        fd = parse_number(name)
        if fd < 0 or dead(self.task) or self.task.files.find(fd) is None:
            return None
        return FdInfo(self.fs, self.task, fd)

    def names(self) -> list[tuple[int, bytes, int, int]]:
        if dead(self.task):
            return []
        return [
            (fd, b"%d" % fd, inode_number(self.task, FDINFO_BASE + fd), S_IFREG)
            for fd in sorted(self.task.files.fds())
        ]


class FdInfo(TextInode):
    """fdinfo/<n>: offset, flags and what the file adds."""

    def __init__(self, fs: PseudoFS, task: Task, fd: int) -> None:
        super().__init__(fs, inode_number(task, FDINFO_BASE + fd), 0o444)
        self.task = task
        self.fd = fd
        give_owner(self, task)

    def check_open(self, task: Task, flags: int) -> None:
        check_access(task, self.task)

    def render(self) -> bytes:
        files = self.task.files
        file = files.find(self.fd)
        if file is None or dead(self.task):
            raise ENOENT("the descriptor was closed")
        flags = file.flags | (0o2000000 if self.fd in files.cloexec else 0)
        mount = file.path.mount.mount_id if file.path is not None else 0
        ino = file.inode.ino if file.inode is not None else 0
        text = f"pos:\t{file.offset}\nflags:\t0{flags:o}\nmnt_id:\t{mount}\nino:\t{ino}\n"
        return (text + file.fdinfo()).encode()
