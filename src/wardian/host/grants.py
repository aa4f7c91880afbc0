"""What the Sentry keeps of the host's file tree: granted directories, a /proc, /dev/null, the stub.

With a mount namespace these are copies of mounts in an otherwise empty root; without one they are
plain descriptors, and Landlock (whose rules are made here as well) is what keeps the Sentry to
them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from wardian.host import landlock, namespaces, syscalls
from wardian.host.layers import APPLIED, HOW, MISSING, Layers, words

if TYPE_CHECKING:
    from collections.abc import Sequence

STUB = "stub"
"""Name of the stub program in the empty root."""


class FileGrant:
    """A file or directory of the host that the sandbox uses."""

    def __init__(self, path: str, writable: bool = False) -> None:
        self.path = os.path.realpath(path)
        self.writable = writable

    @property
    def key(self) -> tuple[str, bool]:
        """The same place may be granted for reading here and for writing there."""
        return self.path, self.writable


class HostFiles:
    """Everything the Sentry may open, opened. :meth:`take`, then :meth:`leave_root`, then
    :meth:`restrict`."""

    def __init__(self, layers: Layers, grants: Sequence[FileGrant], stub: str) -> None:
        self.layers = layers
        self.grants = grants
        self.stub = stub  # where the zygote's program is
        self.opened: dict[tuple[str, bool], tuple[int, bytes]] = {}
        """Path and writability of a grant -> directory descriptor, and the one name in it when it
        is a file."""
        self.proc_fd = -1  # where guests' /proc/PID files are, -1 for nowhere
        self.null_fd = -1
        self._mounts: dict[str, int] = {}  # what will be in the empty root
        self._covered = False

    def take(self, spaces: set[str]) -> None:
        """Open all, given the namespaces we are in."""
        self.null_fd = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
        if "mount" not in spaces:
            self._open_plainly("no mount namespace")
            self.proc_fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            return
        try:
            self._mounts["dev/null"] = syscalls.clone_tree("/dev/null", recursive=False)
            self._take_proc(own="pid" in spaces)
            self._clone_grants()
            detail = "copies of the granted trees: no devices, read-only where not writable"
            self.layers.note("grants", APPLIED, detail)
        except OSError as error:
            self._open_plainly(words(error))

    def leave_root(self) -> None:
        """Have a root with nothing in it but what the zygote needs."""
        with open(self.stub, "rb") as file:
            program = file.read()
        namespaces.empty_root({STUB: program}, self._mounts)
        self.stub = f"/{STUB}"

    def contents(self) -> str:
        """What is in that root, in words."""
        return ", ".join([STUB, *self._mounts])

    def restrict(self, network: bool) -> str:
        """Landlock: nothing but this from now on."""
        rules = [rule for grant in self.grants for rule in self._rules(grant)]
        stub = os.open(self.stub, os.O_PATH | os.O_CLOEXEC)
        rules.append(landlock.Grant(stub, owned=True))
        rules.append(landlock.Grant(self.null_fd, writable=True))
        proc = self._mounts.get("proc", self.proc_fd)
        if proc >= 0:
            rules.append(landlock.Grant(proc))
        try:
            version = landlock.restrict(rules, network)
        finally:
            for rule in rules:
                if rule.owned:
                    os.close(rule.fd)
        return f"version {version}, {len(rules)} rules"

    def release(self) -> None:
        """Close what was only needed on the way."""
        for fd in self._mounts.values():
            if fd != self.proc_fd:
                os.close(fd)
        self._mounts = {}

    def _take_proc(self, own: bool) -> None:
        """A /proc with nothing in it but the sandbox's processes, where that can be had. Otherwise
        a copy of the host's: its numbers are ours only without a pid namespace."""
        reason = "no pid namespace: the Sentry sees the numbers of other processes"
        if own:
            try:
                self._mounts["proc"] = self.proc_fd = namespaces.own_proc()
                self.layers.note("proc", APPLIED, "shows only the sandbox's processes")
                return
            except OSError as error:
                reason = words(error)
        self._mounts["proc"] = syscalls.clone_tree("/proc")
        if not own:
            self.proc_fd = self._mounts["proc"]
        self.layers.note("proc", MISSING, reason, HOW["pid"])

    def _clone_grants(self) -> None:
        """Grants first, then, once kernel interfaces are covered, those that lie above these."""
        hidden = namespaces.kernel_directories()
        above = [g for g in self.grants if any(_is_above(g.path, path) for path in hidden)]
        for grant in self.grants:
            if grant not in above:
                self._clone(grant)
        if above:
            namespaces.hide(hidden)
            self._covered = True
        for grant in above:
            self._clone(grant)

    def _clone(self, grant: FileGrant) -> None:
        directory, only = _split(grant.path)
        fd = namespaces.clone_grant(directory, grant.writable)
        self.opened[grant.key] = (fd, os.fsencode(only))

    def _open_plainly(self, why: str) -> None:
        self.layers.note("grants", MISSING, why, HOW["grants"])
        for grant in self.grants:
            if grant.key not in self.opened:
                directory, only = _split(grant.path)
                fd = os.open(directory, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
                self.opened[grant.key] = (fd, os.fsencode(only))

    def _rules(self, grant: FileGrant) -> Sequence[landlock.Grant]:
        directory, only = self.opened[grant.key]
        if only:
            fd = os.open(only, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
            return [landlock.Grant(fd, grant.writable, owned=True)]
        if grant.path != "/" or self._covered:
            return [landlock.Grant(directory, grant.writable)]
        return _all_but_kernel_directories(directory, grant.writable)


def _split(path: str) -> tuple[str, str]:
    """The directory to open, and the one name in it when ``path`` is not a directory."""
    if os.path.isdir(path):
        return path, ""
    os.stat(path)  # says why, when there is no such thing
    return os.path.dirname(path), os.path.basename(path)


def _is_above(path: str, other: str) -> bool:
    return path == "/" or other.startswith(path + "/")


def _all_but_kernel_directories(directory: int, writable: bool) -> Sequence[landlock.Grant]:
    """Where nothing can be covered below "/", list what else is in it."""
    found = [landlock.Grant(directory, listing=True)]
    hidden = {path.strip("/") for path in namespaces.ALWAYS_HIDDEN}
    reading = os.open(".", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC, dir_fd=directory)
    try:
        for name in os.listdir(reading):
            if name not in hidden:
                fd = os.open(name, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=directory)
                found.append(landlock.Grant(fd, writable, owned=True))
    finally:
        os.close(reading)
    return found
