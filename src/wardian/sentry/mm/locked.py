"""Which ranges of an address space are locked (mlock(2)), for RLIMIT_MEMLOCK.

Nothing is pinned on the host. The host unmaps without telling, so ranges may be remembered that
are gone; :meth:`LockedRanges.forget_unmapped` is for when that would matter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.platform.interface import HostMapping

MAX_RANGES: Final = 8192
"""Each is a mapping of its own on Linux, where vm.max_map_count bounds them."""


class LockedRanges:
    """Disjoint ranges of whole pages, in order."""

    def __init__(self) -> None:
        self.ranges: list[tuple[int, int]] = []

    def total(self) -> int:
        """Bytes locked."""
        return sum([end - start for start, end in self.ranges])

    def added(self, start: int, end: int) -> int:
        """How many bytes of [start, end) are not locked yet."""
        fresh = end - start
        for low, high in self.ranges:
            fresh -= max(0, min(end, high) - max(start, low))
        return fresh

    def add(self, start: int, end: int) -> bool:
        """Lock [start, end); False when there are too many ranges."""
        kept: list[tuple[int, int]] = []
        for low, high in self.ranges:
            if high < start or low > end:
                kept.append((low, high))
            else:
                start, end = min(start, low), max(end, high)
        if len(kept) >= MAX_RANGES:
            return False
        kept.append((start, end))
        kept.sort()
        self.ranges = kept
        return True

    def remove(self, start: int, end: int) -> bool:
        """Unlock [start, end); False when that makes too many ranges."""
        kept: list[tuple[int, int]] = []
        for low, high in self.ranges:
            if low < min(high, start):
                kept.append((low, min(high, start)))
            if high > max(low, end):
                kept.append((max(low, end), high))
        if len(kept) > MAX_RANGES:
            return False
        self.ranges = kept
        return True

    def clear(self) -> None:
        """Nothing is locked."""
        self.ranges = []

    def forget_unmapped(self, mappings: list[HostMapping]) -> None:
        """Keep only what is mapped."""
        kept: list[tuple[int, int]] = []
        index = 0
        for low, high in self.ranges:
            while index < len(mappings) and mappings[index].end <= low:
                index += 1
            at = index
            while at < len(mappings) and mappings[at].start < high:
                kept.append((max(low, mappings[at].start), min(high, mappings[at].end)))
                at += 1
        self.ranges = kept[:MAX_RANGES]
