"""Opening by name: open(2), openat2(2), O_CREAT, O_PATH, O_TMPFILE. The walk itself is
``vfs.namei``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EACCES,
    EEXIST,
    EINVAL,
    EISDIR,
    ELOOP,
    ENOENT,
    ENOTDIR,
    ENXIO,
    EPERM,
    EROFS,
    ESTALE,
    LinuxError,
)
from wardian.sentry.vfs.dcache import instantiate
from wardian.sentry.vfs.dentry import MS_NODEV, Dentry, Path
from wardian.sentry.vfs.file import (
    O_ACCMODE,
    O_CLOEXEC,
    O_CREAT,
    O_DIRECTORY,
    O_EXCL,
    O_LARGEFILE,
    O_NOATIME,
    O_NOCTTY,
    O_NOFOLLOW,
    O_PATH,
    O_RDONLY,
    O_TMPFILE,
    O_TRUNC,
    O_WRONLY,
    File,
)
from wardian.sentry.vfs.inode import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFLNK,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    AttributeChange,
    Inode,
)
from wardian.sentry.vfs.namei import (
    LastName,
    Walk,
    last_name,
    path_of,
    resolve,
)
from wardian.sentry.vfs.notify import IN_CREATE, IN_MODIFY, notify_entry, notify_path
from wardian.sentry.vfs.permissions import (
    MAY_EXEC,
    MAY_READ,
    MAY_WRITE,
    check,
    check_create,
    check_mount_writable,
    check_sticky_create,
    new_owner,
    owns,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

OPEN_ONLY: Final = O_CREAT | O_EXCL | O_NOCTTY | O_TRUNC | O_CLOEXEC
"""Flags that mean something to open(2) alone; F_GETFL does not show them."""

VALID_FLAGS: Final = 0x7FFFC3
TMPFILE_BIT: Final = 0x400000


class PathFile(File):
    """An O_PATH descriptor: a place, without access to the contents."""


def open_path(
    task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve_flags: int = 0
) -> File:
    """open(2): a new open file description. A FIFO may answer ``opened() == False``: then wait."""
    try:
        return open_once(task, dirfd, path, flags, mode, resolve_flags)
    except ESTALE:  # replaced by the host while we looked: now it is looked up anew
        return open_once(task, dirfd, path, flags, mode, resolve_flags)


def open_once(
    task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve_flags: int
) -> File:
    """One try of :func:`open_path`."""
    if flags & O_PATH:
        return open_o_path(task, dirfd, path, flags, resolve_flags)
    if flags & TMPFILE_BIT:
        return open_tmpfile(task, dirfd, path, flags, mode, resolve_flags)
    if flags & O_CREAT:
        return open_create(task, dirfd, path, flags, mode, resolve_flags)
    walk = start(task, dirfd, path, resolve_flags)
    walk.run(not flags & O_NOFOLLOW)
    return open_place(task, walk.where(), flags)


def start(task: Task, dirfd: int, path: bytes, resolve_flags: int) -> Walk:
    """The walk of an open; ENOENT for an empty path."""
    if not path:
        raise ENOENT("empty path")
    return Walk(task, dirfd, path, resolve_flags)


def open_o_path(task: Task, dirfd: int, path: bytes, flags: int, resolve_flags: int) -> File:
    """O_PATH: all flags but three are ignored; a final symbolic link may be opened itself."""
    place = resolve(task, dirfd, path, not flags & O_NOFOLLOW, False, resolve_flags)
    inode = place.inode
    if flags & O_DIRECTORY and not inode.is_dir:
        raise ENOTDIR("O_DIRECTORY")
    file = PathFile(inode, O_PATH | (flags & (O_DIRECTORY | O_NOFOLLOW)))
    file.path = place
    return file


# -- existing files ------------------------------------------------------------------------------
def open_place(task: Task, place: Path, flags: int) -> File:
    """Open what is at ``place`` after checking that the caller may."""
    inode = place.inode
    kind = inode.mode & S_IFMT
    if kind == S_IFLNK:
        raise ENOTDIR("O_DIRECTORY") if flags & O_DIRECTORY else ELOOP("O_NOFOLLOW of a link")
    if kind == S_IFDIR:
        if flags & (O_ACCMODE | O_CREAT | O_TRUNC):
            raise EISDIR("a directory cannot be written")
    elif flags & O_DIRECTORY:
        raise ENOTDIR("O_DIRECTORY")
    check(task.credentials, inode, wanted_access(flags))
    check_special(place, kind, flags)
    if flags & O_NOATIME and not owns(task.credentials, inode):
        raise EPERM("O_NOATIME of somebody else's file")
    if flags & O_TRUNC and kind == S_IFREG:
        check_mount_writable(place.mount)
        inode.get_write_access()
        inode.put_write_access()
        change = AttributeChange()
        change.size = 0
        inode.setattr(change)
        notify_path(place, IN_MODIFY)
    return finish(task, place, inode, flags)


def wanted_access(flags: int) -> int:
    """The MAY_* bits that open flags ask for."""
    access = flags & O_ACCMODE
    if access == O_RDONLY:
        wanted = MAY_READ
    elif access == O_WRONLY:
        wanted = MAY_WRITE
    else:
        wanted = MAY_READ | MAY_WRITE
    return wanted | MAY_WRITE if flags & O_TRUNC else wanted


def check_special(place: Path, kind: int, flags: int) -> None:
    """What the mount and the kind of file forbid."""
    if kind == S_IFSOCK:
        raise ENXIO("a socket cannot be opened")
    if kind in (S_IFCHR, S_IFBLK):
        if place.mount.flags & MS_NODEV:
            raise EACCES("nodev mount")
    elif kind != S_IFIFO and flags & O_ACCMODE and place.mount.read_only:
        raise EROFS("read-only file system")


def finish(task: Task, place: Path, inode: Inode, flags: int) -> File:
    """Have the file system open the inode."""
    writes = bool(flags & O_ACCMODE) and inode.mode & S_IFMT == S_IFREG
    if writes:
        inode.get_write_access()
    try:
        file = inode.open(task, flags & ~(O_CREAT | O_EXCL | O_TRUNC | O_CLOEXEC) | O_LARGEFILE)
    except LinuxError:
        if writes:
            inode.put_write_access()
        raise
    if writes:
        file.written = inode
    file.flags &= ~OPEN_ONLY
    if file.path is None:
        file.path = place
    return file


# -- making files --------------------------------------------------------------------------------
def open_create(
    task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve_flags: int
) -> File:
    """O_CREAT: the last name may be new; a dangling symbolic link is created through."""
    if flags & O_DIRECTORY:
        raise EINVAL("O_CREAT with O_DIRECTORY")
    walk = start(task, dirfd, path, resolve_flags)
    while True:
        last = last_name(walk)
        if not last.ordinary:
            raise EEXIST("O_EXCL") if flags & O_EXCL else EISDIR("a directory")
        if last.slash:
            raise EISDIR("trailing slash with O_CREAT")
        dentry = last.lookup()
        inode = dentry.inode
        if inode is None:
            return create(task, last, flags, mode)
        if flags & O_EXCL:
            raise EEXIST("O_EXCL")
        if inode.mode & S_IFMT != S_IFLNK or dentry.mounts:
            walk.down(walk.mount, dentry)
            check_existing(task, last, walk.where())
            return open_place(task, walk.where(), flags)
        if flags & O_NOFOLLOW:
            raise ELOOP("O_NOFOLLOW of a link")
        walk.follow(inode)
        if not walk.stack:  # a magic link went to the object itself
            return open_place(task, walk.where(), flags)


def create(task: Task, last: LastName, flags: int, mode: int) -> File:
    """Make and open a regular file; the caller may do anything with what it just made."""
    if last.parent.dentry.unlinked:
        raise ENOENT("the directory was removed")
    check_create(task.credentials, last.parent)
    directory = last.parent.inode
    mode, uid, gid = new_owner(task.credentials, directory, mode & 0o7777 & ~task.fs.umask)
    inode = directory.create(last.name, mode, uid, gid)
    dentry = instantiate(last.parent.dentry, last.name, inode)
    notify_entry(directory, IN_CREATE, last.name, inode)
    return finish(task, Path(last.parent.mount, dentry), inode, flags)


def check_existing(task: Task, last: LastName, place: Path) -> None:
    """fs.protected_regular and fs.protected_fifos."""
    inode = place.inode
    protected = task.kernel.protected
    if inode.kind == S_IFREG:
        check_sticky_create(task.credentials, last.parent.inode, inode, protected.regular)
    elif inode.kind == S_IFIFO:
        check_sticky_create(task.credentials, last.parent.inode, inode, protected.fifos)


def open_tmpfile(
    task: Task, dirfd: int, path: bytes, flags: int, mode: int, resolve_flags: int
) -> File:
    """O_TMPFILE: a file in the directory ``path`` that has no name (yet, unless O_EXCL)."""
    if flags & O_TMPFILE != O_TMPFILE or not flags & O_ACCMODE or flags & O_CREAT:
        raise EINVAL("O_TMPFILE needs O_DIRECTORY and write access")
    place = resolve(task, dirfd, path, True, False, resolve_flags)
    directory = place.inode
    if not directory.is_dir:
        raise ENOTDIR("O_TMPFILE")
    check_mount_writable(place.mount)
    check(task.credentials, directory, MAY_WRITE | MAY_EXEC)
    mode, uid, gid = new_owner(task.credentials, directory, mode & 0o7777 & ~task.fs.umask)
    inode = directory.tmpfile(mode, uid, gid)
    dentry = Dentry(b"#%d" % inode.ino, place.dentry, inode)
    dentry.unlinked = True
    dentry.linkable = not flags & O_EXCL
    return finish(task, Path(place.mount, dentry), inode, flags & ~(O_TMPFILE | O_TRUNC))


# -- by descriptor -------------------------------------------------------------------------------
def reopen(task: Task, fd: int, flags: int) -> File:
    """Open again what ``fd`` refers to, as open("/proc/self/fd/N") does."""
    return open_place(task, path_of(task, fd), flags)
