"""System V semaphores (semop(2)): sets of counters, changed all together or not at all.

Adjustments for SEM_UNDO belong to the process; they are applied when it ends.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EAGAIN, EFBIG, ENOSPC, ERANGE
from wardian.sentry.kernel.ipc import IPC_NOWAIT, IpcObject, IpcWait, now

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

SEM_UNDO: Final = 0x1000
SEMVMX: Final = 32767
UNDO_MAX: Final = 1 << 18
"""Adjustments of all processes together: the Sentry's own memory holds them."""
SEMBUF: Final = struct.Struct("<Hhh")
SEMID: Final = struct.Struct("<q8xq8xQ16x")
"""struct semid64_ds after its permission."""

Operation = tuple[int, int, int]
"""Number, amount, flags: struct sembuf."""


class SemaphoreSet(IpcObject):
    """One set."""

    def __init__(self, task: Task, key: int, mode: int, count: int) -> None:
        super().__init__(task, key, mode)
        self.values = [0] * count
        self.pids = [0] * count  # who changed each last
        self.operated_at = 0
        self.undo: dict[int, dict[int, int]] = {}  # pid -> number -> adjustment
        self.waiting: list[SemaphoreWait] = []

    def pack(self, kernel: Kernel) -> bytes:
        """struct semid64_ds."""
        return self.pack_permission() + SEMID.pack(self.operated_at, self.changed, len(self.values))

    def set_value(self, number: int, value: int, pid: int) -> None:
        """SETVAL and SETALL: also forgets all adjustments."""
        self.values[number] = value
        self.pids[number] = pid
        for undo in self.undo.values():
            if number in undo:
                undo[number] = 0

    def waiters(self, number: int, for_zero: bool) -> int:
        """GETNCNT and GETZCNT: how many tasks that operation stops."""
        return sum([wait.number == number and wait.for_zero == for_zero for wait in self.waiting])


class SemaphoreWait(IpcWait):
    """A semop(2) that waits, and for what."""

    def __init__(self, target: SemaphoreSet, number: int, for_zero: bool) -> None:
        super().__init__(target)
        self.counted = target.waiting
        self.number = number
        self.for_zero = for_zero
        self.counted.append(self)

    def abandon(self) -> None:
        if self in self.counted:
            self.counted.remove(self)


def operate(task: Task, target: SemaphoreSet, operations: list[Operation]) -> Operation | None:
    """Do all ``operations``, or return the one that must wait; EAGAIN, EFBIG, ENOSPC, ERANGE."""
    pid = task.group.pid
    values: dict[int, int] = {}
    undo: dict[int, int] = {}
    old_undo = target.undo.get(pid)
    for operation in operations:
        number, amount, flags = operation
        if number >= len(target.values):
            raise EFBIG("no such semaphore in the set")
        value = values.get(number, target.values[number]) + amount
        if value < 0 or (amount == 0 and value):
            if flags & IPC_NOWAIT:
                raise EAGAIN("it would wait")
            return operation
        if value > SEMVMX:
            raise ERANGE("beyond SEMVMX")
        values[number] = value
        if flags & SEM_UNDO and amount:
            before = old_undo.get(number, 0) if old_undo is not None else 0
            undo[number] = undo.get(number, before) - amount
            if not -SEMVMX - 1 <= undo[number] <= SEMVMX:
                raise ERANGE("beyond SEMAEM")
    if undo:
        remember_undo(task, target, undo)
    commit(task, target, values)
    return None


def remember_undo(task: Task, target: SemaphoreSet, undo: dict[int, int]) -> None:
    """New adjustments of the caller's process; ENOSPC when there are too many in all."""
    ipc = task.kernel.ipc
    pid = task.group.pid
    if ipc.undo_count + len(undo) > UNDO_MAX:
        raise ENOSPC("too many adjustments")
    kept = target.undo.setdefault(pid, {})
    before = len(kept)
    kept.update(undo)
    ipc.undo_count += len(kept) - before
    ipc.undoing.add(pid)


def commit(task: Task, target: SemaphoreSet, values: dict[int, int]) -> None:
    """All operations succeed: show it."""
    changed = False
    for number, value in values.items():
        changed = changed or target.values[number] != value
        target.values[number] = value
        target.pids[number] = task.group.pid
    target.operated_at = now(task)
    if changed:
        target.queue.wake(0)


def remove_set(task: Task, target: SemaphoreSet) -> None:
    """IPC_RMID."""
    ipc = task.kernel.ipc
    ipc.semaphore_count -= len(target.values)
    ipc.undo_count -= sum([len(undo) for undo in target.undo.values()])
    ipc.semaphores.remove(target)


def undo_all(kernel: Kernel, pid: int) -> None:
    """A process ended: apply its adjustments; a value never leaves its range (exit_sem)."""
    if pid not in kernel.ipc.undoing:
        return
    kernel.ipc.undoing.discard(pid)
    for target in list(kernel.ipc.semaphores.objects.values()):
        if not isinstance(target, SemaphoreSet):
            continue
        undo = target.undo.pop(pid, None)
        if undo is None:
            continue
        kernel.ipc.undo_count -= len(undo)
        for number, adjustment in undo.items():
            if adjustment:
                target.values[number] = min(max(target.values[number] + adjustment, 0), SEMVMX)
                target.pids[number] = pid
        target.operated_at = kernel.clock.realtime_ns() // 1_000_000_000
        target.queue.wake(0)
