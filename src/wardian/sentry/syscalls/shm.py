"""System V shared memory (shmop(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import (
    EINVAL,
    ENOMEM,
)
from wardian.sentry.kernel.ipc import (
    IPC_64,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    READ,
    WRITE,
    now,
    stat,
)
from wardian.sentry.kernel.shm import (
    SHM_DEST,
    SHM_LOCKED,
    Segment,
    remove_segment,
    sweep,
)
from wardian.sentry.kernel.task import NO_REPLY, Task
from wardian.sentry.mm.file_mappings import FileMapping
from wardian.sentry.mm.mapping import (
    MAP_FIXED,
    MAP_SHARED,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    make_request,
)
from wardian.sentry.mm.memory import PAGE_SIZE, page_up
from wardian.sentry.mm.unmapped import remember
from wardian.sentry.syscalls.kinds import Addr, Int, Size

SHM_RDONLY: Final = 0o10000
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000
SHM_LOCK: Final = 11
SHM_UNLOCK: Final = 12
SHM_STAT: Final = 13
SHM_INFO: Final = 14
SHM_STAT_ANY: Final = 15
SHM_MAX: Final = 1 << 40
SHM_INFO_SIZE: Final = struct.Struct("<i4x5Q")
SHM_LIMITS: Final = struct.Struct("<5Q32x")


def segment_of(t: Task, number: int) -> Segment:
    """The segment of an identifier; EINVAL."""
    found = t.kernel.ipc.segments.get(number)
    assert isinstance(found, Segment)
    return found


def shmget(t: Task, key: Int, size: Size, flags: Int) -> int:
    """shmget(2); huge pages are not offered."""
    sweep(t.kernel)
    table = t.kernel.ipc.segments
    found = table.find(t, key, flags)
    if found is not None:
        assert isinstance(found, Segment)
        if size > found.size:
            raise EINVAL("larger than the segment")
        found.check(t.credentials, flags & 0o777)
        return found.id
    if size == 0:
        raise EINVAL("empty")
    if size > SHM_MAX:
        raise ENOMEM("larger than any memory")
    return table.add(Segment(t, key, flags, size))


def shmat(t: Task, shmid: Int, address: Addr, flags: Int) -> int:
    """shmat(2)."""
    sweep(t.kernel)
    segment = segment_of(t, shmid)
    if address % PAGE_SIZE:
        if not flags & SHM_RND:
            raise EINVAL("address is not page-aligned")
        address = Addr(address - address % PAGE_SIZE)
        if not address and flags & SHM_REMAP:
            raise EINVAL("nothing to replace")
    if not address and flags & SHM_REMAP:
        raise EINVAL("SHM_REMAP needs an address")
    prot, wanted = PROT_READ, READ
    if not flags & SHM_RDONLY:
        prot, wanted = prot | PROT_WRITE, wanted | WRITE
    if flags & SHM_EXEC:
        prot, wanted = prot | PROT_EXEC, wanted | 0o111
    segment.check(t.credentials, wanted)
    length = page_up(segment.size)
    request = make_request(address, length, prot, MAP_SHARED | (MAP_FIXED if address else 0), 0)
    if address and not flags & SHM_REMAP and is_mapped(t, address, length):
        raise EINVAL("something is mapped there")
    record = FileMapping(request.address, length, None, 0, True)
    record.name = b"/SYSV%08x (deleted)" % (segment.key & 0xFFFFFFFF)
    remember(t, record, segment.fd)
    segment.attached_at = now(t)
    segment.last_pid = t.group.pid
    host = t.host
    assert host is not None
    read_only = bool(flags & SHM_RDONLY)
    host.map_file(request.address, length, prot, request.host_flags, segment.fd, 0, read_only)
    return NO_REPLY


def is_mapped(t: Task, address: int, length: int) -> bool:
    """Whether anything lies in the range."""
    maps = t.memory.process.maps()
    return any(entry.start < address + length and entry.end > address for entry in maps)


def shmdt(t: Task, address: Addr) -> int:
    """shmdt(2): unmaps what is left of the attachment that began at ``address``."""
    if address % PAGE_SIZE:
        raise EINVAL("address is not page-aligned")
    maps = t.memory.process.maps()
    first = [entry for entry in maps if entry.start - entry.offset == address and entry.ino]
    for entry in first:
        for found in t.kernel.ipc.segments.objects.values():
            if isinstance(found, Segment) and found.maps(entry):
                end = max([e.end for e in first if found.maps(e)])
                found.detached_at = now(t)
                found.last_pid = t.group.pid
                host = t.host
                assert host is not None
                host.unmap(entry.start, end - entry.start)
                return NO_REPLY
    raise EINVAL("nothing is attached there")


def shmctl(t: Task, shmid: Int, command: Int, buffer: Addr) -> int:
    """shmctl(2)."""
    command = Int(command & ~IPC_64)
    table = t.kernel.ipc.segments
    if command == IPC_INFO:
        t.copy_out(buffer, SHM_LIMITS.pack(SHM_MAX, 1, table.limit, table.limit, 1 << 28))
        return table.highest()
    if command == SHM_INFO:
        pages = sum(
            [page_up(s.size) >> 12 for s in table.objects.values() if isinstance(s, Segment)]
        )
        t.copy_out(buffer, SHM_INFO_SIZE.pack(len(table.objects), pages, pages, 0, 0, 0))
        return table.highest()
    if command in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
        return stat(t, table, shmid, command, command != SHM_STAT_ANY, buffer)
    found = segment_of(t, shmid)
    if command == IPC_SET:
        found.change(t, t.copy_in(buffer, 48))
    elif command == IPC_RMID:
        found.check_owner(t.credentials)
        remove_segment(t, found)
    elif command in (SHM_LOCK, SHM_UNLOCK):
        found.check_owner(t.credentials)
        found.flags = found.flags & SHM_DEST | (SHM_LOCKED if command == SHM_LOCK else 0)
    else:
        raise EINVAL("no such command")
    return 0
