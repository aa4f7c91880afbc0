"""struct rusage (getrusage(2)).

The host accounts CPU time per thread as one number; it is shown as user time.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.time import pack_timeval

if TYPE_CHECKING:
    from wardian.sentry.kernel.thread_group import ThreadGroup

RUSAGE_SIZE: Final = 144
LONGS: Final = struct.Struct("<14q")


def pack_rusage(cpu_ns: int, peak_resident: int) -> bytes:
    """A struct rusage with what is known."""
    longs = LONGS.pack(peak_resident // 1024, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0)
    return pack_timeval(cpu_ns) + pack_timeval(0) + longs


def group_rusage(group: ThreadGroup) -> bytes:
    """RUSAGE_SELF."""
    note_peak(group)
    return pack_rusage(group.cpu_time_ns(), group.peak_resident)


def children_rusage(group: ThreadGroup) -> bytes:
    """RUSAGE_CHILDREN: descendants that were waited for."""
    return pack_rusage(group.children_cpu_ns, group.children_peak_resident)


def note_peak(group: ThreadGroup) -> None:
    """Remember the largest resident size seen; looked at when someone asks and at exit. Of a
    command of the Python API the host's own record of the peak is kept (kernel.init)."""
    task = group.any_task()
    if task is not None:
        process = task.memory.process
        parent = group.parent
        internal = parent is not None and parent is group.kernel.init and parent.exe is None
        resident = process.peak_resident_bytes() if internal else process.resident_bytes()
        if resident > group.peak_resident:
            group.peak_resident = resident
