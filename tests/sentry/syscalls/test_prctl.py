"""prctl(2)."""

import pytest

from support import get, make_task, make_thread, put, room
from wardian.sentry.errno import EFAULT, EINVAL, EPERM
from wardian.sentry.kernel.credentials import CAP_KILL, user_credentials
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import prctl as p
from wardian.sentry.syscalls.prctl import prctl


def ask(t: Task, option: int, *arguments: int) -> int:
    filled = [*arguments, 0, 0, 0, 0]
    return prctl(t, option, filled[0], filled[1], filled[2], filled[3])


def int_at(t: Task, address: int) -> int:
    return int.from_bytes(get(t, address, 4), "little")


@pytest.mark.parametrize(
    "given,kept",
    [
        (b"sh\0", b"sh"),
        (b"\0", b""),
        (b"exactly15bytes!\0", b"exactly15bytes!"),
        (b"longer than fifteen bytes\0", b"longer than fif"),
    ],
)
def test_name(given, kept):
    t = make_task()
    assert ask(t, p.PR_SET_NAME, put(t, given)) == 0
    assert t.name == kept
    out = room(t, 16)
    ask(t, p.PR_GET_NAME, out)
    assert get(t, out, 16) == kept.ljust(16, b"\0")


def test_name_belongs_to_the_thread_and_must_be_readable():
    t = make_task()
    second = make_thread(t)
    ask(second, p.PR_SET_NAME, put(t, b"worker\0"))
    assert (t.name, second.name) == (b"test", b"worker")
    with pytest.raises(EFAULT):
        ask(t, p.PR_SET_NAME, 8)
    page = room(t, 4096)
    t.memory.process.write(page + 4090, b"abcdef")
    with pytest.raises(EFAULT):
        ask(t, p.PR_SET_NAME, page + 4090)


def test_death_signal():
    t = make_task()
    out = room(t, 4)
    ask(t, p.PR_SET_PDEATHSIG, 9)
    ask(t, p.PR_GET_PDEATHSIG, out)
    assert int_at(t, out) == 9
    with pytest.raises(EINVAL):
        ask(t, p.PR_SET_PDEATHSIG, 65)


def test_no_new_privs_is_for_ever():
    t = make_task()
    assert ask(t, p.PR_GET_NO_NEW_PRIVS) == 0
    for arguments in ((0,), (2,), (1, 1)):
        with pytest.raises(EINVAL):
            ask(t, p.PR_SET_NO_NEW_PRIVS, *arguments)
    assert ask(t, p.PR_SET_NO_NEW_PRIVS, 1) == 0
    assert ask(t, p.PR_GET_NO_NEW_PRIVS) == 1


def test_dumpable_and_subreaper():
    t = make_task()
    assert ask(t, p.PR_GET_DUMPABLE) == 1
    assert ask(t, p.PR_SET_DUMPABLE, 0) == 0 and ask(t, p.PR_GET_DUMPABLE) == 0
    with pytest.raises(EINVAL):
        ask(t, p.PR_SET_DUMPABLE, 2)
    out = room(t, 4)
    ask(t, p.PR_SET_CHILD_SUBREAPER, 1)
    ask(t, p.PR_GET_CHILD_SUBREAPER, out)
    assert int_at(t, out) == 1 and t.group.child_subreaper


def test_seccomp_and_unknown_options_are_einval():
    t = make_task()
    assert ask(t, p.PR_GET_SECCOMP) == 0
    for option in (p.PR_SET_SECCOMP, 12345, -1, 0x53564D41):
        with pytest.raises(EINVAL):
            ask(t, option, 2)


def test_bounding_set():
    t = make_task()
    assert ask(t, p.PR_CAPBSET_READ, CAP_KILL) == 1
    assert ask(t, p.PR_CAPBSET_DROP, CAP_KILL) == 0
    assert ask(t, p.PR_CAPBSET_READ, CAP_KILL) == 0
    with pytest.raises(EINVAL):
        ask(t, p.PR_CAPBSET_READ, 63)
    t.credentials = user_credentials(1000, 1000)
    with pytest.raises(EPERM):
        ask(t, p.PR_CAPBSET_DROP, CAP_KILL)


def test_keepcaps_and_securebits():
    t = make_task()
    assert ask(t, p.PR_SET_KEEPCAPS, 1) == 0
    assert (ask(t, p.PR_GET_KEEPCAPS), ask(t, p.PR_GET_SECUREBITS)) == (1, 0x10)
    assert ask(t, p.PR_SET_SECUREBITS, 0x2F) == 0
    assert (ask(t, p.PR_GET_KEEPCAPS), ask(t, p.PR_GET_SECUREBITS)) == (0, 0x2F)
    for bits in (0x2E, 0x0F, 0x100):  # unset a locked bit, unlock, unknown
        with pytest.raises(EPERM):
            ask(t, p.PR_SET_SECUREBITS, bits)
    with pytest.raises(EPERM):
        ask(t, p.PR_SET_KEEPCAPS, 1)


def test_ambient_needs_permitted_and_inheritable():
    t = make_task()
    with pytest.raises(EPERM):
        ask(t, p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_RAISE, CAP_KILL)
    c = t.credentials.copy()
    c.cap_inheritable = 1 << CAP_KILL
    t.credentials = c
    assert ask(t, p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_RAISE, CAP_KILL) == 0
    assert ask(t, p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_IS_SET, CAP_KILL) == 1
    assert ask(t, p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_LOWER, CAP_KILL) == 0
    assert ask(t, p.PR_CAP_AMBIENT, p.PR_CAP_AMBIENT_CLEAR_ALL) == 0
    assert t.credentials.cap_ambient == 0
    with pytest.raises(EINVAL):
        ask(t, p.PR_CAP_AMBIENT, 9, CAP_KILL)


def test_auxv_says_how_long_it_is():
    t = make_task()
    t.memory.auxv = bytes(range(64))
    out = room(t, 64)
    assert ask(t, p.PR_GET_AUXV, out, 16) == 64
    assert get(t, out, 20) == bytes(range(16)) + bytes(4)
