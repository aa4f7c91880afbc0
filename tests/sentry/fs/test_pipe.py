"""Pipes and FIFOs, driven through the calls where blocking matters."""

from __future__ import annotations

import struct

import pytest

from support import PARKED, call, fork, get, host, make_kernel, make_task, put, room, run
from wardian.sentry.errno import EBUSY, ENXIO, EPERM, EPIPE, WOULD_BLOCK
from wardian.sentry.fs.pipe import Pipe, PipeFile, make_pipe, open_fifo, pipe_of
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls.pipe import pipe2, splice, tee, vmsplice
from wardian.sentry.vfs import io
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import (
    O_DIRECT,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_WRONLY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
)
from wardian.sentry.vfs.inode import S_IFIFO, Inode


@pytest.fixture
def task() -> Task:
    return make_task(make_kernel())


def new_pipe(task: Task, flags: int = 0) -> tuple[PipeFile, PipeFile]:
    reader, writer = make_pipe(task, flags)
    reader.hold()
    writer.hold()
    return reader, writer


def put_bytes(file: PipeFile, data: bytes) -> int:
    return file.write(BytesSource(data), 0)


def get_bytes(file: PipeFile, count: int) -> bytes | int:
    sink = BytesSink(count)
    n = file.read(sink, 0)
    return sink.data if n >= 0 else n


def write_handler(t: Task, file: PipeFile, data: bytes) -> int:
    return io.write(t, file, SkippingSource(data))


def read_handler(t: Task, file: PipeFile, sink: BytesSink) -> int:
    return io.read(t, file, sink)


class SkippingSource(BytesSource):
    def skip(self, count: int) -> None:
        self.take(count)


def test_bytes_come_out_in_order_whatever_the_piece_sizes(task: Task) -> None:
    reader, writer = new_pipe(task)
    for piece in (b"a", b"bc", b"x" * 1000, b"tail"):
        assert put_bytes(writer, piece) == len(piece)
    assert get_bytes(reader, 2) == b"ab"
    assert get_bytes(reader, 5000) == b"c" + b"x" * 1000 + b"tail"
    assert get_bytes(reader, 1) == WOULD_BLOCK


def test_a_large_piece_is_passed_by_reference(task: Task) -> None:
    reader, writer = new_pipe(task)
    data = b"q" * 65536
    put_bytes(writer, data)
    assert pipe_of(reader).first(65536) is data


def test_capacity_is_64_kib_even_in_single_bytes(task: Task) -> None:
    _, writer = new_pipe(task)
    written = 0
    while put_bytes(writer, b"z") == 1:
        written += 1
    assert written == 65536
    assert len(pipe_of(writer).pieces) <= 256


def test_small_writes_are_atomic_and_large_ones_partial(task: Task) -> None:
    reader, writer = new_pipe(task)
    assert put_bytes(writer, b"1" * 65000) == 65000
    assert put_bytes(writer, b"2" * 4096) == WOULD_BLOCK
    assert put_bytes(writer, b"3" * 4097) == 536
    assert not writer.poll() & POLLOUT
    assert reader.poll() & POLLIN


def test_end_of_file_and_hangup_after_the_last_writer(task: Task) -> None:
    reader, writer = new_pipe(task)
    put_bytes(writer, b"last")
    writer.drop()
    assert reader.poll() == POLLIN | 0x40 | POLLHUP
    assert get_bytes(reader, 10) == b"last"
    assert get_bytes(reader, 10) == b""


def test_write_without_reader_is_epipe(task: Task) -> None:
    reader, writer = new_pipe(task)
    reader.drop()
    assert writer.poll() & POLLERR
    with pytest.raises(EPIPE):
        put_bytes(writer, b"x")


def test_packet_mode_keeps_boundaries_and_drops_the_rest(task: Task) -> None:
    reader, writer = new_pipe(task, O_DIRECT)
    put_bytes(writer, b"first")
    put_bytes(writer, b"second")
    put_bytes(writer, b"x" * 5000)
    assert get_bytes(reader, 100) == b"first"
    assert get_bytes(reader, 3) == b"sec"
    assert get_bytes(reader, 9000) == b"x" * 4096
    assert get_bytes(reader, 9000) == b"x" * 904
    assert pipe_of(reader).size == 0


def test_sixteen_packets_fill_a_pipe(task: Task) -> None:
    _, writer = new_pipe(task, O_DIRECT)
    assert [put_bytes(writer, b"p") for _ in range(17)] == [1] * 16 + [WOULD_BLOCK]


def test_resizing_rounds_up_and_keeps_what_is_held() -> None:
    pipe = Pipe()
    pipe.readers = pipe.writers = 1
    assert pipe.resize(5000) == 8192
    pipe.write(BytesSource(b"x" * 8192), False)
    with pytest.raises(EBUSY):
        pipe.resize(4096)
    with pytest.raises(EPERM):
        pipe.resize((1 << 20) + 1)
    assert pipe.resize(1 << 20) == 1 << 20


def test_a_blocked_reader_gets_what_is_written(task: Task) -> None:
    reader, writer = new_pipe(task)
    sink = BytesSink(10)
    assert call(task, read_handler, reader, sink) == PARKED
    put_bytes(writer, b"hello")
    run(task.kernel)
    assert host(task).results[-1] == 5
    assert sink.data == b"hello"


def test_a_blocking_write_goes_on_until_all_is_taken(task: Task) -> None:
    reader, writer = new_pipe(task)
    data = bytes(range(256)) * 800
    assert call(task, write_handler, writer, data) == PARKED
    received = b""
    while len(received) < len(data):
        piece = get_bytes(reader, 50000)
        assert isinstance(piece, bytes)
        received += piece
        run(task.kernel)
    assert received == data
    assert host(task).results[-1] == len(data)


def fifo(task: Task) -> Inode:
    return Inode(task.kernel.pipefs, 7, S_IFIFO | 0o600)


def test_fifo_open_waits_for_the_other_end(task: Task) -> None:
    inode = fifo(task)
    reader = open_fifo(task, inode, O_RDONLY)
    assert not reader.opened()
    writer = open_fifo(task, inode, O_WRONLY)
    assert writer.opened()
    assert reader.opened()


def test_fifo_reader_is_let_in_by_a_writer_that_already_left(task: Task) -> None:
    inode = fifo(task)
    reader = open_fifo(task, inode, O_RDONLY)
    writer = open_fifo(task, inode, O_WRONLY)
    writer.hold()
    writer.drop()
    assert reader.opened()
    assert get_bytes(reader, 4) == b""


def test_fifo_nonblocking_opens(task: Task) -> None:
    inode = fifo(task)
    with pytest.raises(ENXIO):
        open_fifo(task, inode, O_WRONLY | O_NONBLOCK)
    reader = open_fifo(task, inode, O_RDONLY | O_NONBLOCK)
    assert reader.opened()
    assert reader.poll() == 0  # no hang-up before the first writer
    both = open_fifo(task, fifo(task), O_RDWR)
    assert both.opened()
    assert get_bytes(both, 1) == WOULD_BLOCK


def test_fifo_contents_go_with_the_last_end(task: Task) -> None:
    inode = fifo(task)
    both = open_fifo(task, inode, O_RDWR)
    both.hold()
    put_bytes(both, b"gone")
    both.drop()
    assert inode.pipe is None


def pipe_fds(task: Task, flags: int = 0) -> tuple[int, int]:
    address = room(task, 8)
    assert call(task, pipe2, address, flags) == 0
    first, second = struct.unpack("<ii", get(task, address, 8))
    return first, second


def test_pipe2_refuses_unknown_flags_and_uses_lowest_descriptors(task: Task) -> None:
    assert call(task, pipe2, room(task, 8), 0x1) == -22
    assert pipe_fds(task) == (0, 1)
    assert pipe_fds(task, 0x80000) == (2, 3)
    assert 2 in task.files.cloexec


def test_pipe2_with_a_bad_address_leaves_no_descriptors(task: Task) -> None:
    assert call(task, pipe2, 8, 0) == -14
    assert task.files.find(0) is None
    assert task.files.find(1) is None


def test_tee_copies_and_splice_moves(task: Task) -> None:
    a_r, a_w = pipe_fds(task)
    b_r, b_w = pipe_fds(task)
    a, b = task.files.get(a_r), task.files.get(b_r)
    assert isinstance(a, PipeFile)
    assert isinstance(b, PipeFile)
    a.pipe.write(BytesSource(b"abcdef"), False)
    assert call(task, tee, a_r, b_w, 4, 0) == 4
    assert call(task, splice, a_r, 0, b_w, 0, 100, 0) == 6
    assert get_bytes(b, 100) == b"abcdabcdef"
    assert a.pipe.size == 0
    assert call(task, splice, a_r, 0, b_w, 0, 1, 2) == -11
    assert call(task, splice, a_r, 0, a_w, 0, 1, 0) == -22
    assert call(task, splice, a_r, put(task, bytes(8)), b_w, 0, 1, 0) == -29


def test_blocked_splice_goes_on_when_bytes_arrive(task: Task) -> None:
    a_r, a_w = pipe_fds(task)
    b_r, b_w = pipe_fds(task)
    assert call(task, splice, a_r, 0, b_w, 0, 100, 0) == PARKED
    writer = task.files.get(a_w)
    writer.write(BytesSource(b"now"), 0)
    run(task.kernel)
    assert host(task).results[-1] == 3
    reader = task.files.get(b_r)
    assert isinstance(reader, PipeFile)
    assert get_bytes(reader, 9) == b"now"


def test_vmsplice_both_ways(task: Task) -> None:
    r, w = pipe_fds(task)
    one, two = put(task, b"hello "), put(task, b"world")
    iov = put(task, struct.pack("<QQQQ", one, 6, two, 5))
    assert call(task, vmsplice, w, iov, 2, 0) == 11
    out = room(task, 11)
    assert call(task, vmsplice, r, put(task, struct.pack("<QQ", out, 11)), 1, 0) == 11
    assert get(task, out, 11) == b"hello world"


def test_descriptors_of_a_forked_child_keep_the_pipe_open(task: Task) -> None:
    r, w = pipe_fds(task)
    child = fork(task)
    task.files.close(w)
    reader = task.files.get(r)
    assert isinstance(reader, PipeFile)
    assert get_bytes(reader, 1) == WOULD_BLOCK
    child.files.close(w)
    assert get_bytes(reader, 1) == b""
