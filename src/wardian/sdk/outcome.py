"""How a command ended: its result, and the errors that say why there is none."""

from __future__ import annotations

import os
import weakref
from collections.abc import Sequence
from typing import Any

from wardian.sdk.errors import OutOfMemory, OutputTooLarge, SandboxTimeout
from wardian.sdk.model import Result, Usage, ending
from wardian.sdk.operations import Started
from wardian.sdk.streams import Exchange

MAX_OUTPUT = 64 << 20
GRACE = 10.0
"""How long the end of a killed command may take to be reported."""


class Ending:
    """What the server's report says."""

    def __init__(self, report: dict[str, Any]) -> None:
        status: int = report["status"]
        self.returncode = -(status & 0x7F) if status & 0x7F else status >> 8 & 0xFF
        self.usage = Usage(
            report["user_ns"] / 1e9,
            report["system_ns"] / 1e9,
            report["max_rss"],
            report["wall_ns"] / 1e9,
            report["oom_kills"],
        )

    @property
    def out_of_memory(self) -> bool:
        """It failed because the memory limit was reached."""
        return self.returncode != 0 and self.usage.oom_kills > 0


def make_result(
    args: Sequence[str], out: bytes, err: bytes, text: bool, end: Ending
) -> Result[Any]:
    """The result, or OutOfMemory."""
    parts: list[Any] = [decode(out), decode(err)] if text else [out, err]
    result: Result[Any] = Result(list(args), parts[0], parts[1], end.returncode, end.usage)
    if end.out_of_memory:
        raise out_of_memory(args, end, result)
    return result


def out_of_memory(
    args: Sequence[str], end: Ending, result: Result[Any] | None = None
) -> OutOfMemory:
    """The error of a command that reached the memory limit."""
    words = f"{args[0]} ran into the sandbox's memory limit and {ending(end.returncode)}"
    return OutOfMemory(words, result)


def decode(data: bytes) -> str:
    """Output as text; what is not UTF-8 shows as replacement characters."""
    return data.decode("utf-8", "replace")


def timed_out(
    args: Sequence[str], timeout: float, exchange: Exchange, text: bool
) -> SandboxTimeout:
    """The error of a command that took too long."""
    out, err = exchange.data()
    words = f"{args[0]} was ended: it took longer than {timeout:g} s"
    if text:
        return SandboxTimeout(words, decode(out), decode(err))
    return SandboxTimeout(words, out, err)


def too_large(args: Sequence[str], limit: int) -> OutputTooLarge:
    """The error of a command that writes without end."""
    return OutputTooLarge(f"{args[0]} was ended: it wrote more than max_output, {limit} bytes")


class ProcessBase:
    """What the blocking and the asyncio process know of their command."""

    def __init__(self, args: list[str], started: Started, exit_fd: int) -> None:
        self.args = args
        self.pid = started.pid
        self._started = started
        self._exit = exit_fd
        weakref.finalize(self, os.close, exit_fd)
        self._ending: Ending | None = None

    def __repr__(self) -> str:
        state = "runs" if self._ending is None else ending(self._ending.returncode)
        return f"<Process {self.pid} {self.args!r} {state}>"

    @property
    def returncode(self) -> int | None:
        """The status once it is known, by waiting for it; -N for signal N."""
        return None if self._ending is None else self._ending.returncode

    @property
    def usage(self) -> Usage | None:
        """What it cost, once it has ended."""
        return None if self._ending is None else self._ending.usage
