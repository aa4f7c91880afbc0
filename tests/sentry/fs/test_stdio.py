"""Standard descriptors for the first process, and the user's terminal, played by a host pty."""

from __future__ import annotations

import fcntl
import os
import struct
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest
from real_poller import RealPoller

from support import make_kernel, make_task
from wardian.platform.terminal import terminal_settings
from wardian.sentry.errno import EBADF, WOULD_BLOCK
from wardian.sentry.fs.devices import NullFile
from wardian.sentry.fs.devtmpfs import DevTmpFS
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.hosttty import HostTerminal, raw_settings
from wardian.sentry.fs.stdio import inherit_stdio
from wardian.sentry.kernel.signal_numbers import SIGINT, SIGWINCH, bit
from wardian.sentry.kernel.task import Task
from wardian.sentry.tty.devpts import DevPts, register_terminals
from wardian.sentry.tty.tty import Terminal
from wardian.sentry.tty.tty_file import TtyFile
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.namei import AT_FDCWD, path_text, resolve


@pytest.fixture
def task() -> Task:
    kernel = make_kernel()
    kernel.poller = RealPoller()
    kernel.devpts = DevPts(kernel, kernel.anonymous_dev())
    register_terminals(kernel.devices)
    task = make_task(kernel)
    root = kernel.mounts.root_path()
    root.inode.mkdir(b"dev", 0o755, 0, 0)
    kernel.mounts.mount(DevTmpFS(kernel.anonymous_dev(), kernel.clock), at(task, b"/dev"))
    kernel.mounts.mount(kernel.devpts, at(task, b"/dev/pts"))
    return task


def at(task: Task, path: bytes):  # type: ignore[no-untyped-def]
    return resolve(task, AT_FDCWD, path)


class User:
    """Somebody at a terminal: ``fd`` is what a shell would hand on."""

    def __init__(self) -> None:
        self.master, self.fd = os.openpty()
        os.set_blocking(self.master, False)
        self.resize(24, 80)

    def resize(self, rows: int, columns: int) -> None:
        fcntl.ioctl(self.fd, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))

    def type(self, data: bytes) -> None:
        os.write(self.master, data)

    def sees(self) -> bytes:
        try:
            return os.read(self.master, 1 << 20)
        except (BlockingIOError, OSError):
            return b""

    def close(self) -> None:
        for fd in (self.master, self.fd):
            try:
                os.close(fd)
            except OSError:
                pass


@pytest.fixture
def user() -> Iterator[User]:
    user = User()
    yield user
    user.close()


def run(task: Task) -> None:
    poller = task.kernel.poller
    assert isinstance(poller, RealPoller)
    poller.run(50)


def read(file: File) -> bytes | int:
    sink = BytesSink(1000)
    got = file.read(sink, 0)
    return sink.data if got > 0 else got


def connect(task: Task, user: User) -> tuple[HostTerminal, TtyFile]:
    terminal = inherit_stdio(task, HostFS(), [user.fd, user.fd, user.fd])
    assert terminal is not None
    file = task.files.get(0)
    assert isinstance(file, TtyFile)
    return terminal, file


# -- descriptors -----------------------------------------------------------------------------------
def test_pipes_and_closed_descriptors(task: Task) -> None:
    r, w = os.pipe()
    assert inherit_stdio(task, HostFS(), [-1, w, w]) is None
    with pytest.raises(EBADF):
        task.files.get(0)
    assert task.files.get(1) is task.files.get(2)
    task.files.get(1).write(BytesSource(b"out"), 0)
    os.close(w)
    assert os.read(r, 10) == b"out"
    task.files.close(1)
    task.files.close(2)
    assert os.read(r, 10) == b""
    os.close(r)


def test_separate_descriptions_stay_separate(task: Task, tmp_path: Path) -> None:
    one = os.open(tmp_path / "f", os.O_CREAT | os.O_WRONLY)
    two = os.open(tmp_path / "f", os.O_WRONLY)
    inherit_stdio(task, HostFS(), [-1, one, two])
    assert task.files.get(1) is not task.files.get(2)
    os.close(one)
    os.close(two)


def test_dev_null_is_the_guests_own(task: Task) -> None:
    fd = os.open("/dev/null", os.O_RDWR)
    inherit_stdio(task, HostFS(), [fd])
    file = task.files.get(0)
    assert isinstance(file, NullFile)
    assert file.path is not None
    assert path_text(file.path, task.fs.root) == b"/dev/null"
    os.close(fd)


# -- the terminal ----------------------------------------------------------------------------------
def test_the_terminal_is_a_controlling_pts(task: Task, user: User) -> None:
    terminal, file = connect(task, user)
    assert task.files.get(1) is file and task.files.get(2) is file
    assert task.group.session.tty is file.tty
    assert file.path is not None
    assert path_text(file.path, task.fs.root) == b"/dev/pts/0"
    assert task.kernel.console is file.tty
    assert file.tty.window == struct.pack("HHHH", 24, 80, 0, 0)
    terminal.close()


def test_typing_is_echoed_and_read_by_lines(task: Task, user: User) -> None:
    terminal, file = connect(task, user)
    user.type(b"hel")
    run(task)
    assert user.sees() == b"hel"
    assert read(file) == WOULD_BLOCK
    user.type(b"lo\r")
    run(task)
    assert user.sees() == b"lo\r\n"
    assert read(file) == b"hello\n"
    terminal.close()


def test_output_reaches_the_screen_with_one_carriage_return(task: Task, user: User) -> None:
    terminal, file = connect(task, user)
    file.write(BytesSource(b"a\nb\n"), 0)
    assert user.sees() == b"a\r\nb\r\n"
    terminal.close()


def test_ctrl_c_becomes_the_guests_sigint(task: Task, user: User) -> None:
    terminal, _ = connect(task, user)
    task.signals.blocked = bit(SIGINT)
    user.type(b"\x03")
    run(task)
    assert user.sees() == b"^C"
    assert pending(task) & bit(SIGINT)
    terminal.close()


def pending(task: Task) -> int:
    from wardian.sentry.kernel.signals import pending_mask

    return pending_mask(task)


def test_resizing_reaches_the_guest(task: Task, user: User) -> None:
    terminal, file = connect(task, user)
    task.signals.blocked = bit(SIGWINCH)
    user.resize(50, 132)
    terminal.window_changed()
    assert file.tty.window[:4] == struct.pack("HH", 50, 132)
    terminal.close()


def test_raw_while_running_and_as_before_afterwards(task: Task, user: User) -> None:
    before = termios.tcgetattr(user.fd)
    terminal, file = connect(task, user)
    during = termios.tcgetattr(user.fd)
    assert not during[3] & (termios.ECHO | termios.ICANON | termios.ISIG)
    assert not during[1] & termios.OPOST
    terminal.close()
    terminal.close()
    assert termios.tcgetattr(user.fd) == before
    assert file.hung_up


def test_the_users_settings_become_the_guests(task: Task, user: User) -> None:
    settings = termios.tcgetattr(user.fd)
    settings[6][termios.VERASE] = b"\x08"
    settings[3] &= ~termios.ECHO
    termios.tcsetattr(user.fd, termios.TCSANOW, settings)
    terminal, file = connect(task, user)
    guest = file.tty.ldisc.termios
    assert guest.cc[2] == 8 and not guest.lflag & termios.ECHO
    terminal.close()


def test_the_inherited_description_stays_blocking(task: Task, user: User) -> None:
    terminal, _ = connect(task, user)
    assert not fcntl.fcntl(user.fd, fcntl.F_GETFL) & os.O_NONBLOCK
    terminal.close()


def test_output_waits_for_a_slow_screen_and_is_not_lost(task: Task, user: User) -> None:
    terminal, file = connect(task, user)
    data = bytes(range(32, 127)) * 2000
    source = BytesSource(data)
    seen = b""
    for _ in range(10_000):
        if source.left and file.write(source, 0) == WOULD_BLOCK:
            seen += user.sees()
            run(task)
        if not source.left:
            break
    while piece := user.sees():
        seen += piece
        run(task)
    assert seen == data
    terminal.close()


def test_more_typed_than_fits_waits(task: Task, user: User) -> None:
    terminal, file = connect(task, user)
    lines = b"".join(b"line %d\r" % i for i in range(2000))
    got = b""
    for at in range(0, len(lines), 1000):
        user.type(lines[at : at + 1000])
        run(task)
        user.sees()
        while isinstance(piece := read(file), bytes):
            got += piece
    assert got == lines.replace(b"\r", b"\n")
    terminal.close()


def test_a_closed_window_hangs_up(task: Task, user: User) -> None:
    _, file = connect(task, user)
    os.close(user.master)
    run(task)
    assert file.hung_up
    assert read(file) == 0


def test_only_the_screen_when_input_is_a_file(task: Task, user: User) -> None:
    r, w = os.pipe()
    before = termios.tcgetattr(user.fd)
    terminal = inherit_stdio(task, HostFS(), [r, user.fd, user.fd])
    assert terminal is not None
    assert termios.tcgetattr(user.fd)[3] == before[3]
    task.files.get(1).write(BytesSource(b"x\n"), 0)
    assert user.sees() == b"x\r\n"
    user.type(b"not for us\r")
    run(task)
    assert isinstance(file := task.files.get(1), TtyFile)
    assert isinstance(file.tty, Terminal) and not file.tty.ldisc.readable()
    terminal.close()
    os.close(r)
    os.close(w)


def test_raw_settings_keep_what_is_not_processing(user: User) -> None:
    settings = terminal_settings(user.fd)
    assert settings is not None
    raw = raw_settings(settings, True)
    assert len(raw) == len(settings) == 36
    assert raw_settings(raw, True) == raw
