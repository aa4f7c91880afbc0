"""Descriptors: dup(2), fcntl(2), close_range(2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EBADF,
    EINVAL,
    EPERM,
    ESRCH,
)
from wardian.sentry.fs.pipe import pipe_of
from wardian.sentry.fs.tmpfs_inode import TmpRegular
from wardian.sentry.kernel.credentials import CAP_SYS_RESOURCE
from wardian.sentry.syscalls.kinds import FD, Flags, Int, UInt, ULong
from wardian.sentry.syscalls.locks import (
    F_GETLK,
    F_OFD_GETLK,
    F_OFD_SETLK,
    F_OFD_SETLKW,
    F_SETLK,
    F_SETLKW,
    record_lock,
)
from wardian.sentry.vfs.fasync import set_async
from wardian.sentry.vfs.file import (
    O_ASYNC,
    O_CLOEXEC,
    O_NOATIME,
    O_PATH,
    File,
)
from wardian.sentry.vfs.io import file_of
from wardian.sentry.vfs.locks import F_UNLCK
from wardian.sentry.vfs.permissions import owns

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

F_DUPFD: Final = 0
F_GETFD: Final = 1
F_SETFD: Final = 2
F_GETFL: Final = 3
F_SETFL: Final = 4
F_SETOWN: Final = 8
F_GETOWN: Final = 9
F_SETSIG: Final = 10
F_GETSIG: Final = 11
F_SETOWN_EX: Final = 15
F_GETOWN_EX: Final = 16
F_GETLEASE: Final = 1025
F_DUPFD_QUERY: Final = 1027
F_DUPFD_CLOEXEC: Final = 1030
F_SETPIPE_SZ: Final = 1031
F_GETPIPE_SZ: Final = 1032
F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034

FD_CLOEXEC: Final = 1
F_OWNER_TID: Final = 0
F_OWNER_PID: Final = 1
F_OWNER_PGRP: Final = 2


CLOSE_RANGE_UNSHARE: Final = 2
CLOSE_RANGE_CLOEXEC: Final = 4


_OWNER_EX: Final = struct.Struct("<ii")


# -- dup -----------------------------------------------------------------------------------------
def dup(t: Task, oldfd: FD) -> int:
    """dup(2)."""
    return t.files.install(t.files.get(oldfd), False)


def dup2(t: Task, oldfd: FD, newfd: FD) -> int:
    """dup2(2)."""
    file = t.files.get(oldfd)
    if oldfd == newfd:
        return newfd
    t.files.set(newfd, file, False)
    return newfd


def dup3(t: Task, oldfd: FD, newfd: FD, flags: Flags) -> int:
    """dup3(2)."""
    if flags & ~O_CLOEXEC or oldfd == newfd:
        raise EINVAL("flags, or equal descriptors")
    t.files.set(newfd, t.files.get(oldfd), bool(flags & O_CLOEXEC))
    return newfd


def close_range(t: Task, first: UInt, last: UInt, flags: Flags) -> int:
    """close_range(2)."""
    if flags & ~(CLOSE_RANGE_UNSHARE | CLOSE_RANGE_CLOEXEC) or first > last:
        raise EINVAL("range or flags")
    files = t.files
    if flags & CLOSE_RANGE_UNSHARE and files.users > 1:
        t.files = files.clone()
        files.leave()
        files = t.files
    for fd in range(first, min(last + 1, len(files.slots))):
        if files.slots[fd] is None:
            continue
        if flags & CLOSE_RANGE_CLOEXEC:
            files.cloexec.add(fd)
        else:
            files.close(fd)
    return 0


# -- fcntl ---------------------------------------------------------------------------------------
def fcntl(t: Task, fd: FD, cmd: Int, arg: ULong) -> int:
    """fcntl(2)."""
    file = file_of(t, fd)
    if cmd in (F_DUPFD, F_DUPFD_CLOEXEC):
        if arg >= t.files.limit:
            raise EINVAL("beyond RLIMIT_NOFILE")
        return t.files.install(file, cmd == F_DUPFD_CLOEXEC, arg)
    if cmd == F_GETFD:
        return FD_CLOEXEC if fd in t.files.cloexec else 0
    if cmd == F_SETFD:
        if arg & FD_CLOEXEC:
            t.files.cloexec.add(fd)
        else:
            t.files.cloexec.discard(fd)
        return 0
    if cmd == F_GETFL:
        return file.flags
    if file.flags & O_PATH:
        raise EBADF("O_PATH")
    if cmd == F_SETFL:
        return set_status_flags(t, file, fd, arg & 0xFFFFFFFF)
    if cmd in (F_GETLK, F_SETLK, F_SETLKW, F_OFD_GETLK, F_OFD_SETLK, F_OFD_SETLKW):
        return record_lock(t, file, cmd, arg)
    if cmd == F_DUPFD_QUERY:
        return int(t.files.find(arg & 0xFFFFFFFF) is file)
    return file_command(t, file, cmd, arg)


def file_command(t: Task, file: File, cmd: int, arg: int) -> int:
    """The rarer commands."""
    if cmd == F_SETOWN:
        return set_owner(t, file, arg - (1 << 32) if arg & 0x80000000 else arg & 0xFFFFFFFF)
    if cmd == F_GETOWN:
        return file.owner_pid
    if cmd == F_SETSIG:
        if arg > 64:
            raise EINVAL("signal")
        file.owner_signal = arg
        return 0
    if cmd == F_GETSIG:
        return file.owner_signal
    if cmd == F_SETOWN_EX:
        return set_owner_ex(t, file, arg)
    if cmd == F_GETOWN_EX:
        kind = F_OWNER_PGRP if file.owner_pid < 0 else F_OWNER_PID
        if file.owner_is_thread:
            kind = F_OWNER_TID
        t.copy_out(arg, _OWNER_EX.pack(kind, abs(file.owner_pid)))
        return 0
    if cmd == F_GETPIPE_SZ:
        return pipe_of(file).capacity
    if cmd == F_SETPIPE_SZ:
        return set_pipe_size(t, file, arg & 0xFFFFFFFF)
    if cmd == F_GETLEASE:
        return F_UNLCK
    if cmd == F_GET_SEALS:
        return sealable(file.inode).seals
    if cmd == F_ADD_SEALS:
        if not file.writable:
            raise EPERM("not open for writing")
        sealable(file.inode).add_seals(arg & 0xFFFFFFFF)
        return 0
    raise EINVAL("fcntl command")


def set_status_flags(t: Task, file: File, fd: int, flags: int) -> int:
    """F_SETFL."""
    inode = file.inode
    added = flags & ~file.flags
    if added & O_NOATIME and inode is not None and not owns(t.credentials, inode):
        raise EPERM("O_NOATIME of somebody else's file")
    was_async = file.flags & O_ASYNC
    file.set_flags(flags)
    if (was_async ^ file.flags) & O_ASYNC:
        set_async(t.kernel, file, fd, not was_async)
    return 0


def set_owner(t: Task, file: File, owner: int) -> int:
    """F_SETOWN: a pid, or a process group when negative; ESRCH when there is none."""
    if owner > 0 and t.kernel.pids.group(owner) is None and t.kernel.pids.task(owner) is None:
        raise ESRCH("no such process")
    if owner < 0 and t.kernel.pids.process_group(-owner) is None:
        raise ESRCH("no such process group")
    file.owner_pid = owner
    file.owner_is_thread = False
    return 0


def set_owner_ex(t: Task, file: File, address: int) -> int:
    """F_SETOWN_EX."""
    kind, pid = _OWNER_EX.unpack(t.copy_in(address, 8))
    if kind not in (F_OWNER_TID, F_OWNER_PID, F_OWNER_PGRP):
        raise EINVAL("owner type")
    set_owner(t, file, -pid if kind == F_OWNER_PGRP else pid)
    file.owner_is_thread = kind == F_OWNER_TID
    return 0


def set_pipe_size(t: Task, file: File, wanted: int) -> int:
    """F_SETPIPE_SZ: at most 1 MiB without CAP_SYS_RESOURCE (pipe(7))."""
    pipe = pipe_of(file)
    if wanted > 1 << 20 and not t.credentials.has_cap(CAP_SYS_RESOURCE):
        raise EPERM("beyond pipe-max-size")
    return pipe.resize(wanted)


def sealable(inode: Inode | None) -> TmpRegular:
    """The inode for seals; EINVAL when it is not in memory."""
    if isinstance(inode, TmpRegular):
        return inode
    raise EINVAL("no seals on this file")
