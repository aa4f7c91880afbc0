"""The dentry cache: which names were looked up, and what was found.

Both answers are kept, also "there is no such name". The cache is bounded: negative children per
directory, and all dentries per superblock, by dropping the leaves that nobody uses. Whoever holds
a dentry (an open file, a working directory, a mount) keeps it and its ancestors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENAMETOOLONG
from wardian.sentry.vfs.dentry import Dentry

if TYPE_CHECKING:
    from wardian.sentry.vfs.inode import Inode, SuperBlock

NAME_MAX: Final = 255
NEGATIVES_MAX: Final = 512  # negative children a directory may have before they are dropped
DENTRIES_MIN: Final = 65536  # a superblock may always have so many


def child_of(directory: Dentry, name: bytes) -> Dentry:
    """The child dentry called ``name``, cached or looked up; maybe negative."""
    child = directory.children.get(name)
    inode = directory.inode
    assert inode is not None
    if child is None or inode.sb.revalidates():
        return lookup_child(directory, name)
    return child


def lookup_child(directory: Dentry, name: bytes) -> Dentry:
    """Ask the file system for ``name`` and remember the answer."""
    if len(name) > NAME_MAX:
        raise ENAMETOOLONG("name longer than NAME_MAX")
    parent = directory.inode
    assert parent is not None
    inode = None if directory.unlinked else parent.lookup(name)
    old = directory.children.get(name)
    if old is not None and inode is not None and same_object(old.inode, inode):
        old.inode = inode
        return old
    if inode is not None:
        return instantiate(directory, name, inode)
    if old is not None:
        forget(old)
    child = Dentry(name, directory, None)
    if not parent.sb.revalidates():
        remember_negative(directory, child)
    return child


def same_object(old: Inode | None, new: Inode) -> bool:
    """True when a lookup found again what the dentry already shows."""
    if old is None:
        return False
    return old is new or (old.sb is new.sb and old.ino == new.ino and old.kind == new.kind)


def remember_negative(directory: Dentry, child: Dentry) -> None:
    """Cache that a name does not exist; a guest must not fill memory with names that are not
    there."""
    children = directory.children
    if directory.negatives >= NEGATIVES_MAX and directory.negatives * 2 >= len(children):
        directory.children = {n: d for n, d in children.items() if d.inode is not None}
        directory.negatives = 0
    directory.negatives += 1
    directory.children[child.name] = child


def instantiate(directory: Dentry, name: bytes, inode: Inode) -> Dentry:
    """A name came to be (or was found): its dentry, replacing what was cached."""
    old = directory.children.get(name)
    if old is not None:
        forget(old)
    child = Dentry(name, directory, inode)
    directory.children[name] = child
    sb = inode.sb
    sb.dentries += 1
    if sb.dentries > sb.dentries_max:
        shrink(sb)
    return child


def forget(dentry: Dentry) -> None:
    """The name is gone: unhook its dentry; open files keep it as " (deleted)"."""
    parent = dentry.parent
    if parent.children.get(dentry.name) is dentry:
        del parent.children[dentry.name]
        if dentry.inode is None:
            parent.negatives -= 1
    dentry.unlinked = True


def moved(dentry: Dentry, directory: Dentry, name: bytes) -> None:
    """rename(2) happened: hang ``dentry`` under its new name."""
    if dentry.parent.children.get(dentry.name) is dentry:
        del dentry.parent.children[dentry.name]
    dentry.name = name
    dentry.parent = directory
    directory.children[name] = dentry


# -- shrinking -----------------------------------------------------------------------------------
def shrink(sb: SuperBlock) -> None:
    """Drop the leaves that only the cache holds; what stays may double before the next time."""
    kept = 0
    root = sb.root_dentry
    if root is not None:
        idle = idle_references()
        directories = directories_below(root)
        while directories:  # deepest first: an emptied directory is a leaf for its parent
            kept += shrink_directory(directories.pop(), idle)
    sb.dentries = kept
    sb.dentries_max = max(DENTRIES_MIN, 2 * kept)


def directories_below(root: Dentry) -> list[Dentry]:
    """Every dentry with children, parents before children."""
    found = [root]
    at = 0
    while at < len(found):
        for child in found[at].children.values():
            if child.children:
                found.append(child)
        at += 1
    return found


def shrink_directory(directory: Dentry, idle: int) -> int:
    """Drop the unused children of one directory; how many stay."""
    counts = references(directory)
    kept: dict[bytes, Dentry] = {}
    negatives = 0
    for (name, child), count in zip(directory.children.items(), counts, strict=True):
        if child.children or child.mounts or count > idle or is_busy(child.inode):
            kept[name] = child
            negatives += child.inode is None
    directory.children = kept
    directory.negatives = negatives
    return len(kept)


def is_busy(inode: Inode | None) -> bool:
    """True when state that is not stored hangs on the inode object itself."""
    if inode is None:
        return False
    if inode.pipe is not None or inode.socket is not None or inode.locks is not None:
        return True
    return bool(inode.watches)


def references(directory: Dentry) -> list[int]:
    """How often each child is referred to, by this function's own way of counting."""
    return [sys.getrefcount(child) for child in directory.children.values()]


def idle_references() -> int:
    """What :func:`references` says of a child that nobody but its directory holds."""
    directory = Dentry(b"", None, None)
    directory.children[b"x"] = Dentry(b"x", directory, None)
    return references(directory)[0]
