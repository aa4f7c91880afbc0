"""Finding the command in its PATH, and saying in words why it cannot be run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.host.config import ConfigError
from wardian.sentry.errno import EACCES, ENOENT, ENOEXEC, ENOTDIR, LinuxError
from wardian.sentry.mm.program_file import InterpreterMissing, PathClosed

if TYPE_CHECKING:
    from collections.abc import Callable

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def encode(argv: list[str], env: dict[str, str]) -> tuple[list[bytes], list[bytes]]:
    """Arguments and environment as execve(2) takes them."""
    words = [os.fsencode(word) for word in argv]
    return words, [os.fsencode(f"{name}={value}") for name, value in env.items()]


def first_that_runs(name: str, env: dict[str, str], attempt: Callable[[bytes], None]) -> None:
    """execvp(3): ``attempt`` each place where the command may be; ConfigError with status 127 or
    126 when none will do."""
    failure: LinuxError | None = None
    closed: LinuxError | None = None
    for path in candidates(name, env):
        try:
            attempt(path)
            return
        except InterpreterMissing as e:
            failure = e
        except PathClosed as e:
            closed = e
        except (ENOENT, ENOTDIR):
            continue
        except LinuxError as e:
            failure = e
            if not isinstance(e, EACCES):
                break
    if failure is None and "/" in name:
        failure = closed
    if failure is None:
        raise ConfigError(f"{name or repr(name)}: no such program in the sandbox", 127)
    raise ConfigError(f"{name}: cannot be executed: {reason(failure)}", 126)


def candidates(command: str, env: dict[str, str]) -> list[bytes]:
    """Where execvp(3) looks for the command."""
    name = os.fsencode(command)
    if b"/" in name or not name:
        return [name]
    path = os.fsencode(env.get("PATH", DEFAULT_PATH))
    return [(directory or b".") + b"/" + name for directory in path.split(b":")]


def plain(failure: LinuxError) -> str:
    """strerror(3), in the middle of a line."""
    return os.strerror(failure.number).lower()


def reason(failure: LinuxError) -> str:
    """Why execve(2) failed, for people."""
    words = failure.words or plain(failure)
    if isinstance(failure, ENOEXEC):
        return f"not a program this machine can run: {words}"
    return words
