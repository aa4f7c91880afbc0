"""A command's standard input, output and error, and the pipe that tells of its end.

Nothing here waits: :class:`Exchange` says which descriptors to wait for and is told when one is
ready, by a selector (``sdk.process``) or by asyncio's loop (``sdk.aio``).
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
from typing import Any

from wardian.sdk.errors import ConfigError
from wardian.sdk.options import DEVNULL, PIPE, STDOUT, Stream
from wardian.sdk.wire import NULL, SAME

Input = bytes | str | None

PIECE = 64 << 10
PIPE_SIZE = 256 << 10


class Streams:
    """The descriptors of one command: ``theirs`` go to the server, ``ours`` stay."""

    def __init__(self, stdin: Stream, stdout: Stream, stderr: Stream) -> None:
        self.theirs: list[int] = []
        self.ours: list[int] = [-1, -1, -1]
        self.plan: list[int | str] = []  # per stream: index in ``theirs``, NULL, or SAME
        self.exit = -1
        try:
            for number, stream in enumerate((stdin, stdout, stderr)):
                self.plan.append(self.add(number, stream))
            self.exit, theirs = os.pipe()
            self.theirs.append(theirs)
        except BaseException:
            self.close()
            raise

    def add(self, number: int, stream: Stream) -> int | str:
        """One stream of the plan."""
        if stream is None or stream == DEVNULL:
            return NULL
        if stream == STDOUT:
            if number != 2:
                raise ConfigError("STDOUT can only be given for stderr")
            return SAME
        if stream == PIPE:
            read, write = os.pipe()
            with contextlib.suppress(OSError):
                fcntl.fcntl(write, fcntl.F_SETPIPE_SZ, PIPE_SIZE)
            self.theirs.append(write if number else read)
            self.ours[number] = read if number else write
        else:
            self.theirs.append(os.dup(stream if isinstance(stream, int) else stream.fileno()))
        return len(self.theirs) - 1

    def sent(self) -> None:
        """The server has its ends: ours of them go, so that an end of file can be seen."""
        while self.theirs:
            os.close(self.theirs.pop())

    def exchange(self, input: Input, max_output: int) -> Exchange:
        """The command runs: move its data from now on. The exchange closes our end of its input."""
        exchange = Exchange(self.ours, self.exit, input_bytes(input), max_output)
        self.ours[0] = -1
        return exchange

    def close(self) -> None:
        """The command did not come to be."""
        self.sent()
        for fd in [*self.ours, self.exit]:
            if fd >= 0:
                os.close(fd)
        self.ours, self.exit = [-1, -1, -1], -1


class Collector:
    """What arrives on a pipe."""

    def __init__(self, fd: int) -> None:
        self.fd = fd
        self.parts: list[bytes] = []
        self.size = 0
        os.set_blocking(fd, False)

    def pump(self, limit: int) -> bool:
        """Take what is there, until ``limit`` bytes are; False at the end of the file."""
        while self.size <= limit:
            try:
                data = os.read(self.fd, PIECE)
            except BlockingIOError:
                return True
            if not data:
                return False
            self.parts.append(data)
            self.size += len(data)
        return True

    @property
    def data(self) -> bytes:
        """Everything so far."""
        return b"".join(self.parts)


class Exchange:
    """One command's input, output and end. ``done`` when the command has ended and everything it
    wrote is here; what a descendant that outlives it will write is not waited for."""

    def __init__(self, streams: list[int], exit_fd: int, data: bytes, max_output: int) -> None:
        self.input = streams[0]
        self.left = memoryview(data)
        self.outputs = [Collector(fd) if fd >= 0 else None for fd in streams[1:]]
        self.exit = exit_fd
        self.max_output = max_output
        self.open_outputs = {c.fd: c for c in self.outputs if c is not None}
        self.report: dict[str, Any] | None = None
        self.done = False
        if self.input >= 0:
            os.set_blocking(self.input, False)
            self.write()

    # -- what to wait for --------------------------------------------------------------------------
    def to_read(self) -> list[int]:
        """Descriptors that may have something to read."""
        return [self.exit, *self.open_outputs]

    def to_write(self) -> list[int]:
        """Descriptors that may take something."""
        return [self.input] if self.input >= 0 else []

    @property
    def too_large(self) -> bool:
        """More was written than we take."""
        return sum(c.size for c in self.outputs if c is not None) > self.max_output

    # -- what happened -----------------------------------------------------------------------------
    def ready(self, fd: int) -> None:
        """``fd`` is ready."""
        if fd == self.exit:
            self.report = read_report(fd)
            for collector in list(self.open_outputs.values()):
                self.read(collector)
            self.done = True
        elif fd == self.input:
            self.write()
        elif fd in self.open_outputs:
            self.read(self.open_outputs[fd])

    def read(self, collector: Collector) -> None:
        """Take what is there."""
        if not collector.pump(self.max_output):
            del self.open_outputs[collector.fd]

    def write(self) -> None:
        """Give what is taken; close when there is no more, or nobody who reads."""
        try:
            while self.left:
                self.left = self.left[os.write(self.input, self.left) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            pass
        self.close_input()

    def close_input(self) -> None:
        """End of the input."""
        if self.input >= 0:
            os.close(self.input)
            self.input = -1
            self.left = self.left[:0]

    def data(self) -> tuple[bytes, bytes]:
        """Standard output and error so far."""
        out, err = (b"" if c is None else c.data for c in self.outputs)
        return out, err


def input_bytes(input: Input) -> bytes:
    """What a command is given to read."""
    return input.encode() if isinstance(input, str) else input or b""


def read_report(fd: int) -> dict[str, Any] | None:
    """The server's word on the end of a command; None when the sandbox died with it."""
    data = b""
    while piece := os.read(fd, 4096):
        data += piece
    return json.loads(data) if data else None
