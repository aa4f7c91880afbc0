"""open(2), read(2), write(2) and what else works on an open file's contents."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    E2BIG,
    EBADF,
    EFAULT,
    EFBIG,
    EINVAL,
    EISDIR,
    ENODEV,
    EOPNOTSUPP,
    ESPIPE,
)
from wardian.sentry.mm.usercopy import USER_END, UserSink, source_of
from wardian.sentry.syscalls.kinds import (
    FD,
    Addr,
    Flags,
    InBuf,
    Int,
    Mode,
    Offset,
    OutBuf,
    Size,
    UInt,
    UserPath,
)
from wardian.sentry.vfs import io
from wardian.sentry.vfs.file import (
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_NOFOLLOW,
    O_PATH,
    O_TRUNC,
    O_WRONLY,
    File,
)
from wardian.sentry.vfs.inode import S_IFMT, S_IFREG, AttributeChange
from wardian.sentry.vfs.namei import AT_FDCWD, check_resolve_flags, resolve
from wardian.sentry.vfs.notify import (
    IN_ACCESS,
    IN_MODIFY,
    IN_OPEN,
    notify_path,
)
from wardian.sentry.vfs.open import TMPFILE_BIT, open_path
from wardian.sentry.vfs.permissions import MAY_WRITE, check, check_mount_writable

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

MAX_RW_COUNT: Final = io.MAX_RW_COUNT
OFFSET_MAX: Final = (1 << 63) - 1
OPENAT2_FLAGS: Final = 0x7FFFC3  # VALID_OPEN_FLAGS
OPEN_HOW_SIZE: Final = 24
PAGE_SIZE: Final = 4096
# Allocate, with KEEP_SIZE; PUNCH_HOLE; COLLAPSE, ZERO (with KEEP_SIZE), INSERT, UNSHARE ranges.
FALLOC_FL_KEEP_SIZE: Final = 1
FALLOCATE_MODES: Final = (0, 1, 3, 0x08, 0x10, 0x11, 0x20, 0x40, 0x41)

_OPEN_HOW: Final = struct.Struct("<QQQ")


# -- opening -------------------------------------------------------------------------------------
def openat(t: Task, dirfd: FD, path: UserPath, flags: Flags, mode: Mode) -> int:
    """openat(2)."""
    if not flags & (O_CREAT | TMPFILE_BIT):
        return open_and_install(t, dirfd, path, flags, 0, 0)
    return open_and_install(t, dirfd, path, flags, mode & 0o7777, 0)


def open(t: Task, path: UserPath, flags: Flags, mode: Mode) -> int:
    """open(2)."""
    return openat(t, FD(AT_FDCWD), path, flags, mode)


def creat(t: Task, path: UserPath, mode: Mode) -> int:
    """creat(2)."""
    return openat(t, FD(AT_FDCWD), path, Flags(O_CREAT | O_WRONLY | O_TRUNC), mode)


def openat2(t: Task, dirfd: FD, path: UserPath, how: Addr, size: Size) -> int:
    """openat2(2)."""
    if size < OPEN_HOW_SIZE:
        raise EINVAL("struct open_how is 24 bytes")
    if size > PAGE_SIZE:
        raise E2BIG("struct open_how")
    data = t.copy_in(how, size)
    if data[OPEN_HOW_SIZE:].strip(b"\0"):
        raise E2BIG("unknown fields of struct open_how")
    flags, mode, resolve_flags = _OPEN_HOW.unpack(data[:OPEN_HOW_SIZE])
    check_resolve_flags(resolve_flags)
    if flags & ~OPENAT2_FLAGS:
        raise EINVAL("unknown open flag")
    if flags & O_PATH and flags & ~(O_PATH | O_CLOEXEC | O_DIRECTORY | O_NOFOLLOW):
        raise EINVAL("O_PATH with flags it ignores")
    if mode & ~0o7777 or (mode and not flags & (O_CREAT | TMPFILE_BIT)):
        raise EINVAL("mode")
    return open_and_install(t, dirfd, path, flags, mode, resolve_flags)


def open_and_install(
    t: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve_flags: int
) -> int:
    """Open, wait for the other end of a FIFO if need be, and give the file a descriptor."""
    call = t.call
    if call is not None and call.file is not None:
        file = call.file
    else:
        t.files.check_room()
        file = open_path(t, dirfd, path, flags & 0x7FFFC3, mode, resolve_flags)
    if not file.opened():
        assert call is not None
        call.hold_file(file)
        return t.park(file.poll_queue(), 0)
    fd = t.files.install(file, bool(flags & O_CLOEXEC))
    place = file.path
    if place is not None and not flags & O_PATH and file.inode is not None:
        notify_path(place, IN_OPEN)
    return fd


def close(t: Task, fd: FD) -> int:
    """close(2)."""
    t.files.close(fd)
    return 0


# -- reading and writing -------------------------------------------------------------------------
def read(t: Task, fd: FD, buf: OutBuf, count: Size) -> int:
    """read(2)."""
    f = io.file_of(t, fd)
    return done_reading(f, io.read(t, f, UserSink(t, buf, clamp(buf, count))))


def pread64(t: Task, fd: FD, buf: OutBuf, count: Size, offset: Offset) -> int:
    """pread(2)."""
    f = positioned(t, fd, offset)
    return done_reading(f, io.read(t, f, UserSink(t, buf, clamp(buf, count)), offset))


def write(t: Task, fd: FD, buf: InBuf, count: Size) -> int:
    """write(2)."""
    f = io.file_of(t, fd)
    return done_writing(f, io.write(t, f, source_of(t, buf, clamp(0, count))))


def pwrite64(t: Task, fd: FD, buf: InBuf, count: Size, offset: Offset) -> int:
    """pwrite(2)."""
    f = positioned(t, fd, offset)
    return done_writing(f, io.write(t, f, source_of(t, buf, clamp(0, count)), offset))


def clamp(buf: int, count: int) -> int:
    """What one call moves at most (read(2), NOTES); EFAULT for a buffer that ends beyond every
    address."""
    if count <= MAX_RW_COUNT:
        return count
    if buf + count > USER_END:
        raise EFAULT("buffer ends beyond the address space")
    return MAX_RW_COUNT


def positioned(t: Task, fd: int, offset: int) -> File:
    """The file for a call with an explicit position; EINVAL, ESPIPE."""
    if offset < 0:
        raise EINVAL("negative offset")
    f = io.file_of(t, fd)
    if not f.seekable:
        raise EBADF("O_PATH") if f.flags & O_PATH else ESPIPE("not seekable")
    return f


def done_reading(f: File, n: int) -> int:
    """Tell inotify of a read; passes the result on."""
    if n > 0 and f.path is not None:
        notify_path(f.path, IN_ACCESS)
    return n


def done_writing(f: File, n: int) -> int:
    """Tell inotify of a write; passes the result on."""
    if n > 0 and f.path is not None:
        notify_path(f.path, IN_MODIFY)
    return n


# -- position and size ---------------------------------------------------------------------------
def lseek(t: Task, fd: FD, offset: Offset, whence: UInt) -> int:
    """lseek(2)."""
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    if whence > 4:
        raise EINVAL("whence")
    return f.lseek(offset, whence)


def truncate(t: Task, path: UserPath, length: Offset) -> int:
    """truncate(2)."""
    if length < 0:
        raise EINVAL("negative length")
    place = resolve(t, AT_FDCWD, path)
    inode = place.inode
    if inode.is_dir:
        raise EISDIR("a directory")
    if inode.kind != S_IFREG:
        raise EINVAL("not a regular file")
    check_mount_writable(place.mount)
    check(t.credentials, inode, MAY_WRITE)
    inode.get_write_access()
    inode.put_write_access()
    io.check_size_limit(t, inode, length)
    io.strip_setuid(t, inode)
    change = AttributeChange()
    change.size = length
    inode.setattr(change)
    notify_path(place, IN_MODIFY)
    return 0


def ftruncate(t: Task, fd: FD, length: Offset) -> int:
    """ftruncate(2)."""
    if length < 0:
        raise EINVAL("negative length")
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    if not f.writable:
        raise EINVAL("not open for writing")
    io.check_size_limit(t, f.inode, length)
    if f.inode is not None:
        io.strip_setuid(t, f.inode)
    f.truncate(length)
    notify_path(f.path, IN_MODIFY)
    return 0


def fallocate(t: Task, fd: FD, mode: Int, offset: Offset, length: Offset) -> int:
    """fallocate(2)."""
    f = opened(t, fd)
    if offset < 0 or length <= 0:
        raise EINVAL("range")
    if mode not in FALLOCATE_MODES:
        raise EOPNOTSUPP("mode")
    if not f.writable:
        raise EBADF("not open for writing")
    inode = f.inode
    if not f.seekable:
        raise ESPIPE("a pipe")
    if inode is None or inode.mode & S_IFMT != S_IFREG:
        raise ENODEV("not a regular file")
    if offset + length > OFFSET_MAX:
        raise EFBIG("range")
    if not mode & FALLOC_FL_KEEP_SIZE:
        io.check_size_limit(t, inode, offset + length)
    f.allocate(mode, offset, length)
    notify_path(f.path, IN_MODIFY)
    return 0


# -- to disk -------------------------------------------------------------------------------------
def fsync(t: Task, fd: FD) -> int:
    """fsync(2)."""
    opened(t, fd).fsync(False)
    return 0


def fdatasync(t: Task, fd: FD) -> int:
    """fdatasync(2)."""
    opened(t, fd).fsync(True)
    return 0


def sync_file_range(t: Task, fd: FD, offset: Offset, length: Offset, flags: Flags) -> int:
    """sync_file_range(2): nothing here is written later than at once."""
    f = opened(t, fd)
    if flags & ~7 or offset < 0 or length < 0:
        raise EINVAL("range or flags")
    if not f.seekable:
        raise ESPIPE("not seekable")
    return 0


def sync(t: Task) -> int:
    """sync(2)."""
    for mount in t.kernel.mounts.mounts():
        mount.sb.sync()
    return 0


def syncfs(t: Task, fd: FD) -> int:
    """syncfs(2)."""
    f = opened(t, fd)
    if f.inode is not None:
        f.inode.sb.sync()
    return 0


def fadvise64(t: Task, fd: FD, offset: Offset, length: Offset, advice: Int) -> int:
    """posix_fadvise(2): checked and ignored."""
    f = opened(t, fd)
    if not f.seekable:
        raise ESPIPE("a pipe")
    if not 0 <= advice <= 5 or length < 0:
        raise EINVAL("advice")
    return 0


def readahead(t: Task, fd: FD, offset: Offset, count: Size) -> int:
    """readahead(2): checked and ignored."""
    f = opened(t, fd)
    if not f.readable:
        raise EBADF("not open for reading")
    if f.inode is None or f.inode.kind != S_IFREG:
        raise EINVAL("not a regular file")
    return 0


def opened(t: Task, fd: int) -> File:
    """The file behind ``fd``; EBADF for O_PATH too."""
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    return f
