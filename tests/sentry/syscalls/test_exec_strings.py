"""argv and envp of an execve(2), as the stub sends them along."""

from __future__ import annotations

import random
import struct

import pytest

import support
from wardian.sentry.kernel.task import Call, Task
from wardian.sentry.syscalls.task import EXEC_STRINGS, sent_strings


def sent(path: bytes, size: int, argc: int, envc: int, strings: bytes) -> bytes:
    """The call's data: the path's record, then what the stub says."""
    record = struct.pack("<q", len(path)) + path.ljust(len(path) + 7 & ~7, b"\0")
    return record + EXEC_STRINGS.pack(size, argc, envc) + strings


def told(data: bytes, path: bytes = b"/bin/x") -> tuple[list[bytes], list[bytes]] | None:
    task: Task = support.make_task()
    head = struct.pack("<4I2I6Q", 1, 0, len(data), 0, 59, 0, 1, 2, 3, 0, 0, 0)
    task.call = Call(head + data)
    return sent_strings(task, path)


@pytest.mark.parametrize("path", [b"", b"x", b"/bin/x", b"/bin/xx", b"/bin/xxx"])
def test_words_and_environment(path: bytes) -> None:
    text = b"sh\0-c\0\0A=1\0B=\0"
    assert told(sent(path, len(text), 3, 2, text), path) == ([b"sh", b"-c", b""], [b"A=1", b"B="])
    assert told(sent(path, 0, 0, 0, b""), path) == ([], [])
    assert told(sent(path, 1, 0, 1, b"\0"), path) == ([], [b""])


@pytest.mark.parametrize(
    ("size", "argc", "envc", "strings"),
    [
        (-1, 0, 0, b""),
        (-(1 << 63), 0, 0, b""),
        (4, 1, 0, b"abc"),
        ((1 << 63) - 1, 1, 0, b"abc\0"),
        (3, 1, 0, b"abc\0"),
        (4, 1, 1, b"abc\0"),
        (4, 0, 0, b"abc\0"),
        (4, 0xFFFFFFFF, 0xFFFFFFFF, b"abc\0"),
        (4, 0xFFFFFFFF, 2, b"abc\0"),
        (0, 1, 0, b""),
    ],
)
def test_nonsense_is_not_believed(size: int, argc: int, envc: int, strings: bytes) -> None:
    assert told(sent(b"/bin/x", size, argc, envc, strings)) is None


def test_any_bytes() -> None:
    chance = random.Random(1)
    for _ in range(2000):
        data = chance.randbytes(chance.randrange(60))
        found = told(data, b"/" * chance.randrange(20))
        assert found is None or all(b"\0" not in text for text in found[0] + found[1])
