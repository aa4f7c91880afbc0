"""Timers: what must happen at a time, in nanoseconds of the host's CLOCK_MONOTONIC.

The event loop sleeps until :meth:`TimerQueue.next_deadline` and calls :meth:`TimerQueue.run`.
CLOCK_REALTIME deadlines are turned into monotonic ones by ``sentry.time`` before they come here.
"""

import heapq
from typing import Final

LATEST: Final = (1 << 63) - 1
"""KTIME_MAX: what the host can still wait for."""
CROWDED_MIN: Final = 256


class Timer:
    """A deadline with something to do; subclass and override :meth:`fire`."""

    def __init__(self) -> None:
        self.deadline_ns: int = 0
        self.armed: bool = False
        self.generation: int = 0

    def fire(self) -> None:
        """Called once by the event loop when the deadline has
        passed; the timer is disarmed before."""
        raise NotImplementedError


class TimerQueue:
    """Armed timers ordered by deadline; cancelled ones are dropped when they surface, or when they
    are most of the heap: a guest that waits an hour at most, again and again, leaves one each time.
    """

    def __init__(self) -> None:
        self.heap: list[tuple[int, int, int, Timer]] = []
        self.sequence: int = 0
        self.crowded: int = CROWDED_MIN  # at so many the heap is cleared of the cancelled ones

    def arm(self, timer: Timer, deadline_ns: int) -> None:
        """Make ``timer`` fire at ``deadline_ns``, or never when that is too far off; an earlier
        arming is forgotten."""
        deadline_ns = max(0, min(deadline_ns, LATEST))
        self.sequence += 1
        timer.deadline_ns = deadline_ns
        timer.armed = True
        timer.generation = self.sequence
        heapq.heappush(self.heap, (deadline_ns, self.sequence, self.sequence, timer))
        if len(self.heap) > self.crowded:
            self.clear_out()

    def clear_out(self) -> None:
        """Drop the cancelled ones; again when there are twice as many as are left."""
        self.heap = [
            entry for entry in self.heap if entry[3].armed and entry[3].generation == entry[2]
        ]
        heapq.heapify(self.heap)
        self.crowded = max(CROWDED_MIN, 2 * len(self.heap))

    def cancel(self, timer: Timer) -> None:
        """Disarm; harmless when it is not armed."""
        timer.armed = False

    def next_deadline(self) -> int:
        """The earliest deadline, or -1 when nothing is armed."""
        while self.heap:
            deadline, _, generation, timer = self.heap[0]
            if timer.armed and timer.generation == generation:
                return deadline
            heapq.heappop(self.heap)
        return -1

    def run(self, now_ns: int) -> int:
        """Fire every timer whose deadline is not after ``now_ns``; the number fired."""
        fired = 0
        while self.heap and self.heap[0][0] <= now_ns:
            _, _, generation, timer = heapq.heappop(self.heap)
            if timer.armed and timer.generation == generation:
                timer.armed = False
                timer.fire()
                fired += 1
        return fired
