"""A copy-up overlay: a read-only lower tree below a writable one in memory
(Documentation/filesystems/overlayfs.rst).

The upper layer is tmpfs: :class:`OverlayFS` *is* a :class:`~wardian.sentry.fs.tmpfs.TmpFS`, and
files made in it are tmpfs inodes, seen by the guest as they are. What comes from the lower tree is
wrapped: directories in
:class:`OverlayDir`, the rest in :class:`~wardian.sentry.fs.overlay_node.OverlayNode`. The wrapper
stays the same object, with the same st_ino, when its lower file is copied up.

A directory that was changed has an upper :class:`TmpDir`, whose entries come first, and a set of
lower names that no longer show (whiteouts: removed, moved away, or standing in the upper layer).
An opaque directory is one without a lower one. As all of this is memory, an upper directory points
at its lower one directly and rename(2) of a lower directory just moves the wrapper; on disk, Linux
needs redirect_dir for that.

The lower tree is a ``HostSuperBlock`` in exclusive mode, or tmpfs; it takes on our st_dev.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, ENOENT, ENOTEMPTY, EXDEV
from wardian.sentry.fs.overlay_node import OverlayNode, copy_metadata, shown
from wardian.sentry.fs.overlay_readdir import OverlayDirFile, all_entries, open_lower_dir
from wardian.sentry.fs.tmpfs import TmpDir, TmpFS
from wardian.sentry.fs.tmpfs_inode import TmpInode, TmpRegular
from wardian.sentry.hostport import Clock
from wardian.sentry.vfs.inode import (
    S_IFDIR,
    S_IFMT,
    AttributeChange,
    Attributes,
    Inode,
    StatFs,
    SuperBlock,
)

if TYPE_CHECKING:
    from wardian.sentry.fs.contents import Quota
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File

OVERLAYFS_MAGIC: Final = 0x794C7630
UPPER_INO: Final = 1 << 40  # above the numbers a lower file system is likely to use
SWEEP_FROM: Final = 4096
MAX_DEPTH: Final = 100_000  # a path of directories no guest has the patience to nest


class OverlayFS(TmpFS):
    """One overlay; ``size`` and ``inodes`` bound the upper layer (0: no bound of its own), and so
    does the ``whole`` it is a part of."""

    name = "overlay"

    def __init__(
        self,
        dev: int,
        clock: Clock,
        lower: SuperBlock,
        size: int = 0,
        inodes: int = 0,
        whole: Quota | None = None,
    ) -> None:
        lower.dev = dev  # one st_dev for both layers: attributes from below are shown as they are
        lower_root = lower.root()
        if not lower_root.is_dir:
            raise EINVAL("the lower root is not a directory")
        super().__init__(
            dev,
            clock,
            size,
            inodes,
            lower_root.mode & 0o7777,
            lower_root.uid,
            lower_root.gid,
            whole,
        )
        self.last_ino = UPPER_INO
        self.lower = lower
        self.trust = lower.trust  # upper names have their own word for it: OverlayDir.still
        self.uppers: dict[int, Inode] = {}  # the wrapper of an upper inode, by the latter's number
        self.lowers: dict[int, Inode] = {}  # wrappers of lower inodes in use, by lower number
        self.kept: dict[int, OverlayNode] = {}  # those of hard links that must not be forgotten
        self.sweep_at = SWEEP_FROM
        self.base = OverlayDir(self, None, b"", lower_root, self.top)
        copy_metadata(lower_root, self.top)
        self.uppers[self.top.ino] = self.base

    def root(self) -> Inode:
        return self.base

    def statfs(self) -> StatFs:
        result = super().statfs()
        if not self.quota.bytes_limit:
            # Without a bound of our own the lower one's figures keep installers happy.
            result = self.lower.statfs()
        result.magic = OVERLAYFS_MAGIC
        return result

    # -- wrappers ----------------------------------------------------------------------------------
    def visible(self, upper: TmpInode) -> Inode:
        """What the guest sees for an entry of an upper directory."""
        return self.uppers.get(upper.ino, upper)

    def wrap(self, parent: OverlayDir, name: bytes, lower: Inode) -> Inode:
        """The wrapper of a lower inode just found."""
        kept = self.kept.get(lower.ino)
        if kept is not None:
            kept.found_at(parent, name)
            return kept
        known = self.lowers.get(lower.ino)
        if isinstance(known, OverlayNode):
            if known.lower is not None and known.lower.same_file(lower):
                known.found_at(parent, name)
                return known
        elif isinstance(known, OverlayDir):
            below = known.lower
            if below is not None and below.same_file(lower):
                return known
        wrapper: Inode
        if lower.mode & S_IFMT == S_IFDIR:
            wrapper = OverlayDir(self, parent, name, lower, None)
        else:
            wrapper = OverlayNode(self, parent, name, lower)
        self.lowers[lower.ino] = wrapper
        if len(self.lowers) >= self.sweep_at:
            self.sweep()
        return wrapper

    def sweep(self) -> None:
        """Forget wrappers that nobody else refers to. (Native classes have no weak references.)"""
        lowers = self.lowers
        lowers[-1] = Inode(self, -1, 0)
        unused = self.references(-1)
        for ino in list(lowers):
            if self.references(ino) <= unused:
                del lowers[ino]
        self.sweep_at = max(SWEEP_FROM, 2 * len(lowers))

    def references(self, ino: int) -> int:
        return sys.getrefcount(self.lowers[ino])

    def copied(self, wrapper: Inode, upper: TmpInode) -> None:
        """``wrapper`` has an upper inode from now on."""
        self.uppers[upper.ino] = wrapper
        self.lowers.pop(wrapper.ino, None)

    def dropped(self, upper: TmpInode) -> None:
        """An upper inode lost its last name: its wrapper is only held by open files."""
        self.uppers.pop(upper.ino, None)


class OverlayDir(Inode):
    """A directory: lower, upper or both."""

    def __init__(
        self,
        fs: OverlayFS,
        parent: OverlayDir | None,
        name: bytes,
        lower: Inode | None,
        upper: TmpDir | None,
    ) -> None:
        first: Inode | None = lower if lower is not None else upper
        assert first is not None
        super().__init__(fs, first.ino, first.mode)
        self.fs = fs
        self.uid = first.uid
        self.gid = first.gid
        self.parent = parent
        self.name = name
        self.lower = lower
        self.upper = upper
        self.whiteouts: set[bytes] = set()
        self.more_links = 0  # subdirectories gained and lost, compared with the lower directory
        self.removed = False

    # -- attributes --------------------------------------------------------------------------------
    def getattr(self) -> Attributes:
        upper, lower = self.upper, self.lower
        if upper is None:
            assert lower is not None
            attributes = lower.getattr()
            if attributes.dev == self.sb.dev and not self.removed:
                return attributes
            return shown(attributes, self, 0 if self.removed else attributes.nlink)
        attributes = upper.getattr()
        attributes.ino = self.ino
        attributes.nlink = self.links()
        if lower is not None:
            below = lower.getattr()
            attributes.size, attributes.blocks = below.size, below.blocks
            attributes.blocksize = below.blocksize
        return attributes

    def seen_attributes(self) -> Attributes:
        lower = self.lower
        if self.upper is None and lower is not None and not self.removed:
            attributes = lower.seen_attributes()
            if attributes.dev == self.sb.dev:
                return attributes
        return self.getattr()

    def links(self) -> int:
        """st_nlink: 2 and one per subdirectory, or 1 where the lower file system does not count."""
        if self.removed:
            return 0
        below = self.lower.getattr().nlink if self.lower is not None else 2
        return below + self.more_links if below >= 2 else 1

    def setattr(self, change: AttributeChange) -> None:
        upper = self.make_upper()
        upper.setattr(change)
        self.mode, self.uid, self.gid = upper.mode, upper.uid, upper.gid

    # -- copy-up -----------------------------------------------------------------------------------
    def make_upper(self) -> TmpDir:
        """The upper directory, made now, with those above it, when there is none yet."""
        upper = self.upper
        if upper is not None:
            return upper
        missing: list[OverlayDir] = []
        above = self
        while above.upper is None:
            missing.append(above)
            if above.parent is None or len(missing) > MAX_DEPTH:
                raise ENOENT("the directory has no way up")
            above = above.parent
        below = above.upper
        while missing:
            directory = missing.pop()
            upper = TmpDir(self.fs, directory.mode, directory.uid, directory.gid, below)
            directory.copy_up(upper)
            below = upper
        return below

    def copy_up(self, upper: TmpDir) -> None:
        """Take ``upper`` as upper directory; the parent has one."""
        assert self.lower is not None and self.parent is not None
        copy_metadata(self.lower, upper)
        if not self.removed:
            self.parent.place(self.name, upper)
        self.upper = upper
        self.fs.copied(self, upper)

    def place(self, name: bytes, upper: TmpInode) -> None:
        """Enter the copied-up ``upper`` before its lower file; to the guest nothing changed."""
        mine = self.make_upper()
        mtime_ns, ctime_ns = mine.mtime_ns, mine.ctime_ns
        mine.add(name, upper)
        mine.mtime_ns, mine.ctime_ns = mtime_ns, ctime_ns
        self.whiteouts.add(name)

    # -- looking -----------------------------------------------------------------------------------
    def lookup(self, name: bytes) -> Inode | None:
        upper = self.upper
        if upper is not None:
            found = upper.entries.get(name)
            if found is not None:
                return self.fs.visible(found)
            if name in self.whiteouts:
                return None
        if self.lower is None:
            return None
        below = self.lower.lookup(name)
        return None if below is None else self.fs.wrap(self, name, below)

    def still(self, name: bytes, child: Inode | None) -> bool:
        upper = self.upper
        if upper is not None:
            found = upper.entries.get(name)
            if found is not None:
                return child is self.fs.visible(found)
            if name in self.whiteouts:
                return child is None
        if self.lower is None:
            return child is None
        if child is None:
            return self.lower.still(name, None)
        if isinstance(child, OverlayNode):
            return child.still_below(self, name, self.lower)
        return isinstance(child, OverlayDir) and child.still_below(name, self.lower)

    def still_below(self, name: bytes, parent: Inode) -> bool:
        """Is our lower directory still at ``name`` in the lower ``parent``?"""
        lower = self.lower
        if lower is None or not parent.still(name, lower):
            return False
        if self.upper is None:
            self.mode, self.uid, self.gid = lower.mode, lower.uid, lower.gid
        return True

    def open(self, task: Task, flags: int) -> File:
        return OverlayDirFile(self, flags)

    def is_empty(self) -> bool:
        """True when nothing shows: rmdir(2) may go on."""
        if self.upper is not None and self.upper.entries:
            return False
        if self.lower is None:
            return True
        file = open_lower_dir(self.lower).hold()
        try:
            return all(entry.name in self.whiteouts for entry in all_entries(file))
        finally:
            file.drop()

    # -- making ------------------------------------------------------------------------------------
    # A new name never hides a lower one: either there is none, or it is a whiteout already.
    def create(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        return self.make_upper().create(name, mode, uid, gid)

    def mkdir(self, name: bytes, mode: int, uid: int, gid: int) -> Inode:
        upper = self.make_upper().mkdir(name, mode, uid, gid)
        assert isinstance(upper, TmpDir)
        directory = OverlayDir(self.fs, self, name, None, upper)
        self.fs.uppers[upper.ino] = directory
        self.more_links += 1
        return directory

    def mknod(self, name: bytes, mode: int, rdev: int, uid: int, gid: int) -> Inode:
        return self.make_upper().mknod(name, mode, rdev, uid, gid)

    def symlink(self, name: bytes, target: bytes, uid: int, gid: int) -> Inode:
        return self.make_upper().symlink(name, target, uid, gid)

    def tmpfile(self, mode: int, uid: int, gid: int) -> Inode:
        inode = TmpRegular(self.fs, mode, uid, gid)
        inode.nlink = 0
        return inode

    def link(self, name: bytes, target: Inode) -> None:
        upper = self.upper_of(target)
        self.make_upper().link(name, upper)

    def upper_of(self, inode: Inode) -> TmpInode:
        """The upper inode of anything in this overlay; what is only below is copied up."""
        if isinstance(inode, OverlayNode):
            return inode.make_upper()
        if isinstance(inode, OverlayDir):
            return inode.make_upper()
        if not isinstance(inode, TmpInode):
            raise EXDEV("not of this overlay")
        return inode

    def claim(self, name: bytes, child: Inode) -> TmpInode:
        """The upper inode of ``child``, entered as ``name`` in our upper directory."""
        if isinstance(child, OverlayNode):
            child.found_at(self, name)
        upper = self.upper_of(child)
        if isinstance(child, OverlayNode) and name not in self.make_upper().entries:
            self.place(name, upper)  # another of its names was copied up before
            upper.nlink += 1
            child.lost += 1
        return upper

    # -- removing ----------------------------------------------------------------------------------
    def unlink(self, name: bytes, child: Inode) -> None:
        upper = self.make_upper()
        found = upper.entries.get(name)
        if found is None:
            self.white_out(name, upper)
            if isinstance(child, OverlayNode):
                child.lost_lower_name()
            return
        upper.unlink(name, found)
        if isinstance(child, OverlayNode):
            child.lost_upper_name()

    def white_out(self, name: bytes, upper: TmpDir) -> None:
        """Hide a lower name, as removal."""
        if name in self.whiteouts or self.lower is None:
            raise ENOENT("no such name")
        self.whiteouts.add(name)
        upper.changed()

    def rmdir(self, name: bytes, child: Inode) -> None:
        assert isinstance(child, OverlayDir)
        if not child.is_empty():
            raise ENOTEMPTY("directory not empty")
        upper = self.make_upper()
        gone = child.upper
        if gone is None:
            self.white_out(name, upper)
        else:
            upper.rmdir(name, gone)
            self.fs.dropped(gone)
        child.removed = True
        self.more_links -= 1

    # -- moving ------------------------------------------------------------------------------------
    def rename(
        self,
        name: bytes,
        child: Inode,
        target: Inode,
        target_name: bytes,
        replaced: Inode | None,
        exchange: bool,
    ) -> None:
        if not isinstance(target, OverlayDir):
            raise EXDEV("not of this overlay")
        if replaced is child:
            return
        moving = self.claim(name, child)  # all that can fail for want of room comes first
        to = target.make_upper()
        upper = self.make_upper()
        if replaced is None:
            upper.rename(name, moving, to, target_name, None, False)
        elif exchange:
            upper.rename(name, moving, to, target_name, target.claim(target_name, replaced), True)
            self.arrived(replaced, name, target)
        else:
            if isinstance(replaced, OverlayDir):
                target.rmdir(target_name, replaced)
            else:
                target.unlink(target_name, replaced)
            upper.rename(name, moving, to, target_name, None, False)
        target.arrived(child, target_name, self)

    def arrived(self, child: Inode, name: bytes, source: OverlayDir) -> None:
        """``child`` has moved here from ``source``."""
        if isinstance(child, OverlayDir):
            child.parent, child.name = self, name
            source.more_links -= 1
            self.more_links += 1
        elif isinstance(child, OverlayNode):
            child.parent, child.name = self, name

    # -- extended attributes -----------------------------------------------------------------------
    def getxattr(self, name: bytes) -> bytes:
        if self.upper is not None:
            return self.upper.getxattr(name)
        assert self.lower is not None
        return self.lower.getxattr(name)

    def listxattr(self) -> list[bytes]:
        if self.upper is not None:
            return self.upper.listxattr()
        assert self.lower is not None
        return self.lower.listxattr()

    def setxattr(self, name: bytes, value: bytes, flags: int) -> None:
        self.make_upper().setxattr(name, value, flags)

    def removexattr(self, name: bytes) -> None:
        self.make_upper().removexattr(name)
