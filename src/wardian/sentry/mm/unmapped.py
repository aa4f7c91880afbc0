"""Lets go of mapped files when they are not mapped any more.

``Memory.file_mappings`` keeps every file that was mapped, and the guest's munmap(2) is the host's
alone. So the host's list of mappings is looked at: when an address space has mapped many files, or
large ones, since it was looked at last (:func:`remember`), and before a file system in memory says
ENOSPC (:class:`UnmappedFiles`).

A record is older than its mapping: it stands before the guest thread makes the host's mmap(2). Such
a one is ``Task.coming`` and stays, and so does everything while a program is being loaded.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.fs.contents import Quota, Reclaimer

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.mm.file_mappings import FileMapping
    from wardian.sentry.mm.memory import Memory

VAIN_NS: Final = 1_000_000
VAIN_FACTOR: Final = 10
"""A look in vain counts as so many times what it took, and not less than that."""
AHEAD_NS: Final = 100_000_000
"""So far the looks in vain may be ahead of the clock. A full file system that is written to again
and again has them done for a tenth of the time at most, and yet a program that makes room after
ENOSPC can try again at once."""


def remember(t: Task, record: FileMapping, host_fd: int) -> None:
    """``t`` is about to be told to map ``host_fd``."""
    record.identify(host_fd)
    t.coming = record
    memory = t.memory
    memory.file_mappings.add(record)
    if memory.file_mappings.worth_a_look():
        tasks = t.kernel.pids.tasks.values()
        sweep(memory, [task for task in tasks if task.memory is memory])


def sweep(memory: Memory, tasks: list[Task]) -> None:
    """Forget what is not mapped in ``memory``, which all of ``tasks`` share and nobody else."""
    coming: list[FileMapping] = []
    for task in tasks:
        if not task.may_be_mapping():
            task.coming = None
        elif task.coming is not None:
            coming.append(task.coming)
        elif task.is_loading():
            memory.file_mappings.keep_all()
            return
    mapped = memory.process.mapped_files()
    if mapped is None:
        memory.file_mappings.keep_all()
    else:
        memory.file_mappings.forget_unmapped(mapped, coming)


class UnmappedFiles(Reclaimer):
    """Makes room in file systems in memory: for ``Kernel.file_space``."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.busy_until_ns = 0  # by the looks in vain

    def reclaim(self, quota: Quota, count: int, inodes: int) -> None:
        clock = self.kernel.clock
        start = clock.monotonic_ns()
        if self.busy_until_ns > start + AHEAD_NS:
            return
        room, free = quota.room(), quota.inodes_free()
        looked = self.sweep_until(quota, count, inodes)
        if looked and quota.room() <= room and quota.inodes_free() <= free:
            took = clock.monotonic_ns() - start
            self.busy_until_ns = max(self.busy_until_ns, start) + max(VAIN_NS, VAIN_FACTOR * took)

    def sweep_until(self, quota: Quota, count: int, inodes: int) -> bool:
        """Look at one address space after the other until there is room; False: at none."""
        sharers: dict[int, list[Task]] = {}  # by the identity of their memory
        for task in self.kernel.pids.tasks.values():
            if task.memory.file_mappings.in_memory:
                sharers.setdefault(id(task.memory), []).append(task)
        for tasks in sharers.values():
            sweep(tasks[0].memory, tasks)
            if quota.room() >= count and quota.inodes_free() >= inodes:
                break
        return len(sharers) > 0
