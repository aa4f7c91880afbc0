"""Percentiles from buckets: how far off they are, and how little they keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.sentry.profile.histogram import EXACT, LONGEST, Histogram, bucket_of, middle_of

times = st.one_of(
    st.integers(0, 200), st.integers(0, 100_000), st.integers(0, LONGEST), st.integers(0, 1 << 62)
)


def exact_percentile(values: list[int], percent: int) -> int:
    """The smallest value that at least so many do not exceed."""
    return sorted(values)[max(0, -(-len(values) * percent // 100) - 1)]


@given(st.lists(times, min_size=1, max_size=300), st.sampled_from([1, 25, 50, 90, 99, 100]))
def test_percentiles_are_off_by_one_part_in_64_at_most(values: list[int], percent: int) -> None:
    histogram = Histogram()
    for value in values:
        histogram.add(value)
    kept = [min(value, LONGEST) for value in values]
    exact = exact_percentile(kept, percent)
    assert abs(histogram.percentile(percent) - exact) <= exact / 64
    assert (histogram.count, histogram.total) == (len(kept), sum(kept))
    assert histogram.longest == max(kept)


@given(st.integers(0, LONGEST))
def test_a_bucket_stands_for_values_near_its_middle(value: int) -> None:
    assert abs(middle_of(bucket_of(value)) - value) <= value / 64
    assert bucket_of(value) <= bucket_of(min(value + 1, LONGEST)) <= bucket_of(value) + 1


def test_small_values_are_exact() -> None:
    assert [middle_of(bucket_of(value)) for value in range(EXACT)] == list(range(EXACT))


def test_the_longest_time_needs_little_memory() -> None:
    histogram = Histogram()
    histogram.add(1 << 80)
    histogram.add(-1)
    assert len(histogram.buckets) < 1300
    assert histogram.longest == LONGEST
    assert histogram.percentile(50) == 0


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_nothing_has_no_percentiles(percent: int) -> None:
    assert Histogram().percentile(percent) == 0
