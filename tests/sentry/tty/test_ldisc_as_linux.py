"""The line discipline against the host's own: the same typing, the same screen, the same lines."""

from __future__ import annotations

import fcntl
import os
import random
import select

import pytest

from wardian.sentry.tty import termios as t
from wardian.sentry.tty.ldisc import LineDiscipline

TCSETS = 0x5402

BASE_L = t.ICANON | t.ECHO | t.ECHOE | t.ECHOK | t.ECHOCTL | t.ECHOKE | t.IEXTEN
MODES = {
    "default": (t.ICRNL | t.IXON, t.OPOST | t.ONLCR, BASE_L),
    "utf8": (t.ICRNL | t.IXON | t.IUTF8, t.OPOST | t.ONLCR, BASE_L),
    "no echoctl": (t.ICRNL, t.OPOST | t.ONLCR, BASE_L & ~t.ECHOCTL),
    "no echoe": (t.ICRNL, t.OPOST | t.ONLCR, BASE_L & ~(t.ECHOE | t.ECHOKE)),
    "no echo": (t.ICRNL, t.OPOST | t.ONLCR, BASE_L & ~t.ECHO),
    "echonl": (t.ICRNL, t.OPOST | t.ONLCR, (BASE_L & ~t.ECHO) | t.ECHONL),
    "no iexten": (t.ICRNL, t.OPOST | t.ONLCR, BASE_L & ~t.IEXTEN),
    "no opost": (t.ICRNL, 0, BASE_L),
    "igncr": (t.IGNCR, t.OPOST | t.ONLCR, BASE_L),
    "inlcr": (t.INLCR, t.OPOST | t.ONLCR, BASE_L),
    "istrip": (t.ISTRIP, t.OPOST | t.ONLCR, BASE_L),
    "raw": (0, 0, 0),
    "raw echo": (t.ICRNL, t.OPOST | t.ONLCR, t.ECHO | t.ECHOCTL),
    "xtabs": (t.ICRNL, t.OPOST | t.ONLCR | t.XTABS, BASE_L),
    "ocrnl": (0, t.OPOST | t.OCRNL, BASE_L),
    "onlret": (0, t.OPOST | t.ONLRET | t.ONOCR, BASE_L),
}
KEYS = [
    b"a",
    b"b ",
    b"word",
    b"_x9",
    b"\t",
    b"\x7f",
    b"\x7f\x7f",
    b"\x17",
    b"\x15",
    b"\x16",
    b"\x12",
    b"\x01",
    b"\x1b",
    b"\r",
    b"\n",
    b"\x04",
    "é".encode(),
    "€".encode(),
    b" ",
    b"\x03",
    b"\x1a",
]


def settings(mode: str) -> t.Termios:
    iflag, oflag, lflag = MODES[mode]
    return t.Termios(iflag, oflag, t.B38400 | t.CS8 | t.CREAD, lflag, 0, t.DEFAULT_CC)


def drain(fd: int) -> bytes:
    data = b""
    while select.select([fd], [], [], 0.02)[0]:
        data += os.read(fd, 65536)
    return data


class Native:
    """A host pty."""

    def __init__(self, mode: str) -> None:
        self.master, self.slave = os.openpty()
        fcntl.ioctl(self.slave, TCSETS, settings(mode).pack())
        os.set_blocking(self.slave, False)

    def type_in(self, data: bytes) -> bytes:
        os.write(self.master, data)
        return drain(self.master)

    def read(self) -> list[bytes]:
        lines = []
        while True:
            try:
                lines.append(os.read(self.slave, 4096))
            except BlockingIOError:
                return lines

    def close(self) -> None:
        os.close(self.master)
        os.close(self.slave)


@pytest.mark.parametrize("mode", sorted(MODES))
def test_typing_shows_and_gives_what_linux_does(mode: str) -> None:
    seed = sum(mode.encode())
    for attempt in range(8):
        chance = random.Random(seed * 100 + attempt)
        typed = b"".join(chance.choice(KEYS) for _ in range(chance.randrange(1, 40))) + b"\n"
        native = Native(mode)
        ours = LineDiscipline()
        ours.set_termios(settings(mode))
        try:
            screen = native.type_in(typed)
            lines = native.read()
        finally:
            native.close()
        ours.receive(typed)
        found = []
        line = ours.read(4096)
        while line is not None:
            found.append(line)
            line = ours.read(4096)
        assert (bytes(ours.echo), found) == (screen, lines), typed
