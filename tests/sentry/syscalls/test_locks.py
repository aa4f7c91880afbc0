"""fcntl(2) record locks, OFD locks and flock(2), with waiting and deadlock."""

from __future__ import annotations

import struct

from support import PARKED, call, fork, get, host, make_kernel, make_task, put, run
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import descriptors, file
from wardian.sentry.syscalls import locks as d

O_RDWR_CREAT = 0x42
AT_FDCWD = -100
RD, WR, UN = 0, 1, 2
EAGAIN, EDEADLK, EBADF, EINVAL = 11, 35, 9, 22


def opened(task: Task, path: bytes = b"/f") -> int:
    fd = call(task, file.openat, AT_FDCWD, path, O_RDWR_CREAT, 0o644)
    assert fd >= 0
    return fd


def lock(task: Task, fd: int, cmd: int, kind: int, start: int = 0, length: int = 0) -> int:
    return call(task, descriptors.fcntl, fd, cmd, put(task, flock(kind, start, length)))


def flock(kind: int, start: int, length: int) -> bytes:
    return struct.pack("<hhxxxxqqixxxx", kind, 0, start, length, 0)


def two() -> tuple[Task, Task, int, int]:
    """Two processes with their own descriptions of one file."""
    one = make_task(make_kernel())
    other = fork(one)
    return one, other, opened(one), opened(other)


def test_overlapping_write_lock_is_refused_then_granted_after_unlock() -> None:
    one, other, a, b = two()
    assert lock(one, a, d.F_SETLK, WR, 10, 10) == 0
    assert lock(other, b, d.F_SETLK, RD, 0, 11) == -EAGAIN
    assert lock(other, b, d.F_SETLK, RD, 0, 10) == 0
    assert lock(one, a, d.F_SETLK, UN) == 0
    assert lock(other, b, d.F_SETLK, WR, 0, 11) == 0


def test_getlk_tells_owner_and_range() -> None:
    one, other, a, b = two()
    lock(one, a, d.F_SETLK, WR, 100, 50)
    address = put(other, flock(WR, 0, 0))
    assert call(other, descriptors.fcntl, b, d.F_GETLK, address) == 0
    kind, _, start, length, pid = struct.unpack("<hhxxxxqqixxxx", get(other, address, 32))
    assert (kind, start, length, pid) == (WR, 100, 50, one.group.pid)


def test_setlkw_waits_for_the_unlock() -> None:
    one, other, a, b = two()
    lock(one, a, d.F_SETLK, WR)
    assert lock(other, b, d.F_SETLKW, WR) == PARKED
    lock(one, a, d.F_SETLK, UN)
    run(one.kernel)
    assert host(other).results[-1] == 0
    assert lock(one, a, d.F_SETLK, RD) == -EAGAIN


def test_unlocking_the_middle_splits_a_lock() -> None:
    one, other, a, b = two()
    lock(one, a, d.F_SETLK, WR, 0, 30)
    lock(one, a, d.F_SETLK, UN, 10, 10)
    assert lock(other, b, d.F_SETLK, WR, 10, 10) == 0
    assert lock(other, b, d.F_SETLK, WR, 9, 1) == -EAGAIN
    assert lock(other, b, d.F_SETLK, WR, 20, 1) == -EAGAIN


def test_two_processes_waiting_for_each_other_is_edeadlk() -> None:
    one, other, a, b = two()
    lock(one, a, d.F_SETLK, WR, 0, 1)
    lock(other, b, d.F_SETLK, WR, 1, 1)
    assert lock(one, a, d.F_SETLKW, WR, 1, 1) == PARKED
    assert lock(other, b, d.F_SETLKW, WR, 0, 1) == -EDEADLK


def test_closing_any_descriptor_gives_up_posix_locks_but_not_ofd_locks() -> None:
    one, other, a, b = two()
    second = opened(one)
    lock(one, a, d.F_SETLK, WR, 0, 1)
    lock(one, a, d.F_OFD_SETLK, WR, 5, 1)
    call(one, file.close, second)
    assert lock(other, b, d.F_SETLK, WR, 0, 1) == 0
    assert lock(other, b, d.F_SETLK, WR, 5, 1) == -EAGAIN
    call(one, file.close, a)
    assert lock(other, b, d.F_SETLK, WR, 5, 1) == 0


def test_write_lock_needs_write_access() -> None:
    task = make_task(make_kernel())
    opened(task)
    reader = call(task, file.openat, AT_FDCWD, b"/f", 0, 0)
    assert lock(task, reader, d.F_SETLK, WR) == -EBADF
    assert lock(task, reader, d.F_SETLK, RD) == 0


def test_flock_belongs_to_the_description() -> None:
    one, other, a, b = two()
    same = call(one, descriptors.dup, a)
    assert call(one, d.flock, a, d.LOCK_EX) == 0
    assert call(one, d.flock, same, d.LOCK_EX | d.LOCK_NB) == 0
    assert call(other, d.flock, b, d.LOCK_SH | d.LOCK_NB) == -EAGAIN
    assert call(other, d.flock, b, d.LOCK_SH) == PARKED
    call(one, file.close, a)
    run(one.kernel)
    assert other.parked
    call(one, file.close, same)
    run(one.kernel)
    assert host(other).results[-1] == 0


def test_nonsense_is_einval() -> None:
    task = make_task(make_kernel())
    fd = opened(task)
    assert call(task, d.flock, fd, 16) == -EINVAL
    assert lock(task, fd, d.F_SETLK, 7) == -EINVAL
    assert lock(task, fd, d.F_SETLK, WR, -1, 1) == -EINVAL
