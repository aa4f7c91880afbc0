"""The timer queue."""

from __future__ import annotations

import pytest

from wardian.sentry.kernel.timers import Timer, TimerQueue


class Counter(Timer):
    """Counts how often it fired."""

    def __init__(self) -> None:
        super().__init__()
        self.fired = 0

    def fire(self) -> None:
        self.fired += 1


@pytest.mark.parametrize("deadline", [1 << 63, 1 << 70, 1 << 200])
def test_a_deadline_too_far_off_is_one_that_the_host_can_wait_for(deadline: int) -> None:
    queue = TimerQueue()
    queue.arm(Counter(), deadline)
    assert queue.next_deadline() == (1 << 63) - 1


def test_a_deadline_before_the_host_started_has_passed() -> None:
    queue, timer = TimerQueue(), Counter()
    queue.arm(timer, -5)
    assert queue.next_deadline() == 0
    assert queue.run(1) == 1
    assert timer.fired == 1


def test_timers_armed_again_and_again_leave_nothing_behind() -> None:
    queue, kept, other = TimerQueue(), [Counter() for _ in range(1000)], Counter()
    for number, timer in enumerate(kept):
        queue.arm(timer, 10**12 + number)
    for number in range(20000):
        queue.arm(other, 10**15 + number)
        queue.cancel(other)
    assert len(queue.heap) <= 2 * len(kept) + 1
    assert queue.run(10**13) == len(kept)
    assert all(timer.fired == 1 for timer in kept)
    assert (queue.next_deadline(), other.fired) == (-1, 0)
