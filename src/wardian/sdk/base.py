"""What the blocking and the asyncio sandbox have in common: the arguments they are made with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from wardian.sdk.model import Mount
from wardian.sdk.options import FileAccess, Network, Size, StrPath, sandbox_fields

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
    """The arguments, checked.

    rootfs
        The directory that is the root inside; None: this machine's own root. It is never written
        to: changes stay in a memory overlay and are gone with the sandbox.
    mounts
        Directories and files of the host, shown inside.
    tmpfs
        Places for empty memory file systems.
    network
        ``"loopback"``: a loopback of its own, nothing else. ``"host"``: TCP and UDP through the
        host. ``"none"``: not even a loopback.
    memory, cpus, pids
        Limits of all that runs inside: bytes or text such as ``"512m"``, processors, tasks.
    env
        Variables on top of a small environment (PATH, HOME, LANG, ...). The caller's own
        environment stays outside: pass ``dict(os.environ)`` to share it.
    cwd
        Where commands start. Default: the current directory if it exists inside, else ``/``.
    user
        ``"UID[:GID]"``, a number, or a name from the sandbox's ``/etc/passwd``. Default: the
        caller's ids.
    hostname
        What ``uname -n`` prints inside.
    timeout
        Seconds until the whole sandbox is ended.
    read_only
        No overlay: the root cannot be written to.
    file_access
        How the root's host files are looked at. ``"cached"``: what the host changes shows after two
        milliseconds at the latest. ``"shared"``: at once; slower. ``"exclusive"``: nobody else
        changes them while the sandbox lives; fastest for large trees.
    """

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
