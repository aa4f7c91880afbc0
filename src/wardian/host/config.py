"""What a sandbox is to be: plain data, made by the command line or the Python API, used by
``host.sandbox``."""

from __future__ import annotations

MEMORY_MIN = 32 << 20
"""The Sentry is within the limit as well."""
CPUS_MIN, CPUS_MAX = 0.01, 65536
PIDS_MAX = 4194304
"""Linux's own largest number of processes (PID_MAX_LIMIT)."""


class ConfigError(Exception):
    """The user asked for something that cannot be: one line that says what, why and what to do."""

    def __init__(self, words: str, status: int = 125) -> None:
        super().__init__(words)
        self.status = status  # the exit status of the command line


class Volume:
    """A host directory or file shown inside (``--volume SRC:DST[:ro]``)."""

    def __init__(self, source: str, target: str, read_only: bool = False) -> None:
        self.source = source
        self.target = target
        self.read_only = read_only


class Config:
    """One sandbox. ``rootfs`` None means the host's own root; it is always read-only below a
    memory overlay unless ``read_only`` leaves the overlay out.

    Plain classes: ``dataclasses`` and ``typing`` take longer to import than the command line.
    """

    def __init__(
        self,
        argv: list[str],
        rootfs: str | None = None,
        env: dict[str, str] | None = None,
        **others: object,
    ) -> None:
        self.argv = argv
        self.rootfs = rootfs
        self.env: dict[str, str] = {} if env is None else env
        self.cwd = "/"
        self.cwd_required = False  # an error when it does not exist inside; otherwise the root
        self.user = ""  # UID[:GID] or a name from the sandbox's passwd; empty: the caller's ids
        self.umask = 0o022
        self.hostname = "wardian"
        self.volumes: list[Volume] = []
        self.tmpfs: list[str] = []
        self.read_only = False
        self.file_access = "cached"  # of the root: or shared, or exclusive; see sentry.fs.host
        self.memory = 0  # bytes, 0: no limit
        self.file_space = 0  # bytes for all files in memory, 0: half of the memory
        self.cpus = 0.0  # 0: no limit
        self.pids = 0  # 0: no limit
        self.network = "none"  # none, loopback, host
        self.timeout = 0.0  # seconds, 0: none
        self.strace: str | None = None  # None: off; "": all; else a list of calls
        self.profile: str | None = None  # None: off; "": to standard error; else a file's name
        self.profile_fd = 2  # where it is open
        self.memory_mode = "direct"  # or validated
        self.patching = True  # call sites that trap often become jumps into the stub
        self.streams = [0, 1, 2]  # the command's; -1: closed
        self.debug = False  # a host call outside the Sentry's filter fails instead of killing
        for name, value in others.items():
            if name not in self.__dict__:
                raise TypeError(f"no such setting: {name}")
            setattr(self, name, value)


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


SIZE = r"(\d{1,18}(?:\.\d{1,9})?)\s*([kmgt]?)(?:i?b)?"
SECONDS = r"(\d{1,9}(?:\.\d{1,9})?)(ms|s|m|h)?"


def parse_size(text: str) -> int:
    """Bytes from ``512m``, ``1.5G``, ``1073741824``."""
    import re  # slow, and most sandboxes have no limits

    match = re.fullmatch(SIZE, text.strip(), re.IGNORECASE | re.ASCII)
    if match is None:
        raise ConfigError(
            f"bad size {text!r}: write a number of bytes, or one with k, m or g, such as 512m"
        )
    factor = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}[match[2].lower()]
    return int(float(match[1]) * factor)


def parse_memory(text: str) -> int:
    """A memory limit in bytes; nothing can run in less than :data:`MEMORY_MIN`."""
    size = parse_size(text)
    if not MEMORY_MIN <= size < 1 << 62:
        raise ConfigError(f"bad memory limit {text!r}: it must be at least {MEMORY_MIN >> 20}m")
    return size


def parse_cpus(text: str) -> float:
    """A number of processors, such as ``1.5``."""
    try:
        cpus = float(text)
    except ValueError:
        cpus = 0.0
    if not CPUS_MIN <= cpus <= CPUS_MAX:
        raise ConfigError(
            f"bad number of cpus {text!r}: write a number from {CPUS_MIN} up, such as 1.5"
        )
    return cpus


def parse_pids(text: str) -> int:
    """A limit on tasks."""
    if not (text.isascii() and text.isdigit() and 1 <= int(text[:12]) <= PIDS_MAX):
        raise ConfigError(f"bad limit on pids {text!r}: write a whole number from 1 to {PIDS_MAX}")
    return int(text)


def parse_seconds(text: str) -> float:
    """Seconds, more than none, from ``10``, ``1.5``, ``30s``, ``5m``, ``1h``."""
    import re

    match = re.fullmatch(SECONDS, text.strip(), re.ASCII)
    if match is None:
        raise ConfigError(f"bad time {text!r}: write seconds, or a number with ms, s, m or h")
    seconds = float(match[1]) * {"ms": 0.001, None: 1, "s": 1, "m": 60, "h": 3600}[match[2]]
    if seconds <= 0:
        raise ConfigError(f"bad time {text!r}: a timeout must be longer than nothing")
    return seconds


def check_hostname(name: str) -> str:
    """What sethostname(2) takes, and not nothing."""
    if not 1 <= len(name.encode(errors="surrogateescape")) <= 64 or "\0" in name:
        raise ConfigError(f"bad host name {name!r}: it must have 1 to 64 characters")
    return name


def check_absolute(path: str, what: str) -> str:
    """A place inside the sandbox."""
    if not path.startswith("/"):
        raise ConfigError(f"bad {what} {path!r}: it must be an absolute path inside the sandbox")
    return path
