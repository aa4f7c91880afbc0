"""The tree of mounts (mount_namespaces(7), Documentation/filesystems/path-lookup.rst).

A mount knows what is mounted on the dentries seen through it (``Mount.submounts``), so the path
walk needs no table: ``Dentry.mounts`` says that a look is worth it. Propagation between
namespaces is not modelled: every mount is private. Permission (CAP_SYS_ADMIN) is checked by
``sentry.syscalls.mount``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EBUSY, EINVAL, ELOOP, ENOENT, ENOSPC, ENOTDIR
from wardian.sentry.vfs.dentry import Dentry, Mount, Path

if TYPE_CHECKING:
    from wardian.sentry.vfs.inode import SuperBlock

MNT_FORCE: Final = 1
MNT_DETACH: Final = 2
MNT_EXPIRE: Final = 4
UMOUNT_NOFOLLOW: Final = 8

MOUNT_MAX: Final = 10_000  # /proc/sys/fs/mount-max is 100 000; a case needs fewer


class MountIds:
    """Mount ids of one kernel, shared by its namespaces."""

    def __init__(self) -> None:
        self.last = 0

    def next(self) -> int:
        """A mount id never used before."""
        self.last += 1
        return self.last


class MountNamespace:
    """One tree of mounts; ``root`` is the mount of ``/``."""

    def __init__(
        self, sb: SuperBlock, source: str = "none", flags: int = 0, ids: MountIds | None = None
    ) -> None:
        self.ids = ids if ids is not None else MountIds()
        self.root = Mount(self.ids.next(), sb, root_dentry(sb), flags, source)
        self.count = 1

    def root_path(self) -> Path:
        """``/``, through whatever is mounted on top of it."""
        return top(Path(self.root, self.root.root))

    # -- attaching ---------------------------------------------------------------------------------
    def mount(self, sb: SuperBlock, at: Path, flags: int = 0, source: str = "none") -> Mount:
        """Attach a file system at ``at`` (mount(2))."""
        return self._attach(Mount(self.ids.next(), sb, root_dentry(sb), flags, source), at)

    def bind(self, what: Path, at: Path, flags: int = 0, recursive: bool = False) -> Mount:
        """Make ``what`` visible at ``at`` too (MS_BIND, with MS_REC when ``recursive``)."""
        new = self._copy_one(what.mount, what.dentry)
        new.flags |= flags
        below = _submounts_below(what.mount, what.dentry)
        if not recursive:
            if any(mount.held for mount in below):
                raise EINVAL("shows what a mount of the host covers")
            below = []
        self._attach(new, at)
        self._copy_below(below, {what.mount: new})
        return new

    def _attach(self, new: Mount, at: Path) -> Mount:
        at = top(at)
        if at.dentry.inode is None or at.dentry.unlinked:
            raise ENOENT("the mount point is gone")
        root_inode = new.root.inode
        assert root_inode is not None
        if root_inode.is_dir != at.inode.is_dir:
            raise ENOTDIR("a directory cannot cover a file, nor a file a directory")
        if self.count >= MOUNT_MAX:
            raise ENOSPC(f"more than {MOUNT_MAX} mounts")
        self._hang(new, at.mount, at.dentry)
        return new

    def _hang(self, mount: Mount, parent: Mount, dentry: Dentry) -> None:
        mount.parent = parent
        mount.mountpoint = dentry
        parent.submounts[dentry] = mount
        dentry.mounts += 1
        self.count += 1

    def _copy_one(self, mount: Mount, root: Dentry) -> Mount:
        copy = Mount(self.ids.next(), mount.sb, root, mount.flags, mount.source)
        copy.locked = mount.locked
        return copy

    def _copy_below(self, below: list[Mount], copies: dict[Mount, Mount]) -> None:
        """Copy ``below`` (parents first) under the copies of their parents."""
        for old in below:
            assert old.parent is not None and old.mountpoint is not None
            if self.count >= MOUNT_MAX:
                raise ENOSPC(f"more than {MOUNT_MAX} mounts")
            copy = self._copy_one(old, old.root)
            copy.held = old.held
            self._hang(copy, copies[old.parent], old.mountpoint)
            copies[old] = copy

    # -- detaching ---------------------------------------------------------------------------------
    def umount(self, mount: Mount, flags: int = 0) -> None:
        """umount2(2). A mount that carries others is EBUSY unless MNT_DETACH takes them along."""
        if mount is self.root:
            raise EINVAL("the root of the namespace stays")
        if mount.parent is None:
            raise EINVAL("not mounted")
        if mount.submounts and not flags & MNT_DETACH:
            raise EBUSY("other file systems are mounted below")
        for below in reversed(_submounts_below(mount, mount.root)):
            self._unhang(below)
        self._unhang(mount)

    def detach(self, places: list[Dentry]) -> None:
        """Take away what is mounted on ``places``, whose names are gone (detach_mounts())."""
        for mount in self.mounts():
            if mount.parent is not None and mount.mountpoint in places:
                self.umount(mount, MNT_DETACH)

    def _unhang(self, mount: Mount) -> None:
        parent, dentry = mount.parent, mount.mountpoint
        assert parent is not None and dentry is not None
        del parent.submounts[dentry]
        dentry.mounts -= 1
        mount.parent = None
        mount.mountpoint = None
        self.count -= 1

    def move(self, mount: Mount, at: Path) -> None:
        """Hang an existing mount elsewhere (MS_MOVE)."""
        at = top(at)
        if mount.parent is None:
            raise EINVAL("the root of the namespace cannot move")
        above: Mount | None = at.mount
        while above is not None:
            if above is mount:
                raise ELOOP("a mount cannot move below itself")
            above = above.parent
        self._unhang(mount)
        self._attach(mount, at)

    def pivot_root(self, new_root: Path, put_old: Path) -> None:
        """Make ``new_root`` the root mount and hang the old root at ``put_old`` (pivot_root(2))."""
        new, old = new_root.mount, self.root
        if new_root.dentry is not new.root or new.parent is None:
            raise EINVAL("the new root must be a mount point")
        if new is old:
            raise EBUSY("the new root is the current root")
        if not is_below(put_old, new_root):
            raise EINVAL("the place for the old root is not below the new one")
        self._unhang(new)
        self.count += 1
        self.root = new
        self._hang(old, put_old.mount, put_old.dentry)
        self.count -= 1

    # -- looking -----------------------------------------------------------------------------------
    def mounts(self) -> list[Mount]:
        """Every mount, parents before children, as in /proc/self/mountinfo."""
        return [self.root, *_all_below(self.root)]

    def copy(self) -> tuple[MountNamespace, dict[Mount, Mount]]:
        """A private copy for CLONE_NEWNS, and which mount became which."""
        old = self.root
        new = MountNamespace(old.sb, old.source, old.flags, self.ids)
        new.root.root = old.root
        copies = {self.root: new.root}
        new._copy_below(_all_below(self.root), copies)
        return new, copies


def root_dentry(sb: SuperBlock) -> Dentry:
    """The one dentry of a superblock's root."""
    known = sb.root_dentry
    if known is not None:
        return known
    dentry = Dentry(b"/", None, sb.root())
    sb.root_dentry = dentry
    return dentry


def top(path: Path) -> Path:
    """``path`` seen through everything mounted on it."""
    mount: Mount = path.mount
    dentry: Dentry = path.dentry
    while dentry.mounts:
        over = mount.submounts.get(dentry)
        if over is None:
            break
        mount, dentry = over, over.root
    if dentry is path.dentry:
        return path
    return Path(mount, dentry)


def is_below(path: Path, ancestor: Path) -> bool:
    """True when ``path`` is ``ancestor`` or lies below it."""
    mount: Mount = path.mount
    dentry: Dentry = path.dentry
    while True:
        if mount is ancestor.mount and dentry is ancestor.dentry:
            return True
        if dentry is mount.root:
            above, place = mount.parent, mount.mountpoint
            if above is None or place is None:
                return False
            mount, dentry = above, place
        elif dentry.is_root:
            return False
        else:
            dentry = dentry.parent


def dentry_below(dentry: Dentry, ancestor: Dentry) -> bool:
    """True when ``dentry`` is ``ancestor`` or lies below it in the same file system."""
    while dentry is not ancestor:
        if dentry.is_root:
            return False
        dentry = dentry.parent
    return True


def _all_below(mount: Mount) -> list[Mount]:
    found: list[Mount] = []
    todo = list(reversed(list(mount.submounts.values())))
    while todo:
        one = todo.pop()
        found.append(one)
        todo.extend(reversed(list(one.submounts.values())))
    return found


def _submounts_below(mount: Mount, dentry: Dentry) -> list[Mount]:
    """Mounts hanging, directly or not, on dentries of ``mount`` at or below ``dentry``."""
    found: list[Mount] = []
    for place, child in mount.submounts.items():
        if dentry_below(place, dentry):
            found.append(child)
            found.extend(_all_below(child))
    return found
