"""Bytes of files by reference, in pipes and connections (vfs/file_part)."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator

import pytest

from wardian.platform.hostfds import MOST
from wardian.sentry.errno import EFAULT
from wardian.sentry.fs.pipe import Pipe
from wardian.sentry.net.bytequeue import MAX_PIECES, ByteQueue
from wardian.sentry.vfs.buffers import BytesSink, Sink
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.file_part import FilePart, PieceSource, cut_piece, part_of

DATA = bytes(range(256)) * 256


class Keeper:
    """Tells when the last part is gone."""

    def __init__(self, fd: int) -> None:
        self.fd = fd

    def __del__(self) -> None:
        os.close(self.fd)


@pytest.fixture
def part() -> Iterator[FilePart]:
    fd = os.memfd_create("part")
    os.write(fd, b"head" + DATA)
    yield FilePart(Keeper(fd), fd, 4, len(DATA))


def drained(queue: ByteQueue, step: int) -> bytes:
    found = b""
    while queue.size:
        sink = BytesSink(step)
        assert queue.take(sink) == len(sink.data) > 0
        found += sink.data
    return found


def test_a_queue_gives_its_bytes_in_order(part: FilePart) -> None:
    queue = ByteQueue()
    for piece in (b"before", part, b"after"):
        queue.put(piece)
    assert queue.size == len(DATA) + 11
    sink = BytesSink(20)
    assert queue.peek(sink, 3) == 20 and sink.data == b"ore" + DATA[:17]
    assert queue.discard(8) == 8
    assert drained(queue, 1000) == DATA[2:] + b"after"


def test_it_is_read_when_it_is_taken(part: FilePart) -> None:
    """As on Linux: who changes the file before that changes what is read."""
    queue = ByteQueue()
    queue.put(part)
    os.pwrite(part.fd, b"new", 4 + 100)
    assert drained(queue, 1 << 20)[98:105] == DATA[98:100] + b"new" + DATA[103:105]


@pytest.mark.parametrize("left", [0, 1, 5000])
def test_what_was_cut_off_is_zeros_and_as_long_as_promised(part: FilePart, left: int) -> None:
    queue = ByteQueue()
    queue.put(part)
    queue.put(b"end")
    os.ftruncate(part.fd, 4 + left)
    assert drained(queue, 4096) == DATA[:left].ljust(len(DATA), b"\0") + b"end"


def test_many_pieces_are_joined(part: FilePart) -> None:
    queue = ByteQueue()
    queue.put(b"xy")
    queue.take(BytesSink(1))
    queue.put(part.cut(10, 30000))
    for _ in range(MAX_PIECES):
        queue.put(b"abc")
    assert len(queue.pieces) == 4
    assert drained(queue, 100) == b"y" + DATA[10:30010] + b"abc" * MAX_PIECES


def test_parts_are_not_read_when_pieces_are_joined() -> None:
    """The file might not be readable: what was sent is not to be sent again because of that."""
    queue = ByteQueue()
    queue.put(FilePart(None, -1, 0, 20000))
    queue.discard(5)
    for _ in range(MAX_PIECES):
        queue.put(b"abc")
    assert queue.discard(20000 - 5) == 20000 - 5
    assert drained(queue, 100) == b"abc" * MAX_PIECES


def test_a_pipe_moves_it_and_parts_of_it(part: FilePart) -> None:
    a, b = Pipe(), Pipe()
    a.readers = b.readers = 1
    a.append(part, False)
    a.append(b"tail", False)
    a.consume(100)
    b.append(a.first(30000), False)
    assert isinstance(b.pieces[0], FilePart)
    sink = BytesSink(1 << 20)
    assert a.read(sink) == len(DATA) - 100 + 4 and sink.data == DATA[100:] + b"tail"
    sink = BytesSink(1 << 20)
    assert b.read(sink) == 30000 and sink.data == DATA[100:30100]


def test_a_pipe_does_not_keep_references_to_a_few_bytes(part: FilePart) -> None:
    """tee(2) of one byte, again and again, must not make an object of each."""
    pipe = Pipe()
    for n in range(10000):
        pipe.append(cut_piece(part, n, 1), False)
    assert len(pipe.pieces) < 100
    sink = BytesSink(1 << 20)
    assert pipe.read(sink) == 10000 and sink.data == DATA[:10000]


def test_a_source_gives_it_by_reference_or_as_bytes(part: FilePart) -> None:
    source = PieceSource(part)
    first = source.take_piece(20000)
    assert isinstance(first, FilePart) and first.read(0, 20000) == DATA[:20000]
    assert source.take_piece(500) == DATA[20000:20500]
    assert source.take(100) == DATA[20500:20600]
    source.give_back(50)
    assert source.left == len(DATA) - 20550
    rest = source.take_piece(1 << 20)
    assert isinstance(rest, FilePart) and rest.read(0, 10) == DATA[20550:20560]
    assert source.left == 0 and cut_piece(part, 0, 1 << 20) is part


class Full(Sink):
    """Guest memory that ends after a few bytes."""

    def put(self, data: bytes) -> int:
        if not data or self.left < 1000:
            raise EFAULT("ends here")
        self.left -= min(len(data), 7)
        return min(len(data), 7)


def test_memory_that_ends_is_a_short_count(part: FilePart) -> None:
    queue = ByteQueue()
    queue.put(part)
    assert queue.take(Full(1005)) == 7
    assert queue.size == len(DATA) - 7
    with pytest.raises(EFAULT):
        queue.take(Full(900))
    assert drained(queue, 1 << 20) == DATA[7:]


def test_a_look_stops_where_memory_ends(part: FilePart) -> None:
    queue = ByteQueue()
    queue.put(part)
    queue.put(b"end")
    assert queue.peek(Full(1 << 20), 0) == 7
    assert queue.peek(Full(1005), 0) == 7
    with pytest.raises(EFAULT):
        queue.peek(Full(900), 0)


class TooEarly(BytesSink):
    """A file that others have made longer since it was asked."""

    def put_file(self, fd: int, offset: int, count: int) -> int:
        return 0


def test_nothing_is_not_taken_for_the_end(part: FilePart) -> None:
    sink = TooEarly(1000)
    assert part.give(sink, 0, 1000) == 1000 and sink.data == DATA[:1000]


class NumberedFile(File):
    """A long file behind a certain descriptor."""

    def __init__(self, fd: int) -> None:
        super().__init__(None, 0)
        self.fd = fd

    def end(self) -> int:
        return 1 << 30

    def part(self, offset: int, count: int) -> FilePart | None:
        return FilePart(None, self.fd, offset, count)


def test_parts_take_no_more_than_half_of_the_descriptors() -> None:
    """A closed file's lives on in a pipe that it was sent to, beyond RLIMIT_NOFILE."""
    assert part_of(NumberedFile(MOST // 2 - 1), 0, 1 << 20) is not None
    assert part_of(NumberedFile(MOST // 2), 0, 1 << 20) is None


def test_the_file_stays_open_for_as_long_as_a_part_of_it_lives(part: FilePart) -> None:
    fd = os.memfd_create("kept")
    os.write(fd, DATA)
    queue = ByteQueue()
    queue.put(FilePart(Keeper(fd), fd, 0, 1000).cut(10, 500))
    gc.collect()
    os.fstat(fd)
    queue.clear()
    with pytest.raises(OSError):
        os.fstat(fd)
