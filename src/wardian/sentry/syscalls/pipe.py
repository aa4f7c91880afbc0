"""pipe(2), splice(2), tee(2), vmsplice(2) and memfd_create(2)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EAGAIN,
    EBADF,
    EINVAL,
    EPIPE,
    ESPIPE,
    WOULD_BLOCK,
    LinuxError,
)
from wardian.sentry.fs.anon import install_new
from wardian.sentry.fs.memfd import (
    MFD_CLOEXEC,
    MFD_EXEC,
    MFD_KNOWN,
    MFD_NOEXEC_SEAL,
    make_memfd,
)
from wardian.sentry.fs.pipe import Pipe, PipeFile, make_pipe
from wardian.sentry.mm.usercopy import IovecSink, Segments, read_iovec
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, Size, ULong, UserString
from wardian.sentry.vfs.buffers import BytesSink
from wardian.sentry.vfs.file import (
    O_APPEND,
    O_CLOEXEC,
    O_DIRECT,
    O_NONBLOCK,
    POLLIN,
    POLLOUT,
    File,
    check_readable,
    check_writable,
)
from wardian.sentry.vfs.file_part import PieceSource, cut_piece, part_of, size_of
from wardian.sentry.vfs.io import broken_pipe, limit_write
from wardian.sentry.vfs.notify import IN_ACCESS, IN_MODIFY, notify_path

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

SPLICE_F_NONBLOCK: Final = 2
SPLICE_F_ALL: Final = 0xF
MEMFD_NAME_MAX: Final = 249
OFFSET_MAX: Final = (1 << 63) - 1


def pipe2(t: Task, fds: Addr, flags: Flags) -> int:
    """pipe2(2)."""
    if flags & ~(O_CLOEXEC | O_NONBLOCK | O_DIRECT):
        raise EINVAL("flags must be of O_CLOEXEC, O_NONBLOCK and O_DIRECT")
    cloexec = flags & O_CLOEXEC != 0
    reader, writer = make_pipe(t, flags)
    writer.hold()
    try:
        first = install_new(t, reader, cloexec)
        try:
            second = install_new(t, writer, cloexec)
        except LinuxError:
            t.files.close(first)
            raise
    finally:
        writer.drop()
    try:
        t.copy_out(fds, struct.pack("<ii", first, second))
    except LinuxError:
        t.files.close(first)
        t.files.close(second)
        raise
    return 0


def pipe(t: Task, fds: Addr) -> int:
    """pipe(2)."""
    return pipe2(t, fds, Flags(0))


# -- splice ----------------------------------------------------------------------------------------
class Splice:
    """One splice(2): two ends, their offsets and what may block."""

    def __init__(self, source: File, target: File, count: int, nonblocking: bool) -> None:
        self.source = source
        self.target = target
        self.count = count
        self.nonblocking = nonblocking
        self.offset = 0  # of the end that is not a pipe


def splice_of(t: Task, fd_in: int, fd_out: int, count: int, flags: int) -> Splice:
    """What splice(2) and tee(2) begin with; EBADF."""
    source = t.files.get(fd_in)
    target = t.files.get(fd_out)
    check_readable(source)
    check_writable(target)
    return Splice(source, target, count, flags & SPLICE_F_NONBLOCK != 0)


def splice(
    t: Task, fd_in: FD, off_in: Addr, fd_out: FD, off_out: Addr, count: Size, flags: Flags
) -> int:
    """splice(2)."""
    if flags & ~SPLICE_F_ALL:
        raise EINVAL("unknown flags")
    if count == 0:
        return 0
    job = splice_of(t, fd_in, fd_out, count, flags)
    source, target = job.source, job.target
    if isinstance(source, PipeFile):
        if off_in:
            raise ESPIPE("a pipe has no offset")
        if isinstance(target, PipeFile):
            if off_out:
                raise ESPIPE("a pipe has no offset")
            return splice_pipes(t, job, source, target)
        if target.flags & O_APPEND:
            raise EINVAL("cannot splice to an O_APPEND file")
        return with_offset(t, job, target, off_out)
    if isinstance(target, PipeFile):
        if off_out:
            raise ESPIPE("a pipe has no offset")
        return with_offset(t, job, source, off_in)
    raise EINVAL("one end must be a pipe")


def with_offset(t: Task, job: Splice, file: File, address: int) -> int:
    """Run ``job`` at the offset behind ``address``, or else at the offset of ``file``."""
    if address:
        if not file.seekable:
            raise EINVAL("not seekable")
        job.offset = int.from_bytes(t.copy_in(address, 8), "little")
        if job.offset > OFFSET_MAX:
            raise EINVAL("negative offset")
    else:
        job.offset = file.offset
    source = job.source
    if isinstance(source, PipeFile):
        moved = pipe_to_file(t, job, source.pipe)
    else:
        assert isinstance(job.target, PipeFile)
        moved = file_to_pipe(t, job, job.target.pipe)
    if moved > 0:
        if address:
            t.copy_out(address, (job.offset + moved).to_bytes(8, "little"))
        elif file.seekable:
            file.offset = job.offset + moved
        notify_path(file.path, IN_MODIFY if file is job.target else IN_ACCESS)
    return moved


def wait(t: Task, job: Splice, file: File, events: int) -> int:
    """Park until ``file`` is ready, or EAGAIN."""
    if job.nonblocking or file.nonblocking:
        raise EAGAIN("would block")
    return t.park(file.poll_queue(), events)


def broken(t: Task) -> None:
    """The pipe written to has no reader: SIGPIPE and EPIPE."""
    broken_pipe(t)
    raise EPIPE("no reader")


def wait_for_pipes(t: Task, job: Splice, source: Pipe, target: Pipe) -> int | None:
    """The answer while nothing can go from one pipe to the other; None when something can."""
    if source is target:
        raise EINVAL("both ends are the same pipe")
    if target.readers == 0:
        broken(t)
    if source.size == 0:
        return 0 if source.writers == 0 else wait(t, job, job.source, POLLIN)
    return None if target.room() > 0 else wait(t, job, job.target, POLLOUT)


def splice_pipes(t: Task, job: Splice, source: PipeFile, target: PipeFile) -> int:
    """Move pieces from one pipe to another, by reference."""
    a, b = source.pipe, target.pipe
    blocked = wait_for_pipes(t, job, a, b)
    if blocked is not None:
        return blocked
    moved = 0
    while a.size and moved < job.count and b.room() > 0:
        try:
            data = a.first(min(job.count - moved, b.room()))
        except LinuxError:
            if moved == 0:
                raise
            break
        size = size_of(data)
        b.append(data, a.packet_mode and a.packets[0])
        a.drop(size)
        moved += size
    a.wake_writers()
    b.wake_readers()
    return moved


def pipe_to_file(t: Task, job: Splice, source: Pipe) -> int:
    """Write what the pipe holds to the target, a piece at a time."""
    if source.size == 0:
        return 0 if source.writers == 0 else wait(t, job, job.source, POLLIN)
    moved = 0
    while source.size and moved < job.count:
        try:
            piece = PieceSource(source.first(job.count - moved))
            limit_write(t, job.target, piece, job.offset + moved)
            done = job.target.write(piece, job.offset + moved)
        except EPIPE:
            if moved == 0:
                broken(t)
            break
        except LinuxError:
            if moved == 0:
                raise
            break
        if done == WOULD_BLOCK:
            if moved == 0:
                return wait(t, job, job.target, POLLOUT)
            break
        if done == 0:
            break
        source.drop(done)
        moved += done
    source.wake_writers()
    return moved


def file_to_pipe(t: Task, job: Splice, target: Pipe) -> int:
    """Read from the source what the pipe has room for."""
    if target.readers == 0:
        broken(t)
    room = target.room()
    if room <= 0:
        return wait(t, job, job.target, POLLOUT)
    part = part_of(job.source, job.offset, min(room, job.count)) if job.source.seekable else None
    if part is not None:
        target.append(part, False)
        target.wake_readers()
        return part.length
    sink = BytesSink(min(room, job.count))
    done = job.source.read(sink, job.offset)
    if done == WOULD_BLOCK:
        return wait(t, job, job.source, POLLIN)
    for data in sink.parts:
        if data:
            target.append(data, False)
    if done:
        target.wake_readers()
    return done


def tee(t: Task, fd_in: FD, fd_out: FD, count: Size, flags: Flags) -> int:
    """tee(2): copy references, consume nothing."""
    if flags & ~SPLICE_F_ALL:
        raise EINVAL("unknown flags")
    if count == 0:
        return 0
    job = splice_of(t, fd_in, fd_out, count, flags)
    source, target = job.source, job.target
    if not isinstance(source, PipeFile) or not isinstance(target, PipeFile):
        raise EINVAL("both ends must be pipes")
    a, b = source.pipe, target.pipe
    blocked = wait_for_pipes(t, job, a, b)
    if blocked is not None:
        return blocked
    moved = 0
    skip = a.head
    for i in range(len(a.pieces)):
        room = min(count - moved, b.room())
        if room <= 0:
            break
        try:
            data = cut_piece(a.pieces[i], skip, room)
        except LinuxError:
            if moved == 0:
                raise
            break
        skip = 0
        b.append(data, a.packet_mode and a.packets[i])
        moved += size_of(data)
    b.wake_readers()
    return moved


def vmsplice(t: Task, fd: FD, iov: Addr, count: ULong, flags: Flags) -> int:
    """vmsplice(2). Pages are copied, never shared."""
    if flags & ~SPLICE_F_ALL:
        raise EINVAL("unknown flags")
    file = t.files.get(fd)
    if not isinstance(file, PipeFile):
        raise EBADF("not a pipe")
    segments = read_iovec(t, iov, count)
    if not segments.total:
        return 0
    job = Splice(file, file, 0, flags & SPLICE_F_NONBLOCK != 0)
    if file.writes:
        return vmsplice_in(t, job, file.pipe, segments)
    return vmsplice_out(t, job, file.pipe, segments)


def vmsplice_in(t: Task, job: Splice, pipe: Pipe, segments: Segments) -> int:
    """Guest memory to a pipe, what fits."""
    if pipe.readers == 0:
        broken(t)
    if pipe.room() <= 0:
        return wait(t, job, job.target, POLLOUT)
    moved = 0
    for address, length in zip(segments.addresses, segments.lengths, strict=True):
        step = min(length, pipe.room())
        if step > 0:
            try:
                pipe.append(t.copy_in(address, step), False)
            except LinuxError:
                if moved == 0:
                    raise
                break
            moved += step
        if step < length:
            break
    pipe.wake_readers()
    return moved


def vmsplice_out(t: Task, job: Splice, pipe: Pipe, segments: Segments) -> int:
    """A pipe's bytes to guest memory."""
    if pipe.size == 0:
        return 0 if pipe.writers == 0 else wait(t, job, job.source, POLLIN)
    return pipe.read(IovecSink(t, segments))


# -- memfd -----------------------------------------------------------------------------------------
def memfd_create(t: Task, name: UserString, flags: Flags) -> int:
    """memfd_create(2); no huge pages."""
    if flags & ~MFD_KNOWN:
        raise EINVAL("unknown flags")
    if flags & MFD_EXEC and flags & MFD_NOEXEC_SEAL:
        raise EINVAL("MFD_EXEC and MFD_NOEXEC_SEAL exclude each other")
    if len(name) > MEMFD_NAME_MAX:
        raise EINVAL("name too long")
    return install_new(t, make_memfd(t, name, flags), flags & MFD_CLOEXEC != 0)
