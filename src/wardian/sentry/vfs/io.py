"""Reading and writing open files: the file offset, blocking, and what a partly done call returns.

The one place that decides (write(2), signal(7)): an error after some bytes moved is a short
count; a blocking write to a stream goes on until all is taken, and keeps what it moved in
``task.call.done``. The dispatcher completes an interrupted call with ``done`` when that is not
zero, instead of EINTR.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EAGAIN, EBADF, EFBIG, EISDIR, EPIPE, WOULD_BLOCK, LinuxError
from wardian.sentry.kernel.credentials import CAP_FSETID
from wardian.sentry.kernel.rlimits import RLIM_INFINITY, RLIMIT_FSIZE
from wardian.sentry.kernel.siginfo import SI_USER, SigInfo
from wardian.sentry.kernel.signal_numbers import SIGPIPE, SIGXFSZ
from wardian.sentry.kernel.signal_sending import send_to_task
from wardian.sentry.vfs.file import O_APPEND, POLLIN, POLLOUT
from wardian.sentry.vfs.inode import S_IFMT, S_IFREG, S_ISGID, S_ISUID, AttributeChange
from wardian.sentry.vfs.permissions import stripped_mode

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.buffers import Sink, Source
    from wardian.sentry.vfs.file import File
    from wardian.sentry.vfs.inode import Inode

MAX_RW_COUNT: Final = 0x7FFFF000
CURRENT: Final = -1  # as a position: the file offset, which then moves


def file_of(t: Task, fd: int) -> File:
    """The file of a call's descriptor: the one it first had, whatever happened to ``fd`` since."""
    call = t.call
    if call is not None and call.file is not None:
        return call.file
    return t.files.get(fd)


def block(t: Task, f: File, events: int) -> int:
    """Park until ``f`` may be ready; EAGAIN for O_NONBLOCK."""
    if f.nonblocking:
        raise EAGAIN("would block")
    limit = f.timeout_ns(events == POLLOUT)
    if limit >= 0:
        deadline = t.deadline(limit)
        if t.expired():
            raise EAGAIN("SO_RCVTIMEO or SO_SNDTIMEO has passed")
        t.park_until(deadline)
    call = t.call
    if call is not None:
        call.hold_file(f)
    return t.park(f.poll_queue(), events)


# -- reading -------------------------------------------------------------------------------------
def read(t: Task, f: File, sink: Sink, position: int = CURRENT) -> int:
    """read(2) family: bytes read, 0 at the end, or PARKED."""
    if not f.readable:
        raise EBADF("not open for reading")
    if not f.seekable:
        n = f.read(sink, 0)
    elif f.inode is not None and f.inode.is_dir:
        raise EISDIR("read of a directory")
    elif position < 0:
        start = f.offset
        n = f.read(sink, start)
        if n > 0:
            f.offset = start + n
    else:
        n = f.read(sink, position)
    if n == WOULD_BLOCK:
        return block(t, f, POLLIN)
    return n


# -- writing -------------------------------------------------------------------------------------
def write(t: Task, f: File, source: Source, position: int = CURRENT) -> int:
    """write(2) family: bytes written or PARKED; EPIPE comes with SIGPIPE."""
    if not f.writable:
        raise EBADF("not open for writing")
    if f.seekable:
        n = write_at(t, f, source, position)
    elif f.writes_all():
        return write_stream(t, f, source)
    else:
        n = write_some(t, f, source)
    if n == WOULD_BLOCK:
        return block(t, f, POLLOUT)
    return n


def write_at(t: Task, f: File, source: Source, position: int) -> int:
    """A write with an offset: ``position``, the file's own, or the end for O_APPEND."""
    if f.flags & O_APPEND:
        start = f.end()
    elif position < 0:
        start = f.offset
    else:
        start = position
    inode = f.inode
    if inode is not None and inode.mode & S_IFMT == S_IFREG and source.left:
        if t.group.rlimits.soft[RLIMIT_FSIZE] != RLIM_INFINITY:
            limit_size(t, source, start)
        if inode.mode & (S_ISUID | S_ISGID):
            strip_setuid(t, inode)
    n = f.write(source, start)
    if n > 0 and position < 0:
        f.offset = start + n
    return n


def limit_write(t: Task, f: File, source: Source, start: int) -> None:
    """RLIMIT_FSIZE for a write that does not go through :func:`write` (splice(2))."""
    inode = f.inode
    if t.group.rlimits.soft[RLIMIT_FSIZE] == RLIM_INFINITY or inode is None:
        return
    if inode.mode & S_IFMT == S_IFREG:
        limit_size(t, source, start)


def limit_size(t: Task, source: Source, start: int) -> None:
    """RLIMIT_FSIZE: cut the write at the limit, or SIGXFSZ and EFBIG when nothing fits
    (setrlimit(2))."""
    limit = t.group.rlimits.soft[RLIMIT_FSIZE]
    if start >= limit:
        send_to_task(t, SigInfo(SIGXFSZ))
        raise EFBIG("beyond RLIMIT_FSIZE")
    source.left = min(source.left, limit - start)


def check_size_limit(t: Task, inode: Inode | None, length: int) -> None:
    """The same rule for truncate(2) and fallocate(2); a file may be made smaller at any time."""
    if length <= t.group.rlimits.soft[RLIMIT_FSIZE]:
        return
    if inode is None or length > inode.getattr().size:
        send_to_task(t, SigInfo(SIGXFSZ))
        raise EFBIG("beyond RLIMIT_FSIZE")


def strip_setuid(t: Task, inode: Inode) -> None:
    """A write takes away setuid and setgid unless the writer has CAP_FSETID."""
    mode = stripped_mode(inode.mode)
    if mode == inode.mode & 0o7777 or t.credentials.has_cap(CAP_FSETID):
        return
    change = AttributeChange()
    change.mode = mode
    inode.setattr(change)


def write_some(t: Task, f: File, source: Source) -> int:
    """One write to a stream; SIGPIPE with EPIPE."""
    try:
        return f.write(source, 0)
    except EPIPE:
        broken_pipe(t)
        raise


def broken_pipe(t: Task) -> None:
    """SIGPIPE for the writer itself."""
    info = SigInfo(SIGPIPE, SI_USER)
    info.pid = t.group.pid
    info.uid = t.credentials.uid
    send_to_task(t, info)


def block_or_stop(t: Task, f: File, done: int) -> int:
    """Park for room; a send time-out after some bytes went is a short count."""
    try:
        return block(t, f, POLLOUT)
    except EAGAIN:
        if done:
            return done
        raise


def write_stream(t: Task, f: File, source: Source) -> int:
    """A write that goes on until everything is taken, over as many parks as that needs."""
    call = t.call
    done = 0
    if call is not None and call.done:
        done = call.done
        source.skip(done)
    while True:
        try:
            n = write_some(t, f, source)
        except LinuxError:
            if done:
                return done
            raise
        if n == WOULD_BLOCK:
            if call is not None:
                call.done = done
            return block_or_stop(t, f, done)
        done += n
        if n == 0 or source.left == 0:
            return done
