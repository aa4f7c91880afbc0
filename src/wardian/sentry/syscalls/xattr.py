"""Extended attributes (xattr(7)): getxattr(2), setxattr(2), listxattr(2) and their kin."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    E2BIG,
    EBADF,
    EINVAL,
    ENODATA,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
)
from wardian.sentry.kernel.credentials import CAP_SETFCAP, CAP_SYS_ADMIN
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, OutBuf, Size, UserPath, UserString
from wardian.sentry.vfs.dentry import Path
from wardian.sentry.vfs.file import O_PATH
from wardian.sentry.vfs.inode import S_IFDIR, S_IFREG, S_ISVTX
from wardian.sentry.vfs.namei import AT_FDCWD, resolve
from wardian.sentry.vfs.notify import IN_ATTRIB, notify_path
from wardian.sentry.vfs.permissions import (
    MAY_READ,
    MAY_WRITE,
    check,
    check_mount_writable,
    owns,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

XATTR_CREATE: Final = 1
XATTR_REPLACE: Final = 2
XATTR_NAME_MAX: Final = 255
XATTR_SIZE_MAX: Final = 65536


# -- set -----------------------------------------------------------------------------------------
def setxattr(
    t: Task, path: UserPath, name: UserString, value: Addr, size: Size, flags: Flags
) -> int:
    """setxattr(2)."""
    return set_attribute(t, resolve(t, AT_FDCWD, path), name, value, size, flags)


def lsetxattr(
    t: Task, path: UserPath, name: UserString, value: Addr, size: Size, flags: Flags
) -> int:
    """lsetxattr(2)."""
    return set_attribute(t, resolve(t, AT_FDCWD, path, False), name, value, size, flags)


def fsetxattr(t: Task, fd: FD, name: UserString, value: Addr, size: Size, flags: Flags) -> int:
    """fsetxattr(2)."""
    return set_attribute(t, place_of(t, fd), name, value, size, flags)


def set_attribute(t: Task, place: Path, name: bytes, value: int, size: int, flags: int) -> int:
    """Check and store one attribute."""
    check_name(name)
    if flags & ~(XATTR_CREATE | XATTR_REPLACE):
        raise EINVAL("flags")
    if size > XATTR_SIZE_MAX:
        raise E2BIG("value")
    data = t.copy_in(value, size) if size else b""
    check_change(t, place, name)
    place.inode.setxattr(name, data, flags)
    notify_path(place, IN_ATTRIB)
    return 0


# -- get -----------------------------------------------------------------------------------------
def getxattr(t: Task, path: UserPath, name: UserString, value: OutBuf, size: Size) -> int:
    """getxattr(2)."""
    return get_attribute(t, resolve(t, AT_FDCWD, path).inode, name, value, size)


def lgetxattr(t: Task, path: UserPath, name: UserString, value: OutBuf, size: Size) -> int:
    """lgetxattr(2)."""
    return get_attribute(t, resolve(t, AT_FDCWD, path, False).inode, name, value, size)


def fgetxattr(t: Task, fd: FD, name: UserString, value: OutBuf, size: Size) -> int:
    """fgetxattr(2)."""
    return get_attribute(t, inode_of(t, fd), name, value, size)


def get_attribute(t: Task, inode: Inode, name: bytes, value: int, size: int) -> int:
    """One attribute's value, or its length when ``size`` is 0."""
    check_name(name)
    if name.startswith(b"user."):
        if inode.kind not in (S_IFREG, S_IFDIR):
            raise ENODATA("user attributes are for files and directories")
        check(t.credentials, inode, MAY_READ)
    elif name.startswith(b"trusted.") and not t.credentials.has_cap(CAP_SYS_ADMIN):
        raise ENODATA("trusted attributes")
    return give(t, inode.getxattr(name), value, size)


def give(t: Task, data: bytes, address: int, size: int) -> int:
    """Copy out when it fits; ERANGE; a size of 0 asks for the length."""
    if size:
        if len(data) > size:
            raise ERANGE("buffer too small")
        t.copy_out(address, data)
    return len(data)


# -- list ----------------------------------------------------------------------------------------
def listxattr(t: Task, path: UserPath, buf: OutBuf, size: Size) -> int:
    """listxattr(2)."""
    return list_attributes(t, resolve(t, AT_FDCWD, path).inode, buf, size)


def llistxattr(t: Task, path: UserPath, buf: OutBuf, size: Size) -> int:
    """llistxattr(2)."""
    return list_attributes(t, resolve(t, AT_FDCWD, path, False).inode, buf, size)


def flistxattr(t: Task, fd: FD, buf: OutBuf, size: Size) -> int:
    """flistxattr(2)."""
    return list_attributes(t, inode_of(t, fd), buf, size)


def list_attributes(t: Task, inode: Inode, buf: int, size: int) -> int:
    """The names, each with its NUL; trusted ones only for CAP_SYS_ADMIN."""
    all_names = t.credentials.has_cap(CAP_SYS_ADMIN)
    names = [n + b"\0" for n in inode.listxattr() if all_names or not n.startswith(b"trusted.")]
    return give(t, b"".join(names), buf, size)


# -- remove --------------------------------------------------------------------------------------
def removexattr(t: Task, path: UserPath, name: UserString) -> int:
    """removexattr(2)."""
    return remove_attribute(t, resolve(t, AT_FDCWD, path), name)


def lremovexattr(t: Task, path: UserPath, name: UserString) -> int:
    """lremovexattr(2)."""
    return remove_attribute(t, resolve(t, AT_FDCWD, path, False), name)


def fremovexattr(t: Task, fd: FD, name: UserString) -> int:
    """fremovexattr(2)."""
    return remove_attribute(t, place_of(t, fd), name)


def remove_attribute(t: Task, place: Path, name: bytes) -> int:
    """Check and remove one attribute."""
    check_name(name)
    check_change(t, place, name)
    place.inode.removexattr(name)
    notify_path(place, IN_ATTRIB)
    return 0


# -- checks --------------------------------------------------------------------------------------
def check_name(name: bytes) -> None:
    """ERANGE for empty and overlong names, EOPNOTSUPP for namespaces we do not keep."""
    if not name or len(name) > XATTR_NAME_MAX:
        raise ERANGE("attribute name")
    space, _, rest = name.partition(b".")
    if space not in (b"user", b"trusted", b"security") or not rest:
        if space in (b"user", b"trusted", b"security"):
            raise EINVAL("attribute name")
        raise EOPNOTSUPP("attribute namespace")


def check_change(t: Task, place: Path, name: bytes) -> None:
    """May the attribute be set or removed? (xattr(7))"""
    check_mount_writable(place.mount)
    credentials, inode = t.credentials, place.inode
    if name.startswith(b"user."):
        if inode.kind not in (S_IFREG, S_IFDIR):
            raise EPERM("user attributes are for files and directories")
        if inode.is_dir and inode.mode & S_ISVTX and not owns(credentials, inode):
            raise EPERM("sticky directory")
        check(credentials, inode, MAY_WRITE)
    elif name == b"security.capability":
        if not credentials.has_cap(CAP_SETFCAP):
            raise EPERM("file capabilities need CAP_SETFCAP")
    elif not credentials.has_cap(CAP_SYS_ADMIN):
        raise EPERM("CAP_SYS_ADMIN")


def place_of(t: Task, fd: int) -> Path:
    """Where an open file is; EBADF for O_PATH, EOPNOTSUPP for pipes and the like."""
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    if f.path is None:
        raise EOPNOTSUPP("no attributes on this file")
    return f.path


def inode_of(t: Task, fd: int) -> Inode:
    """The inode of an open file."""
    return place_of(t, fd).inode
