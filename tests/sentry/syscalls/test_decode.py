"""Argument decoding: registers, records from the stub, and what a tampered stub may send."""

import struct
from typing import cast

import pytest

from wardian.platform.interface import HEAD_SIZE
from wardian.sentry.errno import EFAULT, ENAMETOOLONG
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import decode


class Memory:
    """Stands in for a task: the guest memory that decoding may fetch from."""

    def __init__(self, at: int, content: bytes) -> None:
        self.at = at
        self.content = content
        self.reads: list[int] = []

    def copy_in(self, address: int, count: int) -> bytes:
        self.reads.append(count)
        start = address - self.at
        if start < 0 or start + count > len(self.content):
            raise EFAULT("outside")
        return self.content[start : start + count]

    def copy_in_string(self, address: int, limit: int = 4096) -> bytes:
        return self.copy_in(address, 8).split(b"\0")[0]


def memory(content: bytes = b"fetched\0" * 8) -> Task:
    return cast(Task, Memory(0x1000, content))


HEAD = bytes(HEAD_SIZE)


def record(data: bytes) -> bytes:
    return struct.pack("<q", len(data)) + data + bytes(-len(data) % 8)


def status(n: int) -> bytes:
    return struct.pack("<q", n)


@pytest.mark.parametrize(
    ("value", "signed", "unsigned"),
    [(0, 0, 0), (7, 7, 7), (0xFFFFFF9C, -100, 0xFFFFFF9C), (0x1_0000_0005, 5, 5),
     (0xFFFFFFFFFFFFFFFF, -1, 0xFFFFFFFF), (0x80000000, -0x80000000, 0x80000000)],
)  # fmt: skip
def test_half_registers_ignore_the_upper_half(value: int, signed: int, unsigned: int) -> None:
    assert decode.s32(value) == signed
    assert decode.u32(value) == unsigned


@pytest.mark.parametrize("value", [0, 5, 1 << 61, 1 << 62, (1 << 63) - 1])
def test_s64_keeps_the_sign(value: int) -> None:
    assert decode.s64(value) == value
    assert decode.s64((1 << 64) - value - 1) == -value - 1


def test_two_records_are_read_in_order() -> None:
    data = record(b"/etc/passwd") + record(b"second")
    assert decode.string(memory(), HEAD + data, HEAD_SIZE, 0x1000) == b"/etc/passwd"
    at = decode.skip(HEAD + data, HEAD_SIZE)
    assert decode.string(memory(), HEAD + data, at, 0x1008) == b"second"


def test_an_empty_string_is_not_a_null_pointer() -> None:
    assert decode.string(memory(), HEAD + record(b""), HEAD_SIZE, 0x1000) == b""
    assert decode.string_or_none(memory(), HEAD + status(-1), HEAD_SIZE, 0) is None
    with pytest.raises(EFAULT):
        decode.string(memory(), HEAD + status(-1), HEAD_SIZE, 0)


def test_statuses_become_errors() -> None:
    with pytest.raises(EFAULT):
        decode.string(memory(), HEAD + status(-14), HEAD_SIZE, 0x1000)
    with pytest.raises(ENAMETOOLONG):
        decode.string(memory(), HEAD + status(-36), HEAD_SIZE, 0x1000)


@pytest.mark.parametrize("data", [b"", status(-2)])
def test_what_was_not_sent_along_is_fetched(data: bytes) -> None:
    assert decode.string(memory(), HEAD + data, HEAD_SIZE, 0x1000) == b"fetched"
    assert decode.struct(memory(), HEAD + data, HEAD_SIZE, 0x1000, 4) == b"fetc"
    assert decode.buf(memory(), HEAD + data, HEAD_SIZE, 0x1000, 9, 100) == b"fetched\0f"
    assert decode.buf(memory(), HEAD + data, HEAD_SIZE, 0x1000, 9, 3) == b"fet"


@pytest.mark.parametrize(
    "data",
    [b"\0\0\0", status(1), status(1 << 62), status((1 << 63) - 1), status(17) + bytes(16)],
)
def test_a_record_that_claims_more_than_was_sent_is_efault(data: bytes) -> None:
    with pytest.raises(EFAULT):
        decode.string(memory(), HEAD + data, HEAD_SIZE, 0x1000)
    with pytest.raises(EFAULT):
        decode.struct(memory(), HEAD + data, HEAD_SIZE, 0x1000, 16)
    with pytest.raises(EFAULT):
        decode.skip(HEAD + data, HEAD_SIZE)
    with pytest.raises(EFAULT):
        decode.skip(HEAD + data, 4096)


def test_a_string_with_a_nul_inside_ends_there() -> None:
    assert decode.string(memory(), HEAD + record(b"/a\0/b"), HEAD_SIZE, 0x1000) == b"/a"


def test_a_sent_string_without_room_for_its_nul_is_too_long() -> None:
    assert len(decode.string(memory(), HEAD + record(b"x" * 4095), HEAD_SIZE, 0x1000)) == 4095
    with pytest.raises(ENAMETOOLONG):
        decode.string(memory(), HEAD + record(b"x" * 4096), HEAD_SIZE, 0x1000)


def test_a_record_of_the_wrong_size_is_not_believed() -> None:
    assert decode.struct(memory(), HEAD + record(b"12345678"), HEAD_SIZE, 0x1000, 4) == b"fetc"
    assert decode.buf(memory(), HEAD + record(b"12345678"), HEAD_SIZE, 0x1000, 4, 100) == b"fetc"


def test_an_empty_buffer_needs_no_address() -> None:
    assert decode.buf(memory(), HEAD + status(-1), HEAD_SIZE, 0, 0, 100) == b""
    assert decode.buf(memory(), HEAD + status(-1), HEAD_SIZE, 0, -5, 100) == b""
    with pytest.raises(EFAULT):
        decode.buf(memory(), HEAD + status(-1), HEAD_SIZE, 0, 1, 100)
    assert decode.buf_or_none(memory(), HEAD + status(-1), HEAD_SIZE, 0, 1, 100) is None


def test_a_long_buffer_came_along_whole_or_is_left_in_guest_memory() -> None:
    assert decode.sent(HEAD + record(b"12345678"), HEAD_SIZE, 8) == b"12345678"
    assert decode.sent(HEAD + record(b"12345678"), HEAD_SIZE, 9) == b""
    assert decode.sent(HEAD + record(b"12345678"), HEAD_SIZE, 1 << 62) == b""
    assert decode.sent(HEAD + status(-14), HEAD_SIZE, 8) == b""
    assert decode.sent(HEAD, HEAD_SIZE, 8) == b""
