"""struct rusage (getrusage(2)).

User and system time are the host's: its kernel runs a guest's memory calls and page faults. What
the Sentry does for a guest is nobody's, but waiting for an answer may spin, which is user time.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.time import pack_timeval

if TYPE_CHECKING:
    from wardian.sentry.kernel.thread_group import ThreadGroup

RUSAGE_SIZE: Final = 144
LONGS: Final = struct.Struct("<14q")


def pack_rusage(cpu_ns: int, system_ns: int, peak_resident: int) -> bytes:
    """A struct rusage with what is known; ``system_ns`` is a part of ``cpu_ns``."""
    longs = LONGS.pack(peak_resident // 1024, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return pack_timeval(cpu_ns - system_ns) + pack_timeval(system_ns) + longs


def group_rusage(group: ThreadGroup) -> bytes:
    """RUSAGE_SELF."""
    note_peak(group)
    system = group.system_time_ns()
    return pack_rusage(max(group.cpu_time_ns(), system), system, group.peak_resident)


def children_rusage(group: ThreadGroup) -> bytes:
    """RUSAGE_CHILDREN: descendants that were waited for."""
    return pack_rusage(
        group.children_cpu_ns, group.children_system_ns, group.children_peak_resident
    )


def is_accounted_outside(group: ThreadGroup) -> bool:
    """Whether somebody outside hears of its use: what the guest says itself will not do then. It is
    the first program, or a child of the kernel's own init, which runs none."""
    parent = group.parent
    return parent is None or (parent is group.kernel.init and parent.exe is None)


def note_peak(group: ThreadGroup) -> None:
    """Remember the largest resident size of the host's process; looked at when someone asks and at
    exit."""
    task = group.any_task()
    if task is None:
        return
    peak = group.told_peak
    if peak == 0 or is_accounted_outside(group):
        peak = task.memory.process.peak_resident_bytes()
    if peak > group.peak_resident:
        group.peak_resident = peak
