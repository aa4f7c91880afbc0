"""What the blocking and the asyncio sandbox have in common: the arguments they are made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self

from wardian.sdk import operations
from wardian.sdk.model import Mount
from wardian.sdk.options import (
    FileAccess,
    Network,
    Size,
    StrPath,
    directory,
    environment,
    sandbox_fields,
    user_text,
)
from wardian.sdk.streams import Streams

OPTIONS = (
    "rootfs",
    "mounts",
    "tmpfs",
    "network",
    "memory",
    "cpus",
    "pids",
    "env",
    "cwd",
    "user",
    "hostname",
    "timeout",
    "read_only",
    "file_access",
)


class SandboxBase:
    """The arguments, checked; ``wardian.Sandbox`` says what they mean."""

    def __init__(
        self,
        rootfs: StrPath | None = None,
        *,
        mounts: Sequence[Mount] = (),
        tmpfs: Sequence[str] = (),
        network: Network = "loopback",
        memory: Size | None = None,
        cpus: float | None = None,
        pids: int | None = None,
        env: Mapping[str, str] | None = None,
        cwd: str | None = None,
        user: str | int | None = None,
        hostname: str = "wardian",
        timeout: float | None = None,
        read_only: bool = False,
        file_access: FileAccess = "cached",
    ) -> None:
        options = locals()
        self._fields: dict[str, Any] = sandbox_fields({name: options[name] for name in OPTIONS})
        self.layers = ""
        """The layers of confinement around it, in words."""
        self._begin()

    def _begin(self) -> None:
        """Start it, when that can be done without waiting for a loop."""

    @classmethod
    def _of_pool(cls, fields: dict[str, Any]) -> Self:
        """One whose process a pool has started: ``_connect`` comes next."""
        box = cls.__new__(cls)
        box._fields = fields
        return box

    @staticmethod
    def _spawning(
        words: list[str],
        streams: Streams,
        env: Mapping[str, str] | None,
        cwd: str | None,
        user: str | int | None,
    ) -> operations.Steps[operations.Started]:
        """Start a command: the arguments of ``run`` and ``spawn``, checked."""
        place = None if cwd is None else directory(cwd)
        return operations.spawn(words, streams, environment(env), place, user_text(user))
