"""System V shared memory (shmget(2)): each segment is a memfd that its users map.

How often a segment is attached is counted when somebody asks, from the host's list of mappings:
fork, exec, exit and munmap change it without telling the Sentry.
"""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING, Final

from wardian.platform.interface import HostMapping
from wardian.sentry.kernel.ipc import IpcObject, now
from wardian.sentry.mm import memfd
from wardian.sentry.mm.memory import page_up

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

SHM_DEST: Final = 0o1000
SHM_LOCKED: Final = 0o2000
SHMID: Final = struct.Struct("<QqqqiiQ16x")
"""struct shmid64_ds after its permission."""


class Segment(IpcObject):
    """One segment; the memfd is ours until it is removed and nobody maps it."""

    def __init__(self, task: Task, key: int, mode: int, size: int) -> None:
        super().__init__(task, key, mode)
        self.size = size
        self.fd = memfd.create(page_up(size))
        status = os.fstat(self.fd)
        self.dev, self.ino = status.st_dev, status.st_ino
        self.creator = task.group.pid
        self.last_pid = 0
        self.attached_at = 0
        self.detached_at = 0
        self.flags = 0  # SHM_DEST, SHM_LOCKED

    def maps(self, entry: HostMapping) -> bool:
        """Whether a host mapping is one of this segment."""
        return entry.ino == self.ino and entry.device() == self.dev

    def pack(self, kernel: Kernel) -> bytes:
        """struct shmid64_ds."""
        return self.pack_permission(self.flags) + SHMID.pack(
            self.size,
            self.attached_at,
            self.detached_at,
            self.changed,
            self.creator,
            self.last_pid,
            attached(kernel).get((self.dev, self.ino), 0),
        )


def attached(kernel: Kernel) -> dict[tuple[int, int], int]:
    """(device, inode) of what is mapped from its start in all processes -> how often."""
    seen: set[int] = set()
    found: dict[tuple[int, int], int] = {}
    for task in kernel.pids.tasks.values():
        memory = task.memory
        if id(memory) in seen or task.exited:
            continue
        seen.add(id(memory))
        for entry in memory.process.maps():
            if entry.offset == 0 and entry.ino:
                key = (entry.device(), entry.ino)
                found[key] = found.get(key, 0) + 1
    return found


def remove_segment(task: Task, segment: Segment) -> None:
    """IPC_RMID: at once, or when it is detached for the last time."""
    kernel = task.kernel
    segment.flags |= SHM_DEST
    segment.changed = now(task)
    kernel.ipc.segments.forget_key(segment)
    sweep(kernel)


def sweep(kernel: Kernel) -> None:
    """Free the segments that were removed and are not attached any more."""
    table = kernel.ipc.segments
    doomed = [
        found
        for found in table.objects.values()
        if isinstance(found, Segment) and found.flags & SHM_DEST
    ]
    if not doomed:
        return
    counts = attached(kernel)
    for segment in doomed:
        if (segment.dev, segment.ino) not in counts:
            table.remove(segment)
            memfd.close(segment.fd)
