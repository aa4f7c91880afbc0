"""The settings of the user's terminal, for the launcher and for ``sentry.fs.hosttty``."""

from __future__ import annotations

import _signal as signal
import fcntl
import os
import struct
from typing import Final

TCGETS: Final = 0x5401
TCSETS: Final = 0x5402
TIOCGPGRP: Final = 0x540F

TERMIOS: Final = struct.Struct("=IIIIB19s")  # the kernel's struct termios


def terminal_settings(fd: int) -> bytes | None:
    """The termios of a terminal, to be given to :func:`restore_terminal`; None when it has none."""
    try:
        return fcntl.ioctl(fd, TCGETS, bytes(TERMIOS.size))
    except OSError:
        return None


def restore_terminal(fd: int, settings: bytes) -> None:
    """Set a terminal's termios, from the background too (SIGTTOU is blocked meanwhile)."""
    old = signal.pthread_sigmask(signal.SIG_BLOCK, (signal.SIGTTOU,))
    try:
        fcntl.ioctl(fd, TCSETS, settings)
    except OSError:
        pass
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, old)


def in_foreground(fd: int) -> bool:
    """True when our host process group may read the terminal
    ``fd`` and set it; for the launcher."""
    try:
        group = struct.unpack("=i", fcntl.ioctl(fd, TIOCGPGRP, bytes(4)))[0]
    except OSError:
        return True  # not our controlling terminal: there is no job control to respect
    return bool(group == os.getpgrp())
