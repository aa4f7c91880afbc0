"""Limits and niceness."""

import struct

import pytest

from support import advance, fork, get, host, make_kernel, make_task, memory, room
from wardian.sentry.errno import EACCES, EINVAL, EPERM, ESRCH
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.rlimits import (
    NOFILE_MAX,
    RLIM_INFINITY,
    RLIMIT_AS,
    RLIMIT_CORE,
    RLIMIT_CPU,
    RLIMIT_NICE,
    RLIMIT_NOFILE,
    RLIMIT_STACK,
)
from wardian.sentry.kernel.signal_delivery import next_delivery
from wardian.sentry.kernel.signal_numbers import SIGKILL, SIGXCPU, bit
from wardian.sentry.kernel.signals import pending_mask, set_blocked
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import limits

SECOND = 10**9


def pair(soft: int, hard: int) -> bytes:
    return struct.pack("<QQ", soft, hard)


def limit(t: Task, resource: int) -> tuple[int, int]:
    out = room(t, 16)
    limits.getrlimit(t, resource, out)
    soft, hard = struct.unpack("<QQ", get(t, out, 16))
    return soft, hard


def test_defaults():
    t = make_task()
    assert limit(t, RLIMIT_STACK) == (8 << 20, RLIM_INFINITY)
    assert limit(t, RLIMIT_NOFILE) == (1024, NOFILE_MAX)
    assert limit(t, RLIMIT_CORE) == (0, RLIM_INFINITY)


def test_ordinary_user_lowers_but_does_not_raise_the_hard_limit():
    t = make_task()
    t.credentials = user_credentials(1000, 1000)
    assert limits.setrlimit(t, RLIMIT_NOFILE, pair(100, 200)) == 0
    assert limits.setrlimit(t, RLIMIT_NOFILE, pair(200, 200)) == 0
    with pytest.raises(EPERM):
        limits.setrlimit(t, RLIMIT_NOFILE, pair(200, 201))
    with pytest.raises(EINVAL):
        limits.setrlimit(t, RLIMIT_NOFILE, pair(2, 1))
    with pytest.raises(EINVAL):
        limits.setrlimit(t, 16, pair(1, 1))


def test_nofile_reaches_the_descriptor_table_and_has_a_ceiling():
    t = make_task()
    limits.setrlimit(t, RLIMIT_NOFILE, pair(5, 10))
    assert t.files.limit == 5
    with pytest.raises(EPERM):
        limits.setrlimit(t, RLIMIT_NOFILE, pair(5, NOFILE_MAX + 1))


def test_address_space_limit_goes_to_the_host():
    t = make_task()
    limits.setrlimit(t, RLIMIT_AS, pair(1 << 30, 1 << 31))
    assert memory(t).limits[RLIMIT_AS] == 1 << 30


def test_prlimit_of_another_process():
    t = make_task(make_kernel())
    child = fork(t)
    out = room(t, 16)
    assert limits.prlimit64(t, child.tid, RLIMIT_NOFILE, pair(7, 8), out) == 0
    assert struct.unpack("<QQ", get(t, out, 16)) == (1024, NOFILE_MAX)
    assert child.group.rlimits.get(RLIMIT_NOFILE) == (7, 8) and child.files.limit == 7
    child.credentials = user_credentials(1000, 1000)
    with pytest.raises(EPERM):
        limits.prlimit64(child, t.tid, RLIMIT_NOFILE, None, out)
    with pytest.raises(ESRCH):
        limits.prlimit64(t, 999, RLIMIT_NOFILE, None, out)


def test_limits_are_inherited():
    t = make_task(make_kernel())
    limits.setrlimit(t, RLIMIT_STACK, pair(1, 2))
    child = fork(t)
    limits.setrlimit(t, RLIMIT_STACK, pair(3, 4))
    assert child.group.rlimits.get(RLIMIT_STACK) == (1, 2)


def test_cpu_limit_warns_each_second_and_then_kills():
    t = fork(make_task(make_kernel()))
    set_blocked(t, bit(SIGXCPU))
    limits.setrlimit(t, RLIMIT_CPU, pair(1, 3))
    advance(t.kernel, 5 * SECOND)
    assert pending_mask(t) == 0
    host(t).cpu_ns = SECOND
    advance(t.kernel, 5 * SECOND)
    assert pending_mask(t) == bit(SIGXCPU)
    t.group.pending.discard(bit(SIGXCPU))
    host(t).cpu_ns = 2 * SECOND
    advance(t.kernel, 5 * SECOND)
    assert pending_mask(t) == bit(SIGXCPU)
    host(t).cpu_ns = 3 * SECOND
    advance(t.kernel, 5 * SECOND)
    next_delivery(t)
    assert t.group.exit_code == SIGKILL


def test_priorities():
    t = make_task(make_kernel())
    assert limits.getpriority(t, 0, 0) == 20
    limits.setpriority(t, 0, 0, 5)
    assert limits.getpriority(t, 0, t.tid) == 15
    limits.setpriority(t, 0, 0, -100)
    assert limits.getpriority(t, 0, 0) == 40
    child = fork(t)
    assert limits.getpriority(t, 1, 0) == 40  # the process group's lowest niceness
    assert limits.getpriority(child, 0, 0) == 20
    with pytest.raises(EINVAL):
        limits.getpriority(t, 3, 0)
    with pytest.raises(ESRCH):
        limits.getpriority(t, 0, 999)


def test_user_may_only_be_nicer():
    t = make_task(make_kernel())
    other = fork(t)
    t.credentials = user_credentials(1000, 1000)
    limits.setpriority(t, 0, 0, 3)
    with pytest.raises(EACCES):
        limits.setpriority(t, 0, 0, 2)
    t.group.rlimits.set(RLIMIT_NICE, 18, 18)
    assert limits.setpriority(t, 0, 0, 2) == 0
    with pytest.raises(EPERM):
        limits.setpriority(t, 0, other.tid, 10)
