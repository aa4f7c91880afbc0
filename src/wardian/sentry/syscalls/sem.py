"""System V semaphores (semop(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import (
    E2BIG,
    EAGAIN,
    EINVAL,
    ENOSPC,
    ERANGE,
)
from wardian.sentry.kernel.ipc import (
    IPC_64,
    IPC_INFO,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    READ,
    WRITE,
    IpcNamespace,
    now,
    stat,
    waited_for,
)
from wardian.sentry.kernel.sem import (
    SEMBUF,
    SEMVMX,
    SemaphoreSet,
    SemaphoreWait,
    operate,
    remove_set,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls.kinds import Addr, Int, InTimespec, Size, ULong
from wardian.sentry.time import timespec_ns

GETPID: Final = 11
GETVAL: Final = 12
GETALL: Final = 13
GETNCNT: Final = 14
GETZCNT: Final = 15
SETVAL: Final = 16
SETALL: Final = 17
SEM_STAT: Final = 18
SEM_INFO: Final = 19
SEM_STAT_ANY: Final = 20
SEMMSL: Final = 32000
SEMOPM: Final = 500
SEMAPHORES_MAX: Final = 1 << 20
"""In all sets together: the Sentry's own memory holds them."""
SEM_LIMITS: Final = struct.Struct("<10i")


def semget(t: Task, key: Int, count: Int, flags: Int) -> int:
    """semget(2)."""
    if not 0 <= count <= SEMMSL:
        raise EINVAL("too many semaphores for one set")
    ipc = t.kernel.ipc
    found = ipc.semaphores.find(t, key, flags)
    if found is not None:
        assert isinstance(found, SemaphoreSet)
        if count > len(found.values):
            raise EINVAL("the set is smaller")
        found.check(t.credentials, flags & 0o777)
        return found.id
    if count == 0:
        raise EINVAL("an empty set")
    if ipc.semaphore_count + count > SEMAPHORES_MAX:
        raise ENOSPC("too many semaphores")
    ipc.semaphore_count += count
    return ipc.semaphores.add(SemaphoreSet(t, key, flags, count))


def semop(t: Task, semid: Int, operations: Addr, count: Size) -> int:
    """semop(2)."""
    return semtimedop(t, semid, operations, count, None)


def semtimedop(
    t: Task, semid: Int, operations: Addr, count: Size, timeout: InTimespec | None
) -> int:
    """semtimedop(2)."""
    again = waited_for(t)
    if count < 1 or semid < 0:
        raise EINVAL("no operations")
    if count > SEMOPM:
        raise E2BIG("more operations than SEMOPM")
    listed = list(SEMBUF.iter_unpack(t.copy_in(operations, count * SEMBUF.size)))
    timeout_ns = timespec_ns(timeout) if timeout is not None else -1
    found = again if again is not None else t.kernel.ipc.semaphores.get(semid)
    assert isinstance(found, SemaphoreSet)
    for number, _, _ in listed:
        if number >= len(found.values):
            operate(t, found, [(number, 0, 0)])  # EFBIG comes before the permissions
    found.check(t.credentials, WRITE if any(o[1] for o in listed) else READ)
    stopped = operate(t, found, listed)
    if stopped is None:
        return 0
    deadline = t.deadline(timeout_ns)
    if t.expired():
        raise EAGAIN("the time is up")
    call = t.call
    assert call is not None
    call.state = SemaphoreWait(found, stopped[0], stopped[1] == 0)
    t.park(found.queue)
    return t.park_until(deadline)


def semctl(t: Task, semid: Int, number: Int, command: Int, argument: ULong) -> int:
    """semctl(2)."""
    command = Int(command & ~IPC_64)
    table = t.kernel.ipc.semaphores
    if command in (IPC_INFO, SEM_INFO):
        t.copy_out(argument, semaphore_limits(t.kernel.ipc, command == SEM_INFO))
        return table.highest()
    if command in (IPC_STAT, SEM_STAT, SEM_STAT_ANY):
        return stat(t, table, semid, command, command != SEM_STAT_ANY, argument)
    found = table.get(semid)
    assert isinstance(found, SemaphoreSet)
    if command == IPC_SET:
        found.change(t, t.copy_in(argument, 48))
    elif command == IPC_RMID:
        found.check_owner(t.credentials)
        remove_set(t, found)
    elif command in (GETALL, SETALL):
        all_values(t, found, command, argument)
    else:
        return one_value(t, found, number, command, argument)
    return 0


def semaphore_limits(ipc: IpcNamespace, used: bool) -> bytes:
    """struct seminfo; ``used``: with what there is in place of two of the limits."""
    sets, values = (len(ipc.semaphores.objects), ipc.semaphore_count) if used else (SEMOPM, SEMVMX)
    total, limit = SEMAPHORES_MAX, ipc.semaphores.limit
    return SEM_LIMITS.pack(total, limit, total, total, SEMMSL, SEMOPM, SEMOPM, sets, SEMVMX, values)


def all_values(t: Task, found: SemaphoreSet, command: int, argument: int) -> None:
    """GETALL and SETALL; EFAULT, ERANGE."""
    count = len(found.values)
    found.check(t.credentials, READ if command == GETALL else WRITE)
    form = struct.Struct(f"<{count}H")
    if command == GETALL:
        t.copy_out(argument, form.pack(*found.values))
        return
    values = form.unpack(t.copy_in(argument, form.size))
    if max(values) > SEMVMX:
        raise ERANGE("beyond SEMVMX")
    for number in range(count):
        found.set_value(number, values[number], t.group.pid)
    found.changed = now(t)
    found.queue.wake(0)


def one_value(t: Task, found: SemaphoreSet, number: int, command: int, argument: int) -> int:
    """The commands about one semaphore."""
    if command not in (GETPID, GETVAL, GETNCNT, GETZCNT, SETVAL):
        raise EINVAL("no such command")
    if command == SETVAL and not 0 <= argument & 0xFFFFFFFF <= SEMVMX:
        raise ERANGE("beyond SEMVMX")
    if not 0 <= number < len(found.values):
        raise EINVAL("no such semaphore in the set")
    found.check(t.credentials, WRITE if command == SETVAL else READ)
    if command == GETPID:
        return found.pids[number]
    if command == GETVAL:
        return found.values[number]
    if command in (GETNCNT, GETZCNT):
        return found.waiters(number, command == GETZCNT)
    found.set_value(number, argument & 0xFFFFFFFF, t.group.pid)
    found.changed = now(t)
    found.queue.wake(0)
    return 0
