"""How each layer of confinement turned out, in words for people."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

APPLIED = "applied"
PARTLY = "partly"
MISSING = "missing"
NOT_ASKED = "not asked for"

HOW = {
    "user": (
        "allow unprivileged user namespaces: sysctl user.max_user_namespaces above 0, where they "
        "exist kernel.unprivileged_userns_clone=1 and "
        "kernel.apparmor_restrict_unprivileged_userns=0; in a container, a seccomp profile that "
        "lets unshare through"
    ),
    "namespaces": "run as root or allow user namespaces",
    "pid": (
        "a mount namespace, and a /proc of which nothing is covered (containers cover parts of it: "
        "Docker with --security-opt systempaths=unconfined, Kubernetes with procMount: Unmasked)"
    ),
    "root": "Linux 5.12 with a mount namespace, or CAP_SYS_CHROOT and CAP_SETPCAP",
    "grants": "Linux 5.12 with a mount namespace",
    "landlock": "Linux 5.13 with CONFIG_SECURITY_LANDLOCK, and landlock in the lsm= boot parameter",
    "limits": "run as root, or in a delegated group: systemd-run --user --scope -p Delegate=yes",
    "capabilities": "nothing to do: report this as a bug",
}
"""How to get a missing layer."""


class Layer:
    """One layer as it turned out."""

    def __init__(self, name: str, state: str, detail: str, remedy: str = "") -> None:
        self.name = name
        self.state = state
        self.detail = detail
        self.remedy = remedy


class Layers:
    """All of them, in the order they were put on."""

    def __init__(self, without: frozenset[str] = frozenset()) -> None:
        self.without = without  # left out on purpose, for tests
        self.all: list[Layer] = []

    def note(self, name: str, state: str, detail: str, remedy: str = "") -> None:
        """Record one."""
        self.all.append(Layer(name, state, detail, remedy))

    def attempt(self, name: str, action: Callable[[], str], remedy: str) -> None:
        """Put on a layer that the host may refuse; ``action`` gives the detail."""
        if name.removesuffix(" namespace") in self.without:
            self.note(name, MISSING, "left out on purpose")
            return
        try:
            self.note(name, APPLIED, action())
        except OSError as error:
            self.note(name, MISSING, words(error), remedy)

    def missing(self) -> list[Layer]:
        """Layers that were wanted and are not, or not wholly, there."""
        return [layer for layer in self.all if layer.state in (MISSING, PARTLY)]


def words(error: OSError) -> str:
    """An error in one phrase."""
    where = f": {os.fsdecode(error.filename)}" if error.filename else ""
    return (error.strerror or str(error)) + where
