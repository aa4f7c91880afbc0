"""Whom the hunt for strays ends, and when children that were never heard of are given up."""

from __future__ import annotations

import subprocess
from types import SimpleNamespace
from typing import Any

import pytest

from wardian.platform.stub.strays import LONG_PATIENCE, PATIENCE, Strays

ZYGOTE = 2


class FakeProc:
    """The host's /proc."""

    def __init__(self) -> None:
        self.files: dict[tuple[int, str], str] = {}

    def children(self, *pids: int) -> None:
        self.files[ZYGOTE, f"task/{ZYGOTE}/children"] = " ".join(map(str, pids))

    def stat(self, pid: int, state: str, used: int) -> None:
        self.files[pid, "stat"] = f"{pid} (a) b) {state} {ZYGOTE} 2 2 0 0 0 0 0 0 0 {used} 0 0 0"

    def read(self, pid: int, name: str) -> str:
        return self.files.get((pid, name), "")

    def pids(self) -> list[int]:
        return [pid for pid, name in self.files if name == "stat"]


@pytest.fixture
def strays() -> Any:
    patience: list[int] = []

    def give_up(looks: int) -> bool:
        patience.append(looks)
        return False

    engine = SimpleNamespace(
        zygote=SimpleNamespace(pid=ZYGOTE),
        pids={5},
        pool=SimpleNamespace(processes=[SimpleNamespace(pid=6)]),
        proc=FakeProc(),
        cloning=SimpleNamespace(give_up=give_up),
        patience=patience,
    )
    return Strays(engine)  # type: ignore[arg-type]


def test_a_child_is_given_up_soon_only_when_nobody_is_on_his_way(strays: Any) -> None:
    proc = strays.engine.proc
    proc.children(5, 6)
    strays.look()
    assert not strays.hunting
    proc.children(5, 6, 7)
    strays.look()
    assert strays.hunting
    proc.files.clear()
    strays.look()
    assert strays.engine.patience == [PATIENCE, LONG_PATIENCE, LONG_PATIENCE]


@pytest.mark.parametrize(
    ("state", "used", "looks"),
    [
        ("S", 0, PATIENCE),
        ("Z", 0, PATIENCE),
        ("R", 3, PATIENCE),
        ("R", 0, LONG_PATIENCE),
        ("D", 0, LONG_PATIENCE),
        ("T", 0, LONG_PATIENCE),
    ],
)
@pytest.mark.parametrize("listed", [True, False])
def test_a_stray_is_ended_but_not_who_waits_for_a_processor(
    strays: Any, state: str, used: int, looks: int, listed: bool
) -> None:
    stray = subprocess.Popen(["sleep", "60"])
    try:
        strays.engine.proc.stat(stray.pid, state, used)
        if listed:
            strays.engine.proc.children(stray.pid)
        for _ in range(looks):
            strays.look()
        assert stray.poll() is None
        strays.look()
        assert stray.wait(10) == -9
    finally:
        stray.kill()
        stray.wait()
