"""The user's terminal, joined to a guest pseudoterminal.

Programs in the sandbox see an ordinary pty with the guest's own line discipline, job control and
echo. The host's terminal is put into raw mode, so that every key, Ctrl-C included, reaches that
line discipline as a byte;
:class:`HostTerminal` stands where a terminal emulator would, at the master's side, and copies
bytes both ways whenever the host's terminal or the pty says that it can. Window changes (SIGWINCH)
are passed on by
:meth:`HostTerminal.window_changed`; :meth:`HostTerminal.close` puts the terminal back as it was.

Whoever supervises the Sentry should keep :func:`terminal_settings` and restore them too: a killed
Sentry cannot.

A job in the background must not touch the terminal's settings or read from it (SIGTTOU, SIGTTIN);
it only writes. Whether we are in the foreground we must be told (:meth:`HostTerminal.foreground`):
in a pid namespace of our own, the host hides the terminal's process group from us.
"""

from __future__ import annotations

import fcntl
import os
import select
import time
from typing import Final

from wardian.platform.terminal import TERMIOS, restore_terminal, terminal_settings
from wardian.sentry.hostport import HostPoller
from wardian.sentry.kernel.waitqueue import Registration, Waiter, WaitQueue
from wardian.sentry.tty.pty import Pty
from wardian.sentry.tty.termios import parse_termios
from wardian.sentry.vfs.file import POLLHUP, POLLIN, POLLOUT

TIOCGWINSZ: Final = 0x5413

VTIME: Final = 5
VMIN: Final = 6
INPUT_PROCESSING: Final = 0o2753  # IGNBRK BRKINT PARMRK ISTRIP INLCR IGNCR ICRNL IXON
OPOST: Final = 0o1
LOCAL_PROCESSING: Final = 0o100113  # ECHO ECHONL ICANON ISIG IEXTEN
CSIZE_PARENB: Final = 0o460
CS8: Final = 0o60

READ_PIECE: Final = 4096
WRITE_PIECE: Final = 65536
BLOCKING_WRITE_PIECE: Final = 256  # what a terminal that polls writable surely takes
DRAIN_SECONDS: Final = 2.0


def raw_settings(settings: bytes, keys: bool) -> bytes:
    """``settings`` without any processing; of output only when no ``keys`` are read."""
    iflag, oflag, cflag, lflag, line, cc = TERMIOS.unpack(settings)
    oflag &= ~OPOST
    if keys:
        iflag &= ~INPUT_PROCESSING
        lflag &= ~LOCAL_PROCESSING
        cflag = cflag & ~CSIZE_PARENB | CS8
        chars = bytearray(cc)
        chars[VMIN], chars[VTIME] = 1, 0
        cc = bytes(chars)
    return TERMIOS.pack(iflag, oflag, cflag, lflag, line, cc)


def own_description(fd: int) -> tuple[int, bool]:
    """Another descriptor of the terminal ``fd``, and whether it is non-blocking: opened anew when
    that is allowed, since O_NONBLOCK on the inherited one would be seen by the user's shell."""
    for name in (f"/proc/self/fd/{fd}", terminal_name(fd)):
        try:
            return os.open(name, os.O_RDWR | os.O_NOCTTY | os.O_NONBLOCK | os.O_CLOEXEC), True
        except OSError:
            continue
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, 3), False


def terminal_name(fd: int) -> str:
    """ttyname(3)."""
    try:
        return os.ttyname(fd)
    except OSError:
        return "/dev/tty"


class HostTerminal(Waiter):
    """The master's side of ``pty``, acted by the host terminal ``fd`` (owned from now on)."""

    def __init__(
        self,
        pty: Pty,
        poller: HostPoller,
        fd: int,
        nonblocking: bool,
        keys: bool,
        ours: bool = True,
    ) -> None:
        self.pty = pty
        self.poller = poller
        self.fd = fd
        self.nonblocking = nonblocking
        self.keys = keys  # standard input is the terminal: read it
        self.ours = ours  # we are the terminal's foreground job
        self.settings = terminal_settings(fd)
        self.raw = False
        self.closed = False
        self.pumping = False
        self.again = False  # woken while pumping: echo, mostly
        self.typed = b""  # read from the host, not yet taken by the line discipline
        self.shown = b""  # taken from the pty, not yet taken by the host
        self.registrations: list[Registration] = []

    # -- life --------------------------------------------------------------------------------------
    def start(self) -> None:
        """Take over the terminal: settings, size, raw mode, and the first bytes."""
        if self.settings is not None:
            ldisc = self.pty.ldisc
            ldisc.set_termios(parse_termios(self.settings, ldisc.termios))
        self.window_changed()
        self.take_settings()
        self.listen(self.poller.watch(self.fd, POLLIN | POLLOUT))
        self.listen(self.pty.master_queue)
        self.pump()

    def listen(self, queue: WaitQueue) -> None:
        self.registrations.append(queue.add(self, 0))

    def take_settings(self) -> None:
        """Raw mode, if the terminal is ours to set."""
        if self.settings is not None and self.ours:
            restore_terminal(self.fd, raw_settings(self.settings, self.keys))
            self.raw = True

    def window_changed(self) -> None:
        """The host's window may have another size now (SIGWINCH)."""
        try:
            self.pty.set_window(fcntl.ioctl(self.fd, TIOCGWINSZ, bytes(8)))
        except OSError:
            pass

    def give_back(self) -> None:
        """Leave raw mode, before being stopped or ending."""
        if self.raw and self.ours and self.settings is not None:
            restore_terminal(self.fd, self.settings)
        self.raw = False

    def foreground(self, ours: bool) -> None:
        """We are the terminal's foreground job from now on, or not any more."""
        if self.closed:
            return
        if not ours:
            self.give_back()
        self.ours = ours
        self.take_settings()
        self.window_changed()
        self.pump()

    def close(self) -> None:
        """Show what is left, restore the terminal, hang up the pty. Harmless when done twice."""
        if self.closed:
            return
        self.drain()
        self.closed = True
        self.give_back()
        for registration in self.registrations:
            registration.cancel()
        self.registrations.clear()
        self.poller.forget(self.fd)
        os.close(self.fd)
        self.pty.hang_up_master()

    def drain(self) -> None:
        """Write out what programs printed; a terminal that takes nothing is given up."""
        deadline = time.monotonic() + DRAIN_SECONDS
        self.show()
        while not self.closed and (self.shown or self.pty.out):
            left = deadline - time.monotonic()
            if left <= 0:
                return
            poller = select.poll()
            poller.register(self.fd, select.POLLOUT)
            poller.poll(int(left * 1000) + 1)
            self.show()

    # -- copying -----------------------------------------------------------------------------------
    def woken(self, queue: WaitQueue, events: int) -> None:
        self.pump()

    def pump(self) -> None:
        """Copy both ways until nobody takes or gives any more."""
        self.again = True
        if self.pumping:
            return
        self.pumping = True
        while self.again and not self.closed:
            self.again = False
            self.show()
            if self.keys and not self.closed:
                self.type()
                self.show()  # echo
        self.pumping = False

    def type(self) -> None:
        """From the host's keyboard to the line discipline."""
        while True:
            if not self.typed:
                data = self.read_host()
                if not data:
                    return
                self.typed = data
            taken = self.pty.write_from_host(self.typed)
            self.typed = self.typed[taken:]
            if self.typed:
                return  # no room: the pty wakes us when a program has read

    def read_host(self) -> bytes:
        """What was typed, b"" for nothing now."""
        if not self.ours:
            return b""
        if not self.nonblocking and not self.poller.ready(self.fd, POLLIN):
            return b""
        try:
            data = os.read(self.fd, READ_PIECE)
        except BlockingIOError:
            return b""
        except OSError:
            if not self.poller.ready(self.fd, POLLIN) & POLLHUP:
                self.ours = False  # EIO in the background; we shall be told when that changes
                return b""
            data = b""
        if not data:
            self.gone()
        return data

    def show(self) -> None:
        """From programs to the host's screen."""
        while not self.closed:
            if not self.shown:
                self.shown = self.pty.take_output(WRITE_PIECE)
                if not self.raw:  # then the host makes its own carriage returns
                    self.shown = self.shown.replace(b"\r\n", b"\n")
                if not self.shown:
                    return
            taken = self.write_host(self.shown)
            if taken <= 0:
                return
            self.shown = self.shown[taken:]

    def write_host(self, data: bytes) -> int:
        """Bytes the terminal took; 0 when it takes none now."""
        if not self.nonblocking:
            if not self.poller.ready(self.fd, POLLOUT):
                return 0
            data = data[:BLOCKING_WRITE_PIECE]
        try:
            return os.write(self.fd, data)
        except BlockingIOError:
            return 0
        except OSError:
            self.gone()
            return 0

    def gone(self) -> None:
        """The user's terminal was closed: so is the guest's (SIGHUP)."""
        self.shown = b""
        self.typed = b""
        self.pty.out.clear()
        self.pty.out_size = 0
        self.close()
