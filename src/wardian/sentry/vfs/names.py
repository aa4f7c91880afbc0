"""Changing the tree of names: mkdir(2), symlink(2), link(2), unlink(2), rmdir(2), renameat2(2).

Checks come in Linux's order, so that a call with two faults reports the one Linux reports.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EBUSY,
    EEXIST,
    EINVAL,
    EISDIR,
    ENOENT,
    ENOTDIR,
    ENOTEMPTY,
    EPERM,
    EXDEV,
)
from wardian.sentry.vfs.dcache import add_child, forget, instantiate, moved
from wardian.sentry.vfs.dentry import Dentry, Path
from wardian.sentry.vfs.inode import S_IFCHR, S_ISGID, S_ISVTX, Inode
from wardian.sentry.vfs.mount_tree import dentry_below
from wardian.sentry.vfs.namei import (
    LastName,
    check_free,
    check_may_create,
    resolve_parent,
)
from wardian.sentry.vfs.notify import (
    IN_ATTRIB,
    IN_CREATE,
    IN_DELETE,
    IN_DELETE_SELF,
    IN_ISDIR,
    IN_MOVE_SELF,
    IN_MOVED_FROM,
    IN_MOVED_TO,
    notify,
    notify_entry,
)
from wardian.sentry.vfs.permissions import (
    MAY_WRITE,
    check,
    check_create,
    check_delete,
    check_hardlink,
    new_owner,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.kernel.task import Task

RENAME_NOREPLACE: Final = 1
RENAME_EXCHANGE: Final = 2
RENAME_WHITEOUT: Final = 4


# -- making --------------------------------------------------------------------------------------
def mkdir(task: Task, dirfd: int, path: bytes, mode: int) -> None:
    """mkdirat(2)."""
    last = resolve_parent(task, dirfd, path)
    check_free(last, True)
    check_may_create(task, last)
    directory = last.parent.inode
    mode = mode & (0o777 | S_ISVTX) & ~task.fs.umask
    mode, uid, gid = new_owner(task.credentials, directory, mode)
    if directory.mode & S_ISGID:
        mode |= S_ISGID
    inode = directory.mkdir(last.name, mode, uid, gid)
    made(last, inode)


def symlink(task: Task, target: bytes, dirfd: int, path: bytes) -> None:
    """symlinkat(2)."""
    if not target:
        raise ENOENT("empty target")
    last = resolve_parent(task, dirfd, path)
    check_free(last, False)
    check_may_create(task, last)
    directory = last.parent.inode
    _, uid, gid = new_owner(task.credentials, directory, 0)
    made(last, directory.symlink(last.name, target, uid, gid))


def link(task: Task, source: Path, dirfd: int, path: bytes) -> None:
    """linkat(2) to an object already found."""
    last = resolve_parent(task, dirfd, path)
    inode = source.inode
    check_free(last, False)
    if source.mount is not last.parent.mount:
        raise EXDEV("another mount")
    check_hardlink(task.kernel.protected, task.credentials, inode)
    check_may_create(task, last)
    if inode.is_dir:
        raise EPERM("hard link to a directory")
    if source.dentry.unlinked and not source.dentry.linkable and inode.getattr().nlink == 0:
        raise ENOENT("the file has no name any more")
    last.parent.inode.link(last.name, inode)
    made(last, inode)
    notify(inode, IN_ATTRIB)


def made(last: LastName, inode: Inode) -> None:
    """A name came to be: cache it and tell."""
    instantiate(last.parent.dentry, last.name, inode)
    notify_entry(last.parent.inode, IN_CREATE, last.name, inode)


# -- removing ------------------------------------------------------------------------------------
def unlink(task: Task, dirfd: int, path: bytes) -> None:
    """unlinkat(2) without AT_REMOVEDIR."""
    last = resolve_parent(task, dirfd, path)
    if not last.ordinary:
        raise EISDIR("a directory")
    dentry = last.lookup()
    inode = dentry.inode
    if inode is None:
        raise ENOENT("no such name")
    if last.slash:
        raise EISDIR("a directory") if inode.is_dir else ENOTDIR("trailing slash after a file")
    check_delete(task.credentials, last.parent, inode)
    if inode.is_dir:
        raise EISDIR("a directory")
    if dentry.mounts:
        raise EBUSY("a mount point")
    last.parent.inode.unlink(last.name, inode)
    gone(last.parent.inode, dentry, inode)


def rmdir(task: Task, dirfd: int, path: bytes) -> None:
    """rmdir(2)."""
    last = resolve_parent(task, dirfd, path)
    if last.name == b"..":
        raise ENOTEMPTY("..")
    if last.name == b".":
        raise EINVAL(".")
    if last.name == b"":
        raise EBUSY("the root")
    dentry = last.lookup()
    inode = dentry.inode
    if inode is None:
        raise ENOENT("no such name")
    check_delete(task.credentials, last.parent, inode)
    if not inode.is_dir:
        raise ENOTDIR("not a directory")
    if dentry.mounts:
        raise EBUSY("a mount point")
    last.parent.inode.rmdir(last.name, inode)
    gone(last.parent.inode, dentry, inode)


def gone(directory: Inode, dentry: Dentry, inode: Inode) -> None:
    """A name went: out of the cache with it, and tell."""
    forget(dentry)
    tell_link_gone(inode)
    notify_entry(directory, IN_DELETE, dentry.name, inode)


def tell_link_gone(inode: Inode) -> None:
    """One name less: a file's watches see its link count change; the last name ends them.

    Linux keeps IN_DELETE_SELF back while the file is open; here it comes with the name's end.
    """
    if not inode.watches:
        return
    if not inode.is_dir:
        notify(inode, IN_ATTRIB)
    if inode.is_dir or inode.getattr().nlink == 0:
        notify(inode, IN_DELETE_SELF)


# -- renaming ------------------------------------------------------------------------------------
def rename(
    task: Task, olddirfd: int, oldpath: bytes, newdirfd: int, newpath: bytes, flags: int
) -> None:
    """renameat2(2)."""
    check_rename_flags(flags)
    old = resolve_parent(task, olddirfd, oldpath)
    new = resolve_parent(task, newdirfd, newpath)
    if old.parent.mount is not new.parent.mount:
        raise EXDEV("another mount")
    if not old.ordinary:
        raise EBUSY("., .. or /")
    if not new.ordinary:
        raise EEXIST("., .. or /") if flags & RENAME_NOREPLACE else EBUSY("., .. or /")
    source = old.lookup()
    child = source.inode
    if child is None:
        raise ENOENT("no such name")
    target = new.lookup()
    replaced = target.inode
    check_targets(flags, replaced)
    check_slashes(old, new, child, replaced, flags)
    check_ancestry(source, target, old, new, flags)
    if child is replaced:
        return
    check_rename_permission(task.credentials, old, new, child, replaced, flags)
    if source.mounts or target.mounts:
        raise EBUSY("a mount point")
    exchange = bool(flags & RENAME_EXCHANGE)
    old.parent.inode.rename(old.name, child, new.parent.inode, new.name, replaced, exchange)
    rename_dentries(old, new, source, target, exchange)
    if flags & RENAME_WHITEOUT:
        whiteout = old.parent.inode.mknod(old.name, S_IFCHR, 0, child.uid, child.gid)
        instantiate(old.parent.dentry, old.name, whiteout)
    notify_rename(task, old, new, child, replaced, exchange)


def check_rename_flags(flags: int) -> None:
    """EINVAL for unknown flags and for combinations that make no sense."""
    if flags & ~(RENAME_NOREPLACE | RENAME_EXCHANGE | RENAME_WHITEOUT):
        raise EINVAL("unknown flag")
    if flags & RENAME_EXCHANGE and flags & (RENAME_NOREPLACE | RENAME_WHITEOUT):
        raise EINVAL("RENAME_EXCHANGE excludes the others")


def check_targets(flags: int, replaced: Inode | None) -> None:
    """What the flags say about the new name."""
    if flags & RENAME_NOREPLACE and replaced is not None:
        raise EEXIST("RENAME_NOREPLACE")
    if flags & RENAME_EXCHANGE and replaced is None:
        raise ENOENT("RENAME_EXCHANGE needs both")


def check_slashes(
    old: LastName, new: LastName, child: Inode, replaced: Inode | None, flags: int
) -> None:
    """A trailing slash is for directories only."""
    if flags & RENAME_EXCHANGE:
        if new.slash and replaced is not None and not replaced.is_dir:
            raise ENOTDIR("trailing slash after a file")
    elif new.slash and not child.is_dir:
        raise ENOTDIR("trailing slash after a file")
    if old.slash and not child.is_dir:
        raise ENOTDIR("trailing slash after a file")


def check_ancestry(
    source: Dentry, target: Dentry, old: LastName, new: LastName, flags: int
) -> None:
    """A directory cannot move into itself, nor replace one that contains it."""
    if dentry_below(new.parent.dentry, source):
        raise EINVAL("a directory cannot move below itself")
    if target.inode is not None and dentry_below(old.parent.dentry, target):
        if flags & RENAME_EXCHANGE:
            raise EINVAL("a directory cannot move below itself")
        raise ENOTEMPTY("the target contains the source")


def check_rename_permission(
    credentials: Credentials,
    old: LastName,
    new: LastName,
    child: Inode,
    replaced: Inode | None,
    flags: int,
) -> None:
    """Both directories must be writable; a directory that gets a new parent, too."""
    check_delete(credentials, old.parent, child)
    if replaced is None:
        if new.parent.dentry.unlinked:
            raise ENOENT("the directory was removed")
        check_create(credentials, new.parent)
    else:
        check_delete(credentials, new.parent, replaced)
        if not flags & RENAME_EXCHANGE:
            if child.is_dir and not replaced.is_dir:
                raise ENOTDIR("a directory cannot replace a file")
            if replaced.is_dir and not child.is_dir:
                raise EISDIR("a file cannot replace a directory")
    if new.parent.dentry is not old.parent.dentry:
        if child.is_dir:
            check(credentials, child, MAY_WRITE)
        if flags & RENAME_EXCHANGE and replaced is not None and replaced.is_dir:
            check(credentials, replaced, MAY_WRITE)


def rename_dentries(
    old: LastName, new: LastName, source: Dentry, target: Dentry, exchange: bool
) -> None:
    """Do to the cache what the file system did to the names."""
    forget(target)
    moved(source, new.parent.dentry, new.name)
    if exchange:
        target.unlinked = False
        target.name = old.name
        target.parent = old.parent.dentry
        add_child(old.parent.dentry, target)


def notify_rename(
    task: Task, old: LastName, new: LastName, child: Inode, replaced: Inode | None, exchange: bool
) -> None:
    """Tell the watches of both directories, and of what moved."""
    before, after = old.parent.inode, new.parent.inode
    if before.watches or after.watches:
        tell_move(task, before, old.name, after, new.name, child)
        if exchange and replaced is not None:
            tell_move(task, after, new.name, before, old.name, replaced)
    if child.watches:
        notify(child, IN_MOVE_SELF | (IN_ISDIR if child.is_dir else 0))
    if replaced is not None and replaced.watches:
        if exchange:
            notify(replaced, IN_MOVE_SELF | (IN_ISDIR if replaced.is_dir else 0))
        else:
            tell_link_gone(replaced)


def tell_move(
    task: Task, before: Inode, old_name: bytes, after: Inode, new_name: bytes, child: Inode
) -> None:
    """The two halves of a move, tied by a fresh cookie."""
    kernel = task.kernel
    kernel.rename_cookie = kernel.rename_cookie % 0xFFFFFFFF + 1
    notify_entry(before, IN_MOVED_FROM, old_name, child, kernel.rename_cookie)
    notify_entry(after, IN_MOVED_TO, new_name, child, kernel.rename_cookie)
