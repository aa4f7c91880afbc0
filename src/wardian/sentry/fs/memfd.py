"""memfd_create(2): a tmpfs file without a name, on the kernel's internal tmpfs (``Kernel.shmem``).

What is special is the initial seals and what /proc/<pid>/fd shows; seals themselves are tmpfs's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.fs.tmpfs_inode import TmpFile, TmpRegular
from wardian.sentry.vfs.file import O_LARGEFILE, O_RDWR, File

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

MFD_CLOEXEC: Final = 1
MFD_ALLOW_SEALING: Final = 2
MFD_NOEXEC_SEAL: Final = 8
MFD_EXEC: Final = 0x10
MFD_KNOWN: Final = MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL | MFD_EXEC

F_SEAL_SEAL: Final = 0x1
F_SEAL_EXEC: Final = 0x20


class MemfdInode(TmpRegular):
    """A memfd: it knows the name it was given."""

    def __init__(self, sb: TmpFS, mode: int, uid: int, gid: int, name: bytes) -> None:
        super().__init__(sb, mode, uid, gid)
        self.nlink = 0
        self.label = name

    def open(self, task: Task, flags: int) -> File:
        return MemfdFile(self, flags)


class MemfdFile(TmpFile):
    """An open memfd."""

    def __init__(self, inode: MemfdInode, flags: int) -> None:
        super().__init__(inode, flags)
        self.label = inode.label

    def describe(self) -> str:
        return f"/memfd:{self.label.decode('utf-8', 'surrogateescape')} (deleted)"


def make_memfd(task: Task, name: bytes, flags: int) -> MemfdFile:
    """A new memfd; ``flags`` of memfd_create(2), already checked."""
    kernel = task.kernel
    if kernel.shmem is None:
        kernel.shmem = TmpFS(kernel.anonymous_dev(), kernel.clock, whole=kernel.file_space)
    cred = task.credentials
    sealed = flags & MFD_NOEXEC_SEAL != 0
    inode = MemfdInode(kernel.shmem, 0o666 if sealed else 0o777, cred.fsuid, cred.fsgid, name)
    inode.seals = 0 if flags & (MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL) else F_SEAL_SEAL
    if sealed:
        inode.seals |= F_SEAL_EXEC
    return MemfdFile(inode, O_RDWR | O_LARGEFILE)
