"""Credentials after execve(2): set-user-ID, set-group-ID and capability rules (capabilities(7))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import LinuxError
from wardian.sentry.kernel.credentials import Credentials
from wardian.sentry.vfs.dentry import MS_NOSUID, Path
from wardian.sentry.vfs.inode import S_ISGID, S_ISUID

SECBIT_NOROOT: Final = 1
S_IXGRP: Final = 0o010

_CAPS_NAME: Final = b"security.capability"
_REVISION_MASK: Final = 0xFF000000
_REVISION_2: Final = 0x02000000
_REVISION_3: Final = 0x03000000
_EFFECTIVE: Final = 1


class FileCapabilities:
    """A file's capability sets; zeros for a file without."""

    def __init__(self) -> None:
        self.permitted = 0
        self.inheritable = 0
        self.effective = False


class ExecCredentials:
    """The outcome: what the task becomes, and whether the program
    must distrust its surroundings."""

    def __init__(self, credentials: Credentials, secure: bool) -> None:
        self.credentials = credentials
        self.secure = secure  # AT_SECURE


def credentials_after_exec(old: Credentials, path: Path | None) -> ExecCredentials:
    """What ``old`` becomes by executing ``path`` (None: a file
    without a place, such as a memfd)."""
    new = old.copy()
    new.keep_caps = False
    trusted = path is not None and not path.mount.flags & MS_NOSUID and not old.no_new_privs
    file_caps = FileCapabilities()
    if path is not None and trusted:
        _take_ids(new, path)
        if not _has_all_anyway(new):
            file_caps = read_file_capabilities(path)
    changed_ids = new.euid != old.euid or new.egid != old.egid
    _take_capabilities(old, new, file_caps, changed_ids)
    new.suid = new.fsuid = new.euid
    new.sgid = new.fsgid = new.egid
    secure = new.euid != new.uid or new.egid != new.gid
    if new.uid != 0 and file_caps.effective and new.cap_permitted != new.cap_ambient:
        secure = True
    return ExecCredentials(new, secure)


def _has_all_anyway(new: Credentials) -> bool:
    """Root's programs get every capability, whatever their files say (capabilities(7))."""
    ids = (new.uid, new.euid)
    return ids == (0, 0) and not new.securebits & SECBIT_NOROOT and not new.cap_ambient


def _take_ids(new: Credentials, path: Path) -> None:
    """Set-user-ID and set-group-ID; a set-group-ID bit without group execution means locking."""
    mode = path.inode.mode
    if not mode & (S_ISUID | S_ISGID):
        return
    attributes = path.inode.getattr()
    if mode & S_ISUID:
        new.euid = attributes.uid
    if mode & S_ISGID and mode & S_IXGRP:
        new.egid = attributes.gid


def _take_capabilities(
    old: Credentials, new: Credentials, file_caps: FileCapabilities, changed_ids: bool
) -> None:
    """capabilities(7), "Transformation of capabilities during execve()"."""
    permitted, inheritable = file_caps.permitted, file_caps.inheritable
    effective = file_caps.effective
    if not new.securebits & SECBIT_NOROOT and (new.euid == 0 or new.uid == 0):
        permitted = inheritable = (1 << 64) - 1
        effective = effective or new.euid == 0
    privileged = changed_ids or bool(file_caps.permitted | file_caps.inheritable)
    if privileged:
        new.cap_ambient = 0
    new.cap_permitted = (
        (old.cap_inheritable & inheritable) | (permitted & old.cap_bounding) | new.cap_ambient
    )
    new.cap_effective = new.cap_permitted if effective else new.cap_ambient


def read_file_capabilities(path: Path) -> FileCapabilities:
    """The ``security.capability`` attribute (struct vfs_cap_data); damaged ones count as none."""
    caps = FileCapabilities()
    try:
        data = path.inode.getxattr(_CAPS_NAME)
    except LinuxError:
        return caps
    if len(data) not in (20, 24):
        return caps
    magic, low, low_inheritable, high, high_inheritable = struct.unpack_from("<5I", data, 0)
    if magic & _REVISION_MASK not in (_REVISION_2, _REVISION_3):
        return caps
    caps.permitted = high << 32 | low
    caps.inheritable = high_inheritable << 32 | low_inheritable
    caps.effective = bool(magic & _EFFECTIVE)
    return caps
