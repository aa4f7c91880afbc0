"""Pipes and FIFOs (pipe(7), fifo(7)).

A pipe's bytes are kept as the ``bytes`` objects the writer handed over: a large transfer moves
references and slices only where a reader's buffer ends inside a piece. Small neighbours are merged,
so that the number of pieces is bounded by the capacity. Blocking and SIGPIPE are decided by the
callers (``vfs.io``): a write without readers raises EPIPE.

A FIFO's pipe hangs on its inode. A blocking open(2) must wait for the other end: the file system's
``Inode.open`` returns :func:`open_fifo`'s result, and the open handler parks on it until
:meth:`PipeFile.opened`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EBADF,
    EBUSY,
    EINVAL,
    ENOTTY,
    ENXIO,
    EPERM,
    EPIPE,
    WOULD_BLOCK,
    LinuxError,
)
from wardian.sentry.fs.anon import AnonInode
from wardian.sentry.kernel.waitqueue import MORE, WaitQueue
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    O_ACCMODE,
    O_DIRECT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    File,
)
from wardian.sentry.vfs.file_part import cut_piece, give_piece, size_of
from wardian.sentry.vfs.inode import S_IFIFO, Inode

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file_part import Piece

PIPE_BUF: Final = 4096
DEFAULT_CAPACITY: Final = 65536
MAX_CAPACITY: Final = 1 << 20  # /proc/sys/fs/pipe-max-size
MERGE_BELOW: Final = 512
FIONREAD: Final = 0x541B

READ_EVENTS: Final = POLLIN | POLLRDNORM
WRITE_EVENTS: Final = POLLOUT | POLLWRNORM


class Pipe:
    """The buffer between writers and readers."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.packets: list[bool] = []  # parallel to pieces once O_DIRECT was seen, else empty
        self.packet_mode = False
        self.head = 0  # bytes of pieces[0] already read
        self.size = 0
        self.capacity = DEFAULT_CAPACITY
        self.readers = 0
        self.writers = 0
        self.reader_opens = 0
        self.writer_opens = 0
        self.queue = WaitQueue()

    # -- writing side ------------------------------------------------------------------------------
    def room(self) -> int:
        """Bytes that can be taken now. A packet occupies a whole page, as on Linux."""
        if self.packet_mode:
            return min(self.capacity - self.size, self.capacity - len(self.pieces) * PIPE_BUF)
        return self.capacity - self.size

    def append(self, data: Piece, packet: bool) -> None:
        """Take ``data`` (not empty, within :meth:`room`); readers are not yet woken."""
        if packet and not self.packet_mode:
            self.packet_mode = True
            self.packets = [False] * len(self.pieces)
        if self.packet_mode:
            self.packets.append(packet)
            self.pieces.append(data)
        elif not self.merge(data):
            self.pieces.append(data)
        self.size += size_of(data)

    def merge(self, data: Piece) -> bool:
        """Join a few bytes with those before them."""
        pieces = self.pieces
        last = pieces[-1] if pieces else None
        if not isinstance(last, bytes) or not isinstance(data, bytes):
            return False
        if len(last) + len(data) > MERGE_BELOW:
            return False
        pieces[-1] = last + data
        return True

    def wake_readers(self) -> None:
        """Bytes arrived."""
        if self.queue.registrations:
            self.queue.wake(READ_EVENTS)

    def wake_readers_of(self, count: int) -> None:
        """So many bytes arrived. Who writes by the page is about to write the next one, and waking
        a thread costs more than moving it: readers hear of it at once when half is full."""
        if count >= PIPE_BUF and self.size * 2 < self.capacity:
            self.queue.wake(READ_EVENTS | MORE)
        else:
            self.wake_readers()

    # -- reading side ------------------------------------------------------------------------------
    def give_first(self, sink: Sink) -> int:
        """Put what fits of the first piece into ``sink``, without taking it; the count."""
        return give_piece(self.pieces[0], self.head, sink)

    def first(self, limit: int) -> Piece:
        """Up to ``limit`` bytes of the first piece, without taking them."""
        return cut_piece(self.pieces[0], self.head, limit)

    def consume(self, count: int) -> bool:
        """A read took ``count`` bytes of the first piece, and the rest of it is lost when it is a
        packet; True when it was one."""
        packet = self.packet_mode and self.packets[0]
        self.drop(size_of(self.pieces[0]) - self.head if packet else count)
        return packet

    def drop(self, count: int) -> None:
        """``count`` bytes of the first piece are gone."""
        self.head += count
        self.size -= count
        if self.head < size_of(self.pieces[0]):
            return
        del self.pieces[0]
        self.head = 0
        if self.packet_mode:
            del self.packets[0]
            if not self.pieces:
                self.packet_mode = False

    def wake_writers(self) -> None:
        """Bytes were taken. Like Linux, writers hear of it when a page is free."""
        if self.queue.registrations and self.room() >= PIPE_BUF:
            self.queue.wake(WRITE_EVENTS)

    def read(self, sink: Sink) -> int:
        """Move bytes to ``sink``; 0 at end of file, WOULD_BLOCK when empty with writers."""
        if sink.left == 0:
            return 0
        if self.size == 0:
            return 0 if self.writers == 0 else WOULD_BLOCK
        total = 0
        while self.size and sink.left:
            try:
                taken = self.give_first(sink)
            except LinuxError:
                if total == 0:
                    raise
                break
            if taken == 0:
                break
            total += taken
            if self.consume(taken):
                break
        self.wake_writers()
        return total

    def write(self, source: Source, packet: bool) -> int:
        """Take bytes: all or none up to PIPE_BUF, else what fits; WOULD_BLOCK, EPIPE."""
        if self.readers == 0:
            raise EPIPE("no reader")
        wanted = source.left
        if wanted == 0:
            return 0
        room = self.room()
        if room <= 0 or (wanted <= PIPE_BUF and room < wanted):
            return WOULD_BLOCK
        total = 0
        while source.left and room > 0:
            try:
                data = source.take_piece(min(room, PIPE_BUF) if packet else room)
            except LinuxError:
                if total == 0:
                    raise
                break
            size = size_of(data)
            if not size:
                break
            self.append(data, packet)
            total += size
            room = self.room()
        self.wake_readers_of(total)
        return total

    # -- size --------------------------------------------------------------------------------------
    def resize(self, wanted: int) -> int:
        """F_SETPIPE_SZ: a power of two of at least a page; EBUSY when the bytes held do not fit."""
        if wanted < 0 or wanted > 1 << 31:
            raise EINVAL("pipe size out of range")
        size = PIPE_BUF
        while size < wanted:
            size <<= 1
        if size > MAX_CAPACITY:
            # Linux lets CAP_SYS_RESOURCE pass; here nobody gets to fill the Sentry's memory.
            raise EPERM("above pipe-max-size")
        if size < self.size:
            raise EBUSY("the pipe holds more than that")
        grew = size > self.capacity
        self.capacity = size
        if grew:
            self.wake_writers()
        return size


class PipeInode(AnonInode):
    """The inode of a pipe(2); opening /proc/<pid>/fd/N makes a new end of the same pipe."""

    def open(self, task: Task, flags: int) -> File:
        # Only FIFOs wait for the other end: a pipe's may be gone for good (fs/pipe.c, fifo_open).
        file = open_fifo(task, self, flags)
        file.peer_opens = -1
        return file


class PipeFile(File):
    """An end of a pipe, or both (a FIFO opened O_RDWR)."""

    def __init__(self, pipe: Pipe, inode: Inode, flags: int) -> None:
        super().__init__(inode, flags)
        self.pipe = pipe
        self.owner = inode
        self.queue = pipe.queue
        self.reads = self.readable
        self.writes = self.writable
        # No POLLHUP before the first writer came (fifo(7) readers with O_NONBLOCK).
        self.writers_seen = -1 if pipe.writers or not self.reads else pipe.writer_opens
        self.peer_opens = -1  # what a blocking open saw; -1: it need not wait
        if self.reads:
            pipe.readers += 1
            pipe.reader_opens += 1
        if self.writes:
            pipe.writers += 1
            pipe.writer_opens += 1

    def opened(self) -> bool:
        """False while a blocking open(2) of a FIFO must wait for the other end."""
        if self.peer_opens < 0:
            return True
        pipe = self.pipe
        count = pipe.writer_opens if self.reads else pipe.reader_opens
        if count != self.peer_opens:
            self.peer_opens = -1
            return True
        return False

    def release(self) -> None:
        pipe = self.pipe
        if self.reads:
            pipe.readers -= 1
        if self.writes:
            pipe.writers -= 1
        if pipe.readers == 0 and pipe.writers == 0:
            pipe.pieces.clear()
            pipe.packets.clear()
            pipe.size = 0
            if self.owner.pipe is pipe:
                self.owner.pipe = None
        elif self.reads and pipe.readers == 0:
            pipe.queue.wake(WRITE_EVENTS | POLLERR)
        elif self.writes and pipe.writers == 0:
            pipe.queue.wake(READ_EVENTS | POLLHUP)

    def read(self, sink: Sink, offset: int) -> int:
        return self.pipe.read(sink)

    def write(self, source: Source, offset: int) -> int:
        return self.pipe.write(source, self.flags & O_DIRECT != 0)

    def writes_all(self) -> bool:
        return True

    def poll(self) -> int:
        pipe = self.pipe
        events = 0
        if self.reads:
            if pipe.size:
                events = READ_EVENTS
            if pipe.writers == 0 and pipe.writer_opens != self.writers_seen:
                events |= POLLHUP
        if self.writes:
            if pipe.room() >= PIPE_BUF:
                events |= WRITE_EVENTS
            if pipe.readers == 0:
                events |= POLLERR
        return events

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command == FIONREAD:
            task.copy_out(argument, self.pipe.size.to_bytes(4, "little"))
            return 0
        raise ENOTTY("no such pipe ioctl")

    def describe(self) -> str:
        return f"pipe:[{self.owner.ino}]"


def make_pipe(task: Task, flags: int) -> tuple[PipeFile, PipeFile]:
    """The read and the write end of a new pipe; ``flags`` of O_NONBLOCK and O_DIRECT."""
    cred = task.credentials
    kernel = task.kernel
    now_ns = kernel.clock.realtime_ns()
    inode = PipeInode(kernel.pipefs, S_IFIFO | 0o600, cred.fsuid, cred.fsgid, now_ns)
    pipe = Pipe()
    inode.pipe = pipe
    # Both ends exist at once: neither may take the other's absence for a hang-up.
    reader = PipeFile(pipe, inode, O_RDONLY | (flags & O_NONBLOCK))
    reader.writers_seen = -1
    return reader, PipeFile(pipe, inode, O_WRONLY | (flags & (O_NONBLOCK | O_DIRECT)))


def open_fifo(task: Task, inode: Inode, flags: int) -> PipeFile:
    """open(2) of a FIFO; ENXIO for a lone O_WRONLY | O_NONBLOCK. See :meth:`PipeFile.opened`."""
    pipe = inode.pipe
    if pipe is None:
        pipe = Pipe()
    assert isinstance(pipe, Pipe)
    mode = flags & O_ACCMODE
    if mode == O_WRONLY and flags & O_NONBLOCK and pipe.readers == 0:
        raise ENXIO("no reader")
    inode.pipe = pipe
    readers, writers = pipe.readers, pipe.writers
    file = PipeFile(pipe, inode, flags)
    if mode != O_RDWR and not flags & O_NONBLOCK:
        if mode == O_RDONLY and writers == 0:
            file.peer_opens = pipe.writer_opens
        elif mode == O_WRONLY and readers == 0:
            file.peer_opens = pipe.reader_opens
    pipe.queue.wake(0)  # an open of the other end may wait for us
    return file


def pipe_of(file: File) -> Pipe:
    """The pipe behind a descriptor, for F_SETPIPE_SZ and F_GETPIPE_SZ; EBADF when there is none."""
    if isinstance(file, PipeFile):
        return file.pipe
    raise EBADF("not a pipe")
