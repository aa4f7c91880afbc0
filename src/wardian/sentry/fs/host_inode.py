"""Inodes of host files that are not directories, and what all host inodes share; see
``fs.host``."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EINVAL,
    ELOOP,
    ENODATA,
    ENOENT,
    ENXIO,
    EOPNOTSUPP,
    EROFS,
    ESTALE,
)
from wardian.sentry.fs.devices import open_device
from wardian.sentry.fs.host_files import HostFile, HostHandle
from wardian.sentry.fs.pipe import open_fifo
from wardian.sentry.vfs.file import (
    O_ACCMODE,
    O_DSYNC,
    O_NONBLOCK,
    O_RDONLY,
    O_RDWR,
    O_SYNC,
)
from wardian.sentry.vfs.inode import (
    S_IFBLK,
    S_IFCHR,
    S_IFIFO,
    S_IFMT,
    AttributeChange,
    Attributes,
    Inode,
)

if TYPE_CHECKING:
    from wardian.sentry.fs.host import HostSuperBlock
    from wardian.sentry.fs.host_directory import HostDirectory
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File

READABLE_XATTRS: Final = (b"user.", b"system.posix_acl_", b"security.capability")


class HostInode(Inode):
    """What all host inodes share: parent, name, attributes."""

    def __init__(
        self, sb: HostSuperBlock, parent: HostDirectory | None, name: bytes, attributes: Attributes
    ) -> None:
        super().__init__(sb, attributes.ino, attributes.mode)
        self.fs = sb
        self.parent = parent
        self.name = name
        self.attributes = attributes
        trust = sb.trust
        self.stamp_ns = trust.now_ns if trust is not None else 0  # when the host said so
        self.uid = attributes.uid
        self.gid = attributes.gid

    def seen(self, parent: HostDirectory, name: bytes, attributes: Attributes) -> None:
        """The host shows this file at ``parent``/``name`` now."""
        self.parent = parent
        self.name = name
        self.believe(attributes)

    def believe(self, attributes: Attributes) -> None:
        """Take over attributes just read from the host, under the date of ``Trust.now_ns``."""
        if attributes.ctime_ns != self.attributes.ctime_ns:
            self.changed()
        self.attributes = attributes
        trust = self.fs.trust
        if trust is not None:
            self.stamp_ns = trust.now_ns
        self.mode = attributes.mode
        self.uid = attributes.uid
        self.gid = attributes.gid

    def trusted(self) -> bool:
        """True while the attributes at hand are good enough."""
        trust = self.fs.trust
        return trust is None or self.stamp_ns > trust.floor()

    def is_file_of(self, attributes: Attributes) -> bool:
        """True when adopted ``attributes`` are those of this very file."""
        mine = self.attributes
        return (
            attributes.ino == mine.ino
            and attributes.btime_ns == mine.btime_ns
            and attributes.mode & S_IFMT == mine.mode & S_IFMT
        )

    def same_file(self, other: Inode) -> bool:
        return self is other or (
            isinstance(other, HostInode)
            and self.fs is other.fs
            and self.is_file_of(other.attributes)
        )

    def changed(self) -> None:
        """Its change time is another one: what was kept of its contents may be wrong."""

    def directory_fd(self) -> int:
        """The descriptor our name is relative to."""
        if self.parent is None:
            raise ESTALE("not below the granted directory any more")
        return self.parent.fd()

    def getattr(self) -> Attributes:
        """The attributes; the object is shared and must not be changed by the caller."""
        if not self.trusted():
            self.refresh()
        return self.attributes

    def seen_attributes(self) -> Attributes:
        return self.attributes

    def refresh(self) -> None:
        """Ask the host."""
        attributes = self.fetch()
        if attributes is None:
            raise ENOENT("the file is gone from the host")
        self.fs.adopt(attributes)
        if not self.is_file_of(attributes):
            raise self.fs.stale("the name is another file now")
        self.believe(attributes)

    def fetch(self) -> Attributes | None:
        """The host's attributes, by name; open files do it by descriptor."""
        return self.fs.host.stat(self.directory_fd(), self.name)

    def is_open(self) -> bool:
        """True while a host descriptor of the file itself is open."""
        return False

    def writing(self) -> None:
        """Called by everything that changes the host."""
        if self.fs.read_only:
            raise EROFS("granted read-only")

    def setattr(self, change: AttributeChange) -> None:
        self.writing()
        if change.size is not None:
            self.truncate(change.size)
        host = self.fs.host
        fd = self.directory_fd()
        if change.uid is not None or change.gid is not None:
            uid = -1 if change.uid is None else change.uid
            host.chown(fd, self.name, uid, -1 if change.gid is None else change.gid)
        if change.mode is not None:
            host.chmod(fd, self.name, change.mode & 0o7777)
        if change.atime_ns is not None or change.mtime_ns is not None:
            now = self.getattr()
            atime = now.atime_ns if change.atime_ns is None else change.atime_ns
            host.utimens(
                fd, self.name, atime, now.mtime_ns if change.mtime_ns is None else change.mtime_ns
            )
        self.refresh()

    def truncate(self, length: int) -> None:
        """truncate(2)."""
        raise EINVAL("not a regular file")

    # -- extended attributes -----------------------------------------------------------------------
    def getxattr(self, name: bytes) -> bytes:
        if not name.startswith(READABLE_XATTRS):
            raise ENODATA("not shown by the host")
        return self.fs.host.getxattr(self.directory_fd(), self.name, name)

    def listxattr(self) -> list[bytes]:
        try:
            names = self.fs.host.listxattr(self.directory_fd(), self.name)
        except EOPNOTSUPP:
            return []
        return [name for name in names if name.startswith(READABLE_XATTRS)]

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self.writing()
        if not name.startswith(b"user."):
            raise EOPNOTSUPP("only user.* reaches the host")
        self.fs.host.setxattr(self.directory_fd(), self.name, name, value, flags)

    def removexattr(self, name: bytes) -> None:
        self.writing()
        if not name.startswith(b"user."):
            raise EOPNOTSUPP("only user.* reaches the host")
        self.fs.host.removexattr(self.directory_fd(), self.name, name)


class HostRegular(HostInode):
    """A regular file."""

    def __init__(
        self, sb: HostSuperBlock, parent: HostDirectory | None, name: bytes, attributes: Attributes
    ) -> None:
        super().__init__(sb, parent, name, attributes)
        self.handle: HostHandle | None = None  # what read-only opens share unless shared
        self.handles: list[HostHandle] | None = None  # every open one: the name may be gone

    def is_open(self) -> bool:
        return bool(self.handles)

    def fetch(self) -> Attributes | None:
        """By descriptor where there is one, as the name may be gone."""
        if self.handles:
            return self.fs.host.fstat(self.handles[-1].fd)
        return self.fs.host.stat(self.directory_fd(), self.name)

    def changed(self) -> None:
        """Open files keep their descriptor; whoever opens from now on gets a new one."""
        handle = self.handle
        self.handle = None
        if handle is not None and handle.users == 0:
            handle.close()

    def open(self, task: Task, flags: int) -> File:
        if flags & O_ACCMODE == O_RDONLY and not self.fs.shared:
            return HostFile(self, flags, self.share_handle())
        if flags & O_ACCMODE != O_RDONLY:
            self.writing()
        return HostFile(self, flags, self.open_handle(flags))

    def open_handle(self, flags: int) -> HostHandle:
        """A new host descriptor. O_NONBLOCK: the name may have become a FIFO; never hang on it."""
        wanted = flags & (O_ACCMODE | O_DSYNC | O_SYNC) | O_NONBLOCK
        fd = self.fs.host.openat2(self.directory_fd(), self.name, wanted)
        self.check_opened(fd)
        handle = HostHandle(self, fd)
        if self.handles is None:
            self.handles = []
        self.handles.append(handle)
        return handle

    def check_opened(self, fd: int) -> None:
        """Is what we opened what we looked up? ``fd`` is closed when it is not."""
        attributes = self.fs.host.fstat(fd)
        self.fs.adopt(attributes)
        if not self.is_file_of(attributes):
            self.fs.host.close(fd)
            raise self.fs.stale("the name is another file now")
        self.believe(attributes)

    def share_handle(self) -> HostHandle:
        """The descriptor read-only opens share."""
        handle = self.handle
        if handle is None:
            handle = self.open_handle(O_RDONLY)
            handle.shared = True
            self.handle = handle
        handle.users += 1
        return handle

    def close_handle(self, handle: HostHandle) -> None:
        """The descriptor of ``handle`` is about to be closed."""
        if self.handles is not None:
            self.handles.remove(handle)
        if self.handle is handle:
            self.handle = None

    def truncate(self, length: int) -> None:
        handle = HostFile(self, O_RDWR, self.open_handle(os.O_WRONLY)).hold()
        try:
            handle.truncate(length)
        finally:
            handle.drop()

    def setattr(self, change: AttributeChange) -> None:
        """As for any inode; through a descriptor when one is open, since the name may be gone."""
        if not self.handles or not self.fs.shared:
            super().setattr(change)
            return
        self.writing()
        if change.size is not None:
            self.truncate_open(change.size)
        host = self.fs.host
        fd = self.handles[-1].fd
        if change.uid is not None or change.gid is not None:
            uid = -1 if change.uid is None else change.uid
            host.fchown(fd, uid, -1 if change.gid is None else change.gid)
        if change.mode is not None:
            host.fchmod(fd, change.mode & 0o7777)
        if change.atime_ns is not None or change.mtime_ns is not None:
            now = self.getattr()
            atime = now.atime_ns if change.atime_ns is None else change.atime_ns
            host.futimens(fd, atime, now.mtime_ns if change.mtime_ns is None else change.mtime_ns)
        self.refresh()

    def truncate_open(self, length: int) -> None:
        """Truncate through a descriptor that is open for writing, else by name."""
        for handle in self.handles or ():
            if handle.writable:
                self.fs.host.ftruncate(handle.fd, length)
                return
        self.truncate(length)


class HostLink(HostInode):
    """A symbolic link; only its text comes from the host."""

    def __init__(
        self, sb: HostSuperBlock, parent: HostDirectory | None, name: bytes, attributes: Attributes
    ) -> None:
        super().__init__(sb, parent, name, attributes)
        self.target = b""

    def readlink(self) -> bytes:
        if not self.target:
            self.target = self.fs.host.readlink(self.directory_fd(), self.name)
        return self.target

    def changed(self) -> None:
        self.target = b""

    def open(self, task: Task, flags: int) -> File:
        raise ELOOP("a symbolic link")


class HostSpecial(HostInode):
    """A FIFO, socket or device node of the host, or a kernel file system hidden from view."""

    def open(self, task: Task, flags: int) -> File:
        if self.kind == S_IFIFO:
            return open_fifo(task, self, flags)
        if self.kind in (S_IFCHR, S_IFBLK):  # the number is the guest's to interpret
            return open_device(task, self, self.attributes.rdev, flags)
        raise ENXIO("sockets of the host are only shown")
