"""What the engine does when the host or a guest does not play along (platform/stub)."""

from __future__ import annotations

import os
import socket
from types import SimpleNamespace
from typing import Any

import pytest

from wardian import _core
from wardian.platform.layout import SHARED_SIZE
from wardian.platform.stub import sockets
from wardian.platform.stub.pool import Pool
from wardian.platform.stub.sockets import UNASKED, Control


class RefusingZygote:
    """The host lets it make no process: it says so on the process's socket."""

    def __init__(self) -> None:
        self.asked = 0
        self.pid = 0

    def spawn(self, channel: int, control: int) -> None:
        self.asked += 1
        socket.socket(fileno=os.dup(control)).send(b"E")


@pytest.fixture
def pool() -> Any:
    shared, doorbell = os.memfd_create("shared"), os.eventfd(0)
    os.ftruncate(shared, SHARED_SIZE)
    engine = SimpleNamespace(
        hub=_core.Hub(shared, doorbell),
        zygote=RefusingZygote(),
        zygote_gone=False,
        programs=SimpleNamespace(waiting=["a program"]),
    )
    yield Pool(engine)  # type: ignore[arg-type]
    os.close(shared)
    os.close(doorbell)


def test_a_process_that_the_host_refuses_is_asked_for_again_later_and_not_at_once(
    pool: Any,
) -> None:
    pool.fill()
    zygote = pool.engine.zygote
    assert zygote.asked == len(pool.processes) == pool.target
    for fresh in list(pool.processes):
        pool.event(fresh)
    assert zygote.asked == pool.target and not pool.processes and not pool.by_fd
    assert 0 < pool.retry(-1) <= 1_000_000_000
    pool.retry_ns = 1
    assert pool.retry(-1) == -1
    assert zygote.asked == 2 * pool.target and pool.retry_ns == 0


def test_no_more_is_sent_to_a_thread_that_does_not_take_it() -> None:
    ours, theirs = sockets.pair()
    control = Control(ours)
    thread = object()
    with open("/dev/null") as file:
        for _ in range(UNASKED):
            assert control.is_free(thread)
            control.send(thread, [file.fileno()])
        assert not control.is_free(thread) and not control.is_free(object())
        for _ in range(UNASKED):
            assert not control.is_free(thread)
            os.close(sockets.receive_fd(theirs, 1)[1])
        assert control.is_free(thread) and control.is_free(object())
        control.send(thread, [file.fileno()])
        assert control.is_free(thread) and not control.is_free(object())
    ours.close()
    theirs.close()
