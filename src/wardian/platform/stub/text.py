"""Which memory of a guest process is program text that may be patched (design D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.platform.interface import ExecImage
    from wardian.platform.stub.process import StubProcess

PROT_READ: Final = 1
PROT_EXEC: Final = 4
MAP_PRIVATE: Final = 2
MAP_FIXED: Final = 0x10
MAP_TYPE_FIXED: Final = 0xF | MAP_FIXED
MOST_RANGES: Final = 1000
MOST_LOOKS: Final = 32
"""The host's list of mappings costs about 100 us to read: a process that goes on asking about what
is no text is told no."""


class Text:
    """The private, executable, read-only file mappings of one process, as last seen.

    What is shared or has no file is never text: another process, or the program itself, may write
    there. What exec maps and what is mapped to a fixed place, as dynamic loaders do, is noted; only
    for other places the host is asked. The list may be old; a wrong answer harms the process that
    asked and no other.
    """

    def __init__(self, process: StubProcess) -> None:
        self.process = process
        self.ranges: list[tuple[int, int]] = []
        self.looks = 0

    def inherit(self, parent: Text) -> None:
        """What a forked process has from its parent."""
        self.ranges = parent.ranges.copy()

    def map(self, start: int, length: int, prot: int, flags: int) -> None:
        """A file is mapped there, now."""
        if prot != PROT_READ | PROT_EXEC or flags & MAP_TYPE_FIXED != MAP_PRIVATE | MAP_FIXED:
            return
        if len(self.ranges) < MOST_RANGES:
            self.ranges.append((start, start + length))

    def load(self, image: ExecImage) -> None:
        """A new program."""
        self.ranges = []
        self.looks = 0
        for mapping in image.mappings:
            if mapping.fd >= 0:
                self.map(mapping.address, mapping.length, mapping.prot, MAP_PRIVATE | MAP_FIXED)

    def holds(self, start: int, end: int) -> bool:
        """Whether all of [start, end) is text."""
        if self.known(start, end):
            return True
        if self.looks == MOST_LOOKS:
            return False
        self.looks += 1
        self.ranges = [
            (mapping.start, mapping.end)
            for mapping in self.process.maps()
            if mapping.ino and mapping.prot == "r-xp"
        ]
        return self.known(start, end)

    def known(self, start: int, end: int) -> bool:
        return any(low <= start < end <= high for low, high in self.ranges)
