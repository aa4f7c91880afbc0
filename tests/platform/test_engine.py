"""Processes that become known while the sandbox is stopped (platform/stub/engine)."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from wardian.platform.stub.engine import StubEngine


@pytest.fixture
def newcomer() -> Any:
    child = subprocess.Popen(["sleep", "60"])
    process = SimpleNamespace(pid=child.pid, pidfd=os.pidfd_open(child.pid))
    yield process
    child.kill()
    child.wait()
    os.close(process.pidfd)


def an_engine() -> StubEngine:
    """Without zygote or hub."""
    engine = StubEngine.__new__(StubEngine)
    engine.processes, engine.pids, engine.stopped = {}, set(), False
    engine.hub = SimpleNamespace(epoll=lambda *_: None)  # type: ignore[assignment]
    return engine


def waits_for_state(pid: int, wanted: str) -> bool:
    """Signals take a moment to arrive."""
    for _ in range(1000):
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
        if state == wanted:
            return True
        os.sched_yield()
    return False


def test_a_process_that_comes_into_a_stopped_sandbox_stops(newcomer: Any) -> None:
    engine = an_engine()
    engine.stop_all()
    engine.follow(newcomer)
    assert waits_for_state(newcomer.pid, "T")
    engine.continue_all()
    assert waits_for_state(newcomer.pid, "S")


def test_and_runs_in_any_other(newcomer: Any) -> None:
    engine = an_engine()
    engine.stop_all()
    engine.continue_all()
    engine.follow(newcomer)
    assert not waits_for_state(newcomer.pid, "T")
