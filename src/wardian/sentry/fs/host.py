"""Files of the host, below one granted directory (a root file system, a ``--volume``).

Who grants opens the directory with O_PATH and makes a :class:`HostSuperBlock` of the descriptor;
nothing outside it is reachable (see ``fs.hostcalls`` for why). Symbolic links are never followed
by the host: the guest's own path walk does that, in the guest's tree.

Inodes hold no descriptor. An inode knows its parent and its name; a bounded number of directories
have an O_PATH descriptor, and everything else is one ``*at`` call relative to its parent's. Three
kinds of access; contents always come from the host at the moment of the read:

* *shared* (volumes): each walk looks every name up again, each stat(2) asks the host; inodes of one
  host file are one object.
* *cached* (the root, read-only for us): what the host said is believed for :data:`TRUST_NS`;
  read-only opens of one file share one host descriptor, and the last few of those stay open.
  ``fs.overlay`` keeps the identity of inodes.
* *exclusive*: the same, believed for ever, for a tree that its owner promises not to change.

A file is the same when number, kind and time of birth are: numbers are used again at once by some
file systems. When its change time moves, the descriptor that opens share is given up.

Sockets of the host can be seen, not opened. A FIFO is the guest's own pipe, a device the guest's
device of that number. Kernel file systems of the host (proc, sysfs, ...) mounted below the granted
directory show as empty directories.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, ENOENT, ESTALE, from_os_error
from wardian.sentry.fs.host_directory import HostDirectory
from wardian.sentry.fs.host_inode import HostInode, HostLink, HostRegular, HostSpecial
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.hostport import Clock
from wardian.sentry.vfs.inode import (
    S_IFDIR,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    Attributes,
    Inode,
    StatFs,
    SuperBlock,
)
from wardian.sentry.vfs.trust import Trust

if TYPE_CHECKING:
    from wardian.sentry.fs.host_files import HostHandle

TRUST_NS: Final = 2_000_000
"""How long names and attributes of a cached tree are believed. Short enough that nobody outside can
tell, long enough for the hundreds of looks at the same directories that starting a program takes;
ten times as much would save no more."""

DIRECTORY_DESCRIPTORS: Final = 256
IDLE_HANDLES: Final = 128
MAX_DEPTH: Final = 2048  # PATH_MAX / 2: no guest path names anything deeper
OPEN_PATH_BYTES: Final = 3072
SWEEP_FROM: Final = 4096
FOREIGN_SHIFT: Final = 44  # where the number of a foreign host device goes in st_ino

O_PATH_DIRECTORY: Final = os.O_PATH | os.O_DIRECTORY

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
        exclusive: bool = False,
        only: bytes = b"",
    ) -> None:
        super().__init__(dev)
        if not shared and not read_only:
            raise EINVAL("a tree that we write to is shared")
        if not exclusive:
            self.trust = Trust(clock, 0 if shared else TRUST_NS)
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

    def stale(self, words: str) -> ESTALE:
        """What is raised when the host shows something else than what we believed."""
        if self.trust is not None:
            self.trust.doubt()
        return ESTALE(words)

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
        if inode is not None and inode.is_file_of(attributes):
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
                raise self.stale("the directory has lost its way to the root")
            above = above.parent
        above.used = True
        names.reverse()
        directory.descriptor = self.open_same(above.descriptor, names, directory)
        directory.used = True
        self.open_directories.append(directory)
        if len(self.open_directories) > DIRECTORY_DESCRIPTORS:
            self.close_one_directory()
        return directory.descriptor

    def open_same(self, fd: int, names: list[bytes], directory: HostDirectory) -> int:
        """Open ``directory`` by ``names``, if that is what they still lead to."""
        found = self.open_below(fd, names)
        attributes = self.host.fstat(found)
        self.adopt(attributes)
        if not directory.is_file_of(attributes):
            self.host.close(found)
            raise self.stale("the name is another directory now")
        return found

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
