"""What can go wrong with a sandbox, one class per cause. Every text is one line that says which.

Errors of file operations (``read_file``, ``write_file``, ``listdir``, ``remove``) are plain
``OSError``: ``FileNotFoundError``, ``IsADirectoryError`` and so on, as from ``open``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from wardian.sdk.model import Result

Output = bytes | str | None


class SandboxError(Exception):
    """The base of all errors of the API."""


class ConfigError(SandboxError):
    """What was asked for cannot be: a bad option, a directory that is missing, an unknown user."""


class SandboxDied(SandboxError):
    """The sandbox is gone, and with it everything that ran inside: it was killed from outside, or
    failed."""


class SandboxTimeout(SandboxError):
    """Time ran out: of a command (which was ended), of a ``wait`` (the command goes on), or of the
    whole sandbox (which was ended)."""

    def __init__(self, words: str, stdout: Output = None, stderr: Output = None) -> None:
        super().__init__(words)
        self.stdout = stdout
        """What the command had written until then, from ``run`` and ``communicate``."""
        self.stderr = stderr


class ResultError(SandboxError):
    """A command ended badly; ``result`` is what there is of its result."""

    def __init__(self, words: str, result: Result[Any] | None = None) -> None:
        super().__init__(words)
        self.result = result


class OutOfMemory(ResultError):
    """The sandbox's memory was used up. When it was a command that the host killed for it, the
    sandbox goes on; else ``result`` is None and the sandbox is gone."""


class CommandFailed(ResultError):
    """A command ended with a status other than 0, and ``check`` was asked for."""


class OutputTooLarge(SandboxError):
    """A command wrote more than ``max_output`` and was ended."""


class CommandNotFound(SandboxError):
    """There is no such program inside (a shell's status 127)."""


class CommandNotExecutable(SandboxError):
    """There is such a file, but it cannot be run (a shell's status 126)."""
