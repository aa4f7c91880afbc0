"""Whose time it was: a made-up engine, a clock that is told the time, the dispatcher's words."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from wardian.platform.interface import message
from wardian.sentry.abi.numbers import NUMBERS
from wardian.sentry.kernel.task import IN_CALL, RUNNING, Call, Task
from wardian.sentry.profile.profiler import Profiler
from wardian.sentry.profile.report import advice, figures, table

LISTENER, PIDFD, SOCKET = 10, 11, 12
NO_ARGUMENTS = (0, 0, 0, 0, 0, 0)


def call_of(name: str) -> Call:
    """A call without arguments."""
    nr = NUMBERS[name] if name in NUMBERS else int(name)
    return Call(message(nr, NO_ARGUMENTS))


class Rig:
    """A profiler that runs; times in whole microseconds."""

    def __init__(self) -> None:
        self.now = 1_000_000
        self.slept_ns = 0
        self.found: Any = b"request"
        self.waits = 0
        self.engine = SimpleNamespace(
            wait=self.wait,
            listener=LISTENER,
            processes={PIDFD: None},
            pool=SimpleNamespace(due=False, by_fd={}),
            cloning=SimpleNamespace(unborn={}),
            patched=3,
            unpatched=0,
            hub=SimpleNamespace(statistics=self.statistics),
        )
        self.profiler = Profiler(cast(Any, self.engine))
        self.profiler.clock = lambda: self.now
        self.profiler.start()

    def statistics(self) -> dict[str, int]:
        return {
            "requests": 1, "sleeps": 1, "slept_ns": self.slept_ns, "spin_hits": 1, "spin_misses": 2,
        }  # fmt: skip

    def wait(self, timeout_ns: int) -> Any:
        """The hub's: takes 5 us, 2 of them asleep."""
        self.now += 5000
        self.slept_ns += 2000
        self.waits += 1
        return self.found

    def passes(self, us: int) -> None:
        self.now += us * 1000

    def take(self, found: Any = b"request") -> None:
        """What the engine does between two messages."""
        self.found = found
        assert self.engine.wait(-1) is found

    def arrives(self, task: Task, name: str) -> Call:
        self.take()
        call = call_of(name)
        task.host_state = IN_CALL
        self.profiler.arrived(task, call)
        return call

    def call(self, task: Task, name: str, us: int, result: int | None = 0) -> None:
        """One that is answered at once."""
        request = self.arrives(task, name)
        self.passes(us)
        self.profiler.finished(task, request, result)

    def result(self) -> Any:
        """The end."""
        if not self.profiler.ended_ns:
            self.profiler.stop()
        found = figures(self.profiler)
        assert sum(found["time_ns"].values()) == found["wall_ns"], "time is missing"
        return found

    def row(self, name: str) -> Any:
        return next(call for call in self.result()["calls"] if call["name"] == name)


def task(tid: int = 7) -> Task:
    fake: Any = SimpleNamespace(tid=tid, exited=False, host_state=RUNNING)
    fake.is_away = lambda: fake.host_state == RUNNING
    return cast(Task, fake)


@pytest.fixture
def rig() -> Rig:
    return Rig()


def test_a_call_lasts_from_its_request_to_the_end_of_its_answer(rig: Rig) -> None:
    a = task()
    request = rig.arrives(a, "read")
    rig.passes(3)
    rig.profiler.finished(a, request, 100)
    rig.passes(2)  # the answer, waking the guest
    row = rig.row("read")
    assert (row["count"], row["total_ns"], row["max_ns"], row["errors"]) == (1, 5000, 5000, {})


def test_waiting_is_asleep_or_spinning(rig: Rig) -> None:
    rig.call(task(), "read", 1)
    rig.call(task(), "read", 1)
    times = rig.result()["time_ns"]
    assert (times["asleep"], times["spinning"]) == (4000, 6000)


def test_runs_of_a_parked_call_are_added_up_and_its_waiting_is_apart(rig: Rig) -> None:
    a, b = task(7), task(8)
    request = rig.arrives(a, "read")
    rig.passes(3)  # parks
    rig.call(b, "write", 10)
    rig.profiler.resumed(a)
    rig.passes(4)
    rig.profiler.finished(a, request, 1)
    read, write = rig.row("read"), rig.row("write")
    assert (read["total_ns"], read["parked_ns"], read["again"]) == (7000, 15000, 1)
    assert (write["total_ns"], write["parked_ns"]) == (10000, 0)


def test_a_call_that_somebody_else_ends_gets_nothing_of_their_time(rig: Rig) -> None:
    a, b = task(7), task(8)
    request = rig.arrives(a, "pause")
    rig.passes(1)
    kill = rig.arrives(b, "kill")
    rig.passes(10)
    rig.profiler.interrupted(a, request)
    rig.profiler.finished(b, kill, 0)
    assert rig.row("pause")["total_ns"] == 1000
    assert rig.row("pause")["errors"] == {"EINTR": 1}
    assert rig.row("kill")["total_ns"] == 10000


def test_a_fork_lasts_until_its_last_report(rig: Rig) -> None:
    a = task()
    request = rig.arrives(a, "clone")
    rig.passes(2)
    rig.profiler.finished(a, request, None)  # the host makes it now
    rig.take([(LISTENER, 1)])
    rig.passes(20)  # for notifications
    rig.take()
    rig.passes(3)
    rig.profiler.finished(a, request, 8)
    row = rig.row("clone")
    assert (row["count"], row["total_ns"], row["parked_ns"]) == (1, 5000, 30000)
    assert rig.result()["time_ns"]["notifications"] == 20000


def test_a_handler_that_answers_by_itself_ends_the_call(rig: Rig) -> None:
    a = task()
    request = rig.arrives(a, "rt_sigreturn")
    a.host_state = RUNNING
    rig.passes(2)
    rig.profiler.finished(a, request, None)
    rig.call(a, "read", 9)
    assert (rig.row("rt_sigreturn")["count"], rig.row("rt_sigreturn")["total_ns"]) == (1, 2000)


def test_the_last_call_of_a_task_counts(rig: Rig) -> None:
    a, b = task(7), task(8)
    rig.arrives(b, "pause")
    rig.passes(1)
    request = rig.arrives(a, "exit_group")
    rig.passes(6)
    for one in (a, b):
        one.exited = True
        rig.profiler.ended(one)
    rig.profiler.finished(a, request, None)
    rig.take([])
    assert (rig.row("exit_group")["count"], rig.row("exit_group")["total_ns"]) == (1, 6000)
    assert (rig.row("pause")["count"], rig.row("pause")["total_ns"]) == (1, 1000)


def test_calls_that_never_end_count_in_the_end(rig: Rig) -> None:
    rig.arrives(task(), "pause")
    rig.passes(1)
    rig.take([])
    assert (rig.row("pause")["count"], rig.row("pause")["parked_ns"]) == (1, 5000)


def test_the_rest_is_told_apart(rig: Rig) -> None:
    for fd, us in ((LISTENER, 1), (PIDFD, 2), (SOCKET, 3)):
        rig.take([(fd, 1)])
        rig.passes(us)
    rig.take([])
    rig.profiler.timers(True)
    rig.passes(4)
    rig.profiler.timers(False)
    rig.take()
    rig.passes(5)  # no call
    rig.engine.pool.due = True
    rig.take([])
    rig.passes(6)
    times = rig.result()["time_ns"]
    told = [times[name] for name in ("notifications", "descriptors", "timers", "messages")]
    assert told == [1000, 3000, 4000, 5000]
    assert times["processes"] == 2000 + 6000


def test_errors_are_counted_by_name(rig: Rig) -> None:
    for result in (-2, -2, -13, 3):
        rig.call(task(), "openat", 1, result)
    assert rig.row("openat")["errors"] == {"ENOENT": 2, "EACCES": 1}


def test_numbers_that_no_call_has_share_one_row(rig: Rig) -> None:
    for number in range(5000, 5100):
        rig.call(task(), str(number), 1, -38)
    assert len(rig.profiler.calls) == 1
    assert rig.row("no such call")["count"] == 100


def test_the_engine_waits_by_itself_again_afterwards(rig: Rig) -> None:
    rig.profiler.stop()
    assert rig.engine.wait == rig.wait


def test_the_table_is_sorted_aligned_and_says_what_to_do(rig: Rig) -> None:
    for _ in range(9):
        rig.call(task(), "openat", 30, -2)
    rig.call(task(), "read", 400)
    lines = table(rig.result()).splitlines()
    head = next(line for line in lines if "mean us" in line)
    rows = {line.split()[0]: line for line in lines if line[:1].isalpha()}
    assert list(rows)[1:4] == ["read", "openat", "all"]
    assert rows["openat"].split()[1:4] == ["9", "9", "0.3"]
    assert head.index("share") + len("share") == rows["read"].index("%") + 1
    assert any("read is 60 % of the handlers" in line for line in lines)


def test_a_sandbox_that_sleeps_is_told_so(rig: Rig) -> None:
    rig.call(task(), "read", 1)
    rig.slept_ns = 5000
    assert any("asleep" in words for words in advice(rig.result()))
