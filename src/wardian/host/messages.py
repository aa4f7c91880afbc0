"""Lines for the user, on a standard error that may be closed, full or gone."""

from __future__ import annotations

import os
import select

STDERR = 2
OWN_STATUS = 125
"""Wardian's own errors; 126 and 127 are the command's (as docker run, env(1))."""


def complain(words: str, who: str = "wardian") -> None:
    """One line that says what, why and what to do."""
    write_line(f"{who}: {printable(words)}")


def printable(words: str) -> str:
    """Names may hold anything, and come from files of the sandbox: no line breaks, nothing that a
    terminal obeys."""
    if words.isprintable():
        return words
    return "".join(c if c.isprintable() else repr(c)[1:-1] for c in words)


def write_line(line: str) -> None:
    """Write it whole, or let it be: there is nobody to tell."""
    data = os.fsencode(line if line.endswith("\n") else line + "\n")
    try:
        while data:
            data = data[_write(data) :]
    except OSError:
        pass


def _write(data: bytes) -> int:
    try:
        return os.write(STDERR, data)
    except BlockingIOError:  # somebody else made it non-blocking
        waiting = select.poll()
        waiting.register(STDERR, select.POLLOUT)
        waiting.poll()
        return 0
