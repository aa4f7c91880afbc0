"""Who may do what to an inode (path_resolution(7), "Permissions"; capabilities(7)).

The file-system ids decide, not the effective ones. The ``protected_*`` rules are on, as systemd
and Debian's procps set them (Documentation/admin-guide/sysctl/fs.rst).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EACCES, EPERM, EROFS
from wardian.sentry.kernel.credentials import (
    CAP_DAC_OVERRIDE,
    CAP_DAC_READ_SEARCH,
    CAP_FOWNER,
    CAP_FSETID,
)
from wardian.sentry.vfs.inode import S_IFMT, S_IFREG, S_ISGID, S_ISUID, S_ISVTX

if TYPE_CHECKING:
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.vfs.dentry import Mount, Path
    from wardian.sentry.vfs.inode import Inode

MAY_EXEC: Final = 1
MAY_WRITE: Final = 2
MAY_READ: Final = 4


class Protected:
    """The fs.protected_* settings of a kernel, as Debian's procps sets them."""

    def __init__(self) -> None:
        self.symlinks = 1
        self.hardlinks = 1
        self.fifos = 1
        self.regular = 2


def permitted(credentials: Credentials, inode: Inode, mask: int) -> bool:
    """True when the mode bits or a capability grant ``mask`` (MAY_*)."""
    mode = inode.mode
    if credentials.fsuid == inode.uid:
        granted = mode >> 6
    elif credentials.in_group(inode.gid):
        granted = mode >> 3
    else:
        granted = mode
    if not mask & ~granted:
        return True
    if inode.is_dir:
        if credentials.has_cap(CAP_DAC_OVERRIDE):
            return True
        return not mask & MAY_WRITE and credentials.has_cap(CAP_DAC_READ_SEARCH)
    if mask == MAY_READ and credentials.has_cap(CAP_DAC_READ_SEARCH):
        return True
    if mask & MAY_EXEC and not mode & 0o111:
        return False
    return credentials.has_cap(CAP_DAC_OVERRIDE)


def check(credentials: Credentials, inode: Inode, mask: int) -> None:
    """EACCES unless ``mask`` is granted."""
    if not permitted(credentials, inode, mask):
        raise EACCES("permission denied")


def check_mount_writable(mount: Mount) -> None:
    """EROFS on a read-only mount."""
    if mount.read_only:
        raise EROFS("read-only file system")


def check_create(credentials: Credentials, parent: Path) -> None:
    """May a name be added to the directory ``parent``?"""
    check_mount_writable(parent.mount)
    check(credentials, parent.inode, MAY_WRITE | MAY_EXEC)


def check_delete(credentials: Credentials, parent: Path, victim: Inode) -> None:
    """May the name of ``victim`` be taken out of the directory ``parent``? Knows the sticky bit."""
    check_mount_writable(parent.mount)
    directory = parent.inode
    check(credentials, directory, MAY_WRITE | MAY_EXEC)
    theirs = credentials.fsuid not in (victim.uid, directory.uid)
    if directory.mode & S_ISVTX and theirs and not credentials.has_cap(CAP_FOWNER):
        raise EPERM("sticky directory and somebody else's file")


def owns(credentials: Credentials, inode: Inode) -> bool:
    """The owner's rights: by uid or CAP_FOWNER."""
    return credentials.fsuid == inode.uid or credentials.has_cap(CAP_FOWNER)


def check_owner(credentials: Credentials, inode: Inode) -> None:
    """EPERM for everybody but the owner."""
    if not owns(credentials, inode):
        raise EPERM("not the owner")


# -- fs.protected_* ------------------------------------------------------------------------------
def check_follow(
    protected: Protected, credentials: Credentials, directory: Inode, link: Inode
) -> None:
    """protected_symlinks: in a sticky world-writable directory only follow the owner's or one's
    own."""
    if not protected.symlinks or credentials.fsuid == link.uid:
        return
    if directory.mode & (S_ISVTX | 0o002) != S_ISVTX | 0o002:
        return
    if directory.uid != link.uid:
        raise EACCES("protected_symlinks")


def check_hardlink(protected: Protected, credentials: Credentials, inode: Inode) -> None:
    """protected_hardlinks: link only what one owns or could read and write, and nothing setuid."""
    if not protected.hardlinks or owns(credentials, inode):
        return
    mode = inode.mode
    special = mode & S_IFMT != S_IFREG or mode & S_ISUID
    if special or mode & (S_ISGID | 0o010) == S_ISGID | 0o010:
        raise EPERM("protected_hardlinks")
    if not permitted(credentials, inode, MAY_READ | MAY_WRITE):
        raise EPERM("protected_hardlinks")


def check_sticky_create(
    credentials: Credentials, directory: Inode, inode: Inode, level: int
) -> None:
    """protected_regular (level 2) and protected_fifos (1): O_CREAT of somebody else's existing
    file."""
    mode = directory.mode
    if not level or not mode & S_ISVTX or inode.uid in (directory.uid, credentials.fsuid):
        return
    if mode & 0o002 or (mode & 0o020 and level >= 2):
        raise EACCES("protected_regular or protected_fifos")


# -- new and changed modes -----------------------------------------------------------------------
def new_owner(credentials: Credentials, directory: Inode, mode: int) -> tuple[int, int, int]:
    """(mode, uid, gid) of a new inode: a setgid ``directory`` hands down its group."""
    if not directory.mode & S_ISGID:
        return mode, credentials.fsuid, credentials.fsgid
    gid = directory.gid
    runs_as_group = mode & (S_ISGID | 0o010) == S_ISGID | 0o010
    if runs_as_group and not credentials.in_group(gid) and not credentials.has_cap(CAP_FSETID):
        mode &= ~S_ISGID
    return mode, credentials.fsuid, gid


def stripped_mode(mode: int) -> int:
    """Permission bits after a write or chown without CAP_FSETID: no setuid, no setgid."""
    if mode & (S_ISGID | 0o010) == S_ISGID | 0o010:
        mode &= ~S_ISGID
    return mode & ~S_ISUID & 0o7777
