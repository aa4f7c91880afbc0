"""What the user says about a sandbox and its commands, checked, as plain data for the server."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping, Sequence
from typing import IO, Any, Literal, TypedDict

from wardian.host import config
from wardian.sdk.errors import ConfigError
from wardian.sdk.model import Mount

StrPath = str | os.PathLike[str]
Network = Literal["none", "loopback", "host"]
FileAccess = Literal["cached", "shared", "exclusive"]
Size = int | str
"""Bytes, or text such as ``"512m"``."""
Stream = int | IO[Any] | None
"""PIPE, DEVNULL, STDOUT, a descriptor, or a file with one. None is DEVNULL."""

PIPE = subprocess.PIPE
DEVNULL = subprocess.DEVNULL
STDOUT = subprocess.STDOUT

NETWORKS = ("none", "loopback", "host")
FILE_ACCESS = ("cached", "shared", "exclusive")
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PASSED_ON = ("PATH", "HOME", "USER", "LOGNAME", "SHELL", "LANG", "LANGUAGE", "TZ")


LATE = ("env", "cwd", "cwd_required", "user", "timeout")
"""Fields that a sandbox learns when somebody takes it: one that waits in a pool fits whatever they
are."""


class SandboxOptions(TypedDict, total=False):
    """The arguments of ``wardian.Sandbox``, for functions that make one."""

    rootfs: StrPath | None
    mounts: Sequence[Mount]
    tmpfs: Sequence[str]
    network: Network
    memory: Size | None
    cpus: float | None
    pids: int | None
    env: Mapping[str, str] | None
    cwd: str | None
    user: str | int | None
    hostname: str
    read_only: bool
    file_access: FileAccess


class TimedOptions(SandboxOptions, total=False):
    """The same, where ``timeout`` is the sandbox's and not a command's."""

    timeout: float | None


def sandbox_fields(options: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of ``host.config.Config``; ConfigError."""
    try:
        return checked(options)
    except config.ConfigError as e:
        raise ConfigError(str(e)) from None


def checked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Every option, as the server takes it."""
    rootfs = options.get("rootfs")
    cwd = options.get("cwd")
    network = options.get("network", "loopback")
    if network not in NETWORKS:
        raise ConfigError(f"bad network {network!r}: it must be none, loopback or host")
    access = options.get("file_access", "cached")
    if access not in FILE_ACCESS:
        raise ConfigError(f"bad file_access {access!r}: it must be cached, shared or exclusive")
    memory, cpus, pids = options.get("memory"), options.get("cpus"), options.get("pids")
    timeout = options.get("timeout")
    if timeout is not None and not timeout > 0:
        raise ConfigError(f"bad timeout {timeout!r}: it must be longer than nothing")
    env = base_environment(rootfs is not None)
    env.update(environment(options.get("env")))
    return {
        "rootfs": None if rootfs is None else os.path.abspath(os.fspath(rootfs)),
        "volumes": [volume(mount) for mount in options.get("mounts", ())],
        "tmpfs": [config.check_absolute(p, "mount point") for p in options.get("tmpfs", ())],
        "network": network,
        "memory": 0 if memory is None else config.parse_memory(str(memory)),
        "cpus": 0.0 if cpus is None else config.parse_cpus(str(cpus)),
        "pids": 0 if pids is None else config.parse_pids(str(pids)),
        "env": env,
        "cwd": default_directory(rootfs is not None) if cwd is None else directory(cwd),
        "cwd_required": cwd is not None,
        "user": user_text(options.get("user")),
        "hostname": config.check_hostname(options.get("hostname", "wardian")),
        "timeout": float(timeout or 0),
        "read_only": bool(options.get("read_only", False)),
        "file_access": access,
    }


def volume(mount: Mount) -> list[Any]:
    """One mount: an absolute source, a target inside."""
    if not isinstance(mount, Mount):
        raise ConfigError(f"bad mount {mount!r}: write Mount(src, dst)")
    target = config.check_absolute(os.fspath(mount.dst), "mount point")
    return [os.path.abspath(os.fspath(mount.src)), target, bool(mount.read_only)]


def base_environment(own_root: bool) -> dict[str, str]:
    """What commands see without ``env``: never the caller's whole environment, which may hold
    secrets."""
    if own_root:
        return {"PATH": PATH, "HOME": "/", "LANG": "C.UTF-8"}
    env = {name: os.environ[name] for name in PASSED_ON if name in os.environ}
    env.update({name: os.environ[name] for name in os.environ if name.startswith("LC_")})
    env.setdefault("PATH", PATH)
    env.setdefault("LANG", "C.UTF-8")
    return env


def environment(env: Mapping[str, str] | None) -> dict[str, str]:
    """Checked variables."""
    for name, value in (env or {}).items():
        if not isinstance(name, str) or not isinstance(value, str):
            raise ConfigError(f"bad variable {name!r}: name and value must be strings")
        if not name or "=" in name or "\0" in name + value:
            raise ConfigError(f"bad variable {name!r}: it must have a name without =, and no NUL")
    return dict(env or {})


def default_directory(own_root: bool) -> str:
    """Where commands start: the current directory, when the host's files are the sandbox's."""
    if own_root:
        return "/"
    try:
        return os.getcwd()
    except OSError:
        return "/"


def directory(cwd: StrPath) -> str:
    """A working directory inside."""
    text = os.fspath(cwd)
    if "\0" in text:
        raise ConfigError("bad working directory: it holds a NUL")
    return config.check_absolute(text, "working directory")


def user_text(user: str | int | None) -> str:
    """``UID[:GID]`` or a name; empty for the caller's own."""
    return "" if user is None else str(user)


def arguments(argv: Sequence[StrPath]) -> list[str]:
    """The words of a command."""
    if isinstance(argv, (str, bytes)):
        raise ConfigError('the command must be a list of words, such as ["ls", "-l"]')
    words = [os.fspath(word) for word in argv]
    if not words:
        raise ConfigError("no command given: the list of words is empty")
    for word in words:
        if not isinstance(word, str) or "\0" in word:
            raise ConfigError(f"bad word {word!r} in the command: it must be a string without NUL")
    return words
