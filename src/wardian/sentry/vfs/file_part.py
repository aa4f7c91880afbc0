"""Bytes of a file by reference: what sendfile(2) and splice(2) put into a pipe or a connection
instead of a copy.

As on Linux, whoever changes the file before the other end has read it changes what is read
(sendfile(2), "Notes"). What is cut off the file meanwhile is read as zeros.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.platform.hostfds import MOST
from wardian.sentry.errno import LinuxError, from_os_error
from wardian.sentry.vfs.buffers import BytesSink, Sink, Source

if TYPE_CHECKING:
    from wardian.sentry.vfs.file import File

PIECE: Final = 1 << 17  # bytes copied at once
WORTH_IT: Final = 16 << 10
"""Fewer bytes are copied: that costs less than the reference."""
MOST_REFERENCED: Final = MOST // 2
"""Descriptors from here on are not referred to: a part keeps its descriptor when all of the guest's
are closed, and a pipe may hold many."""


class FilePart:
    """``length`` bytes of the host descriptor ``fd`` from ``offset`` on. ``keeper`` keeps it open,
    and the file's space taken, for as long as it lives."""

    def __init__(self, keeper: object, fd: int, offset: int, length: int) -> None:
        self.keeper = keeper
        self.fd = fd
        self.offset = offset
        self.length = length

    def cut(self, start: int, count: int) -> FilePart:
        """``count`` of the bytes, from ``start`` on."""
        return FilePart(self.keeper, self.fd, self.offset + start, count)

    def read(self, start: int, count: int) -> bytes:
        """The same as an object; EIO."""
        try:
            data = os.pread(self.fd, count, self.offset + start)
        except OSError as e:
            raise from_os_error(e) from None
        return data.ljust(count, b"\0")

    def give(self, sink: Sink, start: int, count: int) -> int:
        """Put up to ``count`` bytes from ``start`` on into ``sink``; how many. EFAULT, EIO."""
        count = min(count, sink.left)
        try:
            done = sink.put_file(self.fd, self.offset + start, count)
            cut_off = done < count and not self.has_byte(start + done)
        except OSError as e:
            raise from_os_error(e) from None
        if cut_off:
            return done + self.give_zeros(sink, count - done, done)
        if done == 0 and count > 0:  # it has grown just now, and 0 would be the end of file
            return sink.put(self.read(start, min(count, PIECE)))
        return done

    def has_byte(self, at: int) -> bool:
        """False where the file has become shorter."""
        return len(os.pread(self.fd, 1, self.offset + at)) > 0

    def give_zeros(self, sink: Sink, count: int, before: int) -> int:
        """In place of what was cut off; EFAULT, unless there were bytes ``before``."""
        done = 0
        try:
            while done < count:
                done += sink.put_zeros(count - done)
        except LinuxError:
            if before + done == 0:
                raise
        return done


Piece = bytes | FilePart
"""What the queues of pipes and connections consist of."""


def size_of(piece: Piece) -> int:
    """How many bytes it stands for."""
    return len(piece) if isinstance(piece, bytes) else piece.length


def give_piece(piece: Piece, start: int, sink: Sink) -> int:
    """Put what fits of ``piece`` from ``start`` on into ``sink``; the count. EFAULT, EIO."""
    if isinstance(piece, bytes):
        return sink.put_part(piece, start, len(piece) - start)
    return piece.give(sink, start, piece.length - start)


def cut_piece(piece: Piece, start: int, count: int) -> Piece:
    """At most ``count`` bytes of ``piece`` from ``start`` on; itself when that is all. EIO.

    A few are copied: small neighbours are joined by whoever keeps them, so that a pipe is never
    full of references to single bytes."""
    count = min(count, size_of(piece) - start)
    if isinstance(piece, bytes):
        return piece[start : start + count]
    if count < WORTH_IT:
        return piece.read(start, count)
    return piece if count == piece.length else piece.cut(start, count)


def bytes_of(piece: Piece, start: int, count: int) -> bytes:
    """The same as an object of its own."""
    if isinstance(piece, bytes):
        return piece[start : start + count]
    return piece.read(start, min(count, piece.length - start))


class PieceSource(Source):
    """Gives one piece, whole or in parts."""

    def __init__(self, piece: Piece) -> None:
        super().__init__(size_of(piece))
        self.piece = piece
        self.position = 0

    def take(self, count: int) -> bytes:
        data = bytes_of(self.piece, self.position, min(count, self.left))
        self.position += len(data)
        self.left -= len(data)
        return data

    def take_piece(self, count: int) -> Piece:
        piece = cut_piece(self.piece, self.position, count)
        taken = size_of(piece)
        self.position += taken
        self.left -= taken
        return piece

    def give_back(self, count: int) -> None:
        self.position -= count
        self.left += count


class FileSource(Source):
    """A part of an open file, read as it is asked for: what is not taken was not read."""

    def __init__(self, file: File, offset: int, count: int) -> None:
        super().__init__(count)
        self.file = file
        self.offset = offset
        self.error: LinuxError | None = None  # why it ended early

    def take(self, count: int) -> bytes:
        sink = BytesSink(min(count, self.left, PIECE))
        n = 0
        try:
            n = self.file.read(sink, self.offset)
        except LinuxError as error:
            self.error = error
        if n <= 0:
            self.left = 0
            return b""
        self.moved(n)
        return sink.data

    def take_piece(self, count: int) -> Piece:
        part = part_of(self.file, self.offset, min(count, self.left))
        if part is None:
            return self.take(count)
        self.moved(part.length)
        return part

    def waste(self) -> int:
        total = 0
        while self.left > 0:
            size = size_of(self.take_piece(self.left))
            if not size:
                break
            total += size
        return total

    def moved(self, count: int) -> None:
        """So many bytes were taken."""
        self.offset += count
        self.left -= count

    def give_back(self, count: int) -> None:
        self.moved(-count)


def part_of(file: File, offset: int, count: int) -> FilePart | None:
    """Up to ``count`` bytes of ``file`` by reference, when that is possible and worth it."""
    if count < WORTH_IT:
        return None
    count = min(count, file.end() - offset)
    part = file.part(offset, count) if count >= WORTH_IT else None
    return part if part is not None and part.fd < MOST_REFERENCED else None
