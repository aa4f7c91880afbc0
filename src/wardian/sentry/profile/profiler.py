"""The profiler: one clock that runs from section to section, so that no time is missed.

It is read when the Sentry begins and ends waiting, and between the handlers of woken tasks. What
passes in between belongs to the one call, or the one kind of work, that was going on: from taking a
call's request to the end of its answer, the waking of the guest included. A call that parks is
measured in parts, and so is one that the host helps to answer (fork, exec, mappings).

Without ``--profile`` nothing of this runs: the wrapper around ``StubEngine.wait`` is not there.
"""

from __future__ import annotations

from collections.abc import Callable
from time import perf_counter_ns, process_time_ns
from typing import TYPE_CHECKING, Final

from wardian.platform.stub.engine import StubEngine
from wardian.sentry.abi.numbers import NAMES
from wardian.sentry.profile.histogram import Histogram
from wardian.sentry.syscalls.observe import CallObserver

if TYPE_CHECKING:
    from wardian.platform.interface import Request
    from wardian.sentry.kernel.task import Call, Task

LOOP: Final = 0
"""The loop itself, and what is nothing of the following."""
TIMERS: Final = 1
MESSAGES: Final = 2
"""What stubs report besides calls: signals, faults, call sites to patch, forks."""
NOTIFICATIONS: Final = 3
"""Seccomp notifications: mappings that may be written to; with validated memory all of them."""
PROCESSES: Final = 4
"""Host processes that ended, were made for the pool, or became a program."""
DESCRIPTORS: Final = 5
"""Host descriptors that became ready: terminals, pipes, sockets."""
SECTIONS: Final = 6
NO_SUCH_CALL: Final = -1
"""Stands for all numbers that no call has: a guest could name any number of them."""


class CallTimes:
    """What is known of one system call."""

    def __init__(self, nr: int) -> None:
        self.nr = nr
        self.times = Histogram()  # of the Sentry's work
        self.errors: dict[int, int] = {}  # errno -> how often
        self.parked_ns = 0  # of all calls: they waited for an event, or for the host
        self.again = 0  # handlers that ran again after parking


class Visit:
    """The call that a task is in, or its last one."""

    def __init__(self, tid: int) -> None:
        self.tid = tid
        self.calls = CallTimes(NO_SUCH_CALL)
        self.busy_ns = 0
        self.parked_ns = 0
        self.parked_at = -1  # since when, -1: it is not
        self.done = True

    def begin(self, calls: CallTimes) -> None:
        """A new call."""
        self.calls = calls
        self.busy_ns = 0
        self.parked_ns = 0
        self.parked_at = -1
        self.done = False

    def resume(self, now: int) -> None:
        """No longer parked."""
        if self.parked_at >= 0:
            self.parked_ns += max(0, now - self.parked_at)
            self.parked_at = -1

    def record(self) -> None:
        """The call is over."""
        self.calls.times.add(self.busy_ns)
        self.calls.parked_ns += self.parked_ns


class Profiler(CallObserver):
    """Give it to the dispatcher; :meth:`start` and :meth:`stop` around the loop."""

    def __init__(self, engine: StubEngine) -> None:
        self.engine = engine
        self.clock: Callable[[], int] = perf_counter_ns
        self.wait_for_hub = engine.wait
        self.calls: dict[int, CallTimes] = {}
        self.visits: dict[int, Visit] = {}  # by tid
        self.visit: Visit | None = None  # that the present time belongs to; None: to the section
        self.section = LOOP
        self.since = 0  # when that began
        self.spent_ns = [0] * SECTIONS
        self.turns = [0] * SECTIONS
        self.waited_ns = 0  # asleep or spinning
        self.began_ns = 0
        self.ended_ns = 0
        self.cpu_ns = 0

    def start(self) -> None:
        """From now on."""
        self.engine.wait = self.wait
        self.cpu_ns = process_time_ns()
        self.began_ns = self.clock()
        self.since = self.began_ns

    def stop(self) -> None:
        """No more is measured; calls that nobody will answer are over."""
        self.engine.wait = self.wait_for_hub
        self.ended_ns = self.clock()
        self.cpu_ns = process_time_ns() - self.cpu_ns
        self.leave(self.ended_ns)
        for visit in self.visits.values():
            self.give_up(visit)
        self.visits.clear()

    # -- the clock ---------------------------------------------------------------------------------
    def wait(self, timeout_ns: int) -> bytes | list[tuple[int, int]]:
        """In the place of ``Hub.wait``."""
        began = self.clock()
        self.leave(began)
        found = self.wait_for_hub(timeout_ns)
        self.since = self.clock()
        self.waited_ns += self.since - began
        self.section = MESSAGES if isinstance(found, bytes) else self.section_of(found)
        return found

    def section_of(self, found: list[tuple[int, int]]) -> int:
        """What is to be done about these host descriptors; the first decides for all."""
        if not found:
            return PROCESSES if self.engine.pool.due else LOOP
        fd = found[0][0]
        engine = self.engine
        if fd == engine.listener:
            return NOTIFICATIONS
        if fd in engine.processes or fd in engine.pool.by_fd or fd in engine.cloning.unborn:
            return PROCESSES
        return DESCRIPTORS

    def leave(self, now: int) -> None:
        """The time until now belongs to what was going on; then it is the loop's."""
        passed = now - self.since
        self.since = now
        visit = self.visit
        if visit is None:
            self.spent_ns[self.section] += passed
            self.turns[self.section] += 1
        else:
            self.visit = None
            visit.busy_ns += passed
            if visit.done:
                visit.record()
            else:
                visit.parked_at = now
        self.section = LOOP

    # -- what the dispatcher tells -----------------------------------------------------------------
    def arrived(self, task: Task, call: Call) -> None:
        visit = self.visits.get(task.tid)
        if visit is None:
            visit = Visit(task.tid)
            self.visits[task.tid] = visit
        self.give_up(visit)
        visit.begin(self.calls_of(call.nr))
        self.visit = visit

    def resumed(self, task: Task) -> None:
        now = self.clock()
        self.leave(now)
        visit = self.visits.get(task.tid)
        if visit is not None:
            visit.resume(now)
            visit.calls.again += 1
            self.visit = visit

    def finished(self, task: Task, request: Request, result: int | None) -> None:
        visit = self.visit
        if visit is None or visit.tid != task.tid:
            visit = self.visits.get(task.tid)
            if visit is None:
                return
        if result is None:
            # it answered the guest by itself, or has told the host to do something first
            visit.done = visit.done or task.exited or task.is_away()
            return
        if -4096 < result < 0:
            errors = visit.calls.errors
            errors[-result] = errors.get(-result, 0) + 1
        if not visit.done:
            self.end(visit)

    def ended(self, task: Task) -> None:
        visit = self.visits.pop(task.tid, None)
        if visit is not None:
            self.give_up(visit)

    def timers(self, firing: bool) -> None:
        self.leave(self.clock())
        if firing:
            self.section = TIMERS

    # -- calls -------------------------------------------------------------------------------------
    def calls_of(self, nr: int) -> CallTimes:
        """The times of call ``nr``."""
        calls = self.calls.get(nr)
        if calls is not None:
            return calls
        known = nr if nr in NAMES else NO_SUCH_CALL
        calls = self.calls.get(known)
        if calls is None:
            calls = CallTimes(known)
            self.calls[known] = calls
        return calls

    def end(self, visit: Visit) -> None:
        """A call is over: by its handler, by a report that has just come in (the end of a fork),
        or by the handler of somebody else's call."""
        visit.done = True
        visit.resume(self.since)
        if self.visit is None:
            self.visit = visit
        elif self.visit is not visit:
            visit.record()

    def give_up(self, visit: Visit) -> None:
        """If its task was in a call, that is over: it is gone, or somewhere else."""
        if not visit.done:
            visit.done = True
            visit.resume(self.since)
            if self.visit is not visit:
                visit.record()
