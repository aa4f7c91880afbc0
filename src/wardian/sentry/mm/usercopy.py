"""Guest memory as the Sink of a read and the Source of a write: one buffer, or an iovec (readv(2)).

Bytes are copied as a file asks for them, never more at once than it has: a guest that claims a
buffer of 2^62 bytes costs nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EFAULT, EINVAL
from wardian.sentry.vfs.buffers import BytesSource, Sink, Source

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

MAX_RW_COUNT: Final = 0x7FFFF000  # what one read or write moves at most
IOV_MAX: Final = 1024
USER_END: Final = 1 << 47

_IOVEC: Final = struct.Struct("<QQ")


class UserSink(Sink):
    """One guest buffer to fill."""

    def __init__(self, task: Task, address: int, count: int) -> None:
        super().__init__(count)
        self.task = task
        self.address = address

    def put(self, data: bytes) -> int:
        n = len(data)
        if n > self.left:
            n = self.left
            data = data[:n]
        if n:
            self.task.copy_out(self.address, data)
            self.address += n
            self.left -= n
        return n


class UserSource(Source):
    """One guest buffer to drain."""

    def __init__(self, task: Task, address: int, count: int) -> None:
        super().__init__(count)
        self.task = task
        self.address = address

    def take(self, count: int) -> bytes:
        n = min(count, self.left)
        data = self.task.copy_in(self.address, n) if n else b""
        self.address += n
        self.left -= n
        return data

    def give_back(self, count: int) -> None:
        self.address -= count
        self.left += count

    def skip(self, count: int) -> None:
        self.give_back(-min(count, self.left))


def source_of(task: Task, sent: bytes, count: int) -> Source:
    """What write(2) and sendto(2) were given: the ``count`` bytes that came along with the request,
    or those in guest memory at argument 1."""
    call = task.call
    if len(sent) == count or call is None:
        return BytesSource(sent)
    return UserSource(task, call.request.arg(1), count)


class Segments:
    """A checked iovec: guest buffers in order, not empty ones; ``total`` at most MAX_RW_COUNT."""

    def __init__(self) -> None:
        self.addresses: list[int] = []
        self.lengths: list[int] = []
        self.total = 0


class IovecSink(Sink):
    """Guest buffers to fill one after the other."""

    def __init__(self, task: Task, segments: Segments) -> None:
        super().__init__(segments.total)
        self.task = task
        self.segments = segments
        self.index = 0
        self.used = 0  # bytes of the current segment

    def put(self, data: bytes) -> int:
        total = min(len(data), self.left)
        done = 0
        segments = self.segments
        while done < total:
            step = min(total - done, segments.lengths[self.index] - self.used)
            self.task.copy_out(segments.addresses[self.index] + self.used, data[done : done + step])
            done += step
            self.left -= step
            self.used += step
            if self.used == segments.lengths[self.index]:
                self.index += 1
                self.used = 0
        return done


class IovecSource(Source):
    """Guest buffers to drain one after the other."""

    def __init__(self, task: Task, segments: Segments) -> None:
        super().__init__(segments.total)
        self.task = task
        self.segments = segments
        self.index = 0
        self.used = 0

    def take(self, count: int) -> bytes:
        count = min(count, self.left)
        parts: list[bytes] = []
        segments = self.segments
        while count > 0:
            step = min(count, segments.lengths[self.index] - self.used)
            parts.append(self.task.copy_in(segments.addresses[self.index] + self.used, step))
            count -= step
            self.left -= step
            self.used += step
            if self.used == segments.lengths[self.index]:
                self.index += 1
                self.used = 0
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def give_back(self, count: int) -> None:
        self.left += count
        while count > 0:
            if self.used == 0:
                self.index -= 1
                self.used = self.segments.lengths[self.index]
            step = min(count, self.used)
            self.used -= step
            count -= step


def read_iovec(task: Task, address: int, count: int) -> Segments:
    """The iovec of ``count`` entries at ``address``; EINVAL, EFAULT. Lengths past MAX_RW_COUNT
    are cut."""
    if not 0 <= count <= IOV_MAX:
        raise EINVAL("iovec count")
    segments = Segments()
    if count == 0:
        return segments
    room = MAX_RW_COUNT
    for base, length in _IOVEC.iter_unpack(task.copy_in(address, 16 * count)):
        if length >= 1 << 63:
            raise EINVAL("iovec length")
        if length and (base > USER_END or base + length > USER_END):
            raise EFAULT("iovec outside the address space")
        length = min(length, room)
        if length:
            segments.addresses.append(base)
            segments.lengths.append(length)
            segments.total += length
            room -= length
    return segments
