"""The first line of an interpreter script (execve(2), "Interpreter scripts"); the rules of
fs/binfmt_script.c."""

from __future__ import annotations

from typing import Final

from wardian.sentry.errno import ENOEXEC

PEEK_SIZE: Final = 256
"""Bytes of a file that decide what it is (BINPRM_BUF_SIZE); a longer ``#!`` line is cut here."""

_BLANK: Final = b" \t"


class ScriptLine:
    """``#!interpreter [argument]``."""

    def __init__(self, interpreter: bytes, argument: bytes) -> None:
        self.interpreter = interpreter
        self.argument = argument  # all after the interpreter's name, blanks trimmed; may be empty


def parse_script(start: bytes) -> ScriptLine | None:
    """The ``#!`` line in the first bytes of a file, or None when it is not a script; ENOEXEC."""
    if start[:2] != b"#!":
        return None
    peek = start[:PEEK_SIZE]
    end = peek.find(b"\n")
    line = peek[2:] if end < 0 else peek[2:end]
    complete = end >= 0 or len(start) < PEEK_SIZE
    line = line.lstrip(_BLANK)
    cut = _name_end(line)
    if not complete and cut == len(line):
        raise ENOEXEC("interpreter's name is too long")
    name = line[:cut]
    if not name:
        raise ENOEXEC("script names no interpreter")
    rest = line[cut:]
    if rest[:1] == b"\0":
        return ScriptLine(name, b"")
    nul = rest.find(b"\0")
    argument = rest if nul < 0 else rest[:nul]
    return ScriptLine(name, argument.strip(_BLANK))


def _name_end(line: bytes) -> int:
    """Where the interpreter's name ends: at a blank, a NUL or the end."""
    for index in range(len(line)):
        if line[index] in (0x20, 0x09, 0):
            return index
    return len(line)
