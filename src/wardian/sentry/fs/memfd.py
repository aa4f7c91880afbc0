"""memfd_create(2): an unnamed file in memory, backed by a host memfd so that guests can map it shared.

Sealing is the host's: F_ADD_SEALS is passed on, and a sealed operation fails with the host's errno.
"""

from __future__ import annotations

import fcntl
import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, EOPNOTSUPP, EPERM, LinuxError, from_os_error
from wardian.sentry.fs.anon import AnonInode
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    O_ACCMODE,
    O_APPEND,
    O_LARGEFILE,
    O_RDWR,
    O_TRUNC,
    File,
    MapSource,
)
from wardian.sentry.vfs.inode import S_IFREG, AttributeChange, Attributes

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

MFD_CLOEXEC: Final = 1
MFD_ALLOW_SEALING: Final = 2
MFD_NOEXEC_SEAL: Final = 8
MFD_EXEC: Final = 0x10
MFD_KNOWN: Final = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC

F_ADD_SEALS: Final = 1033
F_GET_SEALS: Final = 1034
F_SEAL_EXEC: Final = 0x20
PIECE: Final = 1 << 20


class MemfdInode(AnonInode):
    """The inode; owns the host descriptor until the last open file is gone."""

    def __init__(self, task: Task, host_fd: int, name: bytes, mode: int) -> None:
        cred = task.credentials
        now_ns = task.kernel.clock.realtime_ns()
        super().__init__(task.kernel.anon, S_IFREG | mode, cred.fsuid, cred.fsgid, now_ns)
        self.host_fd = host_fd
        self.name = name
        self.users = 0

    def getattr(self) -> Attributes:
        a = super().getattr()
        st = os.fstat(self.host_fd)
        a.nlink = 0
        a.size = st.st_size
        a.blocks = st.st_blocks
        a.mtime_ns = max(self.mtime_ns, st.st_mtime_ns)
        return a

    def setattr(self, change: AttributeChange) -> None:
        if change.size is not None:
            self.resize(change.size)
        if change.mode is not None and (change.mode ^ self.mode) & 0o111 and self.seals() & F_SEAL_EXEC:
            raise EPERM("sealed against changes of the execute bits")
        super().setattr(change)

    def resize(self, length: int) -> None:
        """ftruncate(2); the host knows the seals."""
        try:
            os.ftruncate(self.host_fd, length)
        except OSError as e:
            raise from_os_error(e) from None

    def seals(self) -> int:
        """F_GET_SEALS."""
        return fcntl.fcntl(self.host_fd, F_GET_SEALS)

    def open(self, task: Task, flags: int) -> File:
        if flags & O_TRUNC:
            self.resize(0)
        return MemfdFile(self, flags & (O_ACCMODE | O_APPEND | O_LARGEFILE))


class MemfdFile(File):
    """An open memfd."""

    def __init__(self, inode: MemfdInode, flags: int) -> None:
        super().__init__(inode, flags)
        self.memory = inode
        inode.users += 1

    def release(self) -> None:
        inode = self.memory
        inode.users -= 1
        if inode.users == 0:
            os.close(inode.host_fd)
            inode.host_fd = -1

    @property
    def seekable(self) -> bool:
        return True

    def pollable(self) -> bool:
        return False

    def read(self, sink: Sink, offset: int) -> int:
        total = 0
        while sink.left:
            try:
                data = os.pread(self.memory.host_fd, min(sink.left, PIECE), offset + total)
                if not data:
                    break
                total += sink.put(data)
            except OSError as e:
                raise from_os_error(e) from None
            except LinuxError:
                if total == 0:
                    raise
                break
        return total

    def write(self, source: Source, offset: int) -> int:
        total = 0
        while source.left:
            try:
                data = source.take(min(source.left, PIECE))
                done = os.pwrite(self.memory.host_fd, data, offset + total)
            except OSError as e:
                if total == 0:
                    raise from_os_error(e) from None
                break
            except LinuxError:
                if total == 0:
                    raise
                break
            total += done
            if done < len(data):
                source.give_back(len(data) - done)
                break
        return total

    def fsync(self, data_only: bool) -> None:
        pass

    def truncate(self, length: int) -> None:
        self.memory.resize(length)

    def allocate(self, mode: int, offset: int, length: int) -> None:
        if mode:
            raise EOPNOTSUPP("only plain fallocate of a memfd")
        try:
            os.posix_fallocate(self.memory.host_fd, offset, length)
        except OSError as e:
            raise from_os_error(e) from None

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return MapSource(self.memory.host_fd, offset)

    def describe(self) -> str:
        return f"/memfd:{self.memory.name.decode('utf-8', 'surrogateescape')} (deleted)"


def make_memfd(task: Task, name: bytes, flags: int) -> MemfdFile:
    """A new memfd; ``flags`` of memfd_create(2), already checked."""
    mode = 0o666 if flags & MFD_NOEXEC_SEAL else 0o777
    try:
        host_fd = os.memfd_create("wardian", os.MFD_CLOEXEC | (flags & MFD_ALLOW_SEALING))
    except OSError as e:
        raise from_os_error(e) from None
    if flags & MFD_NOEXEC_SEAL:
        # By hand: the flag itself is newer than the oldest host kernel we run on.
        try:
            os.fchmod(host_fd, mode)
            fcntl.fcntl(host_fd, F_ADD_SEALS, F_SEAL_EXEC)
        except OSError:
            pass
    return MemfdFile(MemfdInode(task, host_fd, name, mode), O_RDWR | O_LARGEFILE)


def memfd_of(file: File) -> MemfdInode:
    """The inode of a memfd for F_ADD_SEALS and F_GET_SEALS; EINVAL for other files."""
    if isinstance(file, MemfdFile):
        return file.memory
    raise EINVAL("not a memfd")


def add_seals(file: File, seals: int) -> int:
    """fcntl(2) F_ADD_SEALS."""
    inode = memfd_of(file)
    if not file.writable:
        raise EPERM("not open for writing")
    try:
        return fcntl.fcntl(inode.host_fd, F_ADD_SEALS, seals)
    except OSError as e:
        raise from_os_error(e) from None


def get_seals(file: File) -> int:
    """fcntl(2) F_GET_SEALS."""
    return memfd_of(file).seals()
