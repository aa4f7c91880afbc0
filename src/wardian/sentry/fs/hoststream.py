"""Descriptors inherited from whoever started the sandbox: its standard input, output and error.

A pipe, socket or device is a :class:`HostStream`, a regular file a :class:`HostFileStream`. The
open file description is shared with the host's other processes, so its O_NONBLOCK flag is not ours
to change. Instead every read and write of a stream carries RWF_NOWAIT (preadv2(2)), which pipes
and sockets know; for what does not, poll(2) is asked first and a write is at most PIPE_BUF long,
so that it can only block when another process takes the room in between. A regular file's own host
offset is used and moved, as its next user expects (``(wardian do head -1; cat) < file``).
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EACCES,
    EINVAL,
    ENOTTY,
    EPERM,
    WOULD_BLOCK,
    LinuxError,
    from_os_error,
)
from wardian.sentry.fs.anon import AnonFS, AnonInode
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.hostport import HostPoller
from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.vfs.buffers import BytesSource, Sink, Source
from wardian.sentry.vfs.file import (
    O_ACCMODE,
    O_APPEND,
    O_RDWR,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRNORM,
    File,
    MapSource,
)
from wardian.sentry.vfs.inode import (
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    AttributeChange,
    Attributes,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

PIECE: Final = 65536
FILE_PIECE: Final = 1 << 20
PIPE_BUF: Final = 4096
FIONREAD: Final = 0x541B
READ_WATCH: Final = POLLIN | POLLPRI | POLLRDHUP
EAGAIN_NR: Final = 11
EINVAL_NR: Final = 22
ENOSYS_NR: Final = 38
EOPNOTSUPP_NR: Final = 95


class HostDescriptor:
    """A host descriptor we own, shared by the guest's descriptions of it."""

    def __init__(self, fd: int, poller: HostPoller, host: HostFS) -> None:
        self.fd = fd
        self.poller = poller
        self.host = host
        self.users = 0
        self.watched: WaitQueue | None = None
        self.nowait = True  # RWF_NOWAIT works here, until we learn better
        self.access = fcntl.fcntl(fd, fcntl.F_GETFL) & O_ACCMODE
        self.append = fcntl.fcntl(fd, fcntl.F_GETFL) & O_APPEND

    def queue(self) -> WaitQueue:
        """Woken by the host poller; watching begins when somebody first waits."""
        if self.watched is None:
            self.watched = self.poller.watch(self.fd, READ_WATCH | POLLOUT)
        return self.watched

    def drop(self) -> None:
        """One user less; the host sees the close when the last guest has closed."""
        self.users -= 1
        if self.users > 0 or self.fd < 0:
            return
        if self.watched is not None:
            self.poller.forget(self.fd)
        os.close(self.fd)
        self.fd = -1

    # -- not blocking ------------------------------------------------------------------------------
    def read(self, count: int) -> bytes | None:
        """Up to ``count`` bytes, b"" at the end, None when there is nothing now."""
        try:
            if self.nowait:
                buffer = bytearray(count)
                got = os.preadv(self.fd, [buffer], -1, os.RWF_NOWAIT)
                del buffer[got:]
                return bytes(buffer)
            if not self.poller.ready(self.fd, POLLIN):
                return None
            return os.read(self.fd, count)
        except OSError as e:
            if self.lacks_nowait(e):
                return self.read(count)
            if e.errno == EAGAIN_NR:
                return None
            raise from_os_error(e) from None

    def write(self, data: bytes) -> int:
        """Bytes taken, or WOULD_BLOCK."""
        try:
            if self.nowait:
                return os.pwritev(self.fd, [data], -1, os.RWF_NOWAIT)
            if not self.poller.ready(self.fd, POLLOUT):
                return WOULD_BLOCK
            return os.write(self.fd, data[:PIPE_BUF])
        except OSError as e:
            if self.lacks_nowait(e):
                return self.write(data)
            if e.errno == EAGAIN_NR:
                return WOULD_BLOCK
            raise from_os_error(e) from None

    def lacks_nowait(self, e: OSError) -> bool:
        """True when the failure only says that RWF_NOWAIT is not known here: then try again."""
        if self.nowait and e.errno in (EOPNOTSUPP_NR, ENOSYS_NR, EINVAL_NR):
            self.nowait = False
            return True
        return False


class StreamInode(AnonInode):
    """The inode of an inherited descriptor; what fstat(2) shows comes from the host."""

    def __init__(self, sb: AnonFS, descriptor: HostDescriptor, name: str) -> None:
        attributes = descriptor.host.fstat(descriptor.fd)
        super().__init__(sb, attributes.mode, attributes.uid, attributes.gid, 0)
        self.descriptor = descriptor
        self.name = name

    def getattr(self) -> Attributes:
        if self.descriptor.fd < 0:
            return super().getattr()
        attributes = self.descriptor.host.fstat(self.descriptor.fd)
        attributes.dev = self.sb.dev
        return attributes

    def setattr(self, change: AttributeChange) -> None:
        """The size; owner, mode and times stay as our caller wants them."""
        if change.uid is not None or change.gid is not None or change.mode is not None:
            raise EPERM("inherited from the host")
        if change.size is not None and self.mode & S_IFMT == S_IFREG:
            self.descriptor.host.ftruncate(self.descriptor.fd, change.size)

    def open(self, task: Task, flags: int) -> File:
        """/dev/stdin and its like: another description of the same host descriptor."""
        have, want = self.descriptor.access, flags & O_ACCMODE
        if have not in (O_RDWR, want):
            raise EACCES("not inherited for that")
        return self.make_file(flags)

    def make_file(self, flags: int) -> File:
        """A description of this descriptor."""
        if self.mode & S_IFMT == S_IFREG:
            return HostFileStream(self, flags)
        return HostStream(self, flags)

    def describe(self) -> str:
        """The text of the /proc/<pid>/fd link."""
        kind = self.mode & S_IFMT
        if kind == S_IFIFO:
            return f"pipe:[{self.ino}]"
        if kind == S_IFSOCK:
            return f"socket:[{self.ino}]"
        return self.name


class HostStream(File):
    """A pipe, socket or character device of the host."""

    def __init__(self, inode: StreamInode, flags: int) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.descriptor = inode.descriptor
        self.descriptor.users += 1

    def release(self) -> None:
        self.descriptor.drop()

    def read(self, sink: Sink, offset: int) -> int:
        if sink.left == 0:
            return 0
        data = self.descriptor.read(min(sink.left, PIECE))
        if data is None:
            return WOULD_BLOCK
        return sink.put(data) if data else 0

    def write(self, source: Source, offset: int) -> int:
        if source.left == 0:
            return 0
        data = source.take(PIECE)
        try:
            taken = self.descriptor.write(data)
        except LinuxError:
            source.give_back(len(data))
            raise
        source.give_back(len(data) - max(taken, 0))
        return taken

    def writes_all(self) -> bool:
        return True

    def poll(self) -> int:
        wanted = READ_WATCH if self.readable else 0
        if self.writable:
            wanted |= POLLOUT
        descriptor = self.descriptor
        events = descriptor.poller.ready(descriptor.fd, wanted)
        if events & POLLIN:
            events |= POLLRDNORM
        if events & POLLOUT:
            events |= POLLWRNORM
        return events

    def poll_queue(self) -> WaitQueue:
        return self.descriptor.queue()

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command != FIONREAD:
            raise ENOTTY("no such ioctl for an inherited descriptor")
        try:
            count = fcntl.ioctl(self.descriptor.fd, FIONREAD, bytes(4))
        except OSError as e:
            raise from_os_error(e) from None
        task.copy_out(argument, count)
        return 0

    def describe(self) -> str:
        return self.node.describe()


class HostFileStream(File):
    """An inherited regular file."""

    def __init__(self, inode: StreamInode, flags: int) -> None:
        super().__init__(inode, flags)
        self.node = inode
        self.descriptor = inode.descriptor
        self.host = self.descriptor.host
        self.descriptor.users += 1
        self.offset = self.host.lseek(self.descriptor.fd, 0, os.SEEK_CUR)

    def release(self) -> None:
        self.descriptor.drop()

    def read(self, sink: Sink, offset: int) -> int:
        fd = self.descriptor.fd
        in_turn = offset == self.offset  # not pread(2): the host's own offset moves
        total = 0
        while sink.left:
            count = min(sink.left, FILE_PIECE)
            try:
                data = os.read(fd, count) if in_turn else os.pread(fd, count, offset + total)
            except OSError as e:
                if total:
                    break
                raise from_os_error(e) from None
            if data:
                total += sink.put(data)
            if len(data) < count:
                break
        return total

    def write(self, source: Source, offset: int) -> int:
        in_turn = offset == self.offset
        total = 0
        while source.left:
            data = source.take(FILE_PIECE)
            try:
                written = self.write_piece(data, offset + total, in_turn)
            except LinuxError:
                source.give_back(len(data))
                if total:
                    break
                raise
            total += written
            if written < len(data):
                source.give_back(len(data) - written)
                break
        return total

    def write_piece(self, data: bytes, offset: int, in_turn: bool) -> int:
        """One host call."""
        descriptor = self.descriptor
        if self.flags & O_APPEND and not descriptor.append:
            return self.host.append(descriptor.fd, BytesSource(data))
        if not in_turn and not self.flags & O_APPEND:
            return self.host.write(descriptor.fd, BytesSource(data), offset)
        try:
            return os.write(descriptor.fd, data)
        except OSError as e:
            raise from_os_error(e) from None

    @property
    def seekable(self) -> bool:
        return True

    def pollable(self) -> bool:
        return False

    def lseek(self, offset: int, whence: int) -> int:
        if not 0 <= whence <= 4:
            raise EINVAL("whence")
        self.offset = self.host.lseek(self.descriptor.fd, offset, whence)
        return self.offset

    def fsync(self, data_only: bool) -> None:
        pass  # that is our caller's affair, and the Sentry's filter has no fsync(2)

    def truncate(self, length: int) -> None:
        self.host.ftruncate(self.descriptor.fd, length)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        self.host.fallocate(self.descriptor.fd, mode, offset, length)

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return MapSource(self.descriptor.fd, offset)

    def describe(self) -> str:
        return self.node.describe()


def inherited_file(kernel: Kernel, host: HostFS, sb: AnonFS, fd: int, name: str = "") -> File:
    """A description of a host descriptor that is not a terminal; ``fd`` is owned from now on.

    ``name`` is what /proc/<pid>/fd shows; by default the host's, which the Sentry's own filter
    keeps it from asking for.
    """
    descriptor = HostDescriptor(fd, kernel.poller, host)
    return StreamInode(sb, descriptor, name or host_name(fd)).make_file(
        descriptor.access | descriptor.append
    )


def host_name(fd: int) -> str:
    """Where ``fd`` leads on the host, for /proc/<pid>/fd; needs the host's /proc."""
    try:
        return os.readlink(f"/proc/self/fd/{fd}")
    except OSError:
        return "/dev/fd"
