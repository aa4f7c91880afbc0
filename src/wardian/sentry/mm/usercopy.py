"""Guest memory as the Sink of a read and the Source of a write: one buffer, or an iovec (readv(2)).

Bytes are copied as a file asks for them, never more at once than it has: a guest that claims a
buffer of 2^62 bytes costs nothing.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from librt.strings import read_i64_le
from mypy_extensions import i64, mypyc_attr

from wardian.platform.interface import HEAD_SIZE
from wardian.platform.layout import DATA_SIZE
from wardian.sentry.errno import EFAULT, EINVAL
from wardian.sentry.vfs.buffers import BytesSource, Sink, Source

if TYPE_CHECKING:
    from wardian.platform.interface import HostThread
    from wardian.sentry.kernel.task import Task

MAX_RW_COUNT: Final = 0x7FFFF000  # what one read or write moves at most
IOV_MAX: Final = 1024
USER_END: Final = 1 << 47
APART: Final = -3  # the status of contents that stand behind the request (marshal_gen)
SENT_IOVEC: Final = 8  # entries; longer ones are fetched
SMALL: Final = 8192  # scattered in one host call

_IOVEC: Final = struct.Struct("<QQ")


def at_once(task: Task) -> bool:
    """True when results must not wait for the reply: strace looks at them first."""
    call = task.call
    return call is None or call.trace is not None


@mypyc_attr(free_list_len=1)
class UserSink(Sink):
    """One guest buffer to fill."""

    def __init__(self, task: Task, address: int, count: int) -> None:
        super().__init__(count)
        self.task = task
        self.address = address

    def put(self, data: bytes) -> int:
        return self.put_part(data, 0, len(data))

    def put_part(self, data: bytes | bytearray, start: int, count: int) -> int:
        count = min(count, self.left)
        if count <= 0:
            return 0
        host = host_of(self.task)
        return self.filled(host.give(self.address, data, start, count, at_once(self.task)))

    def put_zeros(self, count: int) -> int:
        count = min(count, self.left)
        if count <= 0:
            return 0
        host = host_of(self.task)
        return self.filled(host.give_zeros(self.address, count, at_once(self.task)))

    def put_file(self, fd: int, offset: int, count: int) -> int:
        count = min(count, self.left)
        host = host_of(self.task)
        n = host.give_file(self.address, fd, offset, count, at_once(self.task))
        self.address += n
        self.left -= n
        return n

    def filled(self, count: int) -> int:
        """``count`` bytes have come; EFAULT for none."""
        if count == 0:
            raise EFAULT(f"the buffer at {self.address:#x} cannot be written")
        self.address += count
        self.left -= count
        return count


@mypyc_attr(free_list_len=1)
class UserSource(Source):
    """One guest buffer to drain: in guest memory, or sent along at offset ``sent`` of the data."""

    def __init__(self, task: Task, address: int, count: int, sent: int = -1) -> None:
        super().__init__(count)
        self.task = task
        self.address = address
        self.sent = sent

    def take(self, count: int) -> bytes:
        n = min(count, self.left)
        if n <= 0:
            return b""
        data = host_of(self.task).take(self.address, self.sent, n)
        if len(data) < n:
            raise EFAULT(f"{n} bytes at {self.address:#x} cannot be read")
        self.advance(n)
        return data

    def take_into(self, buffer: bytearray, start: int, count: int) -> int:
        n = min(count, self.left)
        if n <= 0:
            return 0
        n = host_of(self.task).take_into(self.address, self.sent, buffer, start, n)
        if n == 0:
            raise EFAULT(f"the buffer at {self.address:#x} cannot be read")
        self.advance(n)
        return n

    def take_file(self, fd: int, offset: int, count: int, flags: int) -> int:
        n = min(count, self.left)
        n = host_of(self.task).take_file(self.address, self.sent, fd, offset, n, flags)
        self.advance(n)
        return n

    def advance(self, count: int) -> None:
        """``count`` bytes are gone."""
        self.address += count
        self.left -= count
        if self.sent >= 0:
            self.sent += count

    def give_back(self, count: int) -> None:
        self.advance(-count)

    def skip(self, count: int) -> None:
        self.advance(min(count, self.left))


def host_of(task: Task) -> HostThread:
    """The thread whose memory it is."""
    host = task.host
    assert host is not None
    return host


def source_of(task: Task, sent: bytes, count: int) -> Source:
    """What write(2) and sendto(2) were given: the ``count`` bytes that came along with the request,
    those that the stub has put behind it, or those in guest memory at argument 1."""
    call = task.call
    if len(sent) == count or call is None:
        return BytesSource(sent)
    return UserSource(task, call.arg(1), count, contents_at(call.raw, count))


def contents_at(raw: bytes, count: int) -> int:
    """Where in the slot's data ``count`` bytes of contents stand, -1 when they were not sent."""
    length: i64 = len(raw)
    if length < HEAD_SIZE + 8 or read_i64_le(raw, HEAD_SIZE) != APART:
        return -1
    at = int(length) - HEAD_SIZE
    return at if at + count <= DATA_SIZE else -1


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
        return self.put_part(data, 0, len(data))

    def put_part(self, data: bytes | bytearray, start: int, count: int) -> int:
        total = min(count, self.left)
        done = 0
        host = host_of(self.task)
        now = at_once(self.task)
        while done < total:
            step = min(total - done, self.room())
            taken = host.give(self.place(), data, start + done, step, now)
            self.filled(taken)
            done += taken
            if taken < step:
                break
        if done == 0 and total > 0:
            raise EFAULT("a buffer of the iovec cannot be written")
        return done

    def put_zeros(self, count: int) -> int:
        step = min(count, self.left)
        if step <= 0:
            return 0
        step = min(step, self.room())
        taken = host_of(self.task).give_zeros(self.place(), step, at_once(self.task))
        if taken == 0:
            raise EFAULT("a buffer of the iovec cannot be written")
        self.filled(taken)
        return taken

    def put_file(self, fd: int, offset: int, count: int) -> int:
        total = min(count, self.left)
        if total <= 0:
            return 0  # an iovec without bytes has no segments
        if total <= SMALL and total > self.room():
            return super().put_file(fd, offset, total)
        done = 0
        host = host_of(self.task)
        now = at_once(self.task)
        while done < total:
            step = min(total - done, self.room())
            try:
                taken = host.give_file(self.place(), fd, offset + done, step, now)
            except OSError:
                if done == 0:
                    raise
                break
            self.filled(taken)
            done += taken
            if taken < step:
                break
        return done

    def room(self) -> int:
        """Bytes left in the current segment; there is one."""
        return self.segments.lengths[self.index] - self.used

    def place(self) -> int:
        """Where the next byte goes."""
        return self.segments.addresses[self.index] + self.used

    def filled(self, count: int) -> None:
        """``count`` bytes have come, all into the current segment."""
        self.left -= count
        self.used += count
        if self.used == self.segments.lengths[self.index]:
            self.index += 1
            self.used = 0


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
    return parse_iovec(task.copy_in(address, 16 * count) if count else b"")


def parse_iovec(array: bytes) -> Segments:
    """Check the iovec ``array``."""
    segments = Segments()
    room = MAX_RW_COUNT
    for base, length in _IOVEC.iter_unpack(array):
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


# -- what the stub has sent along with readv(2), writev(2) and their like --------------------------
def iovec_sink(task: Task, address: int, count: int) -> IovecSink:
    """What readv(2) fills."""
    array = sent_array(task, count)
    return IovecSink(task, parse_iovec(array) if array else read_iovec(task, address, count))


def iovec_source(task: Task, address: int, count: int) -> Source:
    """What writev(2) drains."""
    array = sent_array(task, count)
    if not array:
        return IovecSource(task, read_iovec(task, address, count))
    segments = parse_iovec(array)
    raw = raw_request(task)
    status: i64 = HEAD_SIZE + 8 + 16 * count
    if len(raw) < status + 8 or read_i64_le(raw, status) != APART:
        return IovecSource(task, segments)
    sent = len(raw) - HEAD_SIZE
    if sent + segments.total > DATA_SIZE:
        return IovecSource(task, segments)
    return UserSource(task, 0, segments.total, sent)


def sent_array(task: Task, count: int) -> bytes:
    """The iovec that came with the request; empty when it did not."""
    raw = raw_request(task)
    size: i64 = 16 * count if 0 < count <= SENT_IOVEC else 0
    if size == 0 or len(raw) < HEAD_SIZE + 8 + size:
        return b""
    status: i64 = read_i64_le(raw, HEAD_SIZE)
    if status != size and status != size + 8:
        return b""
    return raw[HEAD_SIZE + 8 : HEAD_SIZE + 8 + size]


def raw_request(task: Task) -> bytes:
    """The message that the call came with."""
    call = task.call
    return call.raw if call is not None else b""
