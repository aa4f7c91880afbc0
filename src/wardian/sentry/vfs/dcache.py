"""The dentry cache: which names were looked up, and what was found.

Both answers are kept, also "there is no such name"; ``vfs.trust`` says for how long. The
cache is bounded: negative children per directory, and all dentries per superblock, by dropping the
leaves that nobody uses. Whoever holds a dentry (an open file, a working directory, a mount) keeps
it and its ancestors.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ENAMETOOLONG
from wardian.sentry.vfs.dentry import Dentry

if TYPE_CHECKING:
    from wardian.sentry.vfs.inode import Inode, SuperBlock
    from wardian.sentry.vfs.trust import Trust

NAME_MAX: Final = 255
NEGATIVES_MAX: Final = 512  # negative children a directory may have before they are dropped
DENTRIES_MIN: Final = 131072  # a superblock may always have so many, of about 1 KiB on host trees


def cached_child(directory: Dentry, name: bytes) -> Dentry | None:
    """The child dentry called ``name`` when it was looked up already."""
    children = directory.children
    return children.get(name) if children is not None else None


def child_of(directory: Dentry, name: bytes) -> Dentry:
    """The child dentry called ``name``, cached or looked up; maybe negative."""
    inode = directory.inode
    assert inode is not None
    child = cached_child(directory, name)
    if child is None:
        return lookup_child(directory, name)
    trust = inode.sb.trust
    if trust is None or child.checked_ns > trust.floor():
        return child
    return look_again(directory, child, trust)


def look_again(directory: Dentry, child: Dentry, trust: Trust) -> Dentry:
    """What the name of a cached ``child`` means now; mostly the same. ``trust`` has just read the
    clock."""
    parent = directory.inode
    assert parent is not None
    if not directory.unlinked and parent.still(child.name, child.inode):
        child.checked_ns = trust.now_ns
        return child
    return lookup_child(directory, child.name)


def lookup_child(directory: Dentry, name: bytes) -> Dentry:
    """Ask the file system for ``name`` and remember the answer."""
    if len(name) > NAME_MAX:
        raise ENAMETOOLONG("name longer than NAME_MAX")
    parent = directory.inode
    assert parent is not None
    trust = parent.sb.trust
    if trust is not None:
        trust.floor()
    inode = None if directory.unlinked else parent.lookup(name)
    old = cached_child(directory, name)
    if old is not None:
        if inode is not None and old.inode is not None and old.inode.same_file(inode):
            old.inode = inode
            if trust is not None:
                old.checked_ns = trust.now_ns
            return old
        forget(old)
    if inode is not None:
        return instantiate(directory, name, inode)
    child = Dentry(name, directory, None)
    if trust is not None:
        if not trust.window_ns:
            return child
        child.checked_ns = trust.now_ns
    remember_negative(directory, child)
    return child


def add_child(directory: Dentry, child: Dentry) -> None:
    """Hang ``child`` under its name and parent."""
    if directory.children is None:
        directory.children = {child.name: child}
    else:
        directory.children[child.name] = child


def remember_negative(directory: Dentry, child: Dentry) -> None:
    """Cache that a name does not exist; a guest must not fill memory with names that are not
    there."""
    children = directory.children
    if (
        children is not None
        and directory.negatives >= NEGATIVES_MAX
        and directory.negatives * 2 >= len(children)
    ):
        directory.children = {n: d for n, d in children.items() if d.inode is not None}
        directory.negatives = 0
    directory.negatives += 1
    add_child(directory, child)


def instantiate(directory: Dentry, name: bytes, inode: Inode) -> Dentry:
    """A name came to be (or was found): its dentry, replacing what was cached."""
    old = cached_child(directory, name)
    if old is not None:
        forget(old)
    child = Dentry(name, directory, inode)
    add_child(directory, child)
    sb = inode.sb
    if sb.trust is not None:
        child.checked_ns = sb.trust.now_ns
    sb.dentries += 1
    if sb.dentries > sb.dentries_max:
        shrink(sb)
    return child


def forget(dentry: Dentry) -> None:
    """The name is gone: unhook its dentry; open files keep it as " (deleted)"."""
    unhook(dentry)
    dentry.unlinked = True


def invalidate(dentry: Dentry, mounted: list[Dentry]) -> None:
    """What ``dentry`` was for is gone, with all below it. Whoever holds one of them keeps it, and
    may ask it for names: the file system answers. Those that something is mounted on come into
    ``mounted``: no path leads there any more."""
    unhook(dentry)
    if dentry.mounts:
        mounted.append(dentry)
    children, dentry.children = dentry.children, None
    if children is not None:
        for child in children.values():
            invalidate(child, mounted)


def unhook(dentry: Dentry) -> None:
    """Take ``dentry`` out of its parent's children."""
    parent = dentry.parent
    children = parent.children
    if children is not None and children.get(dentry.name) is dentry:
        del children[dentry.name]
        if dentry.inode is None:
            parent.negatives -= 1


def moved(dentry: Dentry, directory: Dentry, name: bytes) -> None:
    """rename(2) happened: hang ``dentry`` under its new name."""
    unhook(dentry)
    dentry.name = name
    dentry.parent = directory
    add_child(directory, dentry)


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
    found = [root] if root.children else []
    at = 0
    while at < len(found):
        children = found[at].children
        assert children is not None
        for child in children.values():
            if child.children:
                found.append(child)
        at += 1
    return found


def shrink_directory(directory: Dentry, idle: int) -> int:
    """Drop the unused children of one directory; how many stay."""
    children = directory.children
    assert children is not None
    counts = references(children)
    kept: dict[bytes, Dentry] = {}
    negatives = 0
    for (name, child), count in zip(children.items(), counts, strict=True):
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


def references(children: dict[bytes, Dentry]) -> list[int]:
    """How often each child is referred to, by this function's own way of counting."""
    return [sys.getrefcount(child) for child in children.values()]


def idle_references() -> int:
    """What :func:`references` says of a child that nobody but its directory holds."""
    directory = Dentry(b"", None, None)
    return references({b"x": Dentry(b"x", directory, None)})[0]
