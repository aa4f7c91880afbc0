"""Terminal settings: struct termios and its flags (termios(3), asm-generic/termbits.h)."""

from __future__ import annotations

import struct
from typing import Final

ISTRIP: Final = 0o40
INLCR: Final = 0o100
IGNCR: Final = 0o200
ICRNL: Final = 0o400
IUCLC: Final = 0o1000
IXON: Final = 0o2000
IXANY: Final = 0o4000
IMAXBEL: Final = 0o20000
IUTF8: Final = 0o40000

OPOST: Final = 0o1
OLCUC: Final = 0o2
ONLCR: Final = 0o4
OCRNL: Final = 0o10
ONOCR: Final = 0o20
ONLRET: Final = 0o40
TABDLY: Final = 0o14000
XTABS: Final = 0o14000

B38400: Final = 0o17
CS8: Final = 0o60
CREAD: Final = 0o200
CBAUD: Final = 0o10017
BOTHER: Final = 0o10000

ISIG: Final = 0o1
ICANON: Final = 0o2
ECHO: Final = 0o10
ECHOE: Final = 0o20
ECHOK: Final = 0o40
ECHONL: Final = 0o100
NOFLSH: Final = 0o200
TOSTOP: Final = 0o400
ECHOCTL: Final = 0o1000
ECHOKE: Final = 0o4000
IEXTEN: Final = 0o100000
EXTPROC: Final = 0o200000

VINTR: Final = 0
VQUIT: Final = 1
VERASE: Final = 2
VKILL: Final = 3
VEOF: Final = 4
VTIME: Final = 5
VMIN: Final = 6
VSTART: Final = 8
VSTOP: Final = 9
VSUSP: Final = 10
VEOL: Final = 11
VREPRINT: Final = 12
VWERASE: Final = 14
VLNEXT: Final = 15
VEOL2: Final = 16
NCCS: Final = 19

TERMIOS: Final = struct.Struct("<IIIIB19s")
SPEEDS: Final = struct.Struct("<II")
DEFAULT_CC: Final = b"\x03\x1c\x7f\x15\x04\x00\x01\x00\x11\x13\x1a\x00\x12\x0f\x17\x16\x00\x00\x00"


class Termios:
    """struct termios2; immutable by convention: settings change by replacing the object."""

    def __init__(
        self, iflag: int, oflag: int, cflag: int, lflag: int, line: int, cc: bytes
    ) -> None:
        self.iflag = iflag
        self.oflag = oflag
        self.cflag = cflag
        self.lflag = lflag
        self.line = line
        self.cc = cc
        self.ispeed = 38400
        self.ospeed = 38400

    @property
    def canonical(self) -> bool:
        return self.lflag & ICANON != 0

    def pack(self) -> bytes:
        """struct termios as TCGETS gives it."""
        return TERMIOS.pack(self.iflag, self.oflag, self.cflag, self.lflag, self.line, self.cc)

    def pack2(self) -> bytes:
        """struct termios2 as TCGETS2 gives it."""
        return self.pack() + SPEEDS.pack(self.ispeed, self.ospeed)


def default_termios() -> Termios:
    """The settings of a fresh pseudoterminal (tty_std_termios, pty_unix98_init)."""
    return Termios(
        ICRNL | IXON,
        OPOST | ONLCR,
        B38400 | CS8 | CREAD,
        ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN,
        0,
        DEFAULT_CC,
    )


def parse_termios(data: bytes, old: Termios) -> Termios:
    """What TCSETS or TCSETS2 was given; speeds are kept from ``old`` when the struct has none.

    A pseudoterminal is always CS8, CREAD and without parity.
    """
    iflag, oflag, cflag, lflag, line, cc = TERMIOS.unpack_from(data)
    cflag = (cflag & ~0o1460) | CS8 | CREAD  # CSIZE and PARENB are not ours to honour
    new = Termios(iflag, oflag, cflag, lflag, line, cc)
    new.ispeed, new.ospeed = old.ispeed, old.ospeed
    if len(data) >= TERMIOS.size + SPEEDS.size and cflag & CBAUD == BOTHER:
        new.ispeed, new.ospeed = SPEEDS.unpack_from(data, TERMIOS.size)
    return new
