"""The internal pid 1: its commands, its orphans, and what it reports."""

from __future__ import annotations

from typing import Any

import pytest

from fake_platform import FakeProcess, FakeThread
from support import fork, make_kernel
from wardian.platform.interface import HostThread
from wardian.sentry.errno import EFAULT
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.exit import exit_group
from wardian.sentry.kernel.init import Ended, Init, NoProcess
from wardian.sentry.kernel.kernel import Kernel
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import SIGKILL, SIGTERM
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.task import Task


class FakeEngine:
    """Gives a program a host process when it is told to."""

    def __init__(self) -> None:
        self.vdso = 0x7000
        self.waiting: list[Task] = []

    def launch(self, image: object, owner: Task) -> None:
        self.waiting.append(owner)

    def forget_start(self, owner: Task) -> None:
        self.waiting.remove(owner)

    def serve(self) -> None:
        """All that wait get one."""
        for task in self.waiting:
            process = FakeProcess(100 + task.tid)
            host: HostThread = FakeThread(process)
            task.host, task.memory.process, task.image = host, process, None
            host.owner = task
        self.waiting.clear()


class Place:
    """A kernel with an init, and what it reported."""

    def __init__(self) -> None:
        self.kernel: Kernel = make_kernel()
        self.engine = FakeEngine()
        self.ended: list[Ended] = []
        self.init = Init(self.kernel, self.engine, self.ended.append)  # type: ignore[arg-type]

    def command(self, served: bool = True) -> Task:
        """One that runs."""
        task = self.init.prepare(user_credentials(1000, 1000))
        image: Any = object()
        task.image = image
        self.init.start(task, image)
        if served:
            self.engine.serve()
        return task

    def numbers(self) -> list[int]:
        return [group.pid for group in self.kernel.pids.groups()]


@pytest.fixture
def place() -> Place:
    return Place()


def test_it_is_pid_1_with_a_session_of_its_own(place: Place) -> None:
    group = place.init.task.group
    assert place.kernel.init is group
    assert (group.pid, group.session.sid, group.parent) == (1, 1, None)
    assert group.cmdline == b"wardian-init\0"


def test_a_prepared_command_cannot_be_seen(place: Place) -> None:
    task = place.init.prepare(user_credentials(1000, 1000))
    assert place.numbers() == [1]
    place.init.discard(task)
    assert place.kernel.pids.task(task.tid) is None


def test_a_command_is_its_child_and_leads_a_session(place: Place) -> None:
    group = place.command().group
    assert group.parent is place.init.task.group
    assert (group.session.sid, group.process_group.pgid) == (group.pid, group.pid)
    assert group.session.leader is group


def test_the_end_is_reported_once_and_the_number_is_free(place: Place) -> None:
    task = place.command()
    exit_group(task.group, 3 << 8)
    assert [(end.pid, end.wait_status) for end in place.ended] == [(2, 3 << 8)]
    assert place.numbers() == [1]
    assert not place.kernel.pids.taken(2)


def test_orphans_become_its_children_and_are_reaped(place: Place) -> None:
    task = place.command()
    child = fork(task)
    grandchild = fork(child)
    exit_group(child.group, 0)  # a zombie: its parent lives and did not wait
    assert grandchild.group.parent is place.init.task.group
    exit_group(task.group, 0)
    assert place.numbers() == [1, grandchild.group.pid]
    exit_group(grandchild.group, 0)
    assert place.numbers() == [1]
    assert len(place.ended) == 1


def test_signals_do_not_reach_it(place: Place) -> None:
    for signo in (SIGTERM, SIGKILL):
        send_to_group(place.init.task.group, SigInfo(signo))
    assert not place.init.task.exited


def test_killed_while_it_waits_for_a_host_process(place: Place) -> None:
    task = place.command(served=False)
    exit_group(task.group, SIGKILL)
    assert place.engine.waiting == []
    assert [end.wait_status for end in place.ended] == [SIGKILL]


def test_ending_a_tree_takes_descendants_and_the_session(place: Place) -> None:
    task, other = place.command(), place.command()
    child = fork(task)
    place.kernel.pids.new_session(child.group)
    orphan = fork(fork(task))
    exit_group(orphan.group.parent, 0)  # type: ignore[arg-type]
    assert orphan.group.parent is place.init.task.group
    place.init.end_tree(task.group)
    assert place.numbers() == [1, other.group.pid]


def test_its_end_is_the_end_of_all_and_no_command_is_reported(place: Place) -> None:
    task = place.command()
    fork(task)
    place.init.end()
    assert place.init.task.exited and task.exited
    assert place.ended == []


def test_killed_from_outside_is_counted_up_to_the_command(place: Place) -> None:
    task = place.command()
    task.group.host_kills += 1
    exit_group(task.group, SIGKILL)
    assert place.ended[0].host_kills == 1


def test_no_process_has_no_memory() -> None:
    process = NoProcess()
    assert process.read_some(0, 10) == b"" and process.maps() == []
    with pytest.raises(EFAULT):
        process.write(0, b"x")
    with pytest.raises(EFAULT):
        process.read(0, 1)
