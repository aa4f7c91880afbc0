"""stat(2), statx(2), access(2), statfs(2): what a file is, and what its file system is."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from librt.strings import BytesWriter, write_i64_le
from mypy_extensions import i64

from wardian.sentry.errno import (
    EACCES,
    EFAULT,
    EINVAL,
    ENOENT,
    EROFS,
)
from wardian.sentry.syscalls.kinds import (
    FD,
    Flags,
    Int,
    OutBuf,
    UserPath,
)
from wardian.sentry.vfs.dentry import (
    MS_NOATIME,
    MS_NODEV,
    MS_NODIRATIME,
    MS_NOEXEC,
    MS_NOSUID,
    MS_RELATIME,
    Mount,
    Path,
)
from wardian.sentry.vfs.inode import S_IFDIR, S_IFREG, Attributes
from wardian.sentry.vfs.namei import (
    AT_EACCESS,
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_NO_AUTOMOUNT,
    AT_SYMLINK_NOFOLLOW,
    path_of,
    resolve,
    walk_to,
)
from wardian.sentry.vfs.permissions import (
    MAY_EXEC,
    MAY_WRITE,
    check,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.file import File
    from wardian.sentry.vfs.inode import StatFs

SECOND: Final = 1_000_000_000
NEAR_FUTURE: Final = 1 << 61  # nanoseconds: within what is quick to reckon with
NEAR_PAST: Final = -(1 << 61)

_STATFS: Final = struct.Struct("<qqQQQQQiiqqqqqqq")

STATX_BASIC_STATS: Final = 0x7FF
STATX_BTIME: Final = 0x800
STATX_MNT_ID: Final = 0x1000
STATX_MNT_ID_UNIQUE: Final = 0x4000
STATX_RESERVED: Final = 0x80000000
STATX_ATTR_MOUNT_ROOT: Final = 0x2000
AT_STATX_SYNC_TYPE: Final = 0x6000

ST_RDONLY: Final = 1
ST_VALID: Final = 0x20
ST_NOATIME: Final = 1024
ST_NODIRATIME: Final = 2048
ST_RELATIME: Final = 4096


# -- stat ----------------------------------------------------------------------------------------
def fstat(t: Task, fd: FD, statbuf: OutBuf) -> int:
    """fstat(2)."""
    t.copy_out(statbuf, pack_stat(attributes_of(t.files.get(fd))))
    return 0


def newfstatat(t: Task, dirfd: FD, path: UserPath, statbuf: OutBuf, flags: Flags) -> int:
    """fstatat(2)."""
    if flags & ~(AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH):
        raise EINVAL("unknown flag")
    t.copy_out(statbuf, pack_stat(attributes_at(t, dirfd, path, flags)))
    return 0


def stat(t: Task, path: UserPath, statbuf: OutBuf) -> int:
    """stat(2)."""
    t.copy_out(statbuf, pack_stat(walk_to(t, AT_FDCWD, path, True).attributes()))
    return 0


def lstat(t: Task, path: UserPath, statbuf: OutBuf) -> int:
    """lstat(2)."""
    t.copy_out(statbuf, pack_stat(walk_to(t, AT_FDCWD, path, False).attributes()))
    return 0


def attributes_at(t: Task, dirfd: int, path: bytes, flags: int) -> Attributes:
    """The attributes of what an ``*at`` call names; any descriptor will do for an empty path."""
    if not path and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
        return attributes_of(t.files.get(dirfd))
    if not path and flags & AT_EMPTY_PATH:
        return path_of(t, dirfd).inode.getattr()
    return walk_to(t, dirfd, path, not flags & AT_SYMLINK_NOFOLLOW).attributes()


def attributes_of(f: File) -> Attributes:
    """The attributes of an open file; nameless kernel objects without an inode look like
    eventfds."""
    if f.inode is not None:
        return f.inode.getattr()
    a = Attributes()
    a.mode = 0o600
    return a


def pack_stat(a: Attributes) -> bytes:
    """struct stat, two fields of 32 bits at a time where it has such."""
    w = BytesWriter()
    write_i64_le(w, a.dev)
    write_i64_le(w, a.ino)
    write_i64_le(w, a.nlink)
    write_pair(w, a.mode, a.uid)
    write_i64_le(w, a.gid)
    write_i64_le(w, a.rdev)
    write_i64_le(w, a.size)
    write_i64_le(w, a.blocksize)
    write_i64_le(w, a.blocks)
    write_time(w, a.atime_ns)
    write_time(w, a.mtime_ns)
    write_time(w, a.ctime_ns)
    write_i64_le(w, 0)
    write_i64_le(w, 0)
    write_i64_le(w, 0)
    return w.getvalue()


def write_pair(w: BytesWriter, low: int, high: int) -> None:
    """Two fields of 32 bits."""
    if high > 0x7FFFFFFF:
        high -= 0x100000000
    write_i64_le(w, high << 32 | low & 0xFFFFFFFF)


def write_time(w: BytesWriter, time_ns: int) -> None:
    """struct timespec."""
    if NEAR_PAST < time_ns < NEAR_FUTURE:
        near: i64 = time_ns
        write_i64_le(w, near // SECOND)
        write_i64_le(w, near % SECOND)
    else:  # a guest may set any second
        write_i64_le(w, time_ns // SECOND)
        write_i64_le(w, time_ns % SECOND)


def statx(
    t: Task, dirfd: FD, path: UserPath | None, flags: Flags, mask: Flags, statxbuf: OutBuf
) -> int:
    """statx(2)."""
    allowed = AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT | AT_EMPTY_PATH | AT_STATX_SYNC_TYPE
    if flags & ~allowed or flags & AT_STATX_SYNC_TYPE == AT_STATX_SYNC_TYPE:
        raise EINVAL("unknown flag")
    if mask & STATX_RESERVED:
        raise EINVAL("reserved mask bit")
    place: Path | None
    if not path and flags & AT_EMPTY_PATH and dirfd != AT_FDCWD:
        f = t.files.get(dirfd)
        place, a = f.path, attributes_of(f)
    elif path is None and not flags & AT_EMPTY_PATH:
        raise EFAULT("null path")
    else:
        if not path and flags & AT_EMPTY_PATH:
            place = path_of(t, dirfd)
            a = place.inode.getattr()
        else:
            walk = walk_to(t, dirfd, path or b"", not flags & AT_SYMLINK_NOFOLLOW)
            place, a = walk.where(), walk.attributes()
    t.copy_out(statxbuf, pack_statx(a, place, mask))
    return 0


def pack_statx(a: Attributes, place: Path | None, wanted: int) -> bytes:
    """struct statx."""
    mask = STATX_BASIC_STATS
    attributes = mount_id = 0
    if a.btime_ns:
        mask |= STATX_BTIME
    if place is not None:
        mask |= STATX_MNT_ID_UNIQUE if wanted & STATX_MNT_ID_UNIQUE else STATX_MNT_ID
        mount_id = place.mount.mount_id
        if place.dentry is place.mount.root:
            attributes = STATX_ATTR_MOUNT_ROOT
    w = BytesWriter()
    write_pair(w, mask, a.blocksize)
    write_i64_le(w, attributes)
    write_pair(w, a.nlink, a.uid)
    write_pair(w, a.gid, a.mode)
    write_i64_le(w, a.ino)
    write_i64_le(w, a.size)
    write_i64_le(w, a.blocks)
    write_i64_le(w, STATX_ATTR_MOUNT_ROOT)
    write_time(w, a.atime_ns)  # struct statx_timestamp: the nanoseconds have 32 bits, then a hole
    write_time(w, a.btime_ns)
    write_time(w, a.ctime_ns)
    write_time(w, a.mtime_ns)
    write_pair(w, major(a.rdev), minor(a.rdev))
    write_pair(w, major(a.dev), minor(a.dev))
    write_i64_le(w, mount_id)
    w.write(bytes(104))
    return w.getvalue()


def major(dev: int) -> int:
    """gnu_dev_major(3)."""
    return (dev >> 8 & 0xFFF) | (dev >> 32 & ~0xFFF)


def minor(dev: int) -> int:
    """gnu_dev_minor(3)."""
    return (dev & 0xFF) | (dev >> 12 & ~0xFF & 0xFFFFFFFF)


# -- access --------------------------------------------------------------------------------------
def access(t: Task, path: UserPath, mode: Int) -> int:
    """access(2)."""
    return do_access(t, AT_FDCWD, path, mode, 0)


def faccessat(t: Task, dirfd: FD, path: UserPath, mode: Int) -> int:
    """faccessat(2) as the kernel has it: without flags."""
    return do_access(t, dirfd, path, mode, 0)


def faccessat2(t: Task, dirfd: FD, path: UserPath, mode: Int, flags: Flags) -> int:
    """faccessat2(2)."""
    return do_access(t, dirfd, path, mode, flags)


def do_access(t: Task, dirfd: int, path: bytes, mode: int, flags: int) -> int:
    """With the real ids, unless AT_EACCESS, check for R_OK, W_OK and X_OK."""
    if mode & ~7:
        raise EINVAL("mode")
    if flags & ~(AT_EACCESS | AT_SYMLINK_NOFOLLOW | AT_EMPTY_PATH):
        raise EINVAL("unknown flag")
    own = t.credentials
    credentials = own if flags & AT_EACCESS else real_credentials(own)
    follow = not flags & AT_SYMLINK_NOFOLLOW
    t.credentials = credentials  # the walk is checked with the real ids too
    try:
        place = resolve(t, dirfd, path, follow, bool(flags & AT_EMPTY_PATH))
    finally:
        t.credentials = own
    inode = place.inode
    if mode & MAY_EXEC and not inode.is_dir and place.mount.flags & MS_NOEXEC:
        raise EACCES("noexec mount")
    check(credentials, inode, mode)
    if mode & MAY_WRITE and place.mount.read_only and inode.kind in (S_IFDIR, S_IFREG):
        raise EROFS("read-only file system")
    return 0


def real_credentials(own: Credentials) -> Credentials:
    """Credentials that decide by the real ids (access(2), NOTES)."""
    if own.uid == own.fsuid and own.gid == own.fsgid:
        effective = own.cap_permitted if own.uid == 0 else 0
        if effective == own.cap_effective:
            return own
    credentials = own.copy()
    credentials.fsuid, credentials.fsgid = own.uid, own.gid
    credentials.cap_effective = own.cap_permitted if own.uid == 0 else 0
    return credentials


# -- file systems --------------------------------------------------------------------------------
def statfs(t: Task, path: UserPath, buf: OutBuf) -> int:
    """statfs(2)."""
    place = resolve(t, AT_FDCWD, path)
    t.copy_out(buf, pack_statfs(place.mount.sb.statfs(), place.mount))
    return 0


def fstatfs(t: Task, fd: FD, buf: OutBuf) -> int:
    """fstatfs(2)."""
    f = t.files.get(fd)
    if f.inode is None:
        raise ENOENT("no file system")
    mount = f.path.mount if f.path is not None else None
    t.copy_out(buf, pack_statfs(f.inode.sb.statfs(), mount))
    return 0


def pack_statfs(s: StatFs, mount: Mount | None) -> bytes:
    """struct statfs."""
    flags = ST_VALID | s.flags
    fsid = 0
    if mount is not None:
        flags |= mount_flags(mount)
        fsid = mount.sb.dev
    return _STATFS.pack(
        s.magic,
        s.block_size,
        s.blocks,
        s.blocks_free,
        s.blocks_available,
        s.files,
        s.files_free,
        fsid & 0x7FFFFFFF,
        0,
        s.name_max,
        s.block_size,
        flags,
        0,
        0,
        0,
        0,
    )


def mount_flags(mount: Mount) -> int:
    """The ST_* bits of a mount's flags."""
    flags = mount.flags & (MS_NOSUID | MS_NODEV | MS_NOEXEC | MS_NOATIME | MS_NODIRATIME)
    if mount.read_only:
        flags |= ST_RDONLY
    if mount.flags & MS_RELATIME:
        flags |= ST_RELATIME
    return flags
