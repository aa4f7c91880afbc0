"""System V IPC: what the probe sysvipc.c cannot see from one process of one user."""

import struct

import pytest

from support import PARKED, advance, call, fork, get, host, make_task, put, room, run
from wardian.sentry.errno import EACCES, EINVAL, ENOSPC, EPERM
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.exit import exit_task
from wardian.sentry.kernel.ipc import IPC_CREAT, IPC_RMID, IpcTable
from wardian.sentry.kernel.sem import SEM_UNDO, UNDO_MAX, SemaphoreSet
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import msg, sem, shm

KEY = 77


@pytest.fixture
def t() -> Task:
    return make_task()


def stranger(t: Task) -> Task:
    other = fork(t)
    other.credentials = user_credentials(1000, 1000)
    return other


def operations(t: Task, *listed: tuple[int, int, int]) -> int:
    return put(t, b"".join([struct.pack("<Hhh", *one) for one in listed]))


def test_modes_decide_who_may_use_and_owners_who_may_remove(t: Task) -> None:
    other = stranger(t)
    number = sem.semget(t, KEY, 1, IPC_CREAT | 0o604)
    assert sem.semget(other, KEY, 1, 0o400) == number
    assert sem.semctl(other, number, 0, sem.GETVAL, 0) == 0
    with pytest.raises(EACCES):
        sem.semctl(other, number, 0, sem.SETVAL, 1)
    with pytest.raises(EACCES):
        sem.semget(other, KEY, 1, 0o200)
    with pytest.raises(EPERM):
        sem.semctl(other, number, 0, IPC_RMID, 0)
    queue = msg.msgget(t, KEY, IPC_CREAT | 0o600)
    with pytest.raises(EACCES):
        msg.msgrcv(other, queue, room(other, 100), 50, 0, 0)
    segment = shm.shmget(t, KEY, 100, IPC_CREAT | 0o600)
    with pytest.raises(EACCES):
        shm.shmat(other, segment, 0, 0)


def test_identifier_of_a_removed_object_is_not_the_next_ones(t: Task) -> None:
    seen = set()
    for _ in range(200):
        number = msg.msgget(t, 0, 0o600)
        assert number not in seen and number >= 0
        seen.add(number)
        msg.msgctl(t, number, IPC_RMID, 0)
        with pytest.raises(EINVAL):
            msg.msgctl(t, number, IPC_RMID, 0)


def test_table_has_an_end(t: Task) -> None:
    table = IpcTable(2)
    t.kernel.ipc.queues = table
    msg.msgget(t, 0, 0o600)
    msg.msgget(t, 0, 0o600)
    with pytest.raises(ENOSPC):
        msg.msgget(t, 0, 0o600)


def test_adjustments_are_bounded_and_applied_at_the_end(t: Task) -> None:
    number = sem.semget(t, KEY, 2, IPC_CREAT | 0o600)
    child = fork(t)
    sem.semop(child, number, operations(child, (0, 5, SEM_UNDO), (1, 1, 0)), 2)
    assert sem.semop(t, number, operations(t, (0, -3, 0)), 1) == 0
    exit_task(child, 0)
    found = t.kernel.ipc.semaphores.get(number)
    assert isinstance(found, SemaphoreSet)
    assert found.values == [0, 1] and found.undo == {} and t.kernel.ipc.undo_count == 0
    t.kernel.ipc.undo_count = UNDO_MAX
    with pytest.raises(ENOSPC):
        sem.semop(t, number, operations(t, (0, 1, SEM_UNDO)), 1)
    assert found.values == [0, 1]


def test_blocked_operation_times_out_or_goes_on(t: Task) -> None:
    number = sem.semget(t, KEY, 1, IPC_CREAT | 0o600)
    child = fork(t)
    place = operations(child, (0, -1, 0))
    assert call(child, sem.semtimedop, number, place, 1, struct.pack("<qq", 1, 0)) == PARKED
    assert sem.semctl(t, number, 0, sem.GETNCNT, 0) == 1
    advance(t.kernel, 2 * 10**9)
    assert host(child).results[-1] == -11
    assert sem.semctl(t, number, 0, sem.GETNCNT, 0) == 0
    assert call(child, sem.semop, number, place, 1) == PARKED
    assert call(t, sem.semctl, number, 0, sem.SETVAL, 1) == 0
    run(t.kernel)
    assert host(child).results[-1] == 0


def test_messages_of_all_queues_are_bounded(t: Task) -> None:
    queue = msg.msgget(t, KEY, IPC_CREAT | 0o600)
    message = put(t, struct.pack("<q", 5) + b"hello")
    assert msg.msgsnd(t, queue, message, 5, 0) == 0
    t.kernel.ipc.message_bytes += 1 << 30
    assert call(t, msg.msgsnd, queue, message, 5, 0) == -12
    t.kernel.ipc.message_bytes -= 1 << 30
    out = room(t, 100)
    assert msg.msgrcv(t, queue, out, 50, 0, 0) == 5
    assert get(t, out, 13) == struct.pack("<q", 5) + b"hello"
    assert t.kernel.ipc.message_bytes == 0


def test_segment_is_freed_when_it_was_removed_and_nobody_maps_it(t: Task) -> None:
    number = shm.shmget(t, KEY, 5000, IPC_CREAT | 0o600)
    shm.shmat(t, number, 0, 0)
    assert host(t).mapped[-1][1] == 8192
    shm.shmctl(t, number, IPC_RMID, 0)
    with pytest.raises(EINVAL):
        shm.shmat(t, number, 0, 0)
    assert not t.kernel.ipc.segments.objects
