"""mount(2), umount2(2), pivot_root(2), chroot(2): for guests that have CAP_SYS_ADMIN inside.

The new mount interface (fsopen(2), move_mount(2), ...) is not offered: it answers EPERM, and
mount(8) falls back.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EBUSY,
    EFAULT,
    EINVAL,
    ENODEV,
    ENOTDIR,
    EOPNOTSUPP,
    EPERM,
)
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN, CAP_SYS_CHROOT
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, LongFlags, UserPath
from wardian.sentry.vfs.dentry import (
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RDONLY,
    MS_RELATIME,
    Mount,
    Path,
)
from wardian.sentry.vfs.mount_tree import (
    MNT_DETACH,
    MNT_EXPIRE,
    MNT_FORCE,
    UMOUNT_NOFOLLOW,
    is_below,
)
from wardian.sentry.vfs.namei import AT_FDCWD, resolve
from wardian.sentry.vfs.permissions import MAY_EXEC, check

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

MS_REMOUNT: Final = 32
MS_BIND: Final = 4096
MS_MOVE: Final = 8192
MS_REC: Final = 16384
MS_UNBINDABLE: Final = 1 << 17
MS_PRIVATE: Final = 1 << 18
MS_SLAVE: Final = 1 << 19
MS_SHARED: Final = 1 << 20
MS_SILENT: Final = 32768
MS_MGC_VAL: Final = 0xC0ED0000
MS_MGC_MSK: Final = 0xFFFF0000
MS_PROPAGATION: Final = MS_UNBINDABLE | MS_PRIVATE | MS_SLAVE | MS_SHARED
MS_KEPT: Final = (
    MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME | MS_RELATIME
)
MS_NOSYMFOLLOW: Final = 256


def mount(t: Task, source: Addr, target: UserPath, kind: Addr, flags: LongFlags, data: Addr) -> int:
    """mount(2)."""
    place = resolve(t, AT_FDCWD, target)
    if not t.credentials.has_cap(CAP_SYS_ADMIN):
        raise EPERM("CAP_SYS_ADMIN")
    wanted = int(flags)
    if wanted & MS_MGC_MSK == MS_MGC_VAL:
        wanted &= ~MS_MGC_MSK
    kept = wanted & (MS_KEPT | MS_NOSYMFOLLOW)
    if not kept & MS_NOATIME:
        kept |= MS_RELATIME
    if wanted & MS_REMOUNT:
        return remount(place, kept)
    if wanted & MS_BIND:
        return bind(t, string_at(t, source), place, bool(wanted & MS_REC))
    if wanted & MS_PROPAGATION:
        return check_propagation(place, wanted)
    if wanted & MS_MOVE:
        return move(t, string_at(t, source), place)
    return mount_new(
        t,
        string_at(t, source) if source else b"none",
        place,
        string_at(t, kind),
        kept,
        string_at(t, data) if data else b"",
    )


def check_propagation(place: Path, wanted: int) -> int:
    """mount_namespaces(7): one type, of a mount point. Nothing changes: every mount is private,
    and in a single mount namespace only peers could tell."""
    kinds = wanted & MS_PROPAGATION
    if kinds & (kinds - 1) or wanted & ~(MS_PROPAGATION | MS_REC | MS_SILENT):
        raise EINVAL("one type of propagation, and MS_REC")
    if place.dentry is not place.mount.root:
        raise EINVAL("not a mount point")
    return 0


def string_at(t: Task, address: int) -> bytes:
    """A string argument; EFAULT for null."""
    if not address:
        raise EFAULT("null string")
    return t.copy_in_string(address)


def remount(place: Path, kept: int) -> int:
    """MS_REMOUNT: new flags of this mount; those of the superblock stay, without MS_BIND too."""
    target = place.mount
    if place.dentry is not target.root:
        raise EINVAL("not a mount point")
    if target.locked & ~kept & (MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC):
        raise EPERM("the host gave this mount with stricter flags")
    target.flags = kept
    return 0


def bind(t: Task, source: bytes, place: Path, recursive: bool) -> int:
    """MS_BIND."""
    what = resolve(t, AT_FDCWD, source)
    t.kernel.mounts.bind(what, place, 0, recursive)
    return 0


def move(t: Task, source: bytes, place: Path) -> int:
    """MS_MOVE."""
    what = resolve(t, AT_FDCWD, source)
    if what.dentry is not what.mount.root:
        raise EINVAL("not a mount point")
    if what.mount.held:
        raise EINVAL("this mount was given by the host")
    t.kernel.mounts.move(what.mount, place)
    return 0


def mount_new(t: Task, source: bytes, place: Path, kind: bytes, kept: int, options: bytes) -> int:
    """Mount a fresh file system of a registered kind."""
    maker = t.kernel.filesystems.get(kind)
    if maker is None:
        raise ENODEV(f"no file system called {kind!r}")
    sb = maker.make(t, source, options)
    t.kernel.mounts.mount(sb, place, kept, source.decode("utf-8", "surrogateescape"))
    return 0


def umount2(t: Task, target: UserPath, flags: Flags) -> int:
    """umount2(2)."""
    if flags & ~(MNT_FORCE | MNT_DETACH | MNT_EXPIRE | UMOUNT_NOFOLLOW):
        raise EINVAL("unknown flag")
    if flags & MNT_EXPIRE and flags & (MNT_FORCE | MNT_DETACH):
        raise EINVAL("MNT_EXPIRE excludes the others")
    place = resolve(t, AT_FDCWD, target, not flags & UMOUNT_NOFOLLOW)
    if place.dentry is not place.mount.root:
        raise EINVAL("not a mount point")
    if not t.credentials.has_cap(CAP_SYS_ADMIN):
        raise EPERM("CAP_SYS_ADMIN")
    if place.mount.held:
        raise EINVAL("this mount was given by the host")
    if not flags & MNT_DETACH and in_use(t.kernel, place.mount):
        raise EBUSY("in use")
    t.kernel.mounts.umount(place.mount, flags)
    return 0


def in_use(kernel: Kernel, mount: Mount) -> bool:
    """True while a task works in, is rooted in, runs from or holds a file of ``mount``."""
    for group in kernel.pids.groups():
        if group.exe is not None and group.exe.mount is mount and group.tasks:
            return True
        for task in group.tasks:
            if task.fs.cwd.mount is mount or task.fs.root.mount is mount:
                return True
            if holds_file_of(task, mount):
                return True
    return False


def holds_file_of(task: Task, mount: Mount) -> bool:
    """True when a descriptor of ``task`` refers to a file of ``mount``."""
    for file in task.files.slots:
        if file is not None and file.path is not None and file.path.mount is mount:
            return True
    return False


def pivot_root(t: Task, new_root: UserPath, put_old: UserPath) -> int:
    """pivot_root(2): all tasks rooted in the old root move along."""
    if not t.credentials.has_cap(CAP_SYS_ADMIN):
        raise EPERM("CAP_SYS_ADMIN")
    new, old_place = resolve(t, AT_FDCWD, new_root), resolve(t, AT_FDCWD, put_old)
    if not new.inode.is_dir or not old_place.inode.is_dir:
        raise ENOTDIR("not a directory")
    mounts = t.kernel.mounts
    old_root = t.fs.root
    if old_root.mount is not mounts.root or old_root.dentry is not mounts.root.root:
        raise EINVAL("the root of the task is not the root mount")
    if not is_below(old_place, new):
        raise EINVAL("the place for the old root is not below the new one")
    mounts.pivot_root(new, old_place)
    for group in t.kernel.pids.groups():
        for task in group.tasks:
            if task.fs.root.same(old_root):
                task.fs.root = new
            if task.fs.cwd.same(old_root):
                task.fs.cwd = new
    return 0


def chroot(t: Task, path: UserPath) -> int:
    """chroot(2)."""
    place = resolve(t, AT_FDCWD, path)
    if not place.inode.is_dir:
        raise ENOTDIR("not a directory")
    check(t.credentials, place.inode, MAY_EXEC)
    if not t.credentials.has_cap(CAP_SYS_CHROOT):
        raise EPERM("CAP_SYS_CHROOT")
    t.fs.root = place
    return 0


def name_to_handle_at(
    t: Task, dirfd: FD, path: UserPath, handle: Addr, mount_id: Addr, flags: Flags
) -> int:
    """name_to_handle_at(2): no file system here can."""
    raise EOPNOTSUPP("no file handles")
