"""Which guest file a mapped host inode belongs to, for one address space (design D2).

A record keeps its file: natively a mapping does, too. But the guest's munmap(2) is run by the host
and nobody tells, so records outlive what they are for until somebody asks the host
(``mm.unmapped``). When to ask is said here: after so many new files, or so much memory in them,
that asking costs little beside having mapped them.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.sentry.vfs.dentry import Path

MAX_FILE_MAPPINGS: Final = 65530
"""Records kept, as vm.max_map_count bounds the mappings themselves."""
FIRST_LIMIT: Final = 64
"""Records of a process that are not worth a look, and never fewer."""
FIRST_BYTES: Final = 64 << 20
"""The same for the memory that they keep."""


class FileMapping:
    """A guest file that was mapped, found again by its host inode.

    The host chooses most addresses and unmaps without telling, so ``start`` (0: chosen by the host)
    and ``length`` say what was asked for; ``dev``/``ino`` name the host inode in the host's list.
    """

    def __init__(
        self, start: int, length: int, path: Path | None, offset: int, shared: bool
    ) -> None:
        self.start = start
        self.length = length
        self.path = path
        self.offset = offset
        self.shared = shared
        self.dev = 0
        self.ino = 0
        self.name = b""  # shown when there is no path: memfd, shared anonymous memory
        self.memory_size = -1  # of a file in our own memory that ``path`` keeps; -1: no such file

    def identify(self, host_fd: int) -> None:
        """It is a mapping of the open ``host_fd``."""
        status = os.fstat(host_fd)
        self.dev, self.ino = status.st_dev, status.st_ino


class FileMappings:
    """The records of one address space, one for each host inode."""

    def __init__(self) -> None:
        self.records: dict[tuple[int, int], FileMapping] = {}  # by device and inode
        self.by_inode: dict[int, FileMapping] | None = None  # made when :meth:`find` needs it
        self.in_memory = 0  # how many keep a file in our own memory; maybe fewer by now
        self.limit = FIRST_LIMIT  # so many records are worth asking the host
        self.added_bytes = 0  # in files of our own memory, since it was asked
        self.bytes_limit = FIRST_BYTES  # and so many of these

    def copy(self) -> FileMappings:
        """A forked child's."""
        new = FileMappings()
        new.records = self.records.copy()
        new.in_memory = self.in_memory
        new.limit = self.limit
        new.added_bytes, new.bytes_limit = self.added_bytes, self.bytes_limit
        return new

    def add(self, record: FileMapping) -> None:
        """Remember ``record``, instead of an older one of the same file."""
        records = self.records
        key = (record.dev, record.ino)
        if key not in records:
            if len(records) >= MAX_FILE_MAPPINGS:
                del records[next(iter(records))]
            self.count(record)
        records[key] = record
        self.by_inode = None

    def count(self, record: FileMapping) -> None:
        """It is new, or known to be mapped still."""
        if record.memory_size >= 0:
            self.in_memory += 1
            self.added_bytes += record.memory_size

    def find(self, dev: int, ino: int) -> FileMapping | None:
        """The record of a host inode.

        On some host file systems (overlay, btrfs) the device number in the list of mappings is not
        the one stat(2) gives; then the inode number alone decides.
        """
        if ino == 0:
            return None
        record = self.records.get((dev, ino))
        if record is not None:
            return record
        if self.by_inode is None:
            self.by_inode = {known.ino: known for known in self.records.values()}
        return self.by_inode.get(ino)

    # -- what is not mapped any more ---------------------------------------------------------------
    def worth_a_look(self) -> bool:
        """So much was added that the host should be asked what is still mapped."""
        return len(self.records) >= self.limit or self.added_bytes > self.bytes_limit

    def keep_all(self) -> None:
        """The host could not be asked: not before as much has been added again."""
        self.limit = max(FIRST_LIMIT, 2 * len(self.records))
        self.added_bytes = 0

    def forget_unmapped(self, mapped: set[tuple[int, int]], coming: list[FileMapping]) -> None:
        """Keep what is ``mapped``, as the host says, and what is on its way to be."""
        inodes = {ino for _, ino in mapped}
        devices = {dev for dev, _ in mapped}  # of file systems that :meth:`find` finds at once
        expected = {(record.dev, record.ino) for record in coming}
        kept: dict[tuple[int, int], FileMapping] = {}
        self.in_memory = self.added_bytes = 0
        for key, record in self.records.items():
            dev, ino = key
            if key in mapped or key in expected or (dev not in devices and ino in inodes):
                kept[key] = record
                self.count(record)
        self.limit = max(FIRST_LIMIT, 2 * len(kept))
        self.bytes_limit = max(FIRST_BYTES, self.added_bytes)
        self.added_bytes = 0
        self.by_inode = None
        self.records = kept  # the others let go of their files now
