"""What the API does, as conversations with the server: each ``yield`` sends a message and gives its
answer. ``sdk.sandbox`` and ``sdk.aio`` hold them, one blocking, one not. A failure that the server
reports (:func:`answer_error`) is raised at the ``yield``.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Generator, Iterable, Iterator
from typing import IO, Any, TypeVar

from wardian.sdk.errors import CommandNotExecutable, CommandNotFound, ConfigError, SandboxError
from wardian.sdk.options import StrPath
from wardian.sdk.streams import Streams
from wardian.sdk.wire import Fields, Message

T = TypeVar("T")
Steps = Generator[Message, Message, T]

PIECE = 512 << 10
MAX_FILE = 256 << 20
"""What ``read_file`` takes at most, unless told otherwise."""

Data = bytes | bytearray | memoryview | str | IO[bytes] | Iterable[bytes]

ERRORS: dict[str, type[SandboxError]] = {
    "config": ConfigError,
    "not-found": CommandNotFound,
    "not-executable": CommandNotExecutable,
}


def answer_error(fields: Fields) -> Exception | None:
    """The failure that an answer tells of."""
    error = fields.get("error")
    if error is None:
        return None
    if error["kind"] == "os":
        return OSError(error["errno"], os.strerror(error["errno"]), error["path"])
    return ERRORS.get(error["kind"], SandboxError)(error["words"])


# -- commands --------------------------------------------------------------------------------------
class Started:
    """A command that runs."""

    def __init__(self, number: int, pid: int) -> None:
        self.number = number  # the server's name for it, never used again
        self.pid = pid  # inside


def spawn(
    argv: list[str], streams: Streams, env: dict[str, str], cwd: str | None, user: str
) -> Steps[Started]:
    """Start a command; ``env`` is on top of the sandbox's."""
    fields = {"op": "spawn", "argv": argv, "streams": streams.plan, "env": env, "cwd": cwd}
    answer = yield Message({**fields, "user": user}, fds=streams.theirs)
    return Started(answer.fields["command"], answer.fields["pid"])


def kill(number: int, signo: int) -> Steps[None]:
    """A signal for the command's first process; nothing when it has ended."""
    yield Message({"op": "kill", "command": number, "signal": signo})


def end(number: int) -> Steps[None]:
    """SIGKILL for the command and its descendants."""
    yield Message({"op": "end", "command": number})


# -- files -----------------------------------------------------------------------------------------
def inside(path: StrPath) -> str:
    """A path inside; relative ones start at the root."""
    text = os.fspath(path)
    if not isinstance(text, str):
        raise TypeError("a path inside must be a string")
    if "\0" in text:
        raise ValueError("a path cannot hold a NUL")
    return text if text.startswith("/") else f"/{text}"


def open_file(path: StrPath, mode: str, bits: int | None = None) -> Steps[int]:
    """A handle on a regular file (mode r or w) or a directory (d)."""
    answer = yield Message({"op": "open", "path": inside(path), "mode": mode, "bits": bits})
    return int(answer.fields["handle"])


def read_piece(handle: int) -> Steps[bytes]:
    """The next bytes; b"" at the end."""
    return (yield Message({"op": "read", "handle": handle, "count": PIECE})).payload


def close_file(handle: int) -> Steps[None]:
    """Give a handle back."""
    yield Message({"op": "close-file", "handle": handle})


def read_file(path: StrPath, limit: int) -> Steps[bytes]:
    """A whole file; EFBIG beyond ``limit``."""
    handle = yield from open_file(path, "r")
    parts: list[bytes] = []
    total = 0
    try:
        while piece := (yield from read_piece(handle)):
            total += len(piece)
            if total > limit:
                raise OSError(errno.EFBIG, f"larger than the limit of {limit} bytes", inside(path))
            parts.append(piece)
    finally:
        yield from close_file(handle)
    return b"".join(parts)


def write_file(path: StrPath, data: Data, bits: int | None) -> Steps[int]:
    """Make or replace a file; how many bytes were written."""
    source = pieces(data)
    handle = yield from open_file(path, "w", bits)
    total = 0
    try:
        for piece in source:
            yield Message({"op": "write", "handle": handle}, payload=piece)
            total += len(piece)
    finally:
        yield from close_file(handle)
    return total


def pieces(data: Data) -> Iterator[bytes]:
    """The bytes of whatever was given, in pieces that fit a message."""
    if isinstance(data, str):
        data = data.encode()
    if isinstance(data, (bytes, bytearray, memoryview)):
        return cut(memoryview(data).cast("B"))
    read = getattr(data, "read", None)
    if read is not None:
        return file_pieces(read)
    return (piece for part in data for piece in cut(memoryview(checked(part))))


def cut(view: memoryview) -> Iterator[bytes]:
    """Pieces of one buffer."""
    for start in range(0, len(view), PIECE):
        yield bytes(view[start : start + PIECE])


def file_pieces(read: Any) -> Iterator[bytes]:
    """Pieces of an open binary file."""
    while piece := checked(read(PIECE)):
        yield from cut(memoryview(piece))


def checked(part: object) -> bytes:
    """A part of what an iterable or a file gave."""
    if not isinstance(part, bytes):
        raise TypeError(f"the data must be bytes, not {type(part).__name__}: open files in binary")
    return part


def listdir(path: StrPath) -> Steps[list[str]]:
    """The names in a directory, sorted."""
    handle = yield from open_file(path, "d")
    names: list[str] = []
    try:
        while more := (yield Message({"op": "list", "handle": handle})).fields["names"]:
            names += more
    finally:
        yield from close_file(handle)
    return sorted(names)


def exists(path: StrPath) -> Steps[bool]:
    """Whether a path leads somewhere."""
    answer = yield Message({"op": "stat", "path": inside(path), "follow": True})
    return bool(answer.fields["kind"])


def remove(path: StrPath, recursive: bool) -> Steps[None]:
    """Remove a file or an empty directory; with ``recursive`` a directory and all that is in it."""
    todo: list[tuple[str, bool]] = [(inside(path).rstrip("/") or "/", False)]
    while todo:
        place, emptied = todo.pop()
        if recursive and not emptied and (yield from is_directory(place)):
            todo.append((place, True))
            names = yield from listdir(place)
            todo += [(f"{place.rstrip('/')}/{name}", False) for name in names]
            continue
        yield Message({"op": "remove", "path": place})


def is_directory(path: str) -> Steps[bool]:
    """Whether ``path`` itself is one, not a link to one."""
    answer = yield Message({"op": "stat", "path": path, "follow": False})
    return str(answer.fields["kind"]) == "directory"
