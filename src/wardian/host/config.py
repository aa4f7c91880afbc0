"""What a sandbox is to be: plain data, made by the command line or the Python API, used by
``host.sandbox``."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


class ConfigError(Exception):
    """The user asked for something that cannot be: one line that says what, why and what to do."""

    def __init__(self, words: str, status: int = 125) -> None:
        super().__init__(words)
        self.status = status  # the exit status of the command line


@dataclass
class Volume:
    """A host directory or file shown inside (``--volume SRC:DST[:ro]``)."""

    source: str
    target: str
    read_only: bool = False


@dataclass
class Config:
    """One sandbox. ``rootfs`` None means the host's own root; it is always read-only below a
    memory overlay unless ``read_only`` leaves the overlay out."""

    argv: list[str]
    rootfs: str | None = None
    env: dict[str, str] = field(default_factory=dict)
    cwd: str = "/"
    cwd_required: bool = False  # an error when it does not exist inside; otherwise the root is used
    user: str = ""  # UID[:GID] or a name from the sandbox's passwd; empty: the caller's ids
    hostname: str = "wardian"
    volumes: list[Volume] = field(default_factory=list)
    tmpfs: list[str] = field(default_factory=list)
    read_only: bool = False
    memory: int = 0  # bytes, 0: no limit
    cpus: float = 0.0  # 0: no limit
    pids: int = 0  # 0: no limit
    network: str = "none"  # none, loopback, host
    timeout: float = 0.0  # seconds, 0: none
    strace: str | None = None  # None: off; "": all; else a list of calls
    memory_mode: str = "direct"  # or validated
    debug: bool = False  # a host call outside the Sentry's filter fails instead of killing


def parse_volume(text: str) -> Volume:
    """``SRC:DST[:ro|rw]``; both absolute or relative to the current directory, DST absolute."""
    parts = text.split(":")
    if len(parts) not in (2, 3) or not parts[0] or not parts[1].startswith("/"):
        raise ConfigError(
            f"bad volume {text!r}: it must be SRC:DST or SRC:DST:ro, with DST absolute"
        )
    mode = parts[2] if len(parts) == 3 else "rw"
    if mode not in ("ro", "rw"):
        raise ConfigError(f"bad volume {text!r}: the third part must be ro or rw")
    return Volume(parts[0], parts[1], mode == "ro")


SIZE = re.compile(r"^(\d+(?:\.\d+)?)\s*([kmgt]?)(?:i?b)?$", re.IGNORECASE)


def parse_size(text: str) -> int:
    """Bytes from ``512m``, ``1.5G``, ``1073741824``."""
    match = SIZE.match(text.strip())
    if match is None:
        raise ConfigError(
            f"bad size {text!r}: write a number of bytes, or one with k, m or g, such as 512m"
        )
    factor = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}[match[2].lower()]
    return int(float(match[1]) * factor)


def parse_seconds(text: str) -> float:
    """Seconds from ``10``, ``1.5``, ``30s``, ``5m``, ``1h``."""
    match = re.match(r"^(\d+(?:\.\d+)?)(ms|s|m|h)?$", text.strip())
    if match is None:
        raise ConfigError(f"bad time {text!r}: write seconds, or a number with ms, s, m or h")
    return float(match[1]) * {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600}[match[2]]
