"""What Wardian says of its own doings, for ``--log`` and ``--debug``.

Not ``logging``: importing that takes as long as Python needs to start, and most runs log nothing.
The file is opened before the confinement closes and stays the process's only one.
"""

from __future__ import annotations

import os
import time
from typing import Final

DEBUG: Final = 10
INFO: Final = 20
WARNING: Final = 30
ERROR: Final = 40
NAMES: Final = {DEBUG: "DEBUG", INFO: "INFO", WARNING: "WARNING", ERROR: "ERROR"}
STDERR: Final = 2


class Sink:
    """Where the lines of a process go, and from which level on."""

    def __init__(self) -> None:
        self.level = ERROR
        self.fd = STDERR
        self.prefix = "wardian: "  # on standard error, where others write too
        self.dated = False

    def open_file(self, path: str) -> None:
        """Append to ``path`` from now on, with the time and the level; OSError."""
        self.fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o666)
        self.prefix = ""
        self.dated = True

    def write(self, level: int, name: str, words: str) -> None:
        """One line; where it cannot be written there is nobody to tell."""
        line = f"{name}: {words}"
        if self.dated:
            line = f"{utc(time.time())} {name} {NAMES[level]} {words}"
        try:
            os.write(self.fd, os.fsencode(f"{self.prefix}{line}\n"))
        except (OSError, ValueError):
            pass


def utc(seconds: float) -> str:
    """A date that needs no time zone's file, as RFC 3339 writes it."""
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))
    return f"{text}.{int(seconds * 1000) % 1000:03d}Z"


SINK: Final = Sink()


class Log:
    """One area's voice. ``words`` are as for ``%``, put together only when they are written."""

    def __init__(self, name: str) -> None:
        self.name = name

    def debug(self, words: str, *values: object) -> None:
        """For whoever looks for a fault."""
        self.say(DEBUG, words, values)

    def info(self, words: str, *values: object) -> None:
        """For whoever keeps a log."""
        self.say(INFO, words, values)

    def warning(self, words: str, *values: object) -> None:
        """Something is not as it should be, and the sandbox goes on."""
        self.say(WARNING, words, values)

    def error(self, words: str, *values: object) -> None:
        """Something failed."""
        self.say(ERROR, words, values)

    def say(self, level: int, words: str, values: tuple[object, ...]) -> None:
        """Write it, if anybody wants to know."""
        if level >= SINK.level:
            SINK.write(level, self.name, words % values if values else words)
