"""Vectored I/O, and copies between files inside the kernel: readv(2), sendfile(2), ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EAGAIN,
    EBADF,
    EFBIG,
    EINVAL,
    EISDIR,
    EOPNOTSUPP,
    WOULD_BLOCK,
    LinuxError,
)
from wardian.sentry.fs.pipe import PipeFile
from wardian.sentry.mm.usercopy import iovec_sink, iovec_source
from wardian.sentry.syscalls.file import done_reading, done_writing, positioned
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, InIovec, Offset, OutIovec, Size, ULong
from wardian.sentry.vfs import io
from wardian.sentry.vfs.buffers import Source
from wardian.sentry.vfs.file import O_APPEND, O_DIRECT, O_NONBLOCK, O_PATH, POLLIN, POLLOUT, File
from wardian.sentry.vfs.file_part import FileSource
from wardian.sentry.vfs.inode import S_IFREG
from wardian.sentry.vfs.notify import IN_ACCESS, IN_MODIFY, notify_path

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

OFFSET_MAX: Final = (1 << 63) - 1
COPY_MAX: Final = 16 << 20  # bytes per call: callers of sendfile and copy_file_range loop

RWF_HIPRI: Final = 0x01
RWF_DSYNC: Final = 0x02
RWF_SYNC: Final = 0x04
RWF_NOWAIT: Final = 0x08
RWF_APPEND: Final = 0x10
RWF_KNOWN: Final = 0x1F


# -- vectors -------------------------------------------------------------------------------------
def readv(t: Task, fd: FD, iov: OutIovec, iovcnt: Size) -> int:
    """readv(2)."""
    f = io.file_of(t, fd)
    return done_reading(f, io.read(t, f, iovec_sink(t, iov, iovcnt)))


def writev(t: Task, fd: FD, iov: InIovec, iovcnt: Size) -> int:
    """writev(2)."""
    f = io.file_of(t, fd)
    return done_writing(f, io.write(t, f, iovec_source(t, iov, iovcnt)))


def preadv(t: Task, fd: FD, iov: OutIovec, iovcnt: Size, offset: Offset, high: ULong) -> int:
    """preadv(2); the high half of the offset is for 32-bit machines."""
    f = positioned(t, fd, offset)
    return done_reading(f, io.read(t, f, iovec_sink(t, iov, iovcnt), offset))


def pwritev(t: Task, fd: FD, iov: InIovec, iovcnt: Size, offset: Offset, high: ULong) -> int:
    """pwritev(2)."""
    f = positioned(t, fd, offset)
    return done_writing(f, io.write(t, f, iovec_source(t, iov, iovcnt), offset))


def preadv2(
    t: Task, fd: FD, iov: OutIovec, iovcnt: Size, offset: Offset, high: ULong, flags: Flags
) -> int:
    """preadv2(2); an offset of -1 is the file's own."""
    check_rwf(flags)
    f = io.file_of(t, fd) if offset == -1 else positioned(t, fd, offset)
    sink = iovec_sink(t, iov, iovcnt)
    return done_reading(f, io.read(t, nowait(f, flags), sink, offset))


def pwritev2(
    t: Task, fd: FD, iov: InIovec, iovcnt: Size, offset: Offset, high: ULong, flags: Flags
) -> int:
    """pwritev2(2)."""
    check_rwf(flags)
    f = io.file_of(t, fd) if offset == -1 else positioned(t, fd, offset)
    source = iovec_source(t, iov, iovcnt)
    if flags & RWF_APPEND and f.seekable:
        n = io.write(t, f, source, f.end())
        if n > 0 and offset == -1:
            f.offset = f.end()
    else:
        n = io.write(t, nowait(f, flags), source, offset)
    if n > 0 and flags & (RWF_DSYNC | RWF_SYNC):
        f.fsync(bool(flags & RWF_DSYNC))
    return done_writing(f, n)


def check_rwf(flags: int) -> None:
    """EOPNOTSUPP for RWF_* bits nobody knows."""
    if flags & ~RWF_KNOWN:
        raise EOPNOTSUPP("RWF_* flag")


def nowait(f: File, flags: int) -> File:
    """RWF_NOWAIT on a stream that would block is EAGAIN."""
    if flags & RWF_NOWAIT and not f.seekable and not f.nonblocking:
        events = POLLIN if f.readable else POLLOUT
        if not f.poll() & events:
            raise EAGAIN("RWF_NOWAIT")
    return f


# -- copies --------------------------------------------------------------------------------------
def sendfile(t: Task, out_fd: FD, in_fd: FD, offset: Addr, count: Size) -> int:
    """sendfile(2); what was moved before a park is remembered in ``t.call.done``."""
    call = t.call
    source = t.files.get(in_fd)
    target = t.files.get(out_fd)
    if not source.readable or not target.writable:
        raise EBADF("access")
    if target.flags & O_APPEND and target.seekable:
        raise EINVAL("O_APPEND")
    if not source.seekable:
        raise EINVAL("the source must be a file")
    if source.inode is not None and source.inode.is_dir:
        raise EINVAL("the source is a directory")
    done = call.done if call is not None else 0
    start = source.offset - done
    if offset:
        start = int.from_bytes(t.copy_in(offset, 8), "little", signed=True) - done
    if start < 0:
        raise EINVAL("negative offset")
    if start + count > OFFSET_MAX:
        raise EINVAL("beyond the largest offset")
    count = Size(min(count, io.MAX_RW_COUNT if not target.seekable else COPY_MAX))
    before = done
    done, blocked = move(t, source, target, start, done, count)
    if done > before:
        notify_path(source.path, IN_ACCESS)
        keep_offset(t, source, offset, start + done)
    if blocked and not (done and returns_early(target)):
        if call is not None:
            call.done = done
        if offset and done > before:  # a signal may end it, and results of a park are forgotten
            t.memory.process.write(offset, (start + done).to_bytes(8, "little"))
        return io.block_or_stop(t, target, done)
    return done


def returns_early(target: File) -> bool:
    """Whether sendfile(2) is content with some bytes: a pipe is filled once (do_sendfile())."""
    return target.flags & O_NONBLOCK != 0 or isinstance(target, PipeFile)


def move(
    t: Task, source: File, target: File, start: int, done: int, count: int
) -> tuple[int, bool]:
    """Copy pieces until ``count`` are done or the target is full: (done, whether it was full)."""
    left = FileSource(source, start + done, count - done)
    while done < count:
        if left.left == 0:  # cut at RLIMIT_FSIZE: one more try brings the signal
            left = FileSource(source, start + done, count - done)
        try:
            written = put(t, target, left)
        except LinuxError:
            if done:
                return done, False
            raise
        if written == WOULD_BLOCK:
            return done, True
        done += written
        notify_path(target.path, IN_MODIFY)
        if written == 0:
            break
    if done == 0 and left.error is not None:
        raise left.error
    return done, False


def put(t: Task, target: File, data: Source) -> int:
    """One write to a file or a stream: count or WOULD_BLOCK. What goes into a pipe is never a
    packet, as on Linux."""
    if target.seekable:
        return io.write_at(t, target, data, io.CURRENT)
    if target.flags & O_DIRECT and isinstance(target, PipeFile) and target.pipe.readers:
        return target.pipe.write(data, False)
    return io.write_some(t, target, data)


def copy_file_range(
    t: Task, in_fd: FD, in_offset: Addr, out_fd: FD, out_offset: Addr, count: Size, flags: Flags
) -> int:
    """copy_file_range(2)."""
    if flags:
        raise EINVAL("flags")
    source, target = t.files.get(in_fd), t.files.get(out_fd)
    check_copyable(source, target)
    start = copy_offset(t, source, in_offset)
    to = copy_offset(t, target, out_offset)
    if start + count > OFFSET_MAX or to + count > OFFSET_MAX:
        raise EFBIG("beyond the largest offset")
    count = Size(max(0, min(count, source.end() - start)))
    if source.inode is target.inode and start < to + count and to < start + count:
        raise EINVAL("overlapping ranges of one file")
    done = copy_range(t, source, target, start, to, min(count, COPY_MAX))
    keep_offset(t, source, in_offset, start + done)
    keep_offset(t, target, out_offset, to + done)
    if done:
        notify_path(source.path, IN_ACCESS)
        notify_path(target.path, IN_MODIFY)
    return done


def check_copyable(source: File, target: File) -> None:
    """Both must be regular files, open in the right way."""
    if (source.flags | target.flags) & O_PATH:
        raise EBADF("O_PATH")
    one, two = source.inode, target.inode
    if one is None or two is None:
        raise EINVAL("not regular files")
    if one.is_dir or two.is_dir:
        raise EISDIR("a directory")
    if one.kind != S_IFREG or two.kind != S_IFREG:
        raise EINVAL("not regular files")
    if not source.readable or not target.writable or target.flags & O_APPEND:
        raise EBADF("access, or O_APPEND")


def copy_offset(t: Task, f: File, address: int) -> int:
    """Where a copy begins: at the guest's offset, or the file's own."""
    if not address:
        return f.offset
    offset = int.from_bytes(t.copy_in(address, 8), "little", signed=True)
    if offset < 0:
        raise EINVAL("negative offset")
    return offset


def keep_offset(t: Task, f: File, address: int, offset: int) -> None:
    """Store where a copy ended in the place it was read from."""
    if address:
        t.copy_out(address, offset.to_bytes(8, "little"))
    else:
        f.offset = offset


def copy_range(t: Task, source: File, target: File, start: int, to: int, count: int) -> int:
    """Copy until ``count``, the end of the source, or an error after some."""
    done = 0
    left = FileSource(source, start, count)
    while left.left:
        try:
            written = io.write_at(t, target, left, to + done)
        except LinuxError:
            if done:
                break
            raise
        done += written
        if written == 0:
            break
    if done == 0 and left.error is not None:
        raise left.error
    return done
