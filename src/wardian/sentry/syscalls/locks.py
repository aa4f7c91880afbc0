"""Advisory locks: flock(2), and the record locks of fcntl(2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EAGAIN,
    EBADF,
    EDEADLK,
    EINVAL,
    EOVERFLOW,
)
from wardian.sentry.syscalls.kinds import FD, Int
from wardian.sentry.vfs.file import (
    O_PATH,
    File,
)
from wardian.sentry.vfs.io import file_of
from wardian.sentry.vfs.locks import (
    F_RDLCK,
    F_UNLCK,
    F_WRLCK,
    FileLocks,
    RecordLock,
    wait_begins,
    would_deadlock,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

F_GETLK: Final = 5
F_SETLK: Final = 6
F_SETLKW: Final = 7
F_OFD_GETLK: Final = 36
F_OFD_SETLK: Final = 37
F_OFD_SETLKW: Final = 38

LOCK_SH: Final = 1
LOCK_EX: Final = 2
LOCK_NB: Final = 4
LOCK_UN: Final = 8
LOCK_MAND: Final = 32

OFFSET_MAX: Final = (1 << 63) - 1

_FLOCK: Final = struct.Struct("<hhxxxxqqixxxx")


# -- record locks --------------------------------------------------------------------------------
def record_lock(t: Task, file: File, cmd: int, address: int) -> int:
    """F_GETLK, F_SETLK, F_SETLKW and their OFD twins; struct flock is at ``address``."""
    ofd = cmd in (F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW)
    kind, whence, start, length, pid = _FLOCK.unpack(t.copy_in(address, 32))
    if ofd and pid != 0:
        raise EINVAL("l_pid must be 0")
    if kind not in (F_RDLCK, F_WRLCK, F_UNLCK):
        raise EINVAL("l_type")
    first, last = lock_range(file, whence, start, length)
    if ofd:
        wanted = RecordLock(kind, first, last, None, file, -1)
    else:
        wanted = RecordLock(kind, first, last, t.files, None, t.group.pid)
    inode = file.inode
    if inode is None:
        raise EINVAL("no locks on this file")
    if cmd in (F_GETLK, F_OFD_GETLK):
        if kind == F_UNLCK:
            raise EINVAL("l_type")
        return get_lock(t, inode, wanted, address, whence)
    if (kind == F_RDLCK and not file.readable) or (kind == F_WRLCK and not file.writable):
        raise EBADF("the lock needs that access")
    return set_lock(t, file, inode, wanted, cmd in (F_SETLKW, F_OFD_SETLKW))


def lock_range(file: File, whence: int, start: int, length: int) -> tuple[int, int]:
    """First and last byte of a struct flock; EINVAL, EOVERFLOW."""
    if whence == 1:
        start += file.offset
    elif whence == 2:
        start += file.end()
    elif whence != 0:
        raise EINVAL("l_whence")
    last = OFFSET_MAX
    if length > 0:
        last = start + length - 1
    elif length < 0:
        last = start - 1
        start += length
    if start < 0:
        raise EINVAL("negative range")
    if start > OFFSET_MAX or last > OFFSET_MAX:
        raise EOVERFLOW("range beyond 63 bits")
    return start, last


def locks_of(inode: Inode) -> FileLocks:
    """The inode's locks, made at the first use."""
    found = inode.locks
    if found is None:
        found = FileLocks()
        inode.locks = found
    return found


def get_lock(t: Task, inode: Inode, wanted: RecordLock, address: int, whence: int) -> int:
    """Answer F_GETLK: the lock in the way, or F_UNLCK in l_type alone."""
    other = locks_of(inode).conflict(wanted)
    if other is None:
        t.copy_out(address, F_UNLCK.to_bytes(2, "little"))
        return 0
    length = 0 if other.end == OFFSET_MAX else other.end - other.start + 1
    t.copy_out(address, _FLOCK.pack(other.kind, 0, other.start, length, other.pid))
    return 0


def set_lock(t: Task, file: File, inode: Inode, wanted: RecordLock, wait: bool) -> int:
    """Take or give up a lock; with ``wait`` park until the ones in the way are gone."""
    state = locks_of(inode)
    if wanted.kind != F_UNLCK:
        blocker = state.conflict(wanted)
        if blocker is not None:
            if not wait:
                raise EAGAIN("locked")
            if wanted.table is not None:
                if would_deadlock(wanted, blocker):
                    raise EDEADLK("the owner waits for us")
                wait_begins(t, blocker)
            if t.call is not None:
                t.call.hold_file(file)
            return t.park(state.queue)
    state.set(wanted)
    return 0


# -- flock ---------------------------------------------------------------------------------------
def flock(t: Task, fd: FD, operation: Int) -> int:
    """flock(2)."""
    file = file_of(t, fd)
    if operation & LOCK_MAND:
        return 0  # Linux has no mandatory locks any more and says yes to them
    wait = not operation & LOCK_NB
    wanted = operation & ~LOCK_NB
    if wanted not in (LOCK_SH, LOCK_EX, LOCK_UN):
        raise EINVAL("operation")
    if file.flags & O_PATH:
        raise EBADF("O_PATH")
    inode = file.inode
    if inode is None:
        raise EINVAL("no locks on this file")
    state = locks_of(inode)
    if wanted == LOCK_UN:
        state.unflock(file)
        return 0
    exclusive = wanted == LOCK_EX
    if state.holds_flock(file, exclusive) or state.flock(file, exclusive):
        return 0
    if not wait:
        raise EAGAIN("locked")
    if t.call is not None:
        t.call.hold_file(file)
    return t.park(state.queue)
