"""Which memory of a guest process is program text that may be patched (design D7)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.platform.stub.process import StubProcess

MOST_LOOKS: Final = 32
"""The host's list of mappings costs about 100 us to read: a process that goes on asking about what
is no text is told no."""


class Text:
    """The private, executable, read-only file mappings of one process, as last seen.

    What is shared or has no file is never text: another process, or the program itself, may write
    there. The list may be old; a wrong answer harms the process that asked and no other.
    """

    def __init__(self, process: StubProcess) -> None:
        self.process = process
        self.ranges: list[tuple[int, int]] = []
        self.looks = 0

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
