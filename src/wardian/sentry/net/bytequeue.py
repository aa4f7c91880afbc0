"""A FIFO of bytes that keeps the objects it was given: what a stream's receive queue is made of."""

from __future__ import annotations

from typing import Final

from wardian.sentry.errno import LinuxError
from wardian.sentry.vfs.buffers import Sink
from wardian.sentry.vfs.file_part import Piece, give_piece, size_of

MAX_PIECES: Final = 256


class ByteQueue:
    """Bytes in order of arrival; ``size`` is their number."""

    def __init__(self) -> None:
        self.pieces: list[Piece] = []
        self.start = 0  # bytes of the first piece that are gone
        self.size = 0

    def put(self, data: Piece) -> None:
        """Append; many pieces are joined, so that their number stays bounded: parts of files are
        not small."""
        size = size_of(data)
        if not size:
            return
        pieces = self.pieces
        pieces.append(data)
        self.size += size
        if len(pieces) > MAX_PIECES:
            self.join()

    def join(self) -> None:
        """Make one of those between parts of files, which stay what they are: nothing is read."""
        first = self.pieces[0]
        if isinstance(first, bytes) and self.start:
            self.pieces[0] = first[self.start :]
            self.start = 0
        joined: list[Piece] = []
        run: list[bytes] = []
        for piece in self.pieces:
            if isinstance(piece, bytes):
                run.append(piece)
                continue
            if run:
                joined.append(b"".join(run))
                run = []
            joined.append(piece)
        if run:
            joined.append(b"".join(run))
        self.pieces = joined

    def take(self, sink: Sink) -> int:
        """Move bytes to ``sink`` until it is full or the queue empty; the count."""
        total = 0
        pieces = self.pieces
        while pieces and sink.left > 0:
            piece = pieces[0]
            length = size_of(piece) - self.start
            try:
                taken = give_piece(piece, self.start, sink)
            except LinuxError:
                if total == 0:
                    raise
                break
            total += taken
            self.size -= taken
            if taken < length:
                self.start += taken
                break
            pieces.pop(0)
            self.start = 0
        return total

    def peek(self, sink: Sink, skip: int) -> int:
        """Copy bytes to ``sink``, after the first ``skip``, and keep them; the count."""
        total = 0
        skip += self.start
        for piece in self.pieces:
            if sink.left <= 0:
                break
            if skip >= size_of(piece):
                skip -= size_of(piece)
                continue
            try:
                taken = give_piece(piece, skip, sink)
            except LinuxError:
                if total == 0:
                    raise
                break
            total += taken
            if skip + taken < size_of(piece):
                break
            skip = 0
        return total

    def discard(self, count: int) -> int:
        """Drop up to ``count`` bytes; how many were dropped."""
        total = 0
        while self.pieces and total < count:
            length = size_of(self.pieces[0]) - self.start
            step = min(length, count - total)
            total += step
            if step < length:
                self.start += step
            else:
                self.pieces.pop(0)
                self.start = 0
        self.size -= total
        return total

    def clear(self) -> None:
        """Drop everything."""
        self.pieces = []
        self.start = 0
        self.size = 0
