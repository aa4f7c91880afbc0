"""Files of the host, below one granted directory (a root file system, a ``--volume``).

Who grants opens the directory with O_PATH and makes a :class:`HostSuperBlock` of the descriptor;
nothing outside it is reachable (see ``fs.hostcalls`` for why). Symbolic links are never followed
by the host: the guest's own path walk does that, in the guest's tree.

Inodes hold no descriptor. An inode knows its parent and its name; a bounded number of directories
have an O_PATH descriptor, and everything else is one ``*at`` call relative to its parent's. Two
modes:

* *shared* (volumes): the host may change names and contents at any time. Names are looked up again
  on each walk and attributes on each stat(2); inodes of one host file are one object.
* *exclusive* (the lower layer of an overlay): nobody else is expected to change the tree, so names
  and attributes are believed for a while (``TRUST_NS``), read-only opens of one file share one
  host descriptor, and the last few of those stay open. ``fs.overlay`` keeps the identity of inodes.

Sockets of the host can be seen, not opened. A FIFO is the guest's own pipe, a device the guest's
device of that number. Kernel file systems of the host (proc, sysfs, ...) mounted below the granted
directory show as empty directories.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EINVAL,
    ELOOP,
    ENODATA,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EOPNOTSUPP,
    EPERM,
    EROFS,
    ESTALE,
    from_os_error,
)
from wardian.sentry.fs.devices import open_device
from wardian.sentry.fs.host_files import HostDirFile, HostFile, HostHandle
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.pipe import open_fifo
from wardian.sentry.hostport import Clock
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
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    AttributeChange,
    Attributes,
    Inode,
    StatFs,
    SuperBlock,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File

TRUST_NS: Final = 1_000_000_000
"""How long attributes are believed in exclusive mode (NFS calls this acregmin and takes 3 s)."""

DIRECTORY_DESCRIPTORS: Final = 256
IDLE_HANDLES: Final = 128
MAX_DEPTH: Final = 2048  # PATH_MAX / 2: no guest path names anything deeper
OPEN_PATH_BYTES: Final = 3072
SWEEP_FROM: Final = 4096
FOREIGN_SHIFT: Final = 44  # where the number of a foreign host device goes in st_ino

O_PATH_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY

RENAME_EXCHANGE: Final = 2

KERNEL_FILE_SYSTEMS: Final = frozenset(
    (
        0x9FA0,  # proc
        0x62656572,  # sysfs
        0x27E0EB,  # cgroup
        0x63677270,  # cgroup2
        0x64626720,  # debugfs
        0x74726163,  # tracefs
        0x73636673,  # securityfs
        0xCAFE4A11,  # bpf
        0x6165676C,  # pstore
        0xDE5E81E4,  # efivarfs
        0x62656570,  # configfs
        0x1CD1,  # devpts
        0x19800202,  # mqueue
        0xF97CFF8C,  # selinuxfs
        0x42494E4D,  # binfmt_misc
        0x65735543,  # fusectl
        0x6E736673,  # nsfs
        0x43415D53,  # smackfs
        0x67596969,  # rpc_pipefs
        0x6E667364,  # nfsd
    )
)

READABLE_XATTRS: Final = (b"user.", b"system.posix_acl_", b"security.capability")


class HostSuperBlock(SuperBlock):
    """The tree below ``root_fd`` (owned from now on), or the one file ``only`` in it."""

    name = "hostfs"

    def __init__(
        self,
        host: HostFS,
        root_fd: int,
        dev: int,
        clock: Clock,
        *,
        shared: bool,
        read_only: bool,
        only: bytes = b"",
    ) -> None:
        super().__init__(dev)
        if not shared and not read_only:
            raise EINVAL("a tree that we write to is shared")
        self.host = host
        self.clock = clock
        self.shared = shared
        self.read_only = read_only
        self.inodes: dict[int, HostInode] = {}  # by st_ino; shared mode
        self.sweep_at = SWEEP_FROM
        self.open_directories: list[HostDirectory] = []
        self.idle: list[HostHandle] = []
        attributes = host.fstat(root_fd)
        self.host_dev = attributes.dev
        self.devices: dict[int, int] = {attributes.dev: 0}
        self.hidden: set[int] = set()  # numbers of those that are kernel file systems
        self.adopt(attributes)
        self.granted = HostDirectory(self, None, b"", attributes)
        self.granted.descriptor = root_fd
        self.only = only

    def root(self) -> Inode:
        if not self.only:
            return self.granted
        inode = self.granted.lookup(self.only)
        if inode is None:
            raise ENOENT("the granted file is gone")
        return inode

    def revalidates(self) -> bool:
        return self.shared

    def statfs(self) -> StatFs:
        result = self.host.fstatfs(self.granted.descriptor)
        result.flags = 0
        return result

    def sync(self) -> None:
        if self.read_only:
            return
        fd = self.host.openat2(self.granted.descriptor, b".", os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.host.syncfs(fd)
        finally:
            self.host.close(fd)

    # -- identity ----------------------------------------------------------------------------------
    def adopt(self, attributes: Attributes) -> None:
        """Turn the host's st_dev and st_ino into ours. Other host devices below the root get their
        number in the high bits: two files must not look like one (find(1) would see a loop)."""
        if attributes.dev != self.host_dev:
            index = self.devices.get(attributes.dev, 0)
            attributes.ino = self.foreign_ino(index, attributes.ino)
        attributes.dev = self.dev

    def foreign_ino(self, index: int, ino: int) -> int:
        """The st_ino shown for ``ino`` of the foreign device number ``index``."""
        if index == 0:
            return ino
        if ino < 1 << FOREIGN_SHIFT:
            return ino | index << FOREIGN_SHIFT
        return (ino ^ (index * 0x9E3779B97F4A7C15)) & ((1 << 63) - 1)

    def device_index(self, directory: HostDirectory, name: bytes, dev: int) -> int:
        """The number of a host device seen below the root."""
        index = self.devices.get(dev)
        if index is None:
            fd = self.host.openat2(directory.fd(), name, os.O_PATH)
            try:
                magic = self.host.fstatfs(fd).magic
            finally:
                self.host.close(fd)
            index = len(self.devices)
            self.devices[dev] = index
            if magic in KERNEL_FILE_SYSTEMS:
                self.hidden.add(index)
        return index

    def inode_for(self, parent: HostDirectory, name: bytes, attributes: Attributes) -> HostInode:
        """The inode of a file just seen at ``parent``/``name``."""
        if not self.shared:
            return self.make_inode(parent, name, attributes)
        inode = self.inodes.get(attributes.ino)
        if inode is not None and inode.mode & S_IFMT == attributes.mode & S_IFMT:
            inode.seen(parent, name, attributes)
            return inode
        inode = self.make_inode(parent, name, attributes)
        self.inodes[attributes.ino] = inode
        if len(self.inodes) >= self.sweep_at:
            self.sweep()
        return inode

    def make_inode(self, parent: HostDirectory, name: bytes, attributes: Attributes) -> HostInode:
        kind = attributes.mode & S_IFMT
        if kind == S_IFREG:
            return HostRegular(self, parent, name, attributes)
        if kind == S_IFDIR:
            return HostDirectory(self, parent, name, attributes)
        if kind == S_IFLNK:
            return HostLink(self, parent, name, attributes)
        return HostSpecial(self, parent, name, attributes)

    def sweep(self) -> None:
        """Forget inodes that nobody else refers to. (Native classes have no weak references.)"""
        inodes = self.inodes
        inodes[-1] = HostSpecial(self, None, b"", Attributes())
        unused = self.references(-1)
        for ino in list(inodes):
            if self.references(ino) <= unused:
                del inodes[ino]
        self.sweep_at = max(SWEEP_FROM, 2 * len(inodes))

    def references(self, ino: int) -> int:
        return sys.getrefcount(self.inodes[ino])

    # -- descriptors -------------------------------------------------------------------------------
    def open_directory(self, directory: HostDirectory) -> int:
        """Open ``directory`` with O_PATH, in one call from the nearest ancestor that is open."""
        names: list[bytes] = []
        above = directory
        while above.descriptor < 0:
            names.append(above.name)
            if above.parent is None or len(names) > MAX_DEPTH:
                raise ESTALE("the directory has lost its way to the root")
            above = above.parent
        above.used = True
        names.reverse()
        directory.descriptor = self.open_below(above.descriptor, names)
        directory.used = True
        self.open_directories.append(directory)
        if len(self.open_directories) > DIRECTORY_DESCRIPTORS:
            self.close_one_directory()
        return directory.descriptor

    def open_below(self, fd: int, names: list[bytes]) -> int:
        """Open a directory by the names that lead to it; a long way is walked in steps."""
        start = fd
        path = names[0]
        for name in names[1:]:
            if len(path) + len(name) > OPEN_PATH_BYTES:
                step = self.host.openat2(fd, path, O_PATH_DIRECTORY)
                if fd != start:
                    self.host.close(fd)
                fd = step
                path = name
            else:
                path = path + b"/" + name
        try:
            return self.host.openat2(fd, path, O_PATH_DIRECTORY)
        finally:
            if fd != start:
                self.host.close(fd)

    def two_directories(self, one: HostDirectory, two: HostDirectory) -> tuple[int, int]:
        """The descriptors of both: opening the second may have closed the first."""
        first = one.fd()
        second = two.fd()
        if one.descriptor < 0:
            first = one.fd()
        return first, second

    def close_one_directory(self) -> None:
        """Second chance: close the oldest descriptor that was not used since the last look."""
        while True:
            directory = self.open_directories.pop(0)
            if directory.used:
                directory.used = False
                self.open_directories.append(directory)
                continue
            directory.close()
            return

    def park_handle(self, handle: HostHandle) -> None:
        """Keep a descriptor nobody uses for the next open; the oldest unused one goes."""
        if not handle.queued:
            handle.queued = True
            self.idle.append(handle)
        if len(self.idle) <= IDLE_HANDLES:
            return
        oldest = self.idle.pop(0)
        oldest.queued = False
        if oldest.users == 0:
            oldest.close()


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
        self.stamp_ns = sb.clock.monotonic_ns()
        self.uid = attributes.uid
        self.gid = attributes.gid

    def seen(self, parent: HostDirectory, name: bytes, attributes: Attributes) -> None:
        """The host shows this file at ``parent``/``name`` now."""
        self.parent = parent
        self.name = name
        self.believe(attributes)

    def believe(self, attributes: Attributes) -> None:
        """Take over attributes just read from the host."""
        self.attributes = attributes
        self.stamp_ns = self.fs.clock.monotonic_ns()
        self.ino = attributes.ino
        self.mode = attributes.mode
        self.uid = attributes.uid
        self.gid = attributes.gid

    def trusted(self) -> bool:
        """True while the attributes at hand are good enough."""
        return not self.fs.shared and self.fs.clock.monotonic_ns() - self.stamp_ns < TRUST_NS

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

    def refresh(self) -> None:
        """Ask the host."""
        attributes = self.fetch()
        if attributes is None:
            raise ENOENT("the file is gone from the host")
        self.fs.adopt(attributes)
        if attributes.mode & S_IFMT != self.mode & S_IFMT:
            raise ESTALE("the name is another kind of file now")
        if attributes.ino != self.ino and self.fs.shared:
            raise ESTALE("the name is another file now")
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
        self.handle: HostHandle | None = None  # what read-only opens share when exclusive
        self.handles: list[HostHandle] = []  # every open one: the name may be gone

    def is_open(self) -> bool:
        return bool(self.handles)

    def fetch(self) -> Attributes | None:
        """By descriptor, as the name may be gone. In exclusive mode the name comes first: a host
        that replaces files (editors do) is better believed late than never."""
        attributes: Attributes | None = None
        if not self.handles or not self.fs.shared:
            attributes = super().fetch()
        if attributes is None and self.handles:
            attributes = self.fs.host.fstat(self.handles[-1].fd)
        return attributes

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
        if not self.trusted():
            self.check_opened(fd)
        handle = HostHandle(self, fd)
        self.handles.append(handle)
        return handle

    def check_opened(self, fd: int) -> None:
        """Is what we opened what we looked up? ``fd`` is closed when it is not."""
        attributes = self.fs.host.fstat(fd)
        same_kind = attributes.mode & S_IFMT == S_IFREG
        self.fs.adopt(attributes)
        if not same_kind or (attributes.ino != self.ino and self.fs.shared):
            self.fs.host.close(fd)
            raise ESTALE("the name is another file now")
        self.believe(attributes)

    def share_handle(self) -> HostHandle:
        """The descriptor read-only opens share; replaced when the name has become another file."""
        handle = self.handle
        if handle is not None and not self.trusted():
            before = self.ino
            self.refresh()
            if self.ino != before:
                handle = None
        if handle is None:
            handle = self.open_handle(O_RDONLY)
            handle.shared = True
            self.handle = handle
        handle.users += 1
        return handle

    def close_handle(self, handle: HostHandle) -> None:
        """The descriptor of ``handle`` is about to be closed."""
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
        for handle in self.handles:
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
        if not self.target or self.fs.shared:
            self.target = self.fs.host.readlink(self.directory_fd(), self.name)
        return self.target

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

    def hide(self) -> None:
        """Show an empty directory: the names and numbers of the host's proc are not for guests."""
        self.hidden = True
        self.attributes.nlink = 2
        self.attributes.size = 0

    def getattr(self) -> Attributes:
        return self.attributes if self.hidden else super().getattr()

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


def grant(path: bytes) -> tuple[int, bytes]:
    """Open what the user named for a :class:`HostSuperBlock`: directory descriptor, ``only``.

    Runs before confinement, with the user's own rights and following the user's own links.
    """
    real = os.path.realpath(path)
    try:
        if os.path.isdir(real):
            return os.open(real, O_PATH_DIRECTORY | os.O_CLOEXEC), b""
        parent = os.path.dirname(real)
        os.stat(real)
        return os.open(parent, O_PATH_DIRECTORY | os.O_CLOEXEC), os.path.basename(real)
    except OSError as e:
        raise from_os_error(e) from None
