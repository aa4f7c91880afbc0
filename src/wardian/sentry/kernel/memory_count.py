"""How much memory the sandbox's processes take, for those who ask all the time: the C library does
at the start of many programs (sysinfo(2))."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel

STALE_NS: Final = 100_000_000
"""Counting asks the host for each process. The numbers of Linux lag behind for longer
(/proc/sys/vm/stat_interval)."""


class MemoryCount:
    """The last count and its time."""

    def __init__(self) -> None:
        self.resident = 0
        self.stale_at_ns = -1

    def used(self, kernel: Kernel) -> int:
        """Resident bytes of all processes; shared pages count once per process, so it errs
        upwards."""
        now = kernel.clock.monotonic_ns()
        if now >= self.stale_at_ns:
            self.resident = resident_bytes(kernel)
            self.stale_at_ns = now + STALE_NS
        return self.resident


def resident_bytes(kernel: Kernel) -> int:
    """The same, counted now."""
    used = 0
    for group in kernel.pids.groups():
        task = group.any_task()
        if task is not None:
            used += task.memory.process.resident_bytes()
    return used
