"""epoll(7): triggering, nesting, and what closing does."""

from __future__ import annotations

import errno
import struct

import pytest

from support import PARKED, advance, call, get, host, make_kernel, make_task, room, run
from wardian.sentry.fs.anon import anon_inode
from wardian.sentry.kernel.epoll import (
    EPOLL_CTL_ADD,
    EPOLL_CTL_DEL,
    EPOLL_CTL_MOD,
    EPOLLET,
    EPOLLEXCLUSIVE,
    EPOLLONESHOT,
)
from wardian.sentry.kernel.eventfd import EventFd
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import SIGUSR1, bit
from wardian.sentry.kernel.signal_sending import send_to_task
from wardian.sentry.kernel.signals import set_blocked
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import descriptors, events, file
from wardian.sentry.vfs.buffers import BytesSink, BytesSource

IN, OUT = 1, 4


class World:
    """A task with eventfds and epolls to play with."""

    def __init__(self) -> None:
        self.task = make_task(make_kernel())

    def eventfd(self, count: int = 0) -> int:
        return call(self.task, events.eventfd2, count, 0)

    def epoll(self) -> int:
        return call(self.task, events.epoll_create1, 0)

    def ctl(self, epfd: int, op: int, fd: int, mask: int = IN, data: int = 0) -> int:
        return call(self.task, events.epoll_ctl, epfd, op, fd, struct.pack("<IQ", mask, data))

    def wait(self, epfd: int, limit: int = 8, timeout: int = 0) -> list[tuple[int, int]]:
        address = room(self.task, 12 * limit)
        count = call(self.task, events.epoll_wait, epfd, address, limit, timeout)
        assert count >= 0
        return list(struct.iter_unpack("<IQ", get(self.task, address, 12 * count)))

    def signal(self, fd: int) -> None:
        self.task.files.get(fd).write(BytesSource((1).to_bytes(8, "little")), 0)

    def drain(self, fd: int) -> None:
        self.task.files.get(fd).read(BytesSink(8), 0)


@pytest.fixture
def world() -> World:
    return World()


def test_level_triggered_reports_until_drained(world: World) -> None:
    ep, fd = world.epoll(), world.eventfd()
    assert world.ctl(ep, EPOLL_CTL_ADD, fd, IN, 77) == 0
    assert world.wait(ep) == []
    world.signal(fd)
    assert world.wait(ep) == [(IN, 77)]
    assert world.wait(ep) == [(IN, 77)]
    world.drain(fd)
    assert world.wait(ep) == []


def test_edge_triggered_reports_each_event_once(world: World) -> None:
    ep, fd = world.epoll(), world.eventfd()
    world.ctl(ep, EPOLL_CTL_ADD, fd, IN | EPOLLET)
    world.signal(fd)
    assert world.wait(ep) == [(IN, 0)]
    assert world.wait(ep) == []
    world.signal(fd)
    assert world.wait(ep) == [(IN, 0)]


def test_oneshot_is_silent_until_modified(world: World) -> None:
    ep, fd = world.epoll(), world.eventfd(1)
    world.ctl(ep, EPOLL_CTL_ADD, fd, IN | EPOLLONESHOT)
    assert world.wait(ep) == [(IN, 0)]
    world.signal(fd)
    assert world.wait(ep) == []
    world.ctl(ep, EPOLL_CTL_MOD, fd, IN | EPOLLONESHOT, 5)
    assert world.wait(ep) == [(IN, 5)]


def test_a_small_limit_starves_nobody(world: World) -> None:
    ep = world.epoll()
    fds = [world.eventfd(1) for _ in range(3)]
    for fd in fds:
        world.ctl(ep, EPOLL_CTL_ADD, fd, IN, fd)
    seen = {world.wait(ep, limit=1)[0][1] for _ in range(3)}
    assert seen == set(fds)


def test_add_delete_and_modify_check_the_interest_list(world: World) -> None:
    ep, fd = world.epoll(), world.eventfd()
    assert world.ctl(ep, EPOLL_CTL_DEL, fd) == -2
    assert world.ctl(ep, EPOLL_CTL_MOD, fd) == -2
    assert world.ctl(ep, EPOLL_CTL_ADD, fd) == 0
    assert world.ctl(ep, EPOLL_CTL_ADD, fd) == -17
    assert world.ctl(ep, EPOLL_CTL_DEL, fd) == 0
    assert world.ctl(ep, 9, fd) == -22
    assert world.ctl(ep, EPOLL_CTL_ADD, ep) == -22
    assert world.ctl(fd, EPOLL_CTL_ADD, fd) == -22
    assert world.ctl(ep, EPOLL_CTL_ADD, 99) == -9


def test_exclusive_rules(world: World) -> None:
    ep, inner, fd = world.epoll(), world.epoll(), world.eventfd()
    assert world.ctl(ep, EPOLL_CTL_ADD, inner, IN | EPOLLEXCLUSIVE) == -22
    assert world.ctl(ep, EPOLL_CTL_ADD, fd, IN | EPOLLEXCLUSIVE | EPOLLONESHOT) == -22
    assert world.ctl(ep, EPOLL_CTL_ADD, fd, IN | EPOLLEXCLUSIVE) == 0
    assert world.ctl(ep, EPOLL_CTL_MOD, fd, IN) == -22


def test_closing_the_last_descriptor_removes_the_item(world: World) -> None:
    task = world.task
    ep, fd = world.epoll(), world.eventfd(1)
    world.ctl(ep, EPOLL_CTL_ADD, fd)
    file = task.files.get(fd)
    copy = task.files.install(file, False)
    task.files.close(fd)
    assert world.wait(ep) == [(IN, 0)]
    task.files.close(copy)
    assert world.wait(ep) == []
    assert not file.queue.registrations


def test_closing_the_epoll_leaves_no_trace_on_the_file(world: World) -> None:
    ep, fd = world.epoll(), world.eventfd()
    world.ctl(ep, EPOLL_CTL_ADD, fd)
    world.task.files.close(ep)
    file = world.task.files.get(fd)
    assert file.watchers == []
    assert not file.queue.registrations


def test_nested_epoll_becomes_readable_and_wakes(world: World) -> None:
    outer, inner, fd = world.epoll(), world.epoll(), world.eventfd()
    world.ctl(inner, EPOLL_CTL_ADD, fd)
    world.ctl(outer, EPOLL_CTL_ADD, inner, IN, 9)
    assert world.wait(outer) == []
    address = room(world.task, 12)
    assert call(world.task, events.epoll_wait, outer, address, 1, -1) == PARKED
    world.signal(fd)
    run(world.task.kernel)
    assert host(world.task).results[-1] == 1
    world.drain(fd)
    assert world.wait(outer) == []


def test_nesting_is_limited_to_five_and_has_no_circles(world: World) -> None:
    chain = [world.epoll() for _ in range(7)]
    results = [world.ctl(chain[i + 1], EPOLL_CTL_ADD, chain[i]) for i in range(6)]
    assert results == [0, 0, 0, 0, -40, 0]  # as Linux 6.18 answers
    assert world.ctl(chain[0], EPOLL_CTL_ADD, chain[3]) == -40


def test_wait_parks_until_an_event_or_the_timeout(world: World) -> None:
    task = world.task
    ep, fd = world.epoll(), world.eventfd()
    world.ctl(ep, EPOLL_CTL_ADD, fd, IN, 3)
    address = room(task, 24)
    assert call(task, events.epoll_wait, ep, address, 2, 50) == PARKED
    advance(task.kernel, 40_000_000)
    assert host(task).results[-1:] == [0]
    assert task.parked
    advance(task.kernel, 11_000_000)
    assert not task.parked
    assert call(task, events.epoll_wait, ep, address, 2, 50) == PARKED
    world.signal(fd)
    run(task.kernel)
    assert host(task).results[-1] == 1
    assert get(task, address, 12) == struct.pack("<IQ", IN, 3)


def test_maxevents_must_be_positive_and_bounded(world: World) -> None:
    ep = world.epoll()
    for limit in (0, -1, 2**31 - 1):
        assert call(world.task, events.epoll_wait, ep, 4096, limit, 0) == -22


def test_pwait_opens_the_mask_while_waiting(world: World) -> None:
    task = world.task
    task.group.actions.get(SIGUSR1).handler = 0x1000
    set_blocked(task, bit(SIGUSR1))
    ep = world.epoll()
    assert (
        call(task, events.epoll_pwait, ep, room(task, 12), 1, -1, bytes(8), 8, restart="nohand")
        == PARKED
    )
    send_to_task(task, SigInfo(SIGUSR1))
    assert not task.parked
    assert host(task).frames[-1][0].saved_mask == bit(SIGUSR1)


def test_eventfd_semantics(world: World) -> None:
    task = world.task
    fd = call(task, events.eventfd2, 3, 1)
    file = task.files.get(fd)
    assert isinstance(file, EventFd)
    sink = BytesSink(16)
    assert file.read(sink, 0) == 8
    assert sink.data == (1).to_bytes(8, "little")
    assert file.count == 2
    top = EventFd(anon_inode(task), 0, 2**64 - 2, False)
    assert top.poll() == 1 | 0x40
    assert top.write(BytesSource((1).to_bytes(8, "little")), 0) == -11
    assert call(task, events.eventfd2, 0, 2) == -22


def test_signal_before_wait_interrupts_it(world: World) -> None:
    task: Task = world.task
    task.group.actions.get(SIGUSR1).handler = 0x1000
    ep = world.epoll()
    send_to_task(task, SigInfo(SIGUSR1))
    assert call(task, events.epoll_wait, ep, room(task, 12), 1, -1, restart="nohand") == PARKED
    assert not task.parked


def test_the_latest_data_and_events_are_told(world: World) -> None:
    """What was told once is kept for the next time; a change must not bring it back."""
    fd, epfd = world.eventfd(1), world.epoll()
    world.ctl(epfd, EPOLL_CTL_ADD, fd, IN, 1)
    assert world.wait(epfd) == world.wait(epfd) == [(IN, 1)]
    world.ctl(epfd, EPOLL_CTL_MOD, fd, IN, 1 << 63 | 2)
    assert world.wait(epfd) == [(IN, 1 << 63 | 2)]
    world.ctl(epfd, EPOLL_CTL_MOD, fd, IN | OUT, 1 << 63 | 2)
    assert world.wait(epfd) == [(IN | OUT, 1 << 63 | 2)]
    world.drain(fd)
    assert world.wait(epfd) == [(OUT, 1 << 63 | 2)]
    world.ctl(epfd, EPOLL_CTL_MOD, fd, OUT, 3)
    assert world.wait(epfd) == [(OUT, 3)]


def test_one_number_for_two_files(world: World) -> None:
    """The older one lives on in a duplicate: both are watched (epoll(7), Questions and answers)."""
    task, epfd = world.task, world.epoll()
    first = world.eventfd(1)
    kept = call(task, descriptors.dup, first)
    world.ctl(epfd, EPOLL_CTL_ADD, first, IN, 1)
    call(task, file.close, first)
    second = world.eventfd(1)
    assert second == first
    assert world.ctl(epfd, EPOLL_CTL_MOD, second, IN, 2) == -errno.ENOENT
    assert world.ctl(epfd, EPOLL_CTL_ADD, second, IN, 2) == 0
    assert world.ctl(epfd, EPOLL_CTL_ADD, second, IN, 2) == -errno.EEXIST
    assert world.wait(epfd) == [(IN, 1), (IN, 2)]
    assert world.ctl(epfd, EPOLL_CTL_DEL, second) == 0
    assert world.ctl(epfd, EPOLL_CTL_DEL, second) == -errno.ENOENT
    assert world.wait(epfd) == [(IN, 1)]
    call(task, file.close, kept)
    assert world.wait(epfd) == []
