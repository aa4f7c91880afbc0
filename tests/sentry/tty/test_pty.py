"""Pseudoterminals, job control and devpts, through files and ioctls."""

from __future__ import annotations

import struct

import pytest

from support import PARKED, advance, call, fork, get, host, make_kernel, make_task, put, room, run
from wardian.sentry.errno import EIO, WOULD_BLOCK
from wardian.sentry.kernel.exit import exit_group
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import (
    SIG_IGN,
    SIGCONT,
    SIGHUP,
    SIGINT,
    SIGTTIN,
    SIGTTOU,
    SIGWINCH,
    bit,
)
from wardian.sentry.kernel.signal_sending import send_to_group
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls.ioctl import ioctl
from wardian.sentry.tty import pty as ptys
from wardian.sentry.tty import tty_ioctl as ttys
from wardian.sentry.tty.devpts import DevPts
from wardian.sentry.tty.pty import MasterFile, Pty
from wardian.sentry.tty.termios import ECHO, ICANON, TOSTOP, VMIN, VTIME
from wardian.sentry.tty.tty_file import TtyFile, open_controlling
from wardian.sentry.vfs import io
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_NOCTTY, O_NONBLOCK, O_RDWR, POLLHUP, POLLIN, File


class Shell:
    """A session leader (not init) with a terminal as descriptor 0 and its master as 1."""

    def __init__(self) -> None:
        kernel = make_kernel()
        init = make_task(kernel)
        kernel.devpts = DevPts(kernel, 0x99)
        self.task = fork(init)
        kernel.pids.new_session(self.task.group)
        master = kernel.devpts.ptmx.open(self.task, O_RDWR)
        assert isinstance(master, MasterFile)
        self.master = master
        self.pty: Pty = master.pty
        self.pty.locked = False
        slave = kernel.devpts.slaves[0].open(self.task, O_RDWR)
        assert isinstance(slave, TtyFile)
        self.slave = slave
        assert self.task.files.install(slave, False) == 0
        assert self.task.files.install(master, False) == 1

    def type_in(self, data: bytes) -> None:
        assert self.master.write(BytesSource(data), 0) == len(data)

    def screen(self) -> bytes:
        return self.pty.take_output(100000)

    def job(self, foreground: bool) -> Task:
        """A child in a process group of its own."""
        child = fork(self.task)
        pids = self.task.kernel.pids
        pids.join(child.group, pids.new_process_group(child.group.pid, child.group.session))
        if foreground:
            self.pty.foreground = child.group.process_group
        return child

    def settings(
        self, *, no_lflag: int = 0, lflag: int = 0, least: int = 1, tenths: int = 0
    ) -> None:
        address = room(self.task, 36)
        assert call(self.task, ioctl, 0, ttys.TCGETS, address) == 0
        data = bytearray(get(self.task, address, 36))
        flags = int.from_bytes(data[12:16], "little")
        data[12:16] = ((flags & ~no_lflag) | lflag).to_bytes(4, "little")
        data[17 + VMIN], data[17 + VTIME] = least, tenths
        assert call(self.task, ioctl, 0, ttys.TCSETS, put(self.task, bytes(data))) == 0


@pytest.fixture
def shell() -> Shell:
    return Shell()


def read_fd(t: Task, fd: int, sink: BytesSink) -> int:
    return io.read(t, io.file_of(t, fd), sink)


class SkippingSource(BytesSource):
    def skip(self, count: int) -> None:
        self.take(count)


def write_fd(t: Task, fd: int, data: bytes) -> int:
    return io.write(t, io.file_of(t, fd), SkippingSource(data))


def read_now(file: File, count: int) -> bytes | int:
    sink = BytesSink(count)
    n = file.read(sink, 0)
    return sink.data if n >= 0 else n


def winsize(task: Task, fd: int) -> tuple[int, ...]:
    address = room(task, 8)
    assert call(task, ioctl, fd, ttys.TIOCGWINSZ, address) == 0
    return struct.unpack("<HHHH", get(task, address, 8))


def test_what_is_typed_is_echoed_and_read(shell: Shell) -> None:
    sink = BytesSink(100)
    assert call(shell.task, read_fd, 0, sink) == PARKED
    shell.type_in(b"ls\r")
    run(shell.task.kernel)
    assert sink.data == b"ls\n"
    assert shell.screen() == b"ls\r\n"
    assert call(shell.task, write_fd, 0, b"out\n") == 4
    assert read_now(shell.master, 100) == b"out\r\n"
    assert read_now(shell.master, 100) == WOULD_BLOCK


def test_leader_without_terminal_gets_it_by_opening(shell: Shell) -> None:
    session = shell.task.group.session
    assert session.tty is shell.pty
    assert shell.pty.foreground is shell.task.group.process_group
    assert open_controlling(shell.task, None, O_RDWR).tty is shell.pty


def test_ctrl_c_goes_to_the_foreground_job_alone(shell: Shell) -> None:
    job = shell.job(foreground=True)
    job.group.actions.get(SIGINT).handler = 0x1000
    shell.task.group.actions.get(SIGINT).handler = 0x1000
    shell.type_in(b"\x03")
    assert job.group.pending.mask & bit(SIGINT)
    assert not shell.task.group.pending.mask & bit(SIGINT)
    assert shell.screen() == b"^C"


def test_background_read_stops_and_goes_on_in_the_foreground(shell: Shell) -> None:
    job = shell.job(foreground=False)
    sink = BytesSink(10)
    assert call(job, read_fd, 0, sink) == PARKED
    assert job.group.stopped
    advance(job.kernel, 1)
    shell.type_in(b"text\n")
    run(job.kernel)
    assert sink.data == b""
    send_to_group(job.group, SigInfo(SIGCONT))  # bg: it stops again
    run(job.kernel)
    advance(job.kernel, 1)
    assert job.group.stopped
    pgid = put(shell.task, struct.pack("<i", job.group.pid))
    assert call(shell.task, ioctl, 0, ttys.TIOCSPGRP, pgid) == 0
    send_to_group(job.group, SigInfo(SIGCONT))  # fg
    run(job.kernel)
    advance(job.kernel, 1)
    assert sink.data == b"text\n"


def test_background_read_that_ignores_the_signal_is_eio(shell: Shell) -> None:
    job = shell.job(foreground=False)
    job.group.actions.get(SIGTTIN).handler = SIG_IGN
    assert call(job, read_fd, 0, BytesSink(1)) == -5


def test_orphaned_background_read_is_eio(shell: Shell) -> None:
    job = shell.job(foreground=False)
    job.group.parent = shell.task.kernel.init
    assert call(job, read_fd, 0, BytesSink(1)) == -5


def test_tostop_stops_background_writers(shell: Shell) -> None:
    job = shell.job(foreground=False)
    assert call(job, write_fd, 0, b"free") == 4
    shell.settings(lflag=TOSTOP)
    assert call(job, write_fd, 0, b"held") == PARKED
    assert job.group.stopped
    assert shell.screen() == b"free"


def test_background_settings_change_needs_sigttou_blocked(shell: Shell) -> None:
    job = shell.job(foreground=False)
    address = put(job, shell.pty.ldisc.termios.pack())
    assert call(job, ioctl, 0, ttys.TCSETS, address) == PARKED
    assert job.group.stopped
    other = shell.job(foreground=False)
    other.signals.blocked = bit(SIGTTOU)
    assert call(other, ioctl, 0, ttys.TCSETS, put(other, shell.pty.ldisc.termios.pack())) == 0


def test_foreground_group_must_be_of_the_session(shell: Shell) -> None:
    task = shell.task
    init = task.kernel.init
    assert init is not None
    assert call(task, ioctl, 0, ttys.TIOCSPGRP, put(task, struct.pack("<i", init.pid))) == -1
    assert call(task, ioctl, 0, ttys.TIOCSPGRP, put(task, struct.pack("<i", 9999))) == -3
    assert call(task, ioctl, 0, ttys.TIOCSPGRP, put(task, struct.pack("<i", -1))) == -22
    found = room(task, 4)
    assert call(task, ioctl, 0, ttys.TIOCGPGRP, found) == 0
    assert struct.unpack("<i", get(task, found, 4))[0] == task.group.pid
    assert call(task, ioctl, 0, ttys.TIOCGSID, found) == 0
    assert struct.unpack("<i", get(task, found, 4))[0] == task.group.pid
    leader = task.kernel.init
    assert leader is not None
    init_task = leader.any_task()
    assert init_task is not None
    init_task.files.install(shell.slave, False)
    assert call(init_task, ioctl, 0, ttys.TIOCGPGRP, room(init_task, 4)) == -25


def test_window_size_reaches_both_sides_and_sigwinch_the_foreground(shell: Shell) -> None:
    job = shell.job(foreground=True)
    job.group.actions.get(SIGWINCH).handler = 0x1000
    shell.pty.resize(24, 80)
    assert winsize(shell.task, 0) == (24, 80, 0, 0)
    assert winsize(shell.task, 1) == (24, 80, 0, 0)
    assert job.group.pending.mask & bit(SIGWINCH)


def test_vmin_and_vtime(shell: Shell) -> None:
    task = shell.task
    shell.settings(no_lflag=ICANON | ECHO, least=0)
    assert call(task, read_fd, 0, BytesSink(5)) == 0
    shell.settings(least=0, tenths=3)
    assert call(task, read_fd, 0, BytesSink(5)) == PARKED
    advance(task.kernel, 300_000_000)
    assert host(task).results[-1] == 0
    shell.settings(least=3)
    sink = BytesSink(5)
    assert call(task, read_fd, 0, sink) == PARKED
    shell.type_in(b"ab")
    run(task.kernel)
    assert sink.data == b""
    shell.type_in(b"cd")
    run(task.kernel)
    assert sink.data == b"abcd"


def test_vtime_counts_between_characters(shell: Shell) -> None:
    task = shell.task
    shell.settings(no_lflag=ICANON | ECHO, least=10, tenths=2)
    sink = BytesSink(20)
    assert call(task, read_fd, 0, sink) == PARKED
    advance(task.kernel, 10**9)
    shell.type_in(b"a")
    run(task.kernel)
    advance(task.kernel, 150_000_000)
    shell.type_in(b"b")
    run(task.kernel)
    advance(task.kernel, 150_000_000)
    assert sink.data == b""
    advance(task.kernel, 60_000_000)
    assert sink.data == b"ab"


def test_stopped_output_blocks_writers_until_started(shell: Shell) -> None:
    shell.type_in(b"\x13")
    assert call(shell.task, write_fd, 0, b"later") == PARKED
    assert shell.screen() == b""
    shell.type_in(b"\x11")
    run(shell.task.kernel)
    assert shell.screen() == b"later"


def test_a_full_screen_blocks_writers_until_taken(shell: Shell) -> None:
    data = b"x" * 100_000
    assert call(shell.task, write_fd, 0, data) == PARKED
    shown = shell.screen()
    run(shell.task.kernel)
    shown += shell.screen()
    assert shown == data
    assert host(shell.task).results[-1] == len(data)


def test_closing_the_master_hangs_up(shell: Shell) -> None:
    task = shell.task
    task.group.actions.get(SIGHUP).handler = 0x1000
    shell.master.drop()
    assert task.group.pending.mask & bit(SIGHUP)
    assert read_now(shell.slave, 10) == b""
    with pytest.raises(EIO):
        shell.slave.write(BytesSource(b"x"), 0)
    assert shell.slave.poll() & POLLHUP
    assert task.group.session.tty is None
    assert task.kernel.devpts.ptys == {}


def test_closing_the_slave_is_eio_for_the_master_after_the_output(shell: Shell) -> None:
    shell.slave.write(BytesSource(b"bye"), 0)
    shell.task.files.close(0)
    assert shell.master.poll() & (POLLHUP | POLLIN) == POLLHUP | POLLIN
    assert read_now(shell.master, 10) == b"bye"
    with pytest.raises(EIO):
        read_now(shell.master, 10)
    shell.task.kernel.devpts.slaves[0].open(shell.task, O_RDWR | O_NOCTTY)
    assert read_now(shell.master, 10) == WOULD_BLOCK


def test_exit_of_the_session_leader_hangs_up_the_foreground_job(shell: Shell) -> None:
    job = shell.job(foreground=True)
    job.group.actions.get(SIGHUP).handler = 0x1000
    exit_group(shell.task.group, 0)
    assert job.group.pending.mask & bit(SIGHUP)
    assert read_now(shell.slave, 1) == b""


def test_packet_mode_prefixes_data_and_reports_flow(shell: Shell) -> None:
    task = shell.task
    assert call(task, ioctl, 1, ptys.TIOCPKT, put(task, struct.pack("<i", 1))) == 0
    shell.slave.write(BytesSource(b"hi"), 0)
    assert read_now(shell.master, 10) == b"\0hi"
    shell.type_in(b"\x13")
    assert read_now(shell.master, 10) == bytes((ptys.TIOCPKT_STOP,))


def test_pty_number_lock_and_peer(shell: Shell) -> None:
    task = shell.task
    number = room(task, 4)
    assert call(task, ioctl, 1, ptys.TIOCGPTN, number) == 0
    assert get(task, number, 4) == bytes(4)
    assert call(task, ioctl, 1, ptys.TIOCSPTLCK, put(task, b"\1\0\0\0")) == 0
    with pytest.raises(EIO):
        task.kernel.devpts.slaves[0].open(task, O_RDWR)
    fd = call(task, ioctl, 1, ptys.TIOCGPTPEER, O_RDWR | O_NOCTTY | O_NONBLOCK)
    peer = task.files.get(fd)
    assert isinstance(peer, TtyFile)
    assert peer.tty is shell.pty
    assert peer.describe() == "/dev/pts/0"


def test_typing_for_others_is_denied(shell: Shell) -> None:
    assert call(shell.task, ioctl, 0, ttys.TIOCSTI, put(shell.task, b"x")) == -5


def test_devpts_lists_live_pairs(shell: Shell) -> None:
    devpts = shell.task.kernel.devpts
    entries = devpts.top.open(shell.task, 0).readdir(0)
    assert [entry.name for entry in entries] == [b".", b"..", b"ptmx", b"0"]
    assert devpts.top.lookup(b"0") is devpts.slaves[0]
    for name in (b"00", b"1", b"x", b"-1", b"999999"):
        assert devpts.top.lookup(name) is None
    assert devpts.slaves[0].getattr().rdev == 136 << 8
