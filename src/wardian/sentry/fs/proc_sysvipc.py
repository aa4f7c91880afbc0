"""/proc/sysvipc: the tables that ipcs(1) reads."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.kernel.msg import MessageQueue
from wardian.sentry.kernel.sem import SemaphoreSet
from wardian.sentry.kernel.shm import Segment, attached

if TYPE_CHECKING:
    from wardian.sentry.kernel.ipc import IpcObject
    from wardian.sentry.kernel.kernel import Kernel

SHM_HEAD: Final = (
    "       key      shmid perms                  size  cpid  lpid nattch   uid   gid  cuid  cgid"
    "      atime      dtime      ctime                   rss                  swap\n"
)
SEM_HEAD: Final = (
    "       key      semid perms      nsems   uid   gid  cuid  cgid      otime      ctime\n"
)
MSG_HEAD: Final = (
    "       key      msqid perms      cbytes       qnum lspid lrpid   uid   gid  cuid  cgid"
    "      stime      rtime      ctime\n"
)


def first_columns(one: IpcObject, extra: int = 0) -> str:
    """Key, identifier and mode."""
    return f"{one.key:10d} {one.id:10d}  {one.mode | extra:4o}"


def owners(one: IpcObject) -> str:
    """Whose it is, and who made it."""
    return f"{one.uid:5d} {one.gid:5d} {one.creator_uid:5d} {one.creator_gid:5d}"


def resident(segment: Segment) -> int:
    """Bytes that have pages."""
    return os.fstat(segment.fd).st_blocks * 512


def shared_memory(kernel: Kernel) -> bytes:
    """/proc/sysvipc/shm."""
    segments = [s for s in kernel.ipc.segments.objects.values() if isinstance(s, Segment)]
    counts = attached(kernel) if segments else {}
    lines = [
        f"{first_columns(s, s.flags)} {s.size:21d} {s.creator:5d} {s.last_pid:5d}"
        f"  {counts.get((s.dev, s.ino), 0):5d} {owners(s)} {s.attached_at:10d}"
        f" {s.detached_at:10d} {s.changed:10d} {resident(s):21d} {0:21d}\n"
        for s in segments
    ]
    return (SHM_HEAD + "".join(lines)).encode()


def semaphores(kernel: Kernel) -> bytes:
    """/proc/sysvipc/sem."""
    sets = [s for s in kernel.ipc.semaphores.objects.values() if isinstance(s, SemaphoreSet)]
    lines = [
        f"{first_columns(s)} {len(s.values):10d} {owners(s)} {s.operated_at:10d} {s.changed:10d}\n"
        for s in sets
    ]
    return (SEM_HEAD + "".join(lines)).encode()


def message_queues(kernel: Kernel) -> bytes:
    """/proc/sysvipc/msg."""
    queues = [q for q in kernel.ipc.queues.objects.values() if isinstance(q, MessageQueue)]
    lines = [
        f"{first_columns(q)}  {q.bytes:10d} {len(q.messages):10d} {q.sender:5d} {q.receiver:5d}"
        f" {owners(q)} {q.sent_at:10d} {q.received_at:10d} {q.changed:10d}\n"
        for q in queues
    ]
    return (MSG_HEAD + "".join(lines)).encode()
