"""Which ranges are locked."""

from wardian.platform.interface import HostMapping
from wardian.sentry.mm.locked import MAX_RANGES, LockedRanges


def test_ranges_that_touch_become_one_and_are_counted_once():
    locked = LockedRanges()
    assert locked.add(0x1000, 0x3000)
    assert locked.added(0x2000, 0x5000) == 0x2000
    assert locked.add(0x2000, 0x5000)
    assert locked.add(0x5000, 0x6000)
    assert locked.ranges == [(0x1000, 0x6000)]
    assert locked.total() == 0x5000


def test_unlocking_the_middle_leaves_both_ends():
    locked = LockedRanges()
    locked.add(0x1000, 0x6000)
    locked.remove(0x2000, 0x3000)
    locked.remove(0x8000, 0x9000)
    assert locked.ranges == [(0x1000, 0x2000), (0x3000, 0x6000)]
    locked.remove(0, 0x10000)
    assert locked.total() == 0


def test_number_of_ranges_is_bounded():
    locked = LockedRanges()
    locked.ranges = [(n * 0x2000, n * 0x2000 + 0x1000) for n in range(MAX_RANGES - 1)]
    assert locked.add(0x7000_0000_0000, 0x7000_0000_3000)
    assert not locked.add(0x7100_0000_0000, 0x7100_0000_1000)
    assert not locked.remove(0x7000_0000_1000, 0x7000_0000_2000)
    assert locked.total() == (MAX_RANGES - 1) * 0x1000 + 0x3000


def test_what_is_not_mapped_any_more_is_forgotten():
    locked = LockedRanges()
    locked.add(0x1000, 0x5000)
    locked.add(0x8000, 0x9000)
    maps = [(0x0, 0x2000), (0x3000, 0x4000), (0x4000, 0xA000)]
    locked.forget_unmapped([HostMapping(a, b, "rw-p", 0, "00:00", 0, "") for a, b in maps])
    assert locked.total() == 0x4000
    assert locked.added(0x2000, 0x3000) == 0x1000
