"""A hub with one channel, and the guest's half of it, which is played by writing the memfd."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Callable
from typing import Any

from wardian import _core
from wardian.platform.layout import CHANNEL_SIZE, SHARED_SIZE, SLOT_SIZE
from wardian.platform.stub.wire import DATA_OFFSET, KIND_SYSCALL

DATA_SIZE = SLOT_SIZE - DATA_OFFSET
REQ_SEQ, SLEEPING = 0, 6
REP_SEQ, WATCHED = 64, 68
REQUEST, REPLY, POINTERS = 4, 80, 224
"""kind, sleeping, data_len, nr, args; action, small, nouts, result, small_out, p; ip, sp."""
HEAD = struct.Struct("<4I")
WRONG_TYPES: list[Any] = [None, "1", b"1", 1.5, [], (), {}, object(), ...]
WRONG_NUMBERS = [-1, -(1 << 63), -(1 << 64), 1 << 32, 1 << 63, 1 << 64, 1 << 100]


class Channel:
    """A Hub, its shared pages and one space, with the guest's view of both."""

    def __init__(self) -> None:
        self.shared_fd = memfd(SHARED_SIZE)
        self.doorbell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.hub = _core.Hub(self.shared_fd, self.doorbell)
        self.hub.set_spin(0, 0)
        self.shared = mmap.mmap(self.shared_fd, SHARED_SIZE)
        self.memfd = memfd(CHANNEL_SIZE)
        self.space = self.hub.add_space(self.memfd)
        self.memory = mmap.mmap(self.memfd, CHANNEL_SIZE)

    def key(self, slot: int) -> int:
        """The hub's name of a slot."""
        return int(self.space) << 12 | slot

    def say(self, slot: int, data: bytes = b"", length: int | None = None) -> None:
        """Make a request without announcing it, claiming ``length`` bytes of data."""
        at = slot * SLOT_SIZE
        claimed = len(data) if length is None else length
        words = struct.pack("<2H2I6Q", KIND_SYSCALL, 0, claimed, 39, 1, 2, 3, 4, 5, 6)
        self.memory[at + REQUEST : at + REQUEST + len(words)] = words
        struct.pack_into("<2Q", self.memory, at + POINTERS, 7, 8)
        self.memory[at + DATA_OFFSET : at + DATA_OFFSET + len(data)] = data
        self.poke(slot, REQ_SEQ, self.peek(slot, REQ_SEQ) + 1)

    def peek(self, slot: int, offset: int) -> int:
        """One word of a slot."""
        return int(struct.unpack_from("<I", self.memory, slot * SLOT_SIZE + offset)[0])

    def poke(self, slot: int, offset: int, value: int) -> None:
        """Write one word of a slot."""
        struct.pack_into("<I", self.memory, slot * SLOT_SIZE + offset, value & 0xFFFFFFFF)

    def announce(self, slot: int) -> None:
        """What the stub does when the Sentry does not watch its slot: set the ready bits."""
        if self.peek(slot, WATCHED):
            return
        for memory, at, bit in [
            (self.memory, 8 + slot // 64 * 8, slot % 64),  # struct space_header
            (self.memory, 0, slot // 64),
            (self.shared, 0x1000 + 8 + self.space // 64 * 8, self.space % 64),  # struct ready_page
            (self.shared, 0x1000, self.space // 64),
        ]:
            word = struct.unpack_from("<Q", memory, at)[0]
            struct.pack_into("<Q", memory, at, word | 1 << bit)

    def ring(self) -> None:
        """The doorbell: the hub then looks at every active slot."""
        os.eventfd_write(self.doorbell, 1)

    def take(self, slot: int, data: bytes = b"", length: int | None = None) -> bytes:
        """Make a request and have the hub take it."""
        self.say(slot, data, length)
        self.ring()
        taken = self.hub.wait(0)
        if taken == []:  # the doorbell was heard, the request comes next
            taken = self.hub.wait(0)
        assert isinstance(taken, bytes), taken
        return taken


def memfd(size: int) -> int:
    """Shared memory, all zero."""
    fd = os.memfd_create("native-test", os.MFD_CLOEXEC)
    os.ftruncate(fd, size)
    return fd


def refused(function: Callable[..., Any], *arguments: Any) -> None:
    """The call raises something that is no bug of the core (SystemError would be one)."""
    try:
        answer = function(*arguments)
    except (TypeError, ValueError, OverflowError, OSError):
        return
    raise AssertionError(f"{function.__name__}{arguments!r} answered {answer!r}")


def refuses_wrong_types(function: Callable[..., Any], *good: Any) -> None:
    """Each argument in turn is of another type than in ``good``; then too many, and too few."""
    for i, right in enumerate(good):
        for wrong in WRONG_TYPES:
            if type(wrong) is not type(right):
                refused(function, *good[:i], wrong, *good[i + 1 :])
    refused(function, *good, *[0] * 9)
    refused(function, *good[:-1])
