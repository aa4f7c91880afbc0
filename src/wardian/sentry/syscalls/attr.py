"""chmod(2), chown(2), utimensat(2) and their kin: changing what stat(2) tells."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EACCES,
    EBADF,
    EFAULT,
    EINVAL,
    EOPNOTSUPP,
    EPERM,
)
from wardian.sentry.kernel.credentials import CAP_CHOWN, CAP_FSETID
from wardian.sentry.syscalls.kinds import (
    FD,
    Addr,
    Flags,
    Gid,
    InTimespec2,
    InTimeval2,
    Mode,
    Uid,
    UserPath,
)
from wardian.sentry.vfs.dentry import (
    Path,
)
from wardian.sentry.vfs.file import O_PATH
from wardian.sentry.vfs.inode import S_ISGID, AttributeChange
from wardian.sentry.vfs.namei import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_SYMLINK_NOFOLLOW,
    resolve,
)
from wardian.sentry.vfs.notify import IN_ATTRIB, notify, notify_path
from wardian.sentry.vfs.permissions import (
    MAY_WRITE,
    check_mount_writable,
    check_owner,
    owns,
    permitted,
    stripped_mode,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

SECOND: Final = 1_000_000_000
UTIME_NOW: Final = 0x3FFFFFFF
UTIME_OMIT: Final = 0x3FFFFFFE
UNCHANGED: Final = 0xFFFFFFFF  # a uid or gid of -1

_TIMESPEC2: Final = struct.Struct("<qqqq")


# -- mode ----------------------------------------------------------------------------------------
def chmod(t: Task, path: UserPath, mode: Mode) -> int:
    """chmod(2)."""
    return do_chmod(t, resolve(t, AT_FDCWD, path), mode)


def fchmod(t: Task, fd: FD, mode: Mode) -> int:
    """fchmod(2)."""
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    if f.path is not None:
        return do_chmod(t, f.path, mode)
    if f.inode is None:
        raise EINVAL("no inode")
    return chmod_inode(t, f.inode, mode)


def fchmodat(t: Task, dirfd: FD, path: UserPath, mode: Mode) -> int:
    """fchmodat(2) as the kernel has it: without flags."""
    return do_chmod(t, resolve(t, dirfd, path), mode)


def fchmodat2(t: Task, dirfd: FD, path: UserPath, mode: Mode, flags: Flags) -> int:
    """fchmodat2(2)."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise EINVAL("unknown flag")
    follow = not flags & AT_SYMLINK_NOFOLLOW
    return do_chmod(t, resolve(t, dirfd, path, follow, bool(flags & AT_EMPTY_PATH)), mode)


def do_chmod(t: Task, place: Path, mode: int) -> int:
    """Change the mode of what is at ``place``."""
    check_mount_writable(place.mount)
    if place.inode.is_symlink:
        raise EOPNOTSUPP("symbolic links have no mode")
    chmod_inode(t, place.inode, mode)
    notify_path(place, IN_ATTRIB)
    return 0


def chmod_inode(t: Task, inode: Inode, mode: int) -> int:
    """The owner's right; setgid is only for members of the group."""
    check_owner(t.credentials, inode)
    mode &= 0o7777
    member = t.credentials.in_group(inode.gid) or t.credentials.has_cap(CAP_FSETID)
    if mode & S_ISGID and not member:
        mode &= ~S_ISGID
    change = AttributeChange()
    change.mode = mode
    inode.setattr(change)
    return 0


# -- owner ---------------------------------------------------------------------------------------
def chown(t: Task, path: UserPath, uid: Uid, gid: Gid) -> int:
    """chown(2)."""
    return do_chown(t, resolve(t, AT_FDCWD, path), uid, gid)


def lchown(t: Task, path: UserPath, uid: Uid, gid: Gid) -> int:
    """lchown(2)."""
    return do_chown(t, resolve(t, AT_FDCWD, path, False), uid, gid)


def fchown(t: Task, fd: FD, uid: Uid, gid: Gid) -> int:
    """fchown(2)."""
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    if f.path is not None:
        return do_chown(t, f.path, uid, gid)
    if f.inode is None:
        raise EINVAL("no inode")
    return chown_inode(t, f.inode, uid, gid)


def fchownat(t: Task, dirfd: FD, path: UserPath, uid: Uid, gid: Gid, flags: Flags) -> int:
    """fchownat(2)."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise EINVAL("unknown flag")
    if not path and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
        f = t.files.get(dirfd)
        if f.path is None and f.inode is not None:
            return chown_inode(t, f.inode, uid, gid)
    follow = not flags & AT_SYMLINK_NOFOLLOW
    return do_chown(t, resolve(t, dirfd, path, follow, bool(flags & AT_EMPTY_PATH)), uid, gid)


def do_chown(t: Task, place: Path, uid: int, gid: int) -> int:
    """Change owner and group of what is at ``place``."""
    check_mount_writable(place.mount)
    chown_inode(t, place.inode, uid, gid)
    notify_path(place, IN_ATTRIB)
    return 0


def chown_inode(t: Task, inode: Inode, uid: int, gid: int) -> int:
    """chown(2): giving away needs CAP_CHOWN; the owner may choose among the groups it is in."""
    credentials = t.credentials
    change = AttributeChange()
    may_all = credentials.has_cap(CAP_CHOWN)
    owner = credentials.fsuid == inode.uid
    if uid != UNCHANGED:
        if not may_all and not (owner and uid == inode.uid):
            raise EPERM("only CAP_CHOWN gives files away")
        change.uid = uid
    if gid != UNCHANGED:
        if not may_all and not (owner and (gid == inode.gid or credentials.in_group(gid))):
            raise EPERM("not the owner, or not in the group")
        change.gid = gid
    if not inode.is_dir and stripped_mode(inode.mode) != inode.mode & 0o7777:
        if not owns(credentials, inode):
            raise EPERM("setuid bits would go")
        change.mode = stripped_mode(inode.mode)
    inode.setattr(change)
    return 0


# -- times ---------------------------------------------------------------------------------------
def utimensat(
    t: Task, dirfd: FD, path: UserPath | None, times: InTimespec2 | None, flags: Flags
) -> int:
    """utimensat(2); a null path means ``dirfd`` itself."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise EINVAL("unknown flag")
    atime, mtime = UTIME_NOW, UTIME_NOW
    asec = msec = 0
    if times is not None:
        asec, atime, msec, mtime = _TIMESPEC2.unpack(times)
        if atime == UTIME_OMIT and mtime == UTIME_OMIT:
            return 0
        check_nanoseconds(atime)
        check_nanoseconds(mtime)
    if path is None and dirfd == AT_FDCWD:
        raise EFAULT("null path")
    if path is None and flags:
        raise EINVAL("flags with a null path")
    return set_times(t, dirfd, path, flags, (asec, atime), (msec, mtime))


def check_nanoseconds(value: int) -> None:
    """EINVAL unless it is a nanosecond count or UTIME_NOW or UTIME_OMIT."""
    if not 0 <= value < SECOND and value not in (UTIME_NOW, UTIME_OMIT):
        raise EINVAL("nanoseconds")


def set_times(
    t: Task,
    dirfd: int,
    path: bytes | None,
    flags: int,
    atime: tuple[int, int],
    mtime: tuple[int, int],
) -> int:
    """Set access and modification time, each (seconds, nanoseconds or UTIME_*)."""
    place: Path | None = None
    if path is None:
        f = t.files.get(dirfd)
        if f.flags & O_PATH:
            raise EBADF("O_PATH")
        inode = f.inode
        place = f.path
        if inode is None:
            raise EACCES("no inode")
    else:
        follow = not flags & AT_SYMLINK_NOFOLLOW
        place = resolve(t, dirfd, path, follow, bool(flags & AT_EMPTY_PATH))
        inode = place.inode
    if place is not None:
        check_mount_writable(place.mount)
    both_now = atime[1] == UTIME_NOW and mtime[1] == UTIME_NOW
    if not owns(t.credentials, inode):
        if not both_now:
            raise EPERM("only the owner sets times")
        if not permitted(t.credentials, inode, MAY_WRITE):
            raise EACCES("neither owner nor writer")
    now = t.kernel.clock.realtime_ns()
    change = AttributeChange()
    change.atime_ns = time_of(atime, now)
    change.mtime_ns = time_of(mtime, now)
    inode.setattr(change)
    if place is not None:
        notify_path(place, IN_ATTRIB)
    else:
        notify(inode, IN_ATTRIB)
    return 0


def time_of(value: tuple[int, int], now: int) -> int | None:
    """Nanoseconds since the epoch for (seconds, nanoseconds or UTIME_*); None to leave alone."""
    seconds, nanoseconds = value
    if nanoseconds == UTIME_NOW:
        return now
    if nanoseconds == UTIME_OMIT:
        return None
    return seconds * SECOND + nanoseconds


def utimes(t: Task, path: UserPath, times: InTimeval2 | None) -> int:
    """utimes(2)."""
    return futimesat(t, FD(AT_FDCWD), path, times)


def futimesat(t: Task, dirfd: FD, path: UserPath | None, times: InTimeval2 | None) -> int:
    """futimesat(2), the ancestor of utimensat."""
    atime, mtime = (0, UTIME_NOW), (0, UTIME_NOW)
    if times is not None:
        asec, ausec, msec, musec = _TIMESPEC2.unpack(times)
        if not 0 <= ausec < 1_000_000 or not 0 <= musec < 1_000_000:
            raise EINVAL("microseconds")
        atime, mtime = (asec, ausec * 1000), (msec, musec * 1000)
    return set_times(t, dirfd, path, 0, atime, mtime)


def utime(t: Task, path: UserPath, times: Addr) -> int:
    """utime(2): whole seconds."""
    atime, mtime = (0, UTIME_NOW), (0, UTIME_NOW)
    if times:
        data = t.copy_in(times, 16)
        atime = (int.from_bytes(data[:8], "little", signed=True), 0)
        mtime = (int.from_bytes(data[8:], "little", signed=True), 0)
    return set_times(t, AT_FDCWD, path, 0, atime, mtime)
