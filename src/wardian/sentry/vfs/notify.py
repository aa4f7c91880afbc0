"""Telling inotify(7) what happens to files: hooks for whoever changes them.

A file system operation calls :func:`notify_entry` when a directory's names change and
:func:`notify_path` when something is done to an open or named file; both cost two attribute tests
when nobody watches. Watches hang on the inode (``Inode.watches``), so an inode object must stay the
same as long as it is watched.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.vfs.inode import Inode

if TYPE_CHECKING:
    from wardian.sentry.vfs.dentry import Dentry, Path

IN_ACCESS: Final = 0x1
IN_MODIFY: Final = 0x2
IN_ATTRIB: Final = 0x4
IN_CLOSE_WRITE: Final = 0x8
IN_CLOSE_NOWRITE: Final = 0x10
IN_OPEN: Final = 0x20
IN_MOVED_FROM: Final = 0x40
IN_MOVED_TO: Final = 0x80
IN_CREATE: Final = 0x100
IN_DELETE: Final = 0x200
IN_DELETE_SELF: Final = 0x400
IN_MOVE_SELF: Final = 0x800
IN_UNMOUNT: Final = 0x2000
IN_Q_OVERFLOW: Final = 0x4000
IN_IGNORED: Final = 0x8000
IN_ISDIR: Final = 0x40000000


class InodeWatch:
    """Someone who wants to know about one inode; in its ``watches``."""

    def event(self, mask: int, name: bytes, cookie: int) -> None:
        """``mask`` happened to the inode, or to its entry ``name``; must not raise."""
        raise NotImplementedError


def notify(inode: Inode, mask: int, name: bytes = b"", cookie: int = 0) -> None:
    """Tell the watches on ``inode`` itself. IN_DELETE_SELF also ends them."""
    if inode.watches:
        for watch in list(inode.watches):
            watch.event(mask, name, cookie)


def notify_entry(
    directory: Inode, mask: int, name: bytes, child: Inode | None, cookie: int = 0
) -> None:
    """A name in ``directory`` was created, deleted or moved (IN_CREATE, IN_DELETE, IN_MOVED_*).

    The two halves of a rename share a non-zero ``cookie``.
    """
    if directory.watches:
        notify(directory, directory_bit(mask, child), name, cookie)


def notify_dentry(dentry: Dentry, mask: int) -> None:
    """Something was done to a file (IN_ACCESS, IN_MODIFY, IN_ATTRIB, IN_OPEN, IN_CLOSE_*): its own
    watches and its directory's are told."""
    inode = dentry.inode
    if inode is not None and inode.watches:
        notify(inode, directory_bit(mask, inode))
    if not dentry.unlinked:
        directory = dentry.parent.inode
        if directory is not None and directory.watches and dentry.parent is not dentry:
            notify(directory, directory_bit(mask, inode), dentry.name)


def notify_path(path: Path | None, mask: int) -> None:
    """:func:`notify_dentry` for ``File.path``; None (pipes, sockets) is nothing."""
    if path is not None:
        notify_dentry(path.dentry, mask)


def directory_bit(mask: int, inode: Inode | None) -> int:
    """``mask`` with IN_ISDIR when it is about a directory."""
    return mask | IN_ISDIR if inode is not None and inode.is_dir else mask
