"""Where the bytes of a read go and where those of a write come from.

Files never see guest addresses: ``read`` fills a :class:`Sink`, ``write`` drains a
:class:`Source`. The variants for guest memory (one buffer or an iovec) live in
``sentry.mm.usercopy``; the ones here are for the kernel's own use and for tests.

The methods besides ``put`` and ``take`` exist so that bytes need not become an object of their own
on the way between a guest and the place they are kept in.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from mypy_extensions import mypyc_attr

if TYPE_CHECKING:
    from wardian.sentry.vfs.file_part import Piece

PIECE: Final = 1 << 20  # bytes moved at once by the general versions
ZEROS: Final = bytes(1 << 16)


class Sink:
    """Takes up to ``left`` more bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def put(self, data: bytes) -> int:
        """Take as much of ``data`` as there is room for; the number of bytes taken. Raises
        EFAULT."""
        raise NotImplementedError

    def put_part(self, data: bytes | bytearray, start: int, count: int) -> int:
        """The same of up to ``count`` bytes of ``data`` from ``start`` on."""
        return self.put(bytes(data[start : start + count]))

    def put_zeros(self, count: int) -> int:
        """The same of some of ``count`` zeros."""
        return self.put_part(ZEROS, 0, count)

    def put_file(self, fd: int, offset: int, count: int) -> int:
        """The same of up to ``count`` bytes of a host file; fewer at its end. Raises OSError."""
        done = 0
        count = min(count, self.left)
        while done < count:
            data = os.pread(fd, min(count - done, PIECE), offset + done)
            if not data:
                break
            taken = self.put(data)
            done += taken
            if taken < len(data):
                break
        return done


class Source:
    """Gives up to ``left`` more bytes."""

    def __init__(self, left: int) -> None:
        self.left = left

    def take(self, count: int) -> bytes:
        """The next ``min(count, left)`` bytes, consumed. Raises EFAULT."""
        raise NotImplementedError

    def take_piece(self, count: int) -> Piece:
        """The same for a queue of pieces, by reference where that can be; none only at the end."""
        return self.take(count)

    def take_into(self, buffer: bytearray, start: int, count: int) -> int:
        """The same into ``buffer``; how many came, fewer only where guest memory ends."""
        data = self.take(count)
        buffer[start : start + len(data)] = data
        return len(data)

    def take_file(self, fd: int, offset: int, count: int, flags: int) -> int:
        """The same into a host file, with RWF_* ``flags``; how many it took. Raises OSError."""
        data = self.take(min(count, PIECE))
        try:
            if flags:
                written = os.pwritev(fd, [data], offset, flags)
            else:
                written = os.pwrite(fd, data, offset)
        except OSError:
            self.give_back(len(data))
            raise
        if written < len(data):
            self.give_back(len(data) - written)
        return written

    def give_back(self, count: int) -> None:
        """Un-consume the last ``count`` bytes taken (a short write downstream)."""
        raise NotImplementedError

    def waste(self) -> int:
        """Consume everything unseen; how many bytes that was."""
        count = self.left
        self.left = 0
        return count

    def skip(self, count: int) -> None:
        """Consume ``count`` bytes that an earlier run of the call has moved already."""
        while count > 0 and self.left > 0:
            count -= len(self.take(min(count, 1 << 16)))


class BytesSink(Sink):
    """Collects into memory; ``data`` is what arrived."""

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self.parts: list[bytes] = []

    def put(self, data: bytes) -> int:
        taken = data if len(data) <= self.left else data[: self.left]
        self.parts.append(taken)
        self.left -= len(taken)
        return len(taken)

    def put_part(self, data: bytes | bytearray, start: int, count: int) -> int:
        return self.put(bytes(data[start : start + min(count, self.left)]))

    @property
    def data(self) -> bytes:
        """Everything put so far."""
        if len(self.parts) == 1:
            return self.parts[0]
        return b"".join(self.parts)


@mypyc_attr(free_list_len=1)
class BytesSource(Source):
    """Reads from a ``bytes`` object."""

    def __init__(self, data: bytes) -> None:
        super().__init__(len(data))
        self.data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        n = min(count, self.left)
        if n == len(self.data):
            piece = self.data
        else:
            piece = self.data[self.position : self.position + n]
        self.position += n
        self.left -= n
        return piece

    def give_back(self, count: int) -> None:
        self.position -= count
        self.left += count
