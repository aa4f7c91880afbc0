"""Times in buckets that widen with the time, as HdrHistogram keeps them: percentiles of any number
of values from a bounded amount of memory.

Up to :data:`EXACT` every value has a bucket of its own; above, each power of two is divided into
:data:`STEPS`. So a percentile, the middle of its bucket, is off by one part in 64 at most.
"""

from __future__ import annotations

from typing import Final

from mypy_extensions import i64

STEPS: Final = 32
EXACT: Final = 2 * STEPS
LONGEST: Final = (1 << 42) - 1
"""73 minutes in nanoseconds; what takes longer counts as this."""


def bucket_of(value: int) -> int:
    """The bucket that ``value`` (0 to :data:`LONGEST`) belongs to."""
    left: i64 = value
    shift: i64 = 0
    while left >= EXACT:
        left >>= 1
        shift += 1
    return int(shift * STEPS + left)


def middle_of(bucket: int) -> int:
    """The value that stands for all of a bucket."""
    if bucket < EXACT:
        return bucket
    shift = bucket // STEPS - 1
    return ((bucket - shift * STEPS) << shift) + ((1 << shift) >> 1)


class Histogram:
    """How often each length of time occurred, in nanoseconds."""

    def __init__(self) -> None:
        self.buckets: list[int] = []  # as many as the longest time so far needs
        self.count = 0
        self.total = 0
        self.longest = 0

    def add(self, value: int) -> None:
        """One more."""
        value = max(0, min(value, LONGEST))
        bucket = bucket_of(value)
        missing = bucket + 1 - len(self.buckets)
        if missing > 0:
            self.buckets.extend([0] * missing)
        self.buckets[bucket] += 1
        self.count += 1
        self.total += value
        if value > self.longest:
            self.longest = value

    def percentile(self, percent: int) -> int:
        """The smallest value that at least ``percent`` of all do not exceed, within one part in 64;
        0 when there are none."""
        wanted = (self.count * percent + 99) // 100
        for bucket in range(len(self.buckets)):
            wanted -= self.buckets[bucket]
            if wanted <= 0:
                return min(middle_of(bucket), self.longest)
        return self.longest
