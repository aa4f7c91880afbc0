"""process_vm_readv(2) and process_vm_writev(2): bytes from one guest address space to another."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EFAULT, EINVAL, EPERM, ESRCH, LinuxError
from wardian.sentry.kernel.access import may_access
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm.memory import Memory
from wardian.sentry.syscalls.kinds import Addr, Pid, ULong

UIO_MAXIOV: Final = 1024
STEP: Final = 1 << 18
MAX_BYTES: Final = 64 << 20
"""One call moves at most this much; a short count is allowed, and the Sentry has other callers."""


class Cursor:
    """A position in a list of (address, length) ranges."""

    def __init__(self, ranges: list[tuple[int, int]]) -> None:
        self.ranges = ranges
        self.index = 0
        self.inside = 0

    def left_here(self) -> int:
        """Bytes left in the current range; 0 only at the end of the list."""
        while self.index < len(self.ranges):
            left = self.ranges[self.index][1] - self.inside
            if left > 0:
                return left
            self.index += 1
            self.inside = 0
        return 0

    @property
    def address(self) -> int:
        return self.ranges[self.index][0] + self.inside


def process_vm_readv(
    t: Task,
    pid: Pid,
    local: Addr,
    local_count: ULong,
    remote: Addr,
    remote_count: ULong,
    flags: ULong,
) -> int:
    """process_vm_readv(2)."""
    other, mine, theirs = _prepare(t, pid, local, local_count, remote, remote_count, flags)
    return _move(other, theirs, t.memory, mine)


def process_vm_writev(
    t: Task,
    pid: Pid,
    local: Addr,
    local_count: ULong,
    remote: Addr,
    remote_count: ULong,
    flags: ULong,
) -> int:
    """process_vm_writev(2)."""
    other, mine, theirs = _prepare(t, pid, local, local_count, remote, remote_count, flags)
    return _move(t.memory, mine, other, theirs)


def _prepare(
    t: Task, pid: int, local: int, local_count: int, remote: int, remote_count: int, flags: int
) -> tuple[Memory, Cursor, Cursor]:
    if flags:
        raise EINVAL("flags must be 0")
    mine = Cursor(read_ranges(t, local, local_count))
    theirs = Cursor(read_ranges(t, remote, remote_count))
    target = t.kernel.pids.task(pid)
    if target is None:
        raise ESRCH("no such task")
    if not may_access(t, target):
        raise EPERM("not allowed to access that task's memory")
    return target.memory, mine, theirs


def read_ranges(t: Task, address: int, count: int) -> list[tuple[int, int]]:
    """An iovec array; EINVAL, EFAULT."""
    if count > UIO_MAXIOV:
        raise EINVAL("more than UIO_MAXIOV ranges")
    data = t.copy_in(address, count * 16) if count else b""
    ranges: list[tuple[int, int]] = []
    for at in range(0, count * 16, 16):
        start, length = struct.unpack_from("<QQ", data, at)
        if length >= 1 << 63:
            raise EINVAL("negative length")
        ranges.append((start, length))
    return ranges


def _move(source: Memory, take: Cursor, target: Memory, put: Cursor) -> int:
    """Copy until either list ends or memory does; EFAULT only when nothing was moved."""
    done = 0
    while done < MAX_BYTES:
        count = min(take.left_here(), put.left_here(), STEP, MAX_BYTES - done)
        if count == 0:
            break
        data = source.process.read_some(take.address, count)
        if data:
            try:
                target.process.write(put.address, data)
            except LinuxError:
                data = b""
        if not data:
            if done == 0:
                raise EFAULT("memory is not accessible")
            break
        done += len(data)
        take.inside += len(data)
        put.inside += len(data)
    return done
