"""devtmpfs: the /dev of a sandbox. A tmpfs that is filled when it is made.

``/dev/pts`` and ``/dev/shm`` are there as places to mount devpts and a tmpfs on.
"""

from __future__ import annotations

from typing import Final

from wardian.sentry.fs import devices
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.hostport import Clock
from wardian.sentry.vfs.inode import S_IFCHR

TTY_GID: Final = 5

NODES: Final = [
    (b"null", 0o666, devices.NULL, 0),
    (b"zero", 0o666, devices.ZERO, 0),
    (b"full", 0o666, devices.FULL, 0),
    (b"random", 0o666, devices.RANDOM, 0),
    (b"urandom", 0o666, devices.URANDOM, 0),
    (b"tty", 0o666, devices.TTY, TTY_GID),
    (b"console", 0o600, devices.CONSOLE, TTY_GID),
]
LINKS: Final = [
    (b"ptmx", b"pts/ptmx"),
    (b"fd", b"/proc/self/fd"),
    (b"stdin", b"/proc/self/fd/0"),
    (b"stdout", b"/proc/self/fd/1"),
    (b"stderr", b"/proc/self/fd/2"),
]
DIRECTORIES: Final = [(b"pts", 0o755), (b"shm", 0o1777), (b"mqueue", 0o1777)]


class DevTmpFS(TmpFS):
    """A fresh /dev; ``dev`` is its own st_dev."""

    name = "devtmpfs"

    def __init__(self, dev: int, clock: Clock) -> None:
        super().__init__(dev, clock, 0, 0, 0o755)
        for name, mode, number, gid in NODES:
            self.top.mknod(name, S_IFCHR | mode, devices.make_dev(number[0], number[1]), 0, gid)
        for name, target in LINKS:
            self.top.symlink(name, target, 0, 0)
        for name, mode in DIRECTORIES:
            self.top.mkdir(name, mode, 0, 0)
