"""Guest buffers: what the stub sent along and what is fetched, and buffers that end half way."""

from __future__ import annotations

import struct

import pytest

from support import get, host, make_kernel, make_task, memory, put, room
from wardian.platform.interface import message
from wardian.platform.layout import DATA_SIZE
from wardian.sentry.errno import EFAULT, EINVAL
from wardian.sentry.kernel.task import Call, Task
from wardian.sentry.mm.usercopy import (
    UserSink,
    UserSource,
    iovec_sink,
    iovec_source,
    source_of,
)

APART = -3
PAGE = 4096


@pytest.fixture
def task() -> Task:
    return make_task(make_kernel())


def arrive(task: Task, data: bytes, *args: int) -> None:
    """A call with these records."""
    padded = (*args, 0, 0, 0, 0, 0, 0)
    task.call = Call(message(1, padded[:6], data))


def word(value: int) -> bytes:
    return struct.pack("<q", value)


def iovec(*parts: tuple[int, int]) -> bytes:
    return b"".join(struct.pack("<QQ", *part) for part in parts)


# -- contents --------------------------------------------------------------------------------------
def test_contents_behind_the_records_are_taken_from_there(task: Task) -> None:
    arrive(task, word(APART), 1, put(task, b"memory"))
    host(task).contents = bytes(8) + b"sent by the stub"
    source = source_of(task, b"", 16)
    assert source.take(4) == b"sent"
    source.give_back(2)
    assert source.left == 14
    into = bytearray(8)
    assert source.take_into(into, 1, 5) == 5
    assert into == b"\0nt by\0\0"
    source.skip(5)
    assert source.take(100) == b"stub"


@pytest.mark.parametrize("status", [-1, -2, -14, -36, -4, 6, 1 << 62])
def test_contents_that_were_not_sent_are_fetched(task: Task, status: int) -> None:
    arrive(task, word(status), 1, put(task, b"memory"))
    host(task).contents = bytes(8) + b"wrong!"
    assert source_of(task, b"", 6).take(6) == b"memory"


@pytest.mark.parametrize("count", [DATA_SIZE - 7, DATA_SIZE, 1 << 31])
def test_no_slot_holds_so_many_contents(task: Task, count: int) -> None:
    arrive(task, word(APART), 1, put(task, b"memory"))
    host(task).contents = bytes(8) + b"wrong!"
    assert source_of(task, b"", count).take(6) == b"memory"


def test_few_contents_are_in_the_request(task: Task) -> None:
    arrive(task, word(3) + b"few\0\0\0\0\0", 1, 0)
    assert source_of(task, b"few", 3).take(5) == b"few"


# -- vectors ---------------------------------------------------------------------------------------
def test_iovec_that_was_sent_is_believed_with_its_contents(task: Task) -> None:
    parts = iovec((0x1000, 5), (0x2000, 0), (0x3000, 6))
    arrive(task, word(56) + parts + word(APART))
    host(task).contents = bytes(64) + b"first second"
    assert iovec_source(task, 0xBAD, 3).take(100) == b"first secon"


@pytest.mark.parametrize("status", [-1, -2, -14, 0, 5])
def test_contents_of_an_iovec_that_were_not_sent_are_fetched(task: Task, status: int) -> None:
    parts = iovec((put(task, b"first"), 5), (put(task, b"second"), 6))
    arrive(task, word(40) + parts + word(status))
    assert iovec_source(task, 0xBAD, 2).take(100) == b"firstsecond"


@pytest.mark.parametrize("status", [-1, -2, -14, 16, 31, 48, 1 << 62])
def test_iovec_of_another_length_was_not_sent(task: Task, status: int) -> None:
    parts = iovec((put(task, b"first"), 5), (put(task, b"second"), 6))
    arrive(task, word(status) + iovec((0x1000, 5), (0x2000, 5)) + word(APART))
    assert iovec_source(task, put(task, parts), 2).take(100) == b"firstsecond"
    with pytest.raises(EFAULT):
        iovec_source(task, 0xBAD, 2)


def test_iovec_that_was_sent_is_checked(task: Task) -> None:
    arrive(task, word(24) + iovec((0x1000, 1 << 63)) + word(APART))
    with pytest.raises(EINVAL):
        iovec_source(task, 0, 1)
    arrive(task, word(16) + iovec(((1 << 47) - 1, 2)))
    with pytest.raises(EFAULT):
        iovec_sink(task, 0, 1)
    arrive(task, word(24) + iovec((put(task, bytes(DATA_SIZE)), DATA_SIZE - 31)) + word(APART))
    assert len(iovec_source(task, 0, 1).take(DATA_SIZE)) == DATA_SIZE - 31  # fetched: no room


def test_iovec_to_fill_may_be_sent(task: Task) -> None:
    one, two = room(task, 4), room(task, 4)
    arrive(task, word(32) + iovec((one, 2), (two, 3)))
    sink = iovec_sink(task, 0xBAD, 2)
    assert sink.put(b"abcdefg") == 5
    assert (get(task, one, 3), get(task, two, 4)) == (b"ab\0", b"cde\0")


# -- edges -----------------------------------------------------------------------------------------
def test_sink_takes_what_there_is_memory_for(task: Task) -> None:
    edge = memory(task).map(PAGE) + PAGE
    sink = UserSink(task, edge - 3, 10)
    assert sink.put_part(b"0123456789", 2, 8) == 3
    assert get(task, edge - 3, 3) == b"234"
    with pytest.raises(EFAULT):
        sink.put(b"x")
    with pytest.raises(EFAULT):
        sink.put_zeros(1)


def test_vector_ends_where_its_memory_ends(task: Task) -> None:
    edge = memory(task).map(PAGE) + PAGE
    good = room(task, 5)
    vector = put(task, iovec((edge - 3, 5), (good, 5)))
    arrive(task, b"")
    assert iovec_sink(task, vector, 2).put(b"0123456789") == 3
    assert get(task, good, 5) == bytes(5)


def test_source_that_ends_half_way(task: Task) -> None:
    edge = memory(task).map(PAGE) + PAGE
    source = UserSource(task, edge - 3, 10)
    with pytest.raises(EFAULT):
        source.take(10)
    assert source.left == 10
    assert source.take_into(bytearray(10), 0, 10) == 3
    with pytest.raises(EFAULT):
        source.take_into(bytearray(10), 0, 7)
