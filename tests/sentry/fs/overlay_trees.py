"""Overlays to test with, made from a description."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from fake_host import FakeClock
from wardian.sentry.fs.host import HostSuperBlock, grant
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.overlay import OverlayFS
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_RDONLY, O_WRONLY, File
from wardian.sentry.vfs.inode import AttributeChange, Inode, SuperBlock

NO_TASK: Any = None
DEV = 0x33


class Tree:
    """A lower tree made from a description, and the overlay over it."""

    def __init__(self, lower: SuperBlock, size: int = 0) -> None:
        self.fs = OverlayFS(DEV, FakeClock(), lower, size)
        self.root = self.fs.root()

    def at(self, path: str) -> Inode:
        inode = self.root
        for name in path.split("/"):
            found = inode.lookup(name.encode())
            assert found is not None, path
            inode = found
        return inode

    def parent(self, path: str) -> tuple[Inode, bytes]:
        above, _, name = path.rpartition("/")
        return (self.at(above) if above else self.root), name.encode()

    def exists(self, path: str) -> bool:
        above, name = self.parent(path)
        return above.lookup(name) is not None

    def open(self, path: str, flags: int = O_RDONLY) -> File:
        return self.at(path).open(NO_TASK, flags).hold()

    def read(self, path: str) -> bytes:
        file = self.open(path)
        data = contents(file)
        file.drop()
        return data

    def write(self, path: str, data: bytes, offset: int = 0) -> None:
        file = self.open(path, O_WRONLY)
        source = BytesSource(data)
        while source.left:
            file.write(source, offset + len(data) - source.left)
        file.drop()

    def create(self, path: str, data: bytes = b"") -> Inode:
        above, name = self.parent(path)
        inode = above.create(name, 0o644, 0, 0)
        self.write(path, data)
        return inode

    def mkdir(self, path: str) -> Inode:
        above, name = self.parent(path)
        return above.mkdir(name, 0o755, 0, 0)

    def unlink(self, path: str) -> None:
        above, name = self.parent(path)
        above.unlink(name, self.at(path))

    def rmdir(self, path: str) -> None:
        above, name = self.parent(path)
        above.rmdir(name, self.at(path))

    def rename(self, old: str, new: str, exchange: bool = False) -> None:
        source, name = self.parent(old)
        target, target_name = self.parent(new)
        source.rename(name, self.at(old), target, target_name, target.lookup(target_name), exchange)

    def list(self, path: str = "") -> list[str]:
        file = (self.at(path) if path else self.root).open(NO_TASK, O_RDONLY).hold()
        found = names(file)
        file.drop()
        assert found[:2] == [".", ".."] or sorted(found)[:2] == [".", ".."]
        return sorted(set(found) - {".", ".."})

    def chmod(self, path: str, mode: int) -> None:
        change = AttributeChange()
        change.mode = mode
        self.at(path).setattr(change)

    def truncate(self, path: str, size: int) -> None:
        change = AttributeChange()
        change.size = size
        self.at(path).setattr(change)


def contents(file: File) -> bytes:
    sink = BytesSink(1 << 40)
    file.read(sink, 0)
    return sink.data


def names(file: File) -> list[str]:
    found: list[str] = []
    position = 0
    while entries := file.readdir(position):
        found += [entry.name.decode() for entry in entries]
        position = entries[-1].position
    assert len(found) == len(set(found))
    return found


Files = dict[str, bytes | None]
Maker = Callable[..., Tree]


def host_tree(directory: Path, files: Files, size: int = 0) -> Tree:
    for path, data in files.items():
        if data is None:
            (directory / path).mkdir(parents=True)
        else:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
    fd, _ = grant(os.fsencode(directory))
    clock = FakeClock()
    lower = HostSuperBlock(HostFS(), fd, DEV + 1, clock, shared=False, read_only=True)
    return Tree(lower, size)


def tmpfs_tree(files: Files, size: int = 0) -> Tree:
    lower = TmpFS(DEV + 2, FakeClock())
    for path, data in files.items():
        *above, name = path.split("/") if data is not None else [*path.split("/"), ""]
        inode = lower.root()
        for step in above:
            found = inode.lookup(step.encode())
            inode = found if found is not None else inode.mkdir(step.encode(), 0o755, 0, 0)
        if data is not None:
            new = inode.create(name.encode(), 0o644, 0, 0)
            new.open(NO_TASK, O_WRONLY).write(BytesSource(data), 0)
    return Tree(lower, size)
