"""Advisory locks: flock(2), POSIX record locks and open-file-description locks (fcntl(2)).

One :class:`FileLocks` per inode, made at the first lock. POSIX locks belong to a descriptor
table, the other two kinds to an open file description. A task that must wait parks on
:attr:`FileLocks.queue`, which is woken whenever a lock goes or shrinks. Deadlock is looked for
among POSIX locks only, as on Linux.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENOLCK
from wardian.sentry.kernel.waitqueue import WaitQueue

if TYPE_CHECKING:
    from wardian.sentry.kernel.fdtable import FDTable
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File

F_RDLCK: Final = 0
F_WRLCK: Final = 1
F_UNLCK: Final = 2

LOCKS_MAX: Final = 65536  # record locks on one inode
DEADLOCK_STEPS: Final = 64
END: Final = (1 << 63) - 1  # inclusive: the last byte a lock can cover


class RecordLock:
    """A POSIX or OFD lock on the bytes ``start``..``end`` (inclusive); one of the owners is set."""

    def __init__(
        self, kind: int, start: int, end: int, table: FDTable | None, file: File | None, pid: int
    ) -> None:
        self.kind = kind
        self.start = start
        self.end = end
        self.table = table
        self.file = file
        self.pid = pid  # l_pid: -1 for OFD locks

    def same_owner(self, other: RecordLock) -> bool:
        """True when both belong to one table or description."""
        return self.table is other.table and self.file is other.file

    def overlaps(self, other: RecordLock) -> bool:
        """True when the ranges share a byte."""
        return self.start <= other.end and other.start <= self.end

    def touches(self, other: RecordLock) -> bool:
        """True when the ranges overlap or follow one another."""
        return self.start <= other.end + 1 and other.start <= self.end + 1

    def conflicts(self, other: RecordLock) -> bool:
        """True when the two cannot be held at once."""
        if self.same_owner(other) or not self.overlaps(other):
            return False
        return self.kind == F_WRLCK or other.kind == F_WRLCK

    def part(self, start: int, end: int) -> RecordLock:
        """The same lock on other bytes."""
        return RecordLock(self.kind, start, end, self.table, self.file, self.pid)


class FlockLock:
    """A flock(2) lock of one description."""

    def __init__(self, file: File, exclusive: bool) -> None:
        self.file = file
        self.exclusive = exclusive


class FileLocks:
    """All locks on one inode."""

    def __init__(self) -> None:
        self.records: list[RecordLock] = []  # by start
        self.flocks: list[FlockLock] = []
        self.queue = WaitQueue()

    # -- record locks ------------------------------------------------------------------------------
    def conflict(self, wanted: RecordLock) -> RecordLock | None:
        """The first lock that keeps ``wanted`` from being granted."""
        for lock in self.records:
            if lock.conflicts(wanted):
                return lock
        return None

    def set(self, wanted: RecordLock) -> None:
        """Grant ``wanted`` (the caller saw no conflict), or unlock when its kind is F_UNLCK."""
        kept: list[RecordLock] = []
        joined = wanted
        freed = False
        for lock in self.records:
            if not lock.same_owner(wanted):
                kept.append(lock)
            elif lock.kind == wanted.kind and lock.touches(joined):
                joined = joined.part(min(lock.start, joined.start), max(lock.end, joined.end))
            elif not lock.overlaps(wanted):
                kept.append(lock)
            else:
                freed = True
                if lock.start < wanted.start:
                    kept.append(lock.part(lock.start, wanted.start - 1))
                if lock.end > wanted.end:
                    kept.append(lock.part(wanted.end + 1, lock.end))
        if wanted.kind != F_UNLCK:
            kept.append(joined)
        if len(kept) > LOCKS_MAX:
            raise ENOLCK(f"more than {LOCKS_MAX} locks on one file")
        kept.sort(key=_start_of)
        self.records = kept
        if freed:
            self.queue.wake(0)

    # -- flock -------------------------------------------------------------------------------------
    def flock(self, file: File, exclusive: bool) -> bool:
        """Take or convert ``file``'s lock; False when another one is in the way (a held lock is
        then lost, as flock(2) warns: conversion is not atomic)."""
        before = len(self.flocks)
        self.flocks = [lock for lock in self.flocks if lock.file is not file]
        for lock in self.flocks:
            if exclusive or lock.exclusive:
                if len(self.flocks) != before:
                    self.queue.wake(0)
                return False
        self.flocks.append(FlockLock(file, exclusive))
        if len(self.flocks) == before and not exclusive:
            self.queue.wake(0)  # maybe converted down
        return True

    def holds_flock(self, file: File, exclusive: bool) -> bool:
        """True when ``file`` holds just this lock already."""
        return any(lock.file is file and lock.exclusive == exclusive for lock in self.flocks)

    def unflock(self, file: File) -> None:
        """Give up ``file``'s flock lock."""
        before = len(self.flocks)
        self.flocks = [lock for lock in self.flocks if lock.file is not file]
        if len(self.flocks) != before:
            self.queue.wake(0)

    # -- owners that go ----------------------------------------------------------------------------
    def forget_table(self, table: FDTable) -> None:
        """close(2) of any descriptor of the file gives up the table's POSIX locks."""
        self._keep([lock for lock in self.records if lock.table is not table])

    def forget_file(self, file: File) -> None:
        """The description is gone: so are its OFD and flock locks."""
        self._keep([lock for lock in self.records if lock.file is not file])
        self.unflock(file)

    def _keep(self, kept: list[RecordLock]) -> None:
        if len(kept) != len(self.records):
            self.records = kept
            self.queue.wake(0)


def _start_of(lock: RecordLock) -> int:
    return lock.start


# -- deadlock ------------------------------------------------------------------------------------
def would_deadlock(wanted: RecordLock, blocker: RecordLock) -> bool:
    """True when the owner of ``blocker`` waits, maybe through others, for the owner of
    ``wanted``."""
    table = blocker.table
    for _ in range(DEADLOCK_STEPS):
        if table is None:
            return False
        if table is wanted.table:
            return True
        if not still_waits(table):
            return False
        table = table.lock_blocker
    return False


def wait_begins(task: Task, blocker: RecordLock) -> None:
    """Note whom the task's table waits for; valid while the task stays parked in this call."""
    table = task.files
    table.lock_task = task
    table.lock_call = task.call
    table.lock_blocker = blocker.table


def still_waits(table: FDTable) -> bool:
    """True while the wait noted by :func:`wait_begins` goes on."""
    task = table.lock_task
    return task is not None and task.parked and task.call is table.lock_call
