"""poll, ppoll, select, pselect6."""

from __future__ import annotations

import struct

import pytest

from support import PARKED, advance, call, clock, get, host, make_kernel, make_task, put, room, run
from wardian.platform.interface import message
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import SIGUSR1, bit
from wardian.sentry.kernel.signal_sending import send_to_task
from wardian.sentry.kernel.signals import set_blocked
from wardian.sentry.kernel.task import Call, Task
from wardian.sentry.syscalls import events
from wardian.sentry.syscalls.poll import poll, ppoll, pselect6, select, select_timeout_ns
from wardian.sentry.vfs.buffers import BytesSource

IN, OUT, NVAL = 1, 4, 0x20


@pytest.fixture
def task() -> Task:
    return make_task(make_kernel())


def eventfd(task: Task, count: int = 0) -> int:
    return call(task, events.eventfd2, count, 0)


def signal(task: Task, fd: int) -> None:
    task.files.get(fd).write(BytesSource((1).to_bytes(8, "little")), 0)


def pollfds(task: Task, *entries: tuple[int, int]) -> int:
    return put(task, b"".join(struct.pack("<ihh", fd, wanted, 0) for fd, wanted in entries))


def revents(task: Task, address: int, count: int) -> list[int]:
    data = get(task, address, count * 8)
    return [item[2] for item in struct.iter_unpack("<ihH", data)]


def test_poll_reports_what_is_ready(task: Task) -> None:
    empty, full = eventfd(task), eventfd(task, 1)
    address = pollfds(task, (empty, IN), (full, IN | OUT), (-1, IN), (77, IN))
    assert call(task, poll, address, 4, 0) == 2
    assert revents(task, address, 4) == [0, IN | OUT, 0, NVAL]


def test_poll_waits_for_any_descriptor(task: Task) -> None:
    one, two = eventfd(task), eventfd(task)
    address = pollfds(task, (one, IN), (two, IN))
    assert call(task, poll, address, 2, -1) == PARKED
    signal(task, two)
    run(task.kernel)
    assert host(task).results[-1] == 1
    assert revents(task, address, 2) == [0, IN]
    assert not task.files.get(one).queue.registrations


def test_poll_times_out(task: Task) -> None:
    address = pollfds(task, (eventfd(task), IN))
    assert call(task, poll, address, 1, 5) == PARKED
    advance(task.kernel, 5_000_000)
    assert host(task).results[-1] == 0


def test_poll_without_descriptors_is_a_sleep(task: Task) -> None:
    assert call(task, poll, 0, 0, 1) == PARKED
    advance(task.kernel, 1_000_000)
    assert host(task).results[-1] == 0


def test_poll_takes_no_more_entries_than_descriptors_allowed(task: Task) -> None:
    assert call(task, poll, 4096, 1 << 31, 0) == -22
    assert call(task, poll, 8, 1, 0) == -14


def test_ppoll_puts_the_mask_back(task: Task) -> None:
    set_blocked(task, bit(SIGUSR1))
    address = pollfds(task, (eventfd(task, 1), IN))
    assert call(task, ppoll, address, 1, None, bytes(8), 8) == 1
    assert task.signals.blocked == bit(SIGUSR1)
    assert call(task, ppoll, address, 1, None, bytes(8), 4) == -22
    assert task.signals.blocked == bit(SIGUSR1)


def test_ppoll_is_interrupted_by_a_signal_it_unblocks(task: Task) -> None:
    task.group.actions.get(SIGUSR1).handler = 0x1000
    set_blocked(task, bit(SIGUSR1))
    send_to_task(task, SigInfo(SIGUSR1))
    assert call(task, ppoll, 0, 0, None, bytes(8), 8, restart="nohand") == PARKED
    frame, result, _ = host(task).frames[-1]
    assert (frame.signo, frame.saved_mask, result) == (SIGUSR1, bit(SIGUSR1), -4)


def bits(*fds: int) -> bytes:
    return sum(1 << fd for fd in fds).to_bytes(8, "little")


def test_select_finds_bits_in_each_set(task: Task) -> None:
    empty, full = eventfd(task), eventfd(task, 1)
    reads, writes = put(task, bits(empty, full)), put(task, bits(empty))
    excepts = put(task, bits(full))
    zero = struct.pack("<qq", 0, 0)
    assert call(task, select, 2, reads, writes, excepts, zero) == 2
    assert get(task, reads, 8) == bits(full)
    assert get(task, writes, 8) == bits(empty)
    assert get(task, excepts, 8) == bits()


def test_select_says_ebadf_for_a_closed_descriptor(task: Task) -> None:
    assert call(task, select, 10, put(task, bits(5)), 0, 0, None) == -9
    assert call(task, select, -1, 0, 0, 0, None) == -22


def test_select_writes_the_time_left(task: Task) -> None:
    fd = eventfd(task)
    reads = put(task, bits(fd))
    timeout = put(task, struct.pack("<qq", 2, 0))
    task.call = Call(message(23, (fd + 1, reads, 0, 0, timeout, 0)))
    assert select(task, fd + 1, reads, 0, 0, get(task, timeout, 16)) == PARKED
    clock(task.kernel).advance(500_000_000)
    signal(task, fd)
    assert select(task, fd + 1, reads, 0, 0, get(task, timeout, 16)) == 1
    assert struct.unpack("<qq", get(task, timeout, 16)) == (1, 500_000)


def test_select_carries_microseconds_over() -> None:
    assert select_timeout_ns(struct.pack("<qq", 1, 2_500_000)) == 3_500_000_000


def test_pselect_mask_argument_is_a_pointer_and_a_size(task: Task) -> None:
    mask = put(task, bytes(8))
    argument = put(task, struct.pack("<QQ", mask, 8))
    zero = struct.pack("<qq", 0, 0)
    assert call(task, pselect6, 0, 0, 0, 0, zero, argument) == 0
    wrong = put(task, struct.pack("<QQ", mask, 16))
    assert call(task, pselect6, 0, 0, 0, 0, zero, wrong) == -22
    assert room(task, 1)
