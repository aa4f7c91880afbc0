"""What the files, links and directories of a task in /proc have in common: number, owner, and who
may look into them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import EACCES, ENOENT
from wardian.sentry.fs.proc_pid_status import dead
from wardian.sentry.fs.pseudo import DIRECTORY_BATCH, PseudoDir, PseudoFS, PseudoInode
from wardian.sentry.kernel.access import may_access
from wardian.sentry.kernel.thread_group import SUID_DUMP_USER
from wardian.sentry.vfs.dentry import Dentry, Mount, Path
from wardian.sentry.vfs.inode import S_IFLNK, DirEntry, Inode
from wardian.sentry.vfs.namei import path_text

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task


def inode_number(task: Task, code: int) -> int:
    """The number of a file of ``task``."""
    return task.tid << 24 | code


def is_gone(task: Task) -> bool:
    """True when ``task`` has no directory any more; a zombie's leader still has one."""
    return task.exited and (task is not task.group.leader or task.group.reaped)


def give_owner(inode: PseudoInode, task: Task) -> None:
    """Files belong to the effective user, those of undumpable processes to root (proc(5))."""
    if task.group.dumpable == SUID_DUMP_USER:
        inode.uid, inode.gid = task.credentials.euid, task.credentials.egid


def check_access(reader: Task | None, task: Task) -> None:
    """EACCES unless ``reader`` might trace ``task`` (ptrace(2))."""
    if reader is not None and not may_access(reader, task):
        raise EACCES("not allowed to look into that task")


class TaskPart(PseudoDir):
    """A directory below a task's."""

    def __init__(self, fs: PseudoFS, code: int, task: Task, permissions: int) -> None:
        super().__init__(fs, inode_number(task, code), permissions)
        self.task = task
        give_owner(self, task)

    def names(self) -> list[tuple[int, bytes, int, int]]:
        """(key, name, inode number, S_IFMT bits) in order of the ascending key."""
        raise NotImplementedError

    def entries(self, position: int) -> list[DirEntry]:
        found: list[DirEntry] = []
        if is_gone(self.task):
            return found
        for key, name, ino, kind in self.names():
            if key >= position:
                found.append(DirEntry(name, ino, kind, key + 1))
                if len(found) >= DIRECTORY_BATCH:
                    break
        return found


class TaskLink(PseudoInode):
    """A magic link to something of a task: subclasses say what."""

    def __init__(self, fs: PseudoFS, code: int, task: Task, permissions: int = 0o777) -> None:
        super().__init__(fs, inode_number(task, code), S_IFLNK | permissions)
        self.task = task
        give_owner(self, task)

    def target(self) -> Path:
        """Where it leads; ENOENT when nowhere."""
        raise NotImplementedError

    def readlink(self) -> bytes:
        reader = self.fs.kernel.current
        check_access(reader, self.task)
        root = reader.fs.root if reader is not None else self.task.fs.root
        return path_text(self.target(), root)

    def magic_link(self, task: Task) -> object | None:
        check_access(task, self.task)
        return self.target()

    def check_alive(self) -> None:
        """ENOENT for a zombie."""
        if dead(self.task):
            raise ENOENT("the process has exited")


def nameless(inode: Inode, name: bytes) -> Path:
    """A place for an object without one: ``pipe:[5]``."""
    dentry = Dentry(name, None, inode)
    return Path(Mount(0, inode.sb, dentry, 0, "none"), dentry)


def parse_number(name: bytes) -> int:
    """A canonical decimal name as a number; -1 otherwise."""
    if not name.isdigit() or len(name) > 9 or (len(name) > 1 and name[0] == 0x30):
        return -1
    return int(name)
