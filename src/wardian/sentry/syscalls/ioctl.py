"""ioctl(2): the commands every file knows; the rest is the file's own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EBADF, ENOTTY
from wardian.sentry.syscalls.descriptors import set_owner
from wardian.sentry.syscalls.kinds import FD, UInt, ULong
from wardian.sentry.vfs.fasync import set_async
from wardian.sentry.vfs.file import O_ASYNC, O_NONBLOCK, O_PATH, File
from wardian.sentry.vfs.inode import S_IFDIR, S_IFLNK, S_IFREG, S_IFSOCK

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

FIONREAD: Final = 0x541B
FIONBIO: Final = 0x5421
FIONCLEX: Final = 0x5450
FIOCLEX: Final = 0x5451
FIOASYNC: Final = 0x5452
FIOSETOWN: Final = 0x8901
SIOCSPGRP: Final = 0x8902
SIOCGPGRP: Final = 0x8904
FIOQSIZE: Final = 0x5460
FIGETBSZ: Final = 2


def ioctl(t: Task, fd: FD, command: UInt, argument: ULong) -> int:
    """ioctl(2)."""
    file = t.files.get(fd)
    if file.flags & O_PATH:
        raise EBADF("an O_PATH descriptor")
    if command in (FIOCLEX, FIONCLEX):
        set_cloexec(t, fd, command == FIOCLEX)
        return 0
    if command in (FIONBIO, FIOASYNC):
        flag = O_NONBLOCK if command == FIONBIO else O_ASYNC
        on = t.copy_in(argument, 4) != bytes(4)
        file.set_flags(file.flags | flag if on else file.flags & ~flag)
        if command == FIOASYNC:
            set_async(t.kernel, file, fd, on)
        return 0
    inode = file.inode
    kind = inode.kind if inode is not None else 0
    if kind == S_IFSOCK and FIOSETOWN <= command <= SIOCGPGRP:
        return owner_ioctl(t, file, command, argument)
    if kind == S_IFREG and command == FIONREAD:
        assert inode is not None
        left = max(0, inode.getattr().size - file.offset)
        t.copy_out(argument, (left & 0xFFFFFFFF).to_bytes(4, "little"))
        return 0
    if command in (FIOQSIZE, FIGETBSZ):
        return size_ioctl(t, file, command, argument)
    return file.ioctl(t, command, argument)


def set_cloexec(t: Task, fd: int, on: bool) -> None:
    """FIOCLEX, FIONCLEX."""
    if on:
        t.files.cloexec.add(fd)
    else:
        t.files.cloexec.discard(fd)


def owner_ioctl(t: Task, file: File, command: int, argument: int) -> int:
    """F_SETOWN and F_GETOWN as sockets also know them (socket(7))."""
    if command in (FIOSETOWN, SIOCSPGRP):
        return set_owner(t, file, int.from_bytes(t.copy_in(argument, 4), "little", signed=True))
    t.copy_out(argument, (file.owner_pid & 0xFFFFFFFF).to_bytes(4, "little"))
    return 0


def size_ioctl(t: Task, file: File, command: int, argument: int) -> int:
    """FIOQSIZE (files, directories and links) and FIGETBSZ."""
    inode = file.inode
    if inode is None or (command == FIOQSIZE and inode.kind not in (S_IFREG, S_IFDIR, S_IFLNK)):
        raise ENOTTY("no such size")
    attributes = inode.getattr()
    if command == FIOQSIZE:
        t.copy_out(argument, attributes.size.to_bytes(8, "little"))
    else:
        t.copy_out(argument, attributes.blocksize.to_bytes(4, "little"))
    return 0
