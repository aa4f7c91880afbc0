"""Directories of the host: looking names up, and changing them where the host lets us (see
``fs.host``)."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENOENT, ENOTDIR, EPERM, ESTALE
from wardian.sentry.fs.host_files import HostDirFile
from wardian.sentry.fs.host_inode import HostInode
from wardian.sentry.vfs.inode import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    Attributes,
    Inode,
)

if TYPE_CHECKING:
    from wardian.sentry.fs.host import HostSuperBlock
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File

RENAME_EXCHANGE: Final = 2


class HostDirectory(HostInode):
    """A directory; ``descriptor`` is its O_PATH descriptor while it has one."""

    def __init__(
        self, sb: HostSuperBlock, parent: HostDirectory | None, name: bytes, attributes: Attributes
    ) -> None:
        super().__init__(sb, parent, name, attributes)
        self.descriptor = -1
        self.used = False
        self.index = 0  # of the host device, as in HostSuperBlock.devices
        self.hidden = False  # a kernel file system of the host: shown empty

    def fd(self) -> int:
        """The O_PATH descriptor, opened on demand; borrowed, good until the next call of any."""
        if self.descriptor >= 0:
            self.used = True
            return self.descriptor
        return self.fs.open_directory(self)

    def close(self) -> None:
        """Give the descriptor back."""
        if self.descriptor >= 0 and self.parent is not None:
            self.fs.host.close(self.descriptor)
            self.descriptor = -1

    def fetch(self) -> Attributes | None:
        if self.descriptor >= 0:
            return self.fs.host.fstat(self.descriptor)
        return super().fetch()

    def open(self, task: Task, flags: int) -> File:
        return self.open_file(flags)

    def open_file(self, flags: int) -> HostDirFile:
        """A new description."""
        fd = -1
        if not self.hidden:
            fd = self.fs.host.openat2(self.fd(), b".", os.O_RDONLY | os.O_DIRECTORY)
        return HostDirFile(self, flags, fd)

    # -- names -------------------------------------------------------------------------------------
    def lookup(self, name: bytes) -> Inode | None:
        if self.hidden:
            return None
        fs = self.fs
        try:
            attributes = fs.host.stat(self.fd(), name)
        except ENOENT:
            return None
        if attributes is None:
            return None
        index = 0
        if attributes.dev != fs.host_dev:
            index = fs.device_index(self, name, attributes.dev)
            if index in fs.hidden and attributes.mode & S_IFMT != S_IFDIR:
                return None
        fs.adopt(attributes)
        inode = fs.inode_for(self, name, attributes)
        if index != 0 and isinstance(inode, HostDirectory):
            inode.index = index
            if index in fs.hidden:
                inode.hide()
        return inode

    def still(self, name: bytes, child: Inode | None) -> bool:
        if self.hidden:
            return child is None
        fs = self.fs
        attributes = fs.host.stat(self.fd(), name)
        if attributes is None or not isinstance(child, HostInode):
            return attributes is None and child is None
        if attributes.dev != fs.host_dev and attributes.dev not in fs.devices:
            return False
        fs.adopt(attributes)
        if not child.is_file_of(attributes):
            return False
        if not isinstance(child, HostDirectory) or not child.hidden:
            child.seen(self, name, attributes)
        return True

    def hide(self) -> None:
        """Show an empty directory: the names and numbers of the host's proc are not for guests."""
        self.hidden = True
        self.attributes.nlink = 2
        self.attributes.size = 0

    def getattr(self) -> Attributes:
        if not self.hidden and not self.trusted():
            self.refresh()
        return self.attributes

    def made(self, name: bytes) -> Inode:
        """The inode of something we just made."""
        inode = self.lookup(name)
        if inode is None:
            raise ENOENT("the host removed what was just made")
        return inode

    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        self.writing()
        host = self.fs.host
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NONBLOCK
        fd = host.openat2(self.fd(), name, flags, mode & 0o7777)
        host.close(fd)
        self.own(name, mode, uid, gid)
        return self.made(name)

    def own(self, name: bytes, mode: int, uid: int, gid: int) -> None:
        """Owner and mode for something new. A Sentry without privileges cannot give files away:
        they stay its own, and that is no failure."""
        host = self.fs.host
        fd = self.fd()
        attributes = host.stat(fd, name)
        if attributes is None:
            return
        if attributes.uid != uid or attributes.gid != gid:
            try:
                host.chown(fd, name, uid, gid)
            except EPERM:
                pass
            attributes = host.stat(fd, name)
        if (
            attributes is not None
            and attributes.mode & 0o7777 != mode & 0o7777
            and attributes.mode & S_IFMT != S_IFLNK
        ):
            try:
                host.chmod(fd, name, mode & 0o7777)
            except EPERM:
                pass

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        self.writing()
        self.fs.host.mkdir(self.fd(), name, mode & 0o7777)
        self.own(name, mode, uid, gid)
        return self.made(name)

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        self.writing()
        if mode & S_IFMT in (S_IFCHR, S_IFBLK):
            raise EPERM("no devices are made on the host")
        self.fs.host.mknod(self.fd(), name, mode)
        self.own(name, mode, uid, gid)
        return self.made(name)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        self.writing()
        self.fs.host.symlink(target, self.fd(), name)
        self.own(name, 0o777, uid, gid)
        return self.made(name)

    def link(self, name: bytes, target: Inode) -> None:
        self.writing()
        assert isinstance(target, HostInode)
        host = self.fs.host
        if target.parent is None:
            raise ESTALE("not below the granted directory any more")
        old, new = self.fs.two_directories(target.parent, self)
        host.link(old, target.name, new, name)
        target.refresh()

    def unlink(self, name: bytes, child: Inode) -> None:
        self.writing()
        self.fs.host.unlink(self.fd(), name)
        self.forget(child)

    def rmdir(self, name: bytes, child: Inode) -> None:
        self.writing()
        self.fs.host.rmdir(self.fd(), name)
        self.forget(child)

    def forget(self, child: Inode) -> None:
        """``child`` lost a name. When that was the last, the host may use its number again."""
        if isinstance(child, HostDirectory):
            child.close()
            self.fs.inodes.pop(child.ino, None)
        elif isinstance(child, HostInode) and child.attributes.nlink <= 1 and not child.is_open():
            self.fs.inodes.pop(child.ino, None)

    def rename(
        self,
        name: bytes,
        child: Inode,
        target: Inode,
        target_name: bytes,
        replaced: Inode | None,
        exchange: bool,
    ) -> None:
        self.writing()
        if not isinstance(target, HostDirectory):
            raise ENOTDIR("the target is not a directory")
        old, new = self.fs.two_directories(self, target)
        self.fs.host.rename(old, name, new, target_name, RENAME_EXCHANGE if exchange else 0)
        assert isinstance(child, HostInode)
        child.parent, child.name = target, target_name
        if replaced is None or replaced is child:
            return
        assert isinstance(replaced, HostInode)
        if exchange:
            replaced.parent, replaced.name = self, name
        else:
            self.forget(replaced)
