"""Robust futexes: what a task still holds when it ends is marked, and the next one learns of it
(set_robust_list(2), robust futex ABI of the kernel's documentation).

Guests wait for futexes in the host kernel, which knows other thread numbers than the lock words
hold, so the Sentry does what Linux does at exit. It cannot wake a waiter by the futex; it
interrupts those who run, and a wait that is interrupted starts again and finds the word changed.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EFAULT

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

HEAD: Final = struct.Struct("<QqQ")  # struct robust_list_head
POINTER: Final = struct.Struct("<Q")
WORD: Final = struct.Struct("<I")
FUTEX_WAITERS: Final = 0x8000_0000
FUTEX_OWNER_DIED: Final = 0x4000_0000
FUTEX_TID_MASK: Final = 0x3FFF_FFFF
LIST_LIMIT: Final = 2048
PRIORITY_INHERITING: Final = 1  # the low bit of an entry's address


def robust_list(task: Task) -> int:
    """The address of its set_robust_list(2), or 0."""
    own = task.host.robust_list() if task.host is not None else 0
    return own or task.robust_list


def release_robust_futexes(task: Task) -> None:
    """Mark every lock that ``task`` holds; a broken list ends the work silently, as on Linux."""
    head = robust_list(task)
    task.robust_list = 0
    if head and not task.holds_no_lock:
        try:
            if walk(task, head):
                interrupt_waiters(task)
        except EFAULT:
            pass


def walk(task: Task, head: int) -> bool:
    """Go through the list at ``head``; True when somebody may wait for one of its locks."""
    entry, offset, pending = HEAD.unpack(task.copy_in(head, HEAD.size))
    waited = False
    for _ in range(LIST_LIMIT):
        entry &= ~PRIORITY_INHERITING
        if entry == head:
            break
        following = POINTER.unpack(task.copy_in(entry, POINTER.size))[0]
        if entry != pending & ~PRIORITY_INHERITING:
            waited |= mark(task, entry + offset, False)
        entry = following
    if pending:
        waited |= mark(task, (pending & ~PRIORITY_INHERITING) + offset, True)
    return waited


def mark(task: Task, address: int, pending: bool) -> bool:
    """Handle one lock word; ``pending``: the task was just taking it or giving it up."""
    address &= (1 << 64) - 1
    if address % WORD.size:
        return False
    value = WORD.unpack(task.copy_in(address, WORD.size))[0]
    if value & FUTEX_TID_MASK != task.tid:
        return pending and value == 0
    died = value & FUTEX_WAITERS | FUTEX_OWNER_DIED
    task.memory.process.write(address, WORD.pack(died))
    return bool(value & FUTEX_WAITERS)


def interrupt_waiters(task: Task) -> None:
    """Have everyone who may wait in the host look at the lock again."""
    for group in task.kernel.pids.groups():
        for other in group.tasks:
            if other is not task and other.is_away() and other.host is not None:
                other.host.interrupt()
