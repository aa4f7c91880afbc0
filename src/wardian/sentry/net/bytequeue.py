"""A FIFO of bytes that keeps the objects it was given: what a stream's receive queue is made of."""

from __future__ import annotations

from typing import Final

from wardian.sentry.vfs.buffers import Sink

MAX_PIECES: Final = 256


class ByteQueue:
    """Bytes in order of arrival; ``size`` is their number."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self.start = 0  # bytes of the first piece that are gone
        self.size = 0

    def put(self, data: bytes) -> None:
        """Append; many tiny pieces are joined, so that their number stays bounded."""
        if not data:
            return
        pieces = self.pieces
        pieces.append(data)
        self.size += len(data)
        if len(pieces) > MAX_PIECES:
            joined = b"".join(pieces)
            self.pieces = [joined[self.start :] if self.start else joined]
            self.start = 0

    def take(self, sink: Sink) -> int:
        """Move bytes to ``sink`` until it is full or the queue empty; the count."""
        total = 0
        pieces = self.pieces
        while pieces and sink.left > 0:
            piece = pieces[0]
            length = len(piece) - self.start
            taken = sink.put_part(piece, self.start, length)
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
            if skip >= len(piece):
                skip -= len(piece)
                continue
            total += sink.put(piece[skip : skip + sink.left])
            skip = 0
        return total

    def discard(self, count: int) -> int:
        """Drop up to ``count`` bytes; how many were dropped."""
        total = 0
        while self.pieces and total < count:
            length = len(self.pieces[0]) - self.start
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
