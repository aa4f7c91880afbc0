"""The values that go into and come out of a sandbox."""

from __future__ import annotations

import signal
from dataclasses import dataclass, field
from typing import AnyStr, Generic

from wardian.sdk.errors import CommandFailed


@dataclass(frozen=True)
class Mount:
    """A directory or file of the host at ``src``, shown inside at ``dst``. What is written there is
    written on the host, unless ``read_only``."""

    src: str
    dst: str
    read_only: bool = False


@dataclass(frozen=True)
class Usage:
    """What a command cost, with those of its descendants that were waited for."""

    user_time: float
    """Seconds of processor time of the command's own processes."""
    system_time: float
    """Seconds of processor time that the sandbox's kernel used while the command ran, for it and
    for others that ran at the same time."""
    max_rss: int
    """The largest resident size of a single process, in bytes."""
    wall_time: float
    """Seconds from its start to its end."""
    oom_kills: int = 0
    """How many of its processes the host ended because the memory limit was reached."""


@dataclass(frozen=True)
class Result(Generic[AnyStr]):
    """A command that has ended."""

    args: list[str]
    stdout: AnyStr = field(repr=False)
    stderr: AnyStr = field(repr=False)
    returncode: int
    """The exit status; -N when signal N killed it, as in ``subprocess``."""
    usage: Usage

    def check(self) -> Result[AnyStr]:
        """Itself, or CommandFailed when the status is not 0."""
        if self.returncode:
            raise CommandFailed(f"{self.args[0]} {ending(self.returncode)}", self)
        return self


def ending(returncode: int) -> str:
    """The status in words."""
    if returncode >= 0:
        return f"ended with status {returncode}"
    return f"was killed by {signal_name(-returncode)}"


def signal_name(number: int) -> str:
    """``SIGKILL`` for 9, or what there is to say of a number without a name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
