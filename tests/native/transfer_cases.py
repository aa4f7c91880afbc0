"""Cases of test_core.py: the bytes of reads and writes. The guest is this process itself."""

from __future__ import annotations

import mmap
import os
import struct

from function_cases import anonymous
from guest_half import (
    DATA_SIZE,
    REPLY,
    Channel,
    memfd,
    refused,
    refuses_wrong_types,
)

from wardian import _core
from wardian.platform.layout import GUEST_TOP, SLOT_SIZE
from wardian.platform.stub.wire import ACTION_RETURN, DATA_OFFSET

ME = os.getpid()
IN_SLOT = 8192
ZEROS = 1 << 63
CONTENTS = 1 << 62
EFAULT = 14
RWF_APPEND = os.RWF_APPEND


class Guest:
    """A channel with one request, and four pages of guest memory with nothing behind them."""

    def __init__(self, data: bytes = b"") -> None:
        self.channel = Channel()
        self.hub = self.channel.hub
        self.key = self.channel.key(1)
        self.hub.activate(self.key)
        self.channel.take(1, data)
        self.at = anonymous(0x2000_0000, 0x4000)
        self.end = self.at + 0x4000

    def outs(self) -> list[tuple[int, int, bytes]]:
        """The reply is sent: address, length and first bytes of all outs."""
        self.hub.reply(self.key, ACTION_RETURN, 0)
        memory = self.channel.memory
        small, count = struct.unpack_from("<2xHI", memory, SLOT_SIZE + REPLY)
        found = []
        if small:
            found.append(self.out(SLOT_SIZE + REPLY + 16))
        place = SLOT_SIZE + DATA_OFFSET
        for _ in range(count):
            found.append(self.out(place))
            length = found[-1][1]
            place += 16 + (0 if length & ZEROS else (length + 7) // 8 * 8)
        return found

    def out(self, place: int) -> tuple[int, int, bytes]:
        """One of them, where it stands."""
        memory = self.channel.memory
        address, length = struct.unpack_from("<QQ", memory, place)
        assert length & CONTENTS
        length -= CONTENTS
        sent = 0 if length & ZEROS else min(length, 8)
        return address, length, bytes(memory[place + 16 : place + 16 + sent])

    def memory(self, offset: int, count: int) -> bytes:
        """Guest memory."""
        return _core.vm_read(ME, self.at + offset, count)


def file_of(data: bytes) -> int:
    """A file with this in it."""
    fd = memfd(0)
    os.write(fd, data)
    return fd


def case_few_bytes_go_with_the_reply() -> None:
    g = Guest()
    data = bytearray(b"0123456789")
    assert g.hub.give(g.key, ME, g.at, data, 2, 3, False) == 3
    assert g.hub.give(g.key, ME, 5, b"abc", 1, 100, False) == 2  # who copies finds out
    assert g.hub.give(g.key, ME, g.at, b"abc", 3, 1, False) == 0
    assert g.hub.give(g.key, ME, g.at, b"abc", 9, 1, False) == 0
    assert g.hub.give_zeros(g.key, ME, g.at + 8, 1 << 40, False) == 1 << 40
    data += b"not locked"
    assert g.memory(0, 3) == bytes(3)
    zeros = (g.at + 8, 1 << 40 | ZEROS, b"")
    assert g.outs() == [(g.at, 3, b"234"), (5, 2, b"bc"), zeros]


def case_many_bytes_go_at_once() -> None:
    g = Guest()
    assert g.hub.give(g.key, ME, g.at, b"x" * IN_SLOT, 0, IN_SLOT, False) == IN_SLOT
    assert g.memory(0, 1) == b"\0"
    assert g.hub.give(g.key, ME, g.at, b"y" * 20000, 0, 9000, False) == 9000
    assert g.memory(8999, 2) == b"y\0"
    assert g.hub.give(g.key, ME, g.at + 1, b"now", 0, 3, True) == 3
    assert g.memory(0, 4) == b"ynow"
    assert g.hub.give_zeros(g.key, ME, g.at + 2, 2, True) == 2
    assert g.memory(0, 5) == b"yn\0\0y"
    assert [out[:2] for out in g.outs()] == [(g.at, IN_SLOT)]


def case_what_finds_no_room_goes_at_once() -> None:
    g = Guest()
    for _ in range(3):
        assert g.hub.give(g.key, ME, g.at, b"x" * IN_SLOT, 0, IN_SLOT, False) == IN_SLOT
    assert g.memory(0, 1) == b"\0"
    assert g.hub.give(g.key, ME, g.at, b"x" * IN_SLOT, 0, IN_SLOT, False) == IN_SLOT
    assert g.memory(0, 1) == b"x"
    while g.hub.queue_out(g.key, 0, b""):
        pass
    assert g.hub.give_zeros(g.key, ME, g.at, 1, False) == 1
    assert g.memory(0, 2) == b"\0x"


def case_gifts_end_where_memory_ends() -> None:
    g = Guest()
    assert g.hub.give(g.key, ME, g.end - 100, b"x" * 9000, 0, 9000, False) == 100
    assert g.hub.give(g.key, ME, g.end, b"x" * 9000, 0, 9000, False) == 0
    assert g.hub.give(g.key, ME, g.end - 2, b"abc", 0, 3, True) == 2
    assert g.hub.give_zeros(g.key, ME, g.end - 2, 3, True) == 2
    assert g.hub.give_zeros(g.key, ME, g.end, 3, True) == 0
    for address in (GUEST_TOP, GUEST_TOP + 1, (1 << 64) - 1):
        assert g.hub.give(g.key, ME, address, b"x" * 9000, 0, 9000, False) == 0
        assert g.hub.give(g.key, ME, address, b"x", 0, 1, False) == 0
        assert g.hub.give_zeros(g.key, ME, address, 5, False) == 0
    assert g.hub.give_zeros(g.key, ME, GUEST_TOP - 4, 5, False) == 4
    assert g.hub.give(g.key, 0x3FFFFFFF, g.at, b"x" * 9000, 0, 9000, False) == 0  # no such process


def case_files_are_given() -> None:
    g = Guest()
    fd = file_of(bytes(range(256)) * 1024)
    assert g.hub.give_file(g.key, ME, g.at, fd, 1, 5, False) == 5
    assert g.hub.give_file(g.key, ME, g.at, fd, (1 << 18) - 4, 1 << 30, False) == 4
    assert g.hub.give_file(g.key, ME, g.at, fd, 1 << 18, 5, False) == 0
    assert g.hub.give_file(g.key, ME, g.at, fd, 1 << 18, 1 << 30, False) == 0
    assert g.hub.give_file(g.key, ME, g.at, fd, 3, 0, False) == 0
    assert g.hub.give_file(g.key, ME, g.at + 1, fd, 3, 0x3000, False) == 0x3000
    assert g.memory(0, 4) == b"\0\3\4\5" and g.memory(0x3000, 2) == b"\2\0"
    assert g.hub.give_file(g.key, ME, g.at, fd, 7, 2, True) == 2
    assert g.memory(0, 3) == b"\7\x08\4"
    assert g.outs() == [(g.at, 5, b"\1\2\3\4\5"), (g.at, 4, b"\xfc\xfd\xfe\xff")]


def case_files_of_many_pieces() -> None:
    g = Guest()
    size = 3 << 17
    data = os.urandom(size)
    fd = file_of(data)
    at = anonymous(0x3000_0000, size)
    assert g.hub.give_file(g.key, ME, at, fd, 0, 1 << 30, False) == size
    assert _core.vm_read(ME, at, size) == data
    back = file_of(b"")
    assert g.hub.take_file(g.key, ME, at, -1, back, 5, size - 1, 0) == size - 1
    assert os.pread(back, size + 10, 0) == bytes(5) + data[:-1]


def case_files_end_where_memory_ends() -> None:
    g = Guest()
    fd = file_of(b"f" * (1 << 18))
    refused(g.hub.give_file, g.key, ME, g.end, fd, 0, 9000, False)
    assert g.hub.give_file(g.key, ME, g.end - 50, fd, 0, 1 << 18, False) == 50
    for address in (GUEST_TOP, (1 << 64) - 1):
        assert g.hub.give_file(g.key, ME, address, fd, 1 << 18, 9, False) == 0
        refused(g.hub.give_file, g.key, ME, address, fd, 0, 9, False)
    refused(g.hub.give_file, g.key, ME, g.at, 1 << 20, 0, 9, False)
    refused(g.hub.give_file, g.key, ME, g.at, fd, -1, 9, False)
    to = file_of(b"")
    assert g.hub.take_file(g.key, ME, g.end - 50, -1, to, 0, 1 << 18, 0) == 50
    for address in (g.end, GUEST_TOP, (1 << 64) - 1):
        try:
            g.hub.take_file(g.key, ME, address, -1, to, 0, 9, 0)
            raise AssertionError
        except OSError as e:
            assert e.errno == EFAULT
    assert os.fstat(to).st_size == 50


def case_what_was_sent_is_taken() -> None:
    g = Guest(b"records" + b"contents")
    assert g.hub.take(g.key, ME, 0, 7, 8) == b"contents"
    assert g.hub.take(g.key, ME, 0, 11, 4) == b"ents"
    into = bytearray(b"..........")
    assert g.hub.take_into(g.key, ME, 0, 7, into, 1, 8) == 8
    assert into == b".contents."
    fd = file_of(b"12345678901234567890")
    assert g.hub.take_file(g.key, ME, 0, 7, fd, 2, 8, 0) == 8
    assert g.hub.take_file(g.key, ME, 0, 7, fd, 2, 3, RWF_APPEND) == 3
    assert os.pread(fd, 99, 0) == b"12contents1234567890con"


def case_what_was_not_sent_is_in_memory() -> None:
    g = Guest()
    g.hub.give(g.key, ME, g.at, b"0123456789", 0, 10, True)
    for at in (-1, DATA_SIZE + 1, DATA_SIZE - 3, 1 << 40, -(1 << 63)):
        assert g.hub.take(g.key, ME, g.at, at, 4) == b"0123"
    assert g.hub.take(g.key, ME, g.end - 3, -1, 100) == bytes(3)
    assert g.hub.take(g.key, ME, g.end, -1, 100) == b""
    assert g.hub.take(g.key, ME, GUEST_TOP, -1, 100) == b""
    into = bytearray(10)
    assert g.hub.take_into(g.key, ME, g.at + 1, -1, into, 8, 2) == 2
    assert into == bytes(8) + b"12"
    assert g.hub.take_into(g.key, ME, g.end, -1, into, 8, 2) == 0
    for start, count in ((-1, 2), (9, 2), (11, 0), (0, 11), (1 << 62, 1)):
        refused(g.hub.take_into, g.key, ME, g.at, -1, into, start, count)
    refused(g.hub.take_into, g.key, ME, g.at, -1, mmap.mmap(-1, 4096), 0, 1)


def case_outs_stand_where_the_request_stood() -> None:
    g = Guest(b"contents")
    g.hub.give(g.key, ME, g.at, b"from memory", 0, 11, True)
    g.hub.queue_out(g.key, g.at, b"out")
    assert g.hub.take(g.key, ME, g.at, 0, 8) == b"from mem"
    g.hub.reply(g.key, ACTION_RETURN, 0)
    assert g.hub.take(g.key, ME, g.at, 0, 8) == b"from mem"


def case_transfers_refuse_bad_arguments() -> None:
    g = Guest()
    fd = file_of(b"f")
    refuses_wrong_types(g.hub.take, g.key, ME, g.at, -1, 1)
    refuses_wrong_types(g.hub.take_file, g.key, ME, g.at, -1, fd, 0, 1, 0)
    for key in (-1, 0, 1 << 12, 1 << 32):
        refused(g.hub.give, key, ME, g.at, b"x", 0, 1, False)
        refused(g.hub.give_zeros, key, ME, g.at, 1, False)
        refused(g.hub.give_file, key, ME, g.at, fd, 0, 1, False)
        refused(g.hub.take, key, ME, g.at, -1, 1)
        refused(g.hub.take_into, key, ME, g.at, -1, bytearray(1), 0, 1)
        refused(g.hub.take_file, key, ME, g.at, -1, fd, 0, 1, 0)
    for number in (-1, 1 << 64):
        refused(g.hub.give, g.key, ME, number, b"x", 0, 1, False)
        refused(g.hub.take, g.key, ME, number, -1, 1)
    for thing in (None, 1, "text"):
        refused(g.hub.give, g.key, ME, g.at, thing, 0, 1, False)
    assert g.hub.give(g.key, ME, g.at, b"x", 0, -5, False) == 0
    assert g.outs() == []
