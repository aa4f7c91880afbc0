"""Processes that have ended are taken apart when nobody waits (platform/stub/engine, births)."""

from __future__ import annotations

import errno
from types import SimpleNamespace
from typing import Any

import pytest

from wardian.platform.stub import births, pool
from wardian.platform.stub.births import Kits
from wardian.platform.stub.engine import MOST_DEPARTED, StubEngine
from wardian.sentry.errno import EAGAIN


class Ended:
    """A process that was told to exit, and did."""

    def __init__(self, number: int) -> None:
        self.pid = self.pidfd = number
        self.ended = True
        self.freed = False

    def gone(self) -> None:
        self.freed = True


def an_engine() -> StubEngine:
    """Without zygote or hub."""
    engine = StubEngine.__new__(StubEngine)
    engine.processes, engine.pids, engine.departed = {}, set(), []
    engine.hub = SimpleNamespace(epoll=lambda *_: None, place_maker=lambda _: 0)  # type: ignore[assignment]
    engine.strays = SimpleNamespace(begin=lambda: None)  # type: ignore[assignment]
    engine.programs = SimpleNamespace(waiting=[])  # type: ignore[assignment]
    engine.cloning = SimpleNamespace(kits=SimpleNamespace(due=False))  # type: ignore[assignment]
    engine.pool = SimpleNamespace(due=False)  # type: ignore[assignment]
    return engine


def end(engine: StubEngine, number: int) -> Ended:
    process: Any = Ended(number)
    engine.processes[number] = process
    engine.process_ended(process)
    return process  # type: ignore[no-any-return]


def test_a_process_is_taken_apart_when_nobody_wants_anything() -> None:
    engine = an_engine()
    process = end(engine, 5)
    assert not process.freed and not engine.processes
    engine.prepare()
    assert process.freed and not engine.departed


def test_a_busy_sandbox_keeps_few_of_them() -> None:
    engine = an_engine()
    ended = [end(engine, number) for number in range(MOST_DEPARTED)]
    assert all(process.freed for process in ended)


def test_a_fork_without_room_has_them_taken_apart_first(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not EAGAIN for want of what ended processes still hold."""
    engine = an_engine()
    process = end(engine, 5)

    def make(_: StubEngine) -> Any:
        if not process.freed:
            raise OSError(errno.EMFILE, "no descriptor is free")
        return SimpleNamespace(fits=lambda: True)

    monkeypatch.setattr(births, "Kit", make)
    assert Kits(engine).take().fits()


def test_a_program_that_waits_gets_what_they_held(monkeypatch: pytest.MonkeyPatch) -> None:
    """The last end of a process may be the last that tries again."""
    engine = an_engine()

    def make(_: object) -> Any:
        if not process.freed:
            raise OSError(errno.EMFILE, "no descriptor is free")
        descriptor = SimpleNamespace(fileno=lambda: 7, close=lambda: None)
        return SimpleNamespace(
            space=SimpleNamespace(memfd=8), theirs=descriptor, control=descriptor, pid=0
        )

    monkeypatch.setattr(pool, "PoolProcess", make)
    engine.zygote = SimpleNamespace(spawn=lambda *_: None, pid=9)  # type: ignore[assignment]
    engine.zygote_gone = False
    engine.pool = pool.Pool(engine)
    engine.programs.waiting.append(object())  # type: ignore[arg-type]
    process: Any = Ended(5)
    engine.processes[5] = process
    engine.process_ended(process)
    assert process.freed and len(engine.pool.processes) == engine.pool.target


def test_a_fork_for_which_there_is_no_room_at_all_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def make(_: StubEngine) -> Any:
        raise OSError(errno.EMFILE, "no descriptor is free")

    monkeypatch.setattr(births, "Kit", make)
    with pytest.raises(EAGAIN):
        Kits(an_engine()).take()
