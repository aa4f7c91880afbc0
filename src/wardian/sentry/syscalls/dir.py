"""Directories and names: getdents(2), mkdir(2), link(2), rename(2), chdir(2), getcwd(2), ..."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from librt.strings import BytesWriter, write_i16_le, write_i64_le

from wardian.sentry.errno import EBADF, EINVAL, ENOENT, ENOTDIR, EPERM, ERANGE
from wardian.sentry.kernel.credentials import CAP_DAC_READ_SEARCH, CAP_MKNOD
from wardian.sentry.syscalls.kinds import FD, Flags, Int, Mode, OutBuf, UInt, ULong, UserPath
from wardian.sentry.vfs import names
from wardian.sentry.vfs.dentry import Path
from wardian.sentry.vfs.file import O_PATH
from wardian.sentry.vfs.inode import (
    S_IFBLK,
    S_IFCHR,
    S_IFDIR,
    S_IFIFO,
    S_IFMT,
    S_IFREG,
    S_IFSOCK,
    DirEntry,
)
from wardian.sentry.vfs.namei import (
    AT_EMPTY_PATH,
    AT_FDCWD,
    AT_REMOVEDIR,
    AT_SYMLINK_FOLLOW,
    make_node,
    path_of,
    path_text,
    resolve,
)
from wardian.sentry.vfs.notify import IN_CREATE, notify_entry
from wardian.sentry.vfs.permissions import MAY_EXEC, check

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

BATCHES_MAX: Final = 256  # directory reads per getdents call
WHITEOUT_DEV: Final = 0

RECORD_MORE: Final = 19 + 1 + 7  # a record's fixed part, the name's NUL or the type, rounding up
ZEROES: Final = bytes(8)


# -- reading -------------------------------------------------------------------------------------
def getdents64(t: Task, fd: FD, buf: OutBuf, count: UInt) -> int:
    """getdents64(2)."""
    return read_entries(t, fd, buf, count, True)


def getdents(t: Task, fd: FD, buf: OutBuf, count: UInt) -> int:
    """getdents(2)."""
    return read_entries(t, fd, buf, count, False)


def read_entries(t: Task, fd: int, buf: int, count: int, wide: bool) -> int:
    """Pack as many entries as fit; EINVAL when not even the first one does."""
    f = t.files.get(fd)
    if f.flags & O_PATH:
        raise EBADF("O_PATH")
    if f.path is not None and f.path.dentry.unlinked:
        raise ENOENT("the directory was removed") if f.path.inode.is_dir else ENOTDIR("a file")
    position = f.offset
    if wide:
        packed = f.packed_entries(position, count)
        if packed is not None:
            if packed[0]:
                t.copy_out(buf, packed[0])
                f.offset = packed[1]
            return len(packed[0])
    w = BytesWriter()
    full = False
    for _ in range(BATCHES_MAX):
        batch = f.readdir(position)
        if not batch:
            break
        for entry in batch:
            length = (len(entry.name) + RECORD_MORE) & ~7
            if len(w) + length > count:
                full = True
                break
            pack_entry(w, entry, length, wide)
            position = entry.position
        if full:
            break
    used = len(w)
    if full and not used:
        raise EINVAL("buffer too small")
    if used:
        t.copy_out(buf, w.getvalue())
        f.offset = position
    return used


def pack_entry(w: BytesWriter, entry: DirEntry, length: int, wide: bool) -> None:
    """struct linux_dirent64 (``wide``) or struct linux_dirent, padded to 8 bytes."""
    name = entry.name
    kind = entry.kind >> 12
    write_i64_le(w, entry.ino)
    write_i64_le(w, entry.position)
    write_i16_le(w, length)
    if wide:
        w.append(kind)
        w.write(name)
        w.write(ZEROES[: length - 19 - len(name)])
    else:
        w.write(name)
        w.write(ZEROES[: length - 19 - len(name)])
        w.append(kind)


# -- making and removing -------------------------------------------------------------------------
def mkdir(t: Task, path: UserPath, mode: Mode) -> int:
    """mkdir(2)."""
    names.mkdir(t, AT_FDCWD, path, mode)
    return 0


def mkdirat(t: Task, dirfd: FD, path: UserPath, mode: Mode) -> int:
    """mkdirat(2)."""
    names.mkdir(t, dirfd, path, mode)
    return 0


def rmdir(t: Task, path: UserPath) -> int:
    """rmdir(2)."""
    names.rmdir(t, AT_FDCWD, path)
    return 0


def unlink(t: Task, path: UserPath) -> int:
    """unlink(2)."""
    names.unlink(t, AT_FDCWD, path)
    return 0


def unlinkat(t: Task, dirfd: FD, path: UserPath, flags: Flags) -> int:
    """unlinkat(2)."""
    if flags & ~AT_REMOVEDIR:
        raise EINVAL("unknown flag")
    if flags & AT_REMOVEDIR:
        names.rmdir(t, dirfd, path)
    else:
        names.unlink(t, dirfd, path)
    return 0


def symlink(t: Task, target: UserPath, path: UserPath) -> int:
    """symlink(2)."""
    names.symlink(t, target, AT_FDCWD, path)
    return 0


def symlinkat(t: Task, target: UserPath, dirfd: FD, path: UserPath) -> int:
    """symlinkat(2)."""
    names.symlink(t, target, dirfd, path)
    return 0


def link(t: Task, oldpath: UserPath, newpath: UserPath) -> int:
    """link(2)."""
    return linkat(t, FD(AT_FDCWD), oldpath, FD(AT_FDCWD), newpath, Flags(0))


def linkat(
    t: Task, olddirfd: FD, oldpath: UserPath, newdirfd: FD, newpath: UserPath, flags: Flags
) -> int:
    """linkat(2)."""
    if flags & ~(AT_SYMLINK_FOLLOW | AT_EMPTY_PATH):
        raise EINVAL("unknown flag")
    if not oldpath and flags & AT_EMPTY_PATH:
        if not may_link_descriptor(t, olddirfd):
            raise ENOENT("AT_EMPTY_PATH needs CAP_DAC_READ_SEARCH")
        source = path_of(t, olddirfd)
    else:
        source = resolve(t, olddirfd, oldpath, bool(flags & AT_SYMLINK_FOLLOW))
    names.link(t, source, newdirfd, newpath)
    return 0


def may_link_descriptor(t: Task, fd: int) -> bool:
    """linkat(2) of a descriptor: its opener's own, or with CAP_DAC_READ_SEARCH."""
    return t.credentials.has_cap(CAP_DAC_READ_SEARCH) or t.files.find(fd) is not None


def mknod(t: Task, path: UserPath, mode: Mode, dev: ULong) -> int:
    """mknod(2)."""
    return mknodat(t, FD(AT_FDCWD), path, mode, dev)


def mknodat(t: Task, dirfd: FD, path: UserPath, mode: Mode, dev: ULong) -> int:
    """mknodat(2)."""
    kind = mode & S_IFMT
    if kind == S_IFDIR:
        raise EPERM("mkdir makes directories")
    if kind not in (0, S_IFREG, S_IFIFO, S_IFSOCK, S_IFCHR, S_IFBLK):
        raise EINVAL("type of node")
    device = kind == S_IFBLK or (kind == S_IFCHR and dev != WHITEOUT_DEV)
    if device and not t.credentials.has_cap(CAP_MKNOD):
        raise EPERM("device nodes need CAP_MKNOD")
    rdev = dev & 0xFFFFFFFF if kind in (S_IFCHR, S_IFBLK) else 0
    place = make_node(t, dirfd, path, mode & 0o177777, rdev)
    directory = place.dentry.parent.inode
    if directory is not None:
        notify_entry(directory, IN_CREATE, place.dentry.name, place.inode)
    return 0


# -- renaming ------------------------------------------------------------------------------------
def rename(t: Task, oldpath: UserPath, newpath: UserPath) -> int:
    """rename(2)."""
    names.rename(t, AT_FDCWD, oldpath, AT_FDCWD, newpath, 0)
    return 0


def renameat(t: Task, olddirfd: FD, oldpath: UserPath, newdirfd: FD, newpath: UserPath) -> int:
    """renameat(2)."""
    names.rename(t, olddirfd, oldpath, newdirfd, newpath, 0)
    return 0


def renameat2(
    t: Task, olddirfd: FD, oldpath: UserPath, newdirfd: FD, newpath: UserPath, flags: Flags
) -> int:
    """renameat2(2)."""
    names.rename(t, olddirfd, oldpath, newdirfd, newpath, flags)
    return 0


# -- links ---------------------------------------------------------------------------------------
def readlink(t: Task, path: UserPath, buf: OutBuf, size: Int) -> int:
    """readlink(2)."""
    return readlinkat(t, FD(AT_FDCWD), path, buf, size)


def readlinkat(t: Task, dirfd: FD, path: UserPath, buf: OutBuf, size: Int) -> int:
    """readlinkat(2); an empty path reads the link that ``dirfd`` was opened on with O_PATH."""
    if size <= 0:
        raise EINVAL("size")
    place = resolve(t, dirfd, path, False, dirfd != AT_FDCWD)
    inode = place.inode
    if not inode.is_symlink:
        raise ENOENT("not a link") if not path else EINVAL("not a symbolic link")
    target = inode.readlink()[:size]
    t.copy_out(buf, target)
    return len(target)


# -- where a task is -----------------------------------------------------------------------------
def chdir(t: Task, path: UserPath) -> int:
    """chdir(2)."""
    return enter(t, resolve(t, AT_FDCWD, path))


def fchdir(t: Task, fd: FD) -> int:
    """fchdir(2)."""
    path = t.files.get(fd).path
    if path is None:
        raise ENOTDIR("not a directory")
    return enter(t, path)


def enter(t: Task, place: Path) -> int:
    """Make ``place`` the working directory if it may be searched."""
    if not place.inode.is_dir:
        raise ENOTDIR("not a directory")
    check(t.credentials, place.inode, MAY_EXEC)
    t.fs.cwd = place
    return 0


def getcwd(t: Task, buf: OutBuf, size: ULong) -> int:
    """getcwd(2): the length, with the NUL."""
    cwd = t.fs.cwd
    if cwd.dentry.unlinked:
        raise ENOENT("the working directory was removed")
    text = path_text(cwd, t.fs.root) + b"\0"
    if len(text) > size:
        raise ERANGE("buffer too small")
    t.copy_out(buf, text)
    return len(text)


def umask(t: Task, mask: Mode) -> int:
    """umask(2): the old one."""
    old = t.fs.umask
    t.fs.umask = mask & 0o777
    return old
