"""The threads of an engine by their keys. Every message is looked up here, so by index: hashing a
number that has to be made first costs more than all the rest of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mypy_extensions import i64

if TYPE_CHECKING:
    from wardian.platform.stub.thread import StubThread

SLOT_BITS: Final = 12  # of a key: space << 12 | slot
SLOT_MASK: Final = (1 << SLOT_BITS) - 1


class ThreadTable:
    """At most one thread for each slot of each address space."""

    def __init__(self) -> None:
        self.spaces: list[list[StubThread | None]] = []

    def get(self, key: i64) -> StubThread | None:
        """The thread whose slot has ``key``."""
        space = key >> SLOT_BITS
        slot = key & SLOT_MASK
        if space < len(self.spaces):
            threads = self.spaces[space]
            if slot < len(threads):
                return threads[slot]
        return None

    def add(self, key: i64, thread: StubThread) -> None:
        space = key >> SLOT_BITS
        slot = key & SLOT_MASK
        while space >= len(self.spaces):
            self.spaces.append([])
        threads = self.spaces[space]
        while slot >= len(threads):
            threads.append(None)
        threads[slot] = thread

    def remove(self, key: i64) -> None:
        """Forget the thread of ``key``; harmless when there is none."""
        if self.get(key) is not None:
            self.spaces[key >> SLOT_BITS][key & SLOT_MASK] = None

    def all(self) -> list[StubThread]:
        """Every thread."""
        return [thread for space in self.spaces for thread in space if thread is not None]
