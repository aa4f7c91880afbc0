"""Dentries, mounts and paths: the tree of names (Documentation/filesystems/path-lookup.rst)."""

from __future__ import annotations

from typing import Final

from wardian.sentry.vfs.inode import Inode, SuperBlock

MS_RDONLY: Final = 1
MS_NOSUID: Final = 2
MS_NODEV: Final = 4
MS_NOEXEC: Final = 8
LOCKABLE: Final = MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC
MS_NOATIME: Final = 1024
MS_NODIRATIME: Final = 2048
MS_RELATIME: Final = 1 << 21


class Dentry:
    """A name in a directory; ``inode is None`` says that the name does not exist (negative)."""

    def __init__(self, name: bytes, parent: Dentry | None, inode: Inode | None) -> None:
        self.name = name
        self.parent: Dentry = parent if parent is not None else self
        self.inode = inode
        self.children: dict[bytes, Dentry] | None = None  # None: none yet; most are leaves
        self.checked_ns = 0  # when the file system last said so; see vfs.trust
        self.unlinked = False  # the name is gone, the dentry lives in open files: " (deleted)"
        self.negatives = 0  # at most this many children are negative
        self.linkable = False  # of O_TMPFILE: linkat(2) may give it a name
        self.mounts = 0  # how many mounts sit on this dentry, in any mount namespace

    @property
    def is_root(self) -> bool:
        return self.parent is self


class Mount:
    """One place where a superblock (or a subtree of it) is attached."""

    def __init__(
        self, mount_id: int, sb: SuperBlock, root: Dentry, flags: int, source: str
    ) -> None:
        self.mount_id = mount_id
        self.sb = sb
        self.root = root
        self.flags = flags
        self.locked = 0  # MS_* flags the guest may not take away
        self.held = False  # nor may it unmount or move it
        self.source = source
        self.parent: Mount | None = None
        self.mountpoint: Dentry | None = None  # a dentry of ``parent``
        self.submounts: dict[Dentry, Mount] = {}  # what is mounted on dentries seen through here

    def hold(self) -> None:
        """The host gave it: guests keep it as it is (mount_namespaces(7), "locked" mounts)."""
        self.held = True
        self.locked = self.flags & LOCKABLE

    @property
    def read_only(self) -> bool:
        return bool(self.flags & MS_RDONLY) or self.sb.read_only


class Path:
    """Where something is: a dentry seen through a mount."""

    def __init__(self, mount: Mount, dentry: Dentry) -> None:
        self.mount = mount
        self.dentry = dentry

    @property
    def inode(self) -> Inode:
        """The inode; only for positive dentries."""
        assert self.dentry.inode is not None
        return self.dentry.inode

    def same(self, other: Path) -> bool:
        """True when both are the same place."""
        return self.mount is other.mount and self.dentry is other.dentry
