"""Host directories to test with."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from fake_host import FakeClock
from wardian.sentry.fs.host import HostSuperBlock, grant
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.vfs.buffers import BytesSink
from wardian.sentry.vfs.file import File
from wardian.sentry.vfs.inode import Attributes, Inode

NO_TASK: Any = None
DEV = 0x2A


class CountingHost(HostFS):
    """Counts the calls that walk the host's tree."""

    def __init__(self) -> None:
        super().__init__()
        self.opens = 0
        self.stats = 0

    def openat2(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        self.opens += 1
        return super().openat2(dirfd, path, flags, mode)

    def stat(self, dirfd: int, name: bytes) -> Attributes | None:
        self.stats += 1
        return super().stat(dirfd, name)


def superblock(
    path: Path, *, shared: bool = True, read_only: bool = False, exclusive: bool = False
) -> HostSuperBlock:
    fd, only = grant(os.fsencode(path))
    return HostSuperBlock(
        CountingHost(),
        fd,
        DEV,
        FakeClock(),
        shared=shared,
        read_only=read_only or not shared,
        exclusive=exclusive,
        only=only,
    )


def child(inode: Inode, name: bytes) -> Inode:
    found = inode.lookup(name)
    assert found is not None
    return found


def read_all(file: File, count: int = 1 << 22) -> bytes:
    sink = BytesSink(count)
    file.read(sink, 0)
    return sink.data


def names(file: File) -> list[bytes]:
    found: list[bytes] = []
    position = 0
    while entries := file.readdir(position):
        found += [entry.name for entry in entries]
        position = entries[-1].position
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))
