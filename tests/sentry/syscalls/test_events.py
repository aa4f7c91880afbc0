"""timerfd, signalfd, inotify, memfd and ioctl through their calls."""

from __future__ import annotations

import struct

import pytest

from support import PARKED, advance, call, clock, get, host, make_kernel, make_task, put, room, run
from wardian.sentry.fs.memfd import MemfdFile
from wardian.sentry.kernel.inotify import IN_IGNORED, IN_MASK_ADD, IN_ONESHOT, MAX_EVENTS, Inotify
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import SIGALRM, SIGUSR1, SIGUSR2, bit
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.signals import set_blocked
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import events, ioctl, time
from wardian.sentry.syscalls.pipe import memfd_create
from wardian.sentry.vfs import io
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.inode import S_IFDIR, Inode
from wardian.sentry.vfs.notify import (
    IN_CREATE,
    IN_DELETE_SELF,
    IN_ISDIR,
    IN_MODIFY,
    IN_MOVED_FROM,
    IN_Q_OVERFLOW,
    notify,
    notify_entry,
)

MS = 1_000_000


@pytest.fixture
def task() -> Task:
    return make_task(make_kernel())


def read_handler(t: Task, fd: int, sink: BytesSink) -> int:
    return io.read(t, t.files.get(fd), sink)


def read(task: Task, fd: int, count: int) -> bytes | int:
    sink = BytesSink(count)
    result = call(task, read_handler, fd, sink)
    return sink.data if result >= 0 else result


def spec(interval_ms: int, value_ms: int) -> bytes:
    return struct.pack(
        "<qqqq",
        interval_ms // 1000,
        interval_ms % 1000 * MS,
        value_ms // 1000,
        value_ms % 1000 * MS,
    )


# -- timerfd
def test_timerfd_counts_expirations(task: Task) -> None:
    fd = call(task, events.timerfd_create, 1, 0x800)
    assert call(task, events.timerfd_settime, fd, 0, spec(10, 25), 0) == 0
    assert read(task, fd, 8) == -11
    advance(task.kernel, 46 * MS)
    assert read(task, fd, 8) == (3).to_bytes(8, "little")
    current = room(task, 32)
    assert call(task, events.timerfd_gettime, fd, current) == 0
    assert get(task, current, 32) == spec(10, 9)


def test_timerfd_blocks_until_it_expires(task: Task) -> None:
    fd = call(task, events.timerfd_create, 0, 0)
    when = clock(task.kernel).realtime // MS + 30
    call(task, events.timerfd_settime, fd, 1, spec(0, when), 0)
    sink = BytesSink(8)
    assert call(task, read_handler, fd, sink) == PARKED
    advance(task.kernel, 30 * MS)
    assert host(task).results[-1] == 8
    assert sink.data == (1).to_bytes(8, "little")


def test_timerfd_tiny_interval_fires_once_until_read(task: Task) -> None:
    fd = call(task, events.timerfd_create, 1, 0x800)
    tiny = struct.pack("<qqqq", 0, 1, 0, 1)
    call(task, events.timerfd_settime, fd, 0, tiny, 0)
    clock(task.kernel).advance(1_000)
    assert task.kernel.timers.run(task.kernel.clock.monotonic_ns()) == 1
    assert read(task, fd, 8) == (1000).to_bytes(8, "little")


def test_timerfd_counts_one_when_the_clock_is_set_back_before_it_is_read(task: Task) -> None:
    fd = call(task, events.timerfd_create, 0, 0x800)
    assert call(task, events.timerfd_settime, fd, 0, spec(10, 10), 0) == 0
    advance(task.kernel, 10 * MS)
    clock(task.kernel).realtime -= 100 * MS
    assert read(task, fd, 8) == (1).to_bytes(8, "little")


def test_timerfd_disarms_and_tells_the_old_setting(task: Task) -> None:
    fd = call(task, events.timerfd_create, 1, 0x800)
    call(task, events.timerfd_settime, fd, 0, spec(0, 50), 0)
    old = room(task, 32)
    call(task, events.timerfd_settime, fd, 0, spec(0, 0), old)
    assert get(task, old, 32) == spec(0, 50)
    advance(task.kernel, 100 * MS)
    assert read(task, fd, 8) == -11
    bad = struct.pack("<qqqq", 0, 0, 0, 1_000_000_000)
    assert call(task, events.timerfd_settime, fd, 0, bad, 0) == -22
    assert call(task, events.timerfd_create, 2, 0) == -22


# -- signalfd
def test_signalfd_reads_blocked_signals(task: Task) -> None:
    mask = bit(SIGUSR1) | bit(SIGUSR2)
    set_blocked(task, mask)
    fd = call(task, events.signalfd4, -1, mask.to_bytes(8, "little"), 8, 0)
    sink = BytesSink(256)
    assert call(task, read_handler, fd, sink) == PARKED
    info = SigInfo(SIGUSR2, 0)
    info.pid = 42
    send_to_group(task.group, info)
    run(task.kernel)
    assert host(task).results[-1] == 128
    signo, _, code, pid = struct.unpack_from("<IiiI", sink.data)
    assert (signo, code, pid) == (SIGUSR2, 0, 42)
    assert task.group.pending.mask == 0


def test_signalfd_mask_can_be_changed(task: Task) -> None:
    set_blocked(task, bit(SIGUSR1))
    fd = call(task, events.signalfd4, -1, bytes(8), 8, 0x800)
    send_to_group(task.group, SigInfo(SIGUSR1))
    assert read(task, fd, 128) == -11
    assert call(task, events.signalfd4, fd, bit(SIGUSR1).to_bytes(8, "little"), 8, 0) == fd
    assert read(task, fd, 100) == -22
    data = read(task, fd, 128)
    assert isinstance(data, bytes)
    assert data[0] == SIGUSR1


def test_periodic_timers_start_over_when_a_signalfd_takes_their_signal(task: Task) -> None:
    set_blocked(task, bit(SIGALRM))
    fd = call(task, events.signalfd4, -1, bit(SIGALRM).to_bytes(8, "little"), 8, 0x800)
    period = struct.pack("<qqqq", 0, 10_000, 0, 10_000)
    assert call(task, time.setitimer, 0, period, 0) == 0
    for _ in range(3):
        assert read(task, fd, 128) == -11
        advance(task.kernel, 10 * MS)
        assert isinstance(read(task, fd, 128), bytes)


# -- inotify
def directory(task: Task) -> Inode:
    return Inode(task.kernel.anon, 5, S_IFDIR | 0o755)


def parse(data: bytes | int) -> list[tuple[int, int, int, bytes]]:
    assert isinstance(data, bytes)
    found = []
    while data:
        wd, mask, cookie, length = struct.unpack_from("<iIII", data)
        found.append((wd, mask, cookie, data[16 : 16 + length].rstrip(b"\0")))
        data = data[16 + length :]
    return found


def instance(task: Task) -> tuple[int, Inotify]:
    fd = call(task, events.inotify_init1, 0x800)
    file = task.files.get(fd)
    assert isinstance(file, Inotify)
    return fd, file


def test_inotify_reports_names_and_merges_repeats(task: Task) -> None:
    fd, file = instance(task)
    top = directory(task)
    wd = file.add(top, IN_CREATE | IN_MODIFY | IN_MOVED_FROM)
    notify_entry(top, IN_CREATE, b"file", None)
    notify_entry(top, IN_CREATE, b"file", None)
    notify_entry(top, IN_CREATE, b"dir", directory(task))
    notify_entry(top, IN_MOVED_FROM, b"old", None, 7)
    assert parse(read(task, fd, 4096)) == [
        (wd, IN_CREATE, 0, b"file"),
        (wd, IN_CREATE | IN_ISDIR, 0, b"dir"),
        (wd, IN_MOVED_FROM, 7, b"old"),
    ]
    assert read(task, fd, 4096) == -11


def test_inotify_watch_ends_with_its_inode(task: Task) -> None:
    fd, file = instance(task)
    top = directory(task)
    wd = file.add(top, IN_DELETE_SELF)
    notify(top, IN_DELETE_SELF)
    assert parse(read(task, fd, 4096)) == [(wd, IN_DELETE_SELF, 0, b""), (wd, IN_IGNORED, 0, b"")]
    assert not top.watches
    assert call(task, events.inotify_rm_watch, fd, wd) == -22


def test_inotify_mask_add_and_oneshot(task: Task) -> None:
    fd, file = instance(task)
    top = directory(task)
    wd = file.add(top, IN_CREATE)
    assert file.add(top, IN_MODIFY | IN_MASK_ADD) == wd
    notify_entry(top, IN_CREATE, b"a", None)
    assert len(parse(read(task, fd, 4096))) == 1
    file.add(top, IN_CREATE | IN_ONESHOT)
    notify_entry(top, IN_CREATE, b"b", None)
    notify_entry(top, IN_CREATE, b"c", None)
    assert parse(read(task, fd, 4096)) == [(wd, IN_CREATE, 0, b"b"), (wd, IN_IGNORED, 0, b"")]


def test_inotify_queue_is_bounded(task: Task) -> None:
    fd, file = instance(task)
    top = directory(task)
    file.add(top, IN_CREATE)
    for i in range(MAX_EVENTS + 10):
        notify_entry(top, IN_CREATE, b"%d" % i, None)
    assert len(file.events) == MAX_EVENTS + 1
    assert parse(file.events[-1])[0][:2] == (-1, IN_Q_OVERFLOW)
    assert read(task, fd, 10) == -22


def test_inotify_close_takes_the_watches_off(task: Task) -> None:
    fd, file = instance(task)
    top = directory(task)
    file.add(top, IN_CREATE)
    task.files.close(fd)
    assert not top.watches


# -- memfd and ioctl
def test_memfd_is_a_file_with_seals(task: Task) -> None:
    fd = call(task, memfd_create, b"name", 3)
    file = task.files.get(fd)
    assert isinstance(file, MemfdFile)
    assert file.write(BytesSource(b"hello world"), 0) == 11
    sink = BytesSink(5)
    assert file.read(sink, 6) == 5
    assert sink.data == b"world"
    assert file.node.getattr().size == 11
    file.node.add_seals(0x2 | 0x4)
    assert file.node.seals == 6
    with pytest.raises(Exception, match="EPERM"):
        file.truncate(100)
    assert file.describe() == "/memfd:name (deleted)"
    unsealable = task.files.get(call(task, memfd_create, b"", 0))
    assert isinstance(unsealable, MemfdFile)
    assert unsealable.node.seals == 1
    assert call(task, memfd_create, b"n" * 250, 0) == -22


def test_ioctl_generic_commands(task: Task) -> None:
    fd = call(task, events.eventfd2, 0, 0)
    assert call(task, ioctl.ioctl, fd, ioctl.FIOCLEX, 0) == 0
    assert fd in task.files.cloexec
    assert call(task, ioctl.ioctl, fd, ioctl.FIONCLEX, 0) == 0
    assert fd not in task.files.cloexec
    one = put(task, b"\1\0\0\0")
    assert call(task, ioctl.ioctl, fd, ioctl.FIONBIO, one) == 0
    assert task.files.get(fd).nonblocking
    assert call(task, ioctl.ioctl, fd, 0x5401, room(task, 60)) == -25
    assert call(task, ioctl.ioctl, 99, 0x5401, 0) == -9


def test_signal_driven_io_tells_the_owner(task: Task) -> None:
    fd = call(task, events.eventfd2, 0, 0)
    file = task.files.get(fd)
    set_blocked(task, bit(29))
    task.group.actions.get(29).handler = 0x1000
    file.owner_pid = task.group.pid
    one = put(task, b"\1\0\0\0")
    assert call(task, ioctl.ioctl, fd, ioctl.FIOASYNC, one) == 0
    file.write(BytesSource((1).to_bytes(8, "little")), 0)
    assert task.group.pending.mask & bit(29)
    task.group.pending.discard(bit(29))
    assert call(task, ioctl.ioctl, fd, ioctl.FIOASYNC, put(task, bytes(4))) == 0
    file.write(BytesSource((1).to_bytes(8, "little")), 0)
    assert not task.group.pending.mask
