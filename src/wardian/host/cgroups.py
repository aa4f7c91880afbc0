"""A control group for a sandbox's guest processes: memory, processor time, number of processes.

Version 2 (cgroups(7)) where the needed controllers are on it, version 1 otherwise, controller by
controller. The group is made below our own, or, since a version-2 group that holds processes
cannot limit children, below the nearest ancestor that can. Made by the launcher, which also
removes it: it must outlive the Sentry. Groups left behind by a launcher that was killed are swept
away by the next one.

Without a usable controller the limit is kept by other means or not at all; :attr:`Group.missing`
says so.
"""

from __future__ import annotations

import _signal as signal
import os
import time

ROOT = "/sys/fs/cgroup"
PREFIX = "wardian-"
PERIOD_US = 100_000
HOST_EXTRA = 24
"""Host processes and threads beside the guests: zygote, pool, helpers."""

_REMOVE_TRIES = 50
_REMOVE_PAUSE = 0.02


class Limits:
    """What a sandbox may use; None is no limit."""

    def __init__(
        self, memory: int | None = None, cpus: float | None = None, pids: int | None = None
    ) -> None:
        self.memory = memory  # bytes
        self.cpus = cpus
        self.pids = pids

    def controllers(self) -> list[str]:
        """The controllers these limits need."""
        wanted = (("memory", self.memory), ("cpu", self.cpus), ("pids", self.pids))
        return [name for name, limit in wanted if limit is not None]


class Usage:
    """What a group has used so far; None where its controller is missing."""

    def __init__(self) -> None:
        self.memory: int | None = None  # bytes now
        self.memory_peak: int | None = None
        self.cpu_ns: int | None = None
        self.pids: int | None = None
        self.oom_kills: int | None = None


class Place:
    """Where one controller of ours is: a directory and its version."""

    def __init__(self, directory: str, version: int) -> None:
        self.directory = directory
        self.version = version


# -- finding our place ---------------------------------------------------------------------------


def places(
    mountinfo: str = "/proc/self/mountinfo", own: str = "/proc/self/cgroup"
) -> dict[str, Place]:
    """Our own group for each controller there is; "" stands for the version-2 tree as a whole."""
    mounts = _mounts(mountinfo)
    found: dict[str, Place] = {}
    with open(own) as file:
        for line in file:
            _, names, path = line.rstrip("\n").split(":", 2)
            for name in names.split(","):
                directory = _directory(mounts.get(name), path)
                if directory:
                    found[name] = Place(directory, 1 if name else 2)
    tree = found.get("")
    if tree:
        for name in _read(f"{tree.directory}/cgroup.controllers").split():
            found.setdefault(name, Place(tree.directory, 2))
    return found


def _mounts(mountinfo: str) -> dict[str, tuple[str, str]]:
    """Controller ("" for version 2) -> (mount point, path of the mount's root in the hierarchy)."""
    found: dict[str, tuple[str, str]] = {}
    with open(mountinfo) as file:
        for line in file:
            left, _, right = line.partition(" - ")
            fields, kind = left.split(), right.split()
            if kind[0] == "cgroup2":
                found[""] = (fields[4], fields[3])
            elif kind[0] == "cgroup":
                for name in kind[2].split(","):
                    found[name] = (fields[4], fields[3])
    return found


def _directory(mount: tuple[str, str] | None, path: str) -> str | None:
    """Where ``path`` of a hierarchy is under its mount; None when it is outside."""
    if mount is None:
        return None
    point, root = mount
    if root != "/":
        if path != root and not path.startswith(root + "/"):
            return point if path == "/" else None
        path = path[len(root) :] or "/"
    if path.startswith("/.."):
        return None
    return point if path == "/" else point + path


# -- the group -----------------------------------------------------------------------------------


class Group:
    """A sandbox's control group; made by :func:`create`."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.directories: dict[str, Place] = {}  # by controller
        self.missing: dict[str, str] = {}  # controller -> why

    def add(self, pid: int) -> None:
        """Move a process in; what it forks is born here."""
        for directory in self._unique():
            _write(f"{directory}/cgroup.procs", str(pid))

    def doors(self) -> list[int]:
        """Descriptors through which whoever writes "0" moves itself in; the host checks the rights
        of the opener, so this works from inside namespaces too."""
        flags = os.O_WRONLY | os.O_CLOEXEC
        return [os.open(f"{directory}/cgroup.procs", flags) for directory in self._unique()]

    def oom_door(self) -> int:
        """A descriptor to read the number of out-of-memory kills from, for whoever can open no
        files any more (:func:`oom_kills`); -1 without a memory controller."""
        memory = self.directories.get("memory")
        if memory is None:
            return -1
        name = "memory.events" if memory.version == 2 else "memory.oom_control"
        try:
            return os.open(f"{memory.directory}/{name}", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            return -1

    def usage(self) -> Usage:
        """Read the counters."""
        usage = Usage()
        self._memory_usage(usage)
        cpu = self.directories.get("cpu")
        if cpu and cpu.version == 2:
            microseconds = _field(f"{cpu.directory}/cpu.stat", "usage_usec")
            usage.cpu_ns = None if microseconds is None else microseconds * 1000
        accounting = self.directories.get("cpuacct")
        if accounting:
            usage.cpu_ns = _number(f"{accounting.directory}/cpuacct.usage")
        pids = self.directories.get("pids")
        if pids:
            usage.pids = _number(f"{pids.directory}/pids.current")
        return usage

    def _memory_usage(self, usage: Usage) -> None:
        memory = self.directories.get("memory")
        if memory is None:
            return
        at = memory.directory
        if memory.version == 2:
            usage.memory = _number(f"{at}/memory.current")
            usage.memory_peak = _number(f"{at}/memory.peak")
            usage.oom_kills = _field(f"{at}/memory.events", "oom_kill")
        else:
            usage.memory = _number(f"{at}/memory.usage_in_bytes")
            usage.memory_peak = _number(f"{at}/memory.max_usage_in_bytes")
            usage.oom_kills = _field(f"{at}/memory.oom_control", "oom_kill")

    def kill(self) -> None:
        """SIGKILL to everything inside."""
        for directory in self._unique():
            if _try_write(f"{directory}/cgroup.kill", "1"):
                continue
            for pid in _read(f"{directory}/cgroup.procs").split():
                try:
                    os.kill(int(pid), signal.SIGKILL)
                except OSError:
                    pass  # it was quicker

    def remove(self) -> None:
        """End what is left inside and remove the group."""
        if any(_read(f"{directory}/cgroup.procs") for directory in self._unique()):
            self.kill()
        for directory in self._unique():
            _remove(directory)
        self.directories = {}

    def _unique(self) -> list[str]:
        return sorted({place.directory for place in self.directories.values()})


def oom_kills(door: int) -> int:
    """How often the host ended a process of the group for want of memory."""
    try:
        text = os.pread(door, 4096, 0).decode()
    except OSError:
        return 0
    return _value(text, "oom_kill") or 0


def create(limits: Limits) -> Group:
    """A group with these limits; what cannot be limited is in ``missing``."""
    own = places()
    group = Group(f"{PREFIX}{os.getpid()}-{_start_time(os.getpid())}")
    for controller in limits.controllers():
        place = own.get(controller)
        if place is None:
            group.missing[controller] = f"the host has no {controller} controller for us"
            continue
        try:
            _join(group, controller, place)
            _set_limit(controller, group.directories[controller], limits)
        except OSError as error:
            group.missing[controller] = error.strerror or str(error)
            group.directories.pop(controller, None)
    _join_accounting(group, own)
    return group


def _join_accounting(group: Group, own: dict[str, Place]) -> None:
    """Version 1 may count processor time in a hierarchy of its own."""
    place = own.get("cpuacct")
    if group.directories and place and place.version == 1:
        try:
            _join(group, "cpuacct", place)
        except OSError:
            pass  # then usage() does not know the processor time


def _join(group: Group, controller: str, place: Place) -> None:
    parent = place.directory if place.version == 1 else _delegating_parent(place, controller)
    sweep(parent)
    directory = f"{parent}/{group.name}"
    if directory not in group._unique():
        os.mkdir(directory)
    group.directories[controller] = Place(directory, place.version)


def _delegating_parent(place: Place, controller: str) -> str:
    """The nearest group, ours or above, that gives this controller to its children."""
    directory = place.directory
    refusal = OSError(16, "no group here can limit its children", directory)
    while True:
        control = f"{directory}/cgroup.subtree_control"
        if controller in _read(control).split() and os.access(directory, os.W_OK):
            return directory
        try:
            _write(control, f"+{controller}")
            return directory
        except OSError as error:
            refusal = error
        parent = os.path.dirname(directory)
        if not os.path.exists(f"{parent}/cgroup.procs"):
            raise refusal
        directory = parent


def _set_limit(controller: str, place: Place, limits: Limits) -> None:
    at = place.directory
    if controller == "memory" and limits.memory is not None:
        if place.version == 2:
            _write(f"{at}/memory.max", str(limits.memory))
            _try_write(f"{at}/memory.swap.max", "0")
        else:
            _write(f"{at}/memory.limit_in_bytes", str(limits.memory))
            _try_write(f"{at}/memory.memsw.limit_in_bytes", str(limits.memory))
    elif controller == "cpu" and limits.cpus is not None:
        quota = max(1000, int(limits.cpus * PERIOD_US))
        if place.version == 2:
            _write(f"{at}/cpu.max", f"{quota} {PERIOD_US}")
        else:
            _write(f"{at}/cpu.cfs_period_us", str(PERIOD_US))
            _write(f"{at}/cpu.cfs_quota_us", str(quota))
    elif controller == "pids" and limits.pids is not None:
        _write(f"{at}/pids.max", str(limits.pids + HOST_EXTRA))


def sweep(parent: str) -> None:
    """Remove groups of launchers that are gone. One with processes in it refuses to go."""
    try:
        names = os.listdir(parent)
    except OSError:
        return
    for name in names:
        pid, _, started = name.removeprefix(PREFIX).partition("-")
        if name.startswith(PREFIX) and pid.isdecimal() and str(_start_time(int(pid))) != started:
            try:
                os.rmdir(f"{parent}/{name}")
            except OSError:
                pass


def _start_time(pid: int) -> int:
    """Start of a process in clock ticks since boot (proc(5)), 0 when it is gone."""
    stat = _read(f"/proc/{pid}/stat")
    return int(stat.rpartition(")")[2].split()[19]) if stat else 0


def _remove(directory: str) -> None:
    for _ in range(_REMOVE_TRIES):
        try:
            os.rmdir(directory)
            return
        except FileNotFoundError:
            return
        except OSError:
            time.sleep(_REMOVE_PAUSE)  # the last processes are still being taken apart


# -- limits without a group ----------------------------------------------------------------------


FALLBACKS = {
    "memory": "the Sentry watches the guests and ends the largest when they have too much",
    "cpu": "guests are kept to whole processors",
    "pids": "the Sentry counts, as it decides every fork",
}
"""What keeps a limit, more or less, where its controller is missing."""


def affinity_for(cpus: float) -> set[int]:
    """As many of our processors as ``cpus`` needs."""
    ours = sorted(os.sched_getaffinity(0))
    return set(ours[: max(1, -int(-cpus // 1))])


# -- what we have ourselves --------------------------------------------------------------------


def memory_of_ours() -> int:
    """Bytes of memory there are for us: the machine's, or what our own group may use."""
    whole = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    place = places().get("memory")
    if place is None:
        return whole
    name = "memory.max" if place.version == 2 else "memory.limit_in_bytes"
    return min(whole, _number(f"{place.directory}/{name}") or whole)


# -- small files ---------------------------------------------------------------------------------


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, text: str) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(fd, text.encode())
    except OSError as error:
        error.filename = path
        raise
    finally:
        os.close(fd)


def _try_write(path: str, text: str) -> bool:
    try:
        _write(path, text)
    except OSError:
        return False
    return True


def _number(path: str) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _field(path: str, name: str) -> int | None:
    return _value(_read(path), name)


def _value(text: str, name: str) -> int | None:
    """What stands behind ``name`` in lines of names and numbers."""
    for line in text.splitlines():
        key, _, value = line.partition(" ")
        if key == name:
            return int(value)
    return None
