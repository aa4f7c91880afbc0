"""Who a new process says it is (platform/stub/cloning)."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from descriptors import own_descriptors
from wardian.platform.stub import cloning
from wardian.platform.stub.cloning import Cloning


class Unborn:
    """A child whose first words we wait for."""

    def __init__(self, watched_by: int, watched_pid: int) -> None:
        self.watched_by = watched_by
        self.watched_pid = watched_pid
        self.nonce_slot = 1
        self.clone_nonce = 7
        self.host_tid = 0
        self.tid_is_fact = False
        self.stub_process = SimpleNamespace(
            control=None, born=lambda pid, fd: self.births.append(fd)
        )
        self.births: list[int] = []

    def tell_host_thread(self) -> None:
        pass


@pytest.fixture
def births() -> Cloning:
    hub = SimpleNamespace(epoll=lambda *_: None)
    made = Cloning.__new__(Cloning)
    made.engine = SimpleNamespace(hub=hub, pids={99})  # type: ignore[assignment]
    made.unborn = {}
    return made


def bear(births: Cloning, child: Unborn, pid: int) -> bool:
    births.unborn[child.watched_by] = child  # type: ignore[assignment]
    return births.bear(child, child.stub_process, pid)  # type: ignore[arg-type]


def test_nobody_is_process_0(births: Cloning) -> None:
    """A fork is watched by its socket, and has no number until it says one."""
    ours, theirs = socket.socketpair()
    child = Unborn(ours.fileno(), 0)
    assert not bear(births, child, 0)
    assert child.births == [] and child.watched_by == ours.fileno()
    ours.close()
    theirs.close()


def test_a_process_is_one_child(births: Cloning) -> None:
    """Two parents named the same one, which had the nonces of both."""
    me = os.getpid()
    first, second = Unborn(os.pidfd_open(me), me), Unborn(os.pidfd_open(me), me)
    assert bear(births, first, me) and first.births
    births.engine.pids.add(me)
    assert not bear(births, second, me) and not second.births
    for child in (first, second):
        os.close(child.watched_by if child.watched_by >= 0 else child.births[0])


def test_a_process_that_cannot_be_followed_is_not_born(
    births: Cloning, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: Any) -> None:
        raise OSError(28, "max_user_watches")

    monkeypatch.setattr(cloning._core, "vm_word", lambda pid, address: 7)
    monkeypatch.setattr(births.engine.hub, "epoll", full)
    child = Unborn(-1, 0)
    before = own_descriptors()
    assert not bear(births, child, os.getpid())
    assert own_descriptors() == before and not child.births
