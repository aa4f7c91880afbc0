"""User and group ids and capabilities (credentials(7), capabilities(7), setresuid(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EINVAL, EPERM, ESRCH
from wardian.sentry.kernel.credentials import (
    ALL_CAPS,
    CAP_SETGID,
    CAP_SETPCAP,
    CAP_SETUID,
    NGROUPS_MAX,
    Credentials,
    after_fsuid_change,
    after_uid_change,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.kernel.thread_group import SUID_DUMP_DISABLE
from wardian.sentry.syscalls.kinds import Addr, Gid, Int, Uid

NO_ID: Final = 0xFFFF_FFFF

CAPABILITY_V1: Final = 0x19980330
CAPABILITY_V2: Final = 0x20071026
CAPABILITY_V3: Final = 0x20080522
CAP_HEADER: Final = struct.Struct("<Ii")
CAP_DATA: Final = struct.Struct("<III")  # effective, permitted, inheritable
LOW: Final = 0xFFFF_FFFF


# -- reading ----------------------------------------------------------------------------------
def tell_ids(t: Task) -> None:
    """Somebody asks who it is, and may again: let the engine answer next time (design D8)."""
    if t.host is not None:
        c = t.credentials
        t.host.tell_ids(t.group.pid, t.tid, c.uid, c.euid, c.gid, c.egid)


def getuid(t: Task) -> int:
    """getuid(2)."""
    tell_ids(t)
    return t.credentials.uid


def geteuid(t: Task) -> int:
    """geteuid(2)."""
    tell_ids(t)
    return t.credentials.euid


def getgid(t: Task) -> int:
    """getgid(2)."""
    tell_ids(t)
    return t.credentials.gid


def getegid(t: Task) -> int:
    """getegid(2)."""
    tell_ids(t)
    return t.credentials.egid


def getresuid(t: Task, ruid: Addr, euid: Addr, suid: Addr) -> int:
    """getresuid(2)."""
    c = t.credentials
    t.copy_out(ruid, c.uid.to_bytes(4, "little"))
    t.copy_out(euid, c.euid.to_bytes(4, "little"))
    t.copy_out(suid, c.suid.to_bytes(4, "little"))
    return 0


def getresgid(t: Task, rgid: Addr, egid: Addr, sgid: Addr) -> int:
    """getresgid(2)."""
    c = t.credentials
    t.copy_out(rgid, c.gid.to_bytes(4, "little"))
    t.copy_out(egid, c.egid.to_bytes(4, "little"))
    t.copy_out(sgid, c.sgid.to_bytes(4, "little"))
    return 0


def getgroups(t: Task, gidsetsize: Int, grouplist: Addr) -> int:
    """getgroups(2)."""
    groups = t.credentials.groups
    if gidsetsize < 0:
        raise EINVAL("size must not be negative")
    if gidsetsize == 0:
        return len(groups)
    if gidsetsize < len(groups):
        raise EINVAL("there are more groups than that")
    if groups:
        t.copy_out(grouplist, struct.pack(f"<{len(groups)}I", *groups))
    return len(groups)


# -- setting users ----------------------------------------------------------------------------
def adopt(t: Task, new: Credentials) -> int:
    """Make ``new`` the task's credentials, with what follows from a change of ids (prctl(2))."""
    old = t.credentials
    if (new.euid, new.egid, new.fsuid, new.fsgid) != (old.euid, old.egid, old.fsuid, old.fsgid):
        t.group.dumpable = SUID_DUMP_DISABLE
        t.death_signal = 0
    t.credentials = new
    if t.host is not None:
        t.host.forget_ids()
    return 0


def setuid(t: Task, uid: Uid) -> int:
    """setuid(2)."""
    if uid == NO_ID:
        raise EINVAL("-1 is not a user")
    old = t.credentials
    new = old.copy()
    if old.has_cap(CAP_SETUID):
        new.uid = new.suid = uid
    elif uid not in (old.uid, old.suid):
        raise EPERM("not a user the caller may become")
    new.euid = new.fsuid = uid
    after_uid_change(old, new)
    return adopt(t, new)


def setreuid(t: Task, ruid: Uid, euid: Uid) -> int:
    """setreuid(2)."""
    old = t.credentials
    new = old.copy()
    privileged = old.has_cap(CAP_SETUID)
    if ruid != NO_ID:
        if ruid not in (old.uid, old.euid) and not privileged:
            raise EPERM("not a user the caller may become")
        new.uid = ruid
    if euid != NO_ID:
        if euid not in (old.uid, old.euid, old.suid) and not privileged:
            raise EPERM("not a user the caller may become")
        new.euid = euid
    if ruid != NO_ID or (euid != NO_ID and euid != old.uid):
        new.suid = new.euid
    new.fsuid = new.euid
    after_uid_change(old, new)
    return adopt(t, new)


def setresuid(t: Task, ruid: Uid, euid: Uid, suid: Uid) -> int:
    """setresuid(2)."""
    old = t.credentials
    allowed = (NO_ID, old.uid, old.euid, old.suid)
    if not old.has_cap(CAP_SETUID):
        for uid in (ruid, euid, suid):
            if uid not in allowed:
                raise EPERM("not a user the caller may become")
    new = old.copy()
    if ruid != NO_ID:
        new.uid = ruid
    if euid != NO_ID:
        new.euid = euid
    if suid != NO_ID:
        new.suid = suid
    new.fsuid = new.euid
    after_uid_change(old, new)
    return adopt(t, new)


def setfsuid(t: Task, uid: Uid) -> int:
    """setfsuid(2): the old id, whether or not it was changed."""
    old = t.credentials
    if uid == NO_ID or uid == old.fsuid:
        return old.fsuid
    if uid in (old.uid, old.euid, old.suid) or old.has_cap(CAP_SETUID):
        new = old.copy()
        new.fsuid = uid
        after_fsuid_change(old, new)
        adopt(t, new)
    return old.fsuid


# -- setting groups ---------------------------------------------------------------------------
def setgid(t: Task, gid: Gid) -> int:
    """setgid(2)."""
    if gid == NO_ID:
        raise EINVAL("-1 is not a group")
    old = t.credentials
    new = old.copy()
    if old.has_cap(CAP_SETGID):
        new.gid = new.sgid = gid
    elif gid not in (old.gid, old.sgid):
        raise EPERM("not a group the caller may enter")
    new.egid = new.fsgid = gid
    return adopt(t, new)


def setregid(t: Task, rgid: Gid, egid: Gid) -> int:
    """setregid(2)."""
    old = t.credentials
    new = old.copy()
    privileged = old.has_cap(CAP_SETGID)
    if rgid != NO_ID:
        if rgid not in (old.gid, old.egid) and not privileged:
            raise EPERM("not a group the caller may enter")
        new.gid = rgid
    if egid != NO_ID:
        if egid not in (old.gid, old.egid, old.sgid) and not privileged:
            raise EPERM("not a group the caller may enter")
        new.egid = egid
    if rgid != NO_ID or (egid != NO_ID and egid != old.gid):
        new.sgid = new.egid
    new.fsgid = new.egid
    return adopt(t, new)


def setresgid(t: Task, rgid: Gid, egid: Gid, sgid: Gid) -> int:
    """setresgid(2)."""
    old = t.credentials
    allowed = (NO_ID, old.gid, old.egid, old.sgid)
    if not old.has_cap(CAP_SETGID):
        for gid in (rgid, egid, sgid):
            if gid not in allowed:
                raise EPERM("not a group the caller may enter")
    new = old.copy()
    if rgid != NO_ID:
        new.gid = rgid
    if egid != NO_ID:
        new.egid = egid
    if sgid != NO_ID:
        new.sgid = sgid
    new.fsgid = new.egid
    return adopt(t, new)


def setfsgid(t: Task, gid: Gid) -> int:
    """setfsgid(2): the old id, whether or not it was changed."""
    old = t.credentials
    if gid == NO_ID or gid == old.fsgid:
        return old.fsgid
    if gid in (old.gid, old.egid, old.sgid) or old.has_cap(CAP_SETGID):
        new = old.copy()
        new.fsgid = gid
        adopt(t, new)
    return old.fsgid


def setgroups(t: Task, gidsetsize: Int, grouplist: Addr) -> int:
    """setgroups(2)."""
    if not t.credentials.has_cap(CAP_SETGID):
        raise EPERM("needs CAP_SETGID")
    if not 0 <= gidsetsize <= NGROUPS_MAX:
        raise EINVAL("too many groups")
    data = t.copy_in(grouplist, 4 * gidsetsize) if gidsetsize else b""
    groups = list(struct.unpack(f"<{gidsetsize}I", data))
    if NO_ID in groups:
        raise EINVAL("-1 is not a group")
    new = t.credentials.copy()
    new.groups = sorted(groups)
    return adopt(t, new)


# -- capabilities -----------------------------------------------------------------------------
def capget(t: Task, header: Addr, dataptr: Addr) -> int:
    """capget(2)."""
    version, pid = read_header(t, header)
    words = header_words(t, header, version, dataptr)
    if words == 0:
        return 0
    c = t.credentials
    if pid < 0:
        raise EINVAL("a pid must not be negative")
    if pid and pid != t.tid:
        other = t.kernel.pids.task(pid)
        if other is None:
            raise ESRCH("no such process")
        c = other.credentials
    if not dataptr:
        return 0
    data = b""
    for word in range(words):
        shift = 32 * word
        data += CAP_DATA.pack(
            c.cap_effective >> shift & LOW,
            c.cap_permitted >> shift & LOW,
            c.cap_inheritable >> shift & LOW,
        )
    t.copy_out(dataptr, data)
    return 0


def read_header(t: Task, header: int) -> tuple[int, int]:
    """(version, pid) of a __user_cap_header_struct."""
    version: int
    pid: int
    version, pid = CAP_HEADER.unpack(t.copy_in(header, CAP_HEADER.size))
    return version, pid


def header_words(t: Task, header: int, version: int, dataptr: int) -> int:
    """How many data structs that version has. An unknown one is answered with ours, and EINVAL
    unless it was a mere question (null ``dataptr``: 0)."""
    if version == CAPABILITY_V1:
        return 1
    if version in (CAPABILITY_V2, CAPABILITY_V3):
        return 2
    t.memory.process.write(header, CAPABILITY_V3.to_bytes(4, "little"))
    if dataptr:
        raise EINVAL("unknown version")
    return 0


def capset(t: Task, header: Addr, data: Addr) -> int:
    """capset(2)."""
    version, pid = read_header(t, header)
    words = header_words(t, header, version, 1)
    if pid not in (0, t.tid):
        raise EPERM("only the caller's own capabilities can be set")
    raw = t.copy_in(data, CAP_DATA.size * words)
    effective = permitted = inheritable = 0
    for word in range(words):
        e, p, i = CAP_DATA.unpack_from(raw, CAP_DATA.size * word)
        effective |= e << 32 * word
        permitted |= p << 32 * word
        inheritable |= i << 32 * word
    t.credentials = with_caps(
        t.credentials, effective & ALL_CAPS, permitted & ALL_CAPS, inheritable & ALL_CAPS
    )
    return 0


def with_caps(old: Credentials, effective: int, permitted: int, inheritable: int) -> Credentials:
    """capabilities(7), "Programmatically adjusting capability sets"; EPERM."""
    if not old.has_cap(CAP_SETPCAP) and inheritable & ~(old.cap_inheritable | old.cap_permitted):
        raise EPERM("inheritable beyond permitted")
    if inheritable & ~(old.cap_inheritable | old.cap_bounding):
        raise EPERM("inheritable beyond the bounding set")
    if permitted & ~old.cap_permitted:
        raise EPERM("permitted can only shrink")
    if effective & ~permitted:
        raise EPERM("effective beyond permitted")
    new = old.copy()
    new.cap_effective = effective
    new.cap_permitted = permitted
    new.cap_inheritable = inheritable
    new.cap_ambient = old.cap_ambient & permitted & inheritable
    return new
