"""Scheduling calls."""

import struct

import pytest

from support import get, make_kernel, make_task, put, room
from wardian.sentry.errno import EINVAL, EPERM, ESRCH
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.scheduling import SCHED_RESET_ON_FORK, child_scheduling
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import sched


def machine(cpus: list[int]) -> Task:
    kernel = make_kernel()
    kernel.host_cpu.cpus = cpus
    return make_task(kernel)


def param(t: Task, priority: int) -> int:
    return put(t, struct.pack("<i", priority))


def test_affinity_shows_the_machines_cpus():
    t = machine([0, 1, 3])
    out = room(t, 128)
    assert sched.sched_getaffinity(t, 0, 128, out) == 8
    assert get(t, out, 8) == bytes([0b1011]) + bytes(7)


def test_affinity_of_a_large_machine():
    t = machine(list(range(70)))
    out = room(t, 128)
    assert sched.sched_getaffinity(t, 0, 128, out) == 16
    with pytest.raises(EINVAL):
        sched.sched_getaffinity(t, 0, 8, out)
    with pytest.raises(EINVAL):
        sched.sched_getaffinity(t, 0, 12, out)


def test_affinity_is_kept():
    t = machine([0, 1])
    out = room(t, 8)
    assert sched.sched_setaffinity(t, 0, 8, put(t, bytes([0b110]) + bytes(7))) == 0
    sched.sched_getaffinity(t, 0, 8, out)
    assert get(t, out, 1) == b"\x02"
    with pytest.raises(EINVAL):
        sched.sched_setaffinity(t, 0, 8, put(t, bytes([0b100]) + bytes(7)))
    with pytest.raises(ESRCH):
        sched.sched_getaffinity(t, 99, 8, out)


def test_policies():
    t = machine([0])
    assert sched.sched_getscheduler(t, 0) == 0
    assert sched.sched_setscheduler(t, 0, 2 | SCHED_RESET_ON_FORK, param(t, 10)) == 0
    assert sched.sched_getscheduler(t, 0) == 2 | SCHED_RESET_ON_FORK
    out = room(t, 4)
    sched.sched_getparam(t, 0, out)
    assert get(t, out, 4) == struct.pack("<i", 10)
    inherited = child_scheduling(t)
    assert inherited is not None and (inherited.policy, inherited.priority) == (0, 0)


@pytest.mark.parametrize("policy,priority", [(0, 1), (1, 0), (1, 100), (7, 0), (-1, 0)])
def test_policies_and_priorities_must_fit(policy, priority):
    t = machine([0])
    with pytest.raises(EINVAL):
        sched.sched_setscheduler(t, 0, policy, param(t, priority))


def test_real_time_is_privileged():
    t = machine([0])
    t.credentials = user_credentials(1000, 1000)
    with pytest.raises(EPERM):
        sched.sched_setscheduler(t, 0, 1, param(t, 1))
    assert sched.sched_setscheduler(t, 0, 3, param(t, 0)) == 0


def test_priority_ranges():
    t = machine([0])
    assert (sched.sched_get_priority_min(t, 1), sched.sched_get_priority_max(t, 1)) == (1, 99)
    assert (sched.sched_get_priority_min(t, 0), sched.sched_get_priority_max(t, 0)) == (0, 0)
    with pytest.raises(EINVAL):
        sched.sched_get_priority_max(t, 4)


def test_sched_attr_round_trip():
    t = machine([0])
    attr = struct.pack("<IIQiIQQQ", 48, 1, 1, 0, 7, 0, 0, 0)
    assert sched.sched_setattr(t, 0, put(t, attr), 0) == 0
    out = room(t, 48)
    assert sched.sched_getattr(t, 0, out, 48, 0) == 0
    assert get(t, out, 48) == attr
    with pytest.raises(EINVAL):
        sched.sched_getattr(t, 0, out, 47, 0)
