"""proc(5): the root directory of /proc. Processes are in ``proc_pid``, texts in ``proc_texts``.

Names are looked up anew each time, because processes come and go (``ProcFS.trust``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENOENT
from wardian.sentry.fs import proc_texts
from wardian.sentry.fs.proc_pid import TaskDirFS, group_directory
from wardian.sentry.fs.proc_pid_inode import parse_number
from wardian.sentry.fs.proc_sys import add, build_sys
from wardian.sentry.fs.pseudo import (
    DIRECTORY_BATCH,
    FixedDir,
    PseudoFS,
    PseudoInode,
    PseudoLink,
    TextInode,
)
from wardian.sentry.net import procnet
from wardian.sentry.vfs.inode import S_IFDIR, S_IFLNK, DirEntry, Inode
from wardian.sentry.vfs.trust import Trust

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel

PROC_SUPER_MAGIC: Final = 0x9FA0
PID_POSITIONS: Final = 1 << 16
"""Directory positions from here on are pids, below it fixed entries."""


class ProcFS(TaskDirFS):
    """One mounted proc."""

    def __init__(self, kernel: Kernel) -> None:
        super().__init__(kernel, "proc", PROC_SUPER_MAGIC)
        fill_net(self.net)
        self.top = ProcRoot(self)
        self.trust = Trust(None, 0)

    def root(self) -> Inode:
        return self.top


class ProcText(TextInode):
    """A system-wide text."""

    def __init__(self, fs: PseudoFS, permissions: int, function: proc_texts.Render) -> None:
        super().__init__(fs, fs.next_ino(), permissions)
        self.function = function

    def render(self) -> bytes:
        return self.function(self.fs.kernel)


class SelfLink(PseudoInode):
    """self and thread-self: the task that asks."""

    def __init__(self, fs: PseudoFS, thread: bool) -> None:
        super().__init__(fs, fs.next_ino(), S_IFLNK | 0o777)
        self.thread = thread

    def readlink(self) -> bytes:
        task = self.fs.kernel.current
        if task is None:
            raise ENOENT("no task asks")
        if self.thread:
            return b"%d/task/%d" % (task.group.pid, task.tid)
        return b"%d" % task.group.pid


class ProcRoot(FixedDir):
    """/proc itself: fixed entries first, then processes."""

    def __init__(self, fs: ProcFS) -> None:
        super().__init__(fs)
        kernel = fs.kernel
        for name, permissions, function in proc_texts.FILES:
            add(self, name, ProcText(fs, permissions, function))
        self.add(b"self", SelfLink(fs, False))
        self.add(b"thread-self", SelfLink(fs, True))
        self.add(b"mounts", PseudoLink(fs, fs.next_ino(), b"self/mounts"))
        self.add(b"net", PseudoLink(fs, fs.next_ino(), b"self/net"))
        self.add(b"sys", build_sys(fs, kernel))
        for name in ("bus", "driver", "fs", "irq", "tty"):
            self.add(name.encode(), FixedDir(fs))

    def links(self) -> int:
        return super().links() + len(self.fs.kernel.pids.groups_by_pid)

    def lookup(self, name: bytes) -> Inode | None:
        found = self.children.get(name)
        if found is not None:
            return found
        pid = parse_number(name)
        if pid <= 0:
            return None
        pids = self.fs.kernel.pids
        group = pids.group(pid)
        if group is None:
            task = pids.task(pid)  # threads can be looked up, but are not listed
            group = task.group if task is not None else None
        return group_directory(self.fs, group) if group is not None else None

    def entries(self, position: int) -> list[DirEntry]:
        found = super().entries(position) if position < PID_POSITIONS else []
        if len(found) >= DIRECTORY_BATCH:
            return found
        first = max(position - PID_POSITIONS, 0)
        for group in self.fs.kernel.pids.groups():
            pid = group.pid
            if pid >= first and not group.reaped:
                entry = DirEntry(b"%d" % pid, pid << 24, S_IFDIR, PID_POSITIONS + pid + 1)
                found.append(entry)
                if len(found) >= DIRECTORY_BATCH:
                    break
        return found


def fill_net(directory: FixedDir) -> None:
    """/proc/net: the tables of the network stack."""
    for name, function in procnet.FILES:
        directory.add(name.encode(), ProcText(directory.fs, 0o444, function))
