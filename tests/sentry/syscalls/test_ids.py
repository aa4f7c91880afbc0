"""User and group ids and capabilities."""

import struct

import pytest

from support import get, make_task, make_thread, put, room
from wardian.sentry.errno import EINVAL, EPERM, ESRCH
from wardian.sentry.kernel.credentials import (
    ALL_CAPS,
    CAP_CHOWN,
    CAP_KILL,
    CAP_SETGID,
    CAP_SETUID,
    FS_CAPS,
    SECBIT_NO_SETUID_FIXUP,
    SECBIT_NOROOT,
    Credentials,
    credentials_after_exec,
    root_credentials,
    user_credentials,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import ids

KEEP = 0xFFFF_FFFF


def user(uid: int = 1000, gid: int = 1000) -> Task:
    t = make_task()
    t.credentials = user_credentials(uid, gid)
    return t


def uids(t: Task) -> tuple[int, int, int, int]:
    c = t.credentials
    return c.uid, c.euid, c.suid, c.fsuid


def gids(t: Task) -> tuple[int, int, int, int]:
    c = t.credentials
    return c.gid, c.egid, c.sgid, c.fsgid


def set_uids(t: Task, uid: int, euid: int, suid: int) -> None:
    c = t.credentials.copy()
    c.uid, c.euid, c.suid, c.fsuid = uid, euid, suid, euid
    t.credentials = c


# -- users -----------------------------------------------------------------------------------------
def test_root_becomes_a_user_for_good():
    t = make_task()
    assert ids.setuid(t, 1000) == 0
    assert uids(t) == (1000, 1000, 1000, 1000)
    assert t.credentials.cap_permitted == t.credentials.cap_effective == 0
    with pytest.raises(EPERM):
        ids.setuid(t, 0)


def test_set_uid_program_switches_back_and_forth():
    t = user()
    set_uids(t, 1000, 50, 50)
    assert ids.setuid(t, 1000) == 0
    assert uids(t) == (1000, 1000, 50, 1000)
    assert ids.setuid(t, 50) == 0
    assert uids(t) == (1000, 50, 50, 50)
    with pytest.raises(EPERM):
        ids.setuid(t, 60)


def test_setreuid_swaps_and_saves():
    t = user()
    set_uids(t, 1000, 50, 50)
    assert ids.setreuid(t, 50, 1000) == 0
    assert uids(t) == (50, 1000, 1000, 1000)
    with pytest.raises(EPERM):
        ids.setreuid(t, 77, KEEP)
    assert ids.setreuid(t, KEEP, KEEP) == 0


def test_setreuid_to_the_real_uid_leaves_the_saved_one():
    t = user()
    set_uids(t, 1000, 50, 50)
    ids.setreuid(t, KEEP, 1000)
    assert uids(t) == (1000, 1000, 50, 1000)


def test_setresuid():
    t = make_task()
    assert ids.setresuid(t, 1, 2, 3) == 0
    assert uids(t) == (1, 2, 3, 2)
    out = room(t, 12)
    ids.getresuid(t, out, out + 4, out + 8)
    assert struct.unpack("<III", get(t, out, 12)) == (1, 2, 3)
    assert ids.setresuid(t, KEEP, 3, KEEP) == 0
    with pytest.raises(EPERM):
        ids.setresuid(t, 4, KEEP, KEEP)


def test_setfsuid_never_fails_and_tells_the_old_one():
    t = user()
    assert ids.setfsuid(t, 5) == 1000
    assert ids.setfsuid(t, KEEP) == 1000
    t = make_task()
    assert ids.setfsuid(t, 5) == 0
    assert t.credentials.fsuid == 5
    assert t.credentials.cap_effective == ALL_CAPS & ~FS_CAPS
    assert ids.setfsuid(t, 0) == 5
    assert t.credentials.cap_effective == ALL_CAPS


def test_minus_one_is_not_an_id():
    for call in (ids.setuid, ids.setgid):
        with pytest.raises(EINVAL):
            call(make_task(), KEEP)


def test_change_of_ids_makes_undumpable_and_forgets_the_death_signal():
    t = make_task()
    t.death_signal = 9
    ids.setuid(t, 0)
    assert (t.group.dumpable, t.death_signal) == (1, 9)
    ids.setuid(t, 7)
    assert (t.group.dumpable, t.death_signal) == (0, 0)


def test_credentials_belong_to_the_thread():
    t = make_task()
    second = make_thread(t)
    ids.setuid(second, 7)
    assert t.credentials.uid == 0 and second.credentials.uid == 7


# -- groups ----------------------------------------------------------------------------------------
def test_group_calls_follow_the_same_rules():
    t = make_task()
    assert ids.setresgid(t, 1, 2, 3) == 0
    assert gids(t) == (1, 2, 3, 2)
    assert ids.setregid(t, 5, 6) == 0
    assert gids(t) == (5, 6, 6, 6)
    assert ids.setgid(t, 9) == 0
    assert gids(t) == (9, 9, 9, 9)
    assert ids.setfsgid(t, 4) == 9
    t = user()
    for attempt in (
        lambda: ids.setgid(t, 4),
        lambda: ids.setregid(t, 4, KEEP),
        lambda: ids.setresgid(t, KEEP, KEEP, 4),
    ):
        with pytest.raises(EPERM):
            attempt()


def test_supplementary_groups():
    t = make_task()
    ids.setgroups(t, 3, put(t, struct.pack("<III", 30, 10, 20)))
    out = room(t, 12)
    assert ids.getgroups(t, 0, 0) == 3
    assert ids.getgroups(t, 3, out) == 3
    assert struct.unpack("<III", get(t, out, 12)) == (10, 20, 30)
    assert t.credentials.in_group(20) and not t.credentials.in_group(21)
    with pytest.raises(EINVAL):
        ids.getgroups(t, 2, out)
    assert ids.setgroups(t, 0, 0) == 0 and t.credentials.groups == []


def test_setgroups_is_bounded_and_privileged():
    with pytest.raises(EINVAL):
        ids.setgroups(make_task(), 65537, 0)
    with pytest.raises(EINVAL):
        ids.setgroups(make_task(), -1, 0)
    with pytest.raises(EPERM):
        ids.setgroups(user(), 0, 0)


# -- capabilities and ids --------------------------------------------------------------------------
def test_seteuid_keeps_the_permitted_set():
    t = make_task()
    ids.setresuid(t, KEEP, 1000, KEEP)
    assert (t.credentials.cap_permitted, t.credentials.cap_effective) == (ALL_CAPS, 0)
    ids.setresuid(t, KEEP, 0, KEEP)
    assert t.credentials.cap_effective == ALL_CAPS


def test_keepcaps_keeps_the_permitted_set():
    t = make_task()
    c = t.credentials.copy()
    c.keep_caps = True
    t.credentials = c
    ids.setuid(t, 1000)
    assert (t.credentials.cap_permitted, t.credentials.cap_effective) == (ALL_CAPS, 0)


def test_no_setuid_fixup_leaves_all_sets():
    t = make_task()
    c = t.credentials.copy()
    c.securebits = SECBIT_NO_SETUID_FIXUP
    t.credentials = c
    ids.setuid(t, 1000)
    assert t.credentials.cap_effective == ALL_CAPS


# -- capget and capset -----------------------------------------------------------------------------
V3 = 0x20080522


def header(t: Task, version: int, pid: int = 0) -> int:
    return put(t, struct.pack("<Ii", version, pid))


def test_capget_version_3():
    t = make_task()
    data = room(t, 24)
    assert ids.capget(t, header(t, V3), data) == 0
    words = struct.unpack("<6I", get(t, data, 24))
    assert words[0] == words[1] == 0xFFFF_FFFF and words[3] == words[4] == ALL_CAPS >> 32
    assert words[2] == words[5] == 0


def test_capget_tells_the_version_it_knows():
    t = make_task()
    address = header(t, 0)
    assert ids.capget(t, address, 0) == 0
    assert struct.unpack("<I", get(t, address, 4))[0] == V3
    with pytest.raises(EINVAL):
        ids.capget(t, header(t, 0), room(t, 24))
    with pytest.raises(ESRCH):
        ids.capget(t, header(t, V3, 999), room(t, 24))


def capset(t: Task, effective: int, permitted: int, inheritable: int) -> int:
    low, high = 0xFFFF_FFFF, 32
    data = struct.pack(
        "<6I",
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    return ids.capset(t, header(t, V3), put(t, data))


def test_capset_drops_but_never_gains():
    t = make_task()
    kill, chown = 1 << CAP_KILL, 1 << CAP_CHOWN
    assert capset(t, kill, kill | chown, kill) == 0
    c = t.credentials
    assert (c.cap_effective, c.cap_permitted, c.cap_inheritable) == (kill, kill | chown, kill)
    assert capset(t, kill | chown, kill | chown, 0) == 0
    for sets in (
        (kill, kill | 1 << CAP_SETUID, 0),
        (1 << CAP_SETGID, kill, 0),
        (0, kill, 1 << CAP_SETGID),
    ):
        with pytest.raises(EPERM):
            capset(t, *sets)


def test_capset_of_others_is_refused():
    t = make_task()
    with pytest.raises(EPERM):
        ids.capset(t, header(t, V3, 999), room(t, 24))


# -- exec ------------------------------------------------------------------------------------------
def test_exec_by_root_gives_all_capabilities():
    c = root_credentials()
    c.cap_permitted = c.cap_effective = 0
    assert credentials_after_exec(c, -1, -1).cap_effective == ALL_CAPS


def test_exec_by_a_user_gives_none_but_the_ambient_ones():
    c = user_credentials(1000, 1000)
    c.cap_permitted = c.cap_effective = 1 << CAP_KILL
    assert credentials_after_exec(c, -1, -1).cap_permitted == 0
    c.cap_inheritable = c.cap_ambient = 1 << CAP_KILL
    after = credentials_after_exec(c, -1, -1)
    assert after.cap_permitted == after.cap_effective == 1 << CAP_KILL


def test_exec_of_a_set_uid_root_program():
    c = user_credentials(1000, 1000)
    after = credentials_after_exec(c, 0, -1)
    assert (after.uid, after.euid, after.suid, after.fsuid) == (1000, 0, 0, 0)
    assert after.cap_effective == ALL_CAPS
    c.no_new_privs = True
    after = credentials_after_exec(c, 0, 0)
    assert (after.euid, after.egid, after.cap_effective) == (1000, 1000, 0)


def test_exec_respects_the_bounding_set_and_noroot():
    c = root_credentials()
    c.cap_bounding = 1 << CAP_KILL
    assert credentials_after_exec(c, -1, -1).cap_effective == 1 << CAP_KILL
    c.securebits = SECBIT_NOROOT
    assert credentials_after_exec(c, -1, -1).cap_effective == 0


def test_copy_is_independent():
    c: Credentials = root_credentials()
    copy = c.copy()
    copy.uid = 5
    copy.groups = [1]
    assert c.uid == 0 and c.groups == []
