"""System V IPC: shared memory, semaphores and message queues (sysvipc(7))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import (
    E2BIG,
    EAGAIN,
    EIDRM,
    EINVAL,
    ENOMEM,
    ENOMSG,
    ENOSPC,
    ENOSYS,
    EPERM,
    ERANGE,
)
from wardian.sentry.kernel.credentials import CAP_SYS_RESOURCE
from wardian.sentry.kernel.ipc import (
    IPC_64,
    IPC_INFO,
    IPC_NOWAIT,
    IPC_RMID,
    IPC_SET,
    IPC_STAT,
    READ,
    WRITE,
    IpcObject,
    IpcTable,
    now,
)
from wardian.sentry.kernel.msg import (
    ALL_BYTES_MAX,
    MESSAGE_COST,
    MSGMAX,
    MSGMNB,
    Message,
    MessageQueue,
)
from wardian.sentry.kernel.sem import (
    SEMBUF,
    SEMVMX,
    SemaphoreSet,
    SemaphoreWait,
    operate,
    remove_set,
)
from wardian.sentry.kernel.shm import (
    SHM_DEST,
    SHM_LOCKED,
    Segment,
    attachments,
    remove_segment,
    sweep,
)
from wardian.sentry.kernel.task import NO_REPLY, CallState, Task
from wardian.sentry.mm.mapping import (
    MAP_FIXED,
    MAP_SHARED,
    PROT_EXEC,
    PROT_READ,
    PROT_WRITE,
    make_request,
)
from wardian.sentry.mm.memory import PAGE_SIZE, FileMapping, page_up
from wardian.sentry.syscalls.kinds import Addr, Int, InTimespec, Long, Size, ULong
from wardian.sentry.time import timespec_ns

SHM_RDONLY: Final = 0o10000
SHM_RND: Final = 0o20000
SHM_REMAP: Final = 0o40000
SHM_EXEC: Final = 0o100000
SHM_LOCK: Final = 11
SHM_UNLOCK: Final = 12
SHM_STAT: Final = 13
SHM_INFO: Final = 14
SHM_STAT_ANY: Final = 15
SHM_MAX: Final = 1 << 40
SHM_INFO_SIZE: Final = struct.Struct("<i4x5Q")
SHM_LIMITS: Final = struct.Struct("<5Q32x")

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

MSG_NOERROR: Final = 0o10000
MSG_COPY: Final = 0o40000
MSG_STAT: Final = 11
MSG_INFO: Final = 12
MSG_STAT_ANY: Final = 13
MSG_LIMITS: Final = struct.Struct("<7iH2x")
LONG: Final = struct.Struct("<q")


class IpcWait(CallState):
    """What a blocked msgsnd(2) or msgrcv(2) waits on."""

    def __init__(self, target: IpcObject) -> None:
        self.target = target


def waited_for(t: Task) -> IpcObject | None:
    """The object a call that runs again was parked on; EIDRM when it was removed meanwhile."""
    state = t.call.state if t.call is not None else None
    target: IpcObject | None = None
    if isinstance(state, IpcWait):
        target = state.target
    elif isinstance(state, SemaphoreWait):
        target = state.target
        state.abandon()
    if target is not None and target.removed:
        raise EIDRM("it was removed meanwhile")
    return target


# -- shared memory -----------------------------------------------------------------------------
def segment_of(t: Task, number: int) -> Segment:
    """The segment of an identifier; EINVAL."""
    found = t.kernel.ipc.segments.get(number)
    assert isinstance(found, Segment)
    return found


def shmget(t: Task, key: Int, size: Size, flags: Int) -> int:
    """shmget(2); huge pages are not offered."""
    sweep(t.kernel)
    table = t.kernel.ipc.segments
    found = table.find(t, key, flags)
    if found is not None:
        assert isinstance(found, Segment)
        if size > found.size:
            raise EINVAL("larger than the segment")
        found.check(t.credentials, flags & 0o777)
        return found.id
    if size == 0:
        raise EINVAL("empty")
    if size > SHM_MAX:
        raise ENOMEM("larger than any memory")
    return table.add(Segment(t, key, flags, size))


def shmat(t: Task, shmid: Int, address: Addr, flags: Int) -> int:
    """shmat(2)."""
    sweep(t.kernel)
    segment = segment_of(t, shmid)
    if address % PAGE_SIZE:
        if not flags & SHM_RND:
            raise EINVAL("address is not page-aligned")
        address = Addr(address - address % PAGE_SIZE)
        if not address and flags & SHM_REMAP:
            raise EINVAL("nothing to replace")
    if not address and flags & SHM_REMAP:
        raise EINVAL("SHM_REMAP needs an address")
    prot, wanted = PROT_READ, READ
    if not flags & SHM_RDONLY:
        prot, wanted = prot | PROT_WRITE, wanted | WRITE
    if flags & SHM_EXEC:
        prot, wanted = prot | PROT_EXEC, wanted | 0o111
    segment.check(t.credentials, wanted)
    length = page_up(segment.size)
    request = make_request(address, length, prot, MAP_SHARED | (MAP_FIXED if address else 0), 0)
    if address and not flags & SHM_REMAP and is_mapped(t, address, length):
        raise EINVAL("something is mapped there")
    record = FileMapping(request.address, length, None, 0, True)
    record.name = b"/SYSV%08x (deleted)" % (segment.key & 0xFFFFFFFF)
    t.memory.add_file_mapping(record, segment.fd)
    segment.attached_at = now(t)
    segment.last_pid = t.group.pid
    host = t.host
    assert host is not None
    read_only = bool(flags & SHM_RDONLY)
    host.map_file(request.address, length, prot, request.host_flags, segment.fd, 0, read_only)
    return NO_REPLY


def is_mapped(t: Task, address: int, length: int) -> bool:
    """Whether anything lies in the range."""
    maps = t.memory.process.maps()
    return any(entry.start < address + length and entry.end > address for entry in maps)


def shmdt(t: Task, address: Addr) -> int:
    """shmdt(2): unmaps what is left of the attachment that began at ``address``."""
    if address % PAGE_SIZE:
        raise EINVAL("address is not page-aligned")
    maps = t.memory.process.maps()
    first = [entry for entry in maps if entry.start - entry.offset == address and entry.ino]
    for entry in first:
        for found in t.kernel.ipc.segments.objects.values():
            if isinstance(found, Segment) and found.maps(entry):
                end = max([e.end for e in first if found.maps(e)])
                found.detached_at = now(t)
                found.last_pid = t.group.pid
                host = t.host
                assert host is not None
                host.unmap(entry.start, end - entry.start)
                return NO_REPLY
    raise EINVAL("nothing is attached there")


def shmctl(t: Task, shmid: Int, command: Int, buffer: Addr) -> int:
    """shmctl(2)."""
    command = Int(command & ~IPC_64)
    table = t.kernel.ipc.segments
    if command == IPC_INFO:
        t.copy_out(buffer, SHM_LIMITS.pack(SHM_MAX, 1, table.limit, table.limit, 1 << 28))
        return table.highest()
    if command == SHM_INFO:
        pages = sum(
            [page_up(s.size) >> 12 for s in table.objects.values() if isinstance(s, Segment)]
        )
        t.copy_out(buffer, SHM_INFO_SIZE.pack(len(table.objects), pages, pages, 0, 0, 0))
        return table.highest()
    if command in (SHM_STAT, SHM_STAT_ANY):
        found = table.at(shmid)
    else:
        found = table.get(shmid)
    assert isinstance(found, Segment)
    if command in (IPC_STAT, SHM_STAT, SHM_STAT_ANY):
        if command != SHM_STAT_ANY:
            found.check(t.credentials, READ)
        t.copy_out(buffer, found.pack(attachments(t.kernel, found)))
        return 0 if command == IPC_STAT else found.id
    if command == IPC_SET:
        data = t.copy_in(buffer, 48)
        found.check_owner(t.credentials)
        found.change(t, data)
    elif command == IPC_RMID:
        found.check_owner(t.credentials)
        remove_segment(t, found)
    elif command in (SHM_LOCK, SHM_UNLOCK):
        found.check_owner(t.credentials)
        found.flags = found.flags & SHM_DEST | (SHM_LOCKED if command == SHM_LOCK else 0)
    else:
        raise EINVAL("no such command")
    return 0


# -- semaphores ----------------------------------------------------------------------------------
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
    ipc = t.kernel.ipc
    table = ipc.semaphores
    if command in (IPC_INFO, SEM_INFO):
        used = (
            (len(table.objects), ipc.semaphore_count) if command == SEM_INFO else (SEMOPM, SEMVMX)
        )
        total = SEMAPHORES_MAX
        limits = (
            total,
            table.limit,
            total,
            total,
            SEMMSL,
            SEMOPM,
            SEMOPM,
            used[0],
            SEMVMX,
            used[1],
        )
        t.copy_out(argument, SEM_LIMITS.pack(*limits))
        return table.highest()
    found = table.at(semid) if command in (SEM_STAT, SEM_STAT_ANY) else table.get(semid)
    assert isinstance(found, SemaphoreSet)
    if command in (IPC_STAT, SEM_STAT, SEM_STAT_ANY):
        if command != SEM_STAT_ANY:
            found.check(t.credentials, READ)
        t.copy_out(argument, found.pack())
        return 0 if command == IPC_STAT else found.id
    if command == IPC_SET:
        data = t.copy_in(argument, 48)
        found.check_owner(t.credentials)
        found.change(t, data)
    elif command == IPC_RMID:
        found.check_owner(t.credentials)
        remove_set(t, found)
    elif command in (GETALL, SETALL):
        all_values(t, found, command, argument)
    else:
        return one_value(t, found, number, command, argument)
    return 0


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


# -- message queues ------------------------------------------------------------------------------
def queue_of(t: Task, number: int) -> MessageQueue:
    """The queue a call means, also when it runs again; EINVAL, EIDRM."""
    found = waited_for(t)
    if found is None:
        found = t.kernel.ipc.queues.get(number)
    assert isinstance(found, MessageQueue)
    return found


def msgget(t: Task, key: Int, flags: Int) -> int:
    """msgget(2)."""
    table: IpcTable = t.kernel.ipc.queues
    found = table.find(t, key, flags)
    if found is not None:
        found.check(t.credentials, flags & 0o777)
        return found.id
    return table.add(MessageQueue(t, key, flags))


def wait_on(t: Task, queue: MessageQueue) -> int:
    """Park until the queue changes."""
    call = t.call
    assert call is not None
    call.state = IpcWait(queue)
    return t.park(queue.queue)


def msgsnd(t: Task, msqid: Int, message: Addr, size: Size, flags: Int) -> int:
    """msgsnd(2)."""
    if size > MSGMAX or msqid < 0:
        raise EINVAL("larger than MSGMAX")
    data = t.copy_in(message, 8 + size)
    kind = LONG.unpack_from(data)[0]
    if kind < 1:
        raise EINVAL("the type must be positive")
    queue = queue_of(t, msqid)
    queue.check(t.credentials, WRITE)
    ipc = t.kernel.ipc
    if not queue.has_room(size):
        if flags & IPC_NOWAIT:
            raise EAGAIN("the queue is full")
        return wait_on(t, queue)
    if ipc.message_bytes + size + MESSAGE_COST > ALL_BYTES_MAX:
        raise ENOMEM("too many messages in all queues")
    queue.messages.append(Message(kind, data[8:]))
    queue.bytes += size
    ipc.message_bytes += size + MESSAGE_COST
    queue.sender = t.group.pid
    queue.sent_at = now(t)
    queue.queue.wake(0)
    return 0


def msgrcv(t: Task, msqid: Int, message: Addr, size: Long, kind: Long, flags: Int) -> int:
    """msgrcv(2); MSG_COPY is not offered."""
    if msqid < 0 or size < 0:
        raise EINVAL("negative")
    if flags & MSG_COPY:
        raise ENOSYS("MSG_COPY is not offered")
    queue = queue_of(t, msqid)
    queue.check(t.credentials, READ)
    found = queue.pick(max(kind, -(1 << 63) + 1), flags)
    if found is None:
        if flags & IPC_NOWAIT:
            raise ENOMSG("no such message")
        return wait_on(t, queue)
    if len(found.data) > size and not flags & MSG_NOERROR:
        raise E2BIG("the message is longer")
    data = found.data[:size]
    queue.messages.remove(found)
    queue.bytes -= len(found.data)
    t.kernel.ipc.message_bytes -= len(found.data) + MESSAGE_COST
    queue.receiver = t.group.pid
    queue.received_at = now(t)
    queue.queue.wake(0)
    t.copy_out(message, LONG.pack(found.kind) + data)
    return len(data)


def msgctl(t: Task, msqid: Int, command: Int, buffer: Addr) -> int:
    """msgctl(2)."""
    command = Int(command & ~IPC_64)
    ipc = t.kernel.ipc
    table = ipc.queues
    if command in (IPC_INFO, MSG_INFO):
        pool, maps, headers = MSGMNB * table.limit // 1024, MSGMNB, MSGMNB
        if command == MSG_INFO:
            queues = [q for q in table.objects.values() if isinstance(q, MessageQueue)]
            pool, maps, headers = (
                len(queues),
                sum([len(q.messages) for q in queues]),
                ipc.message_bytes,
            )
        limits = (pool, maps, MSGMAX, MSGMNB, table.limit, 16, headers, 0xFFFF)
        t.copy_out(buffer, MSG_LIMITS.pack(*limits))
        return table.highest()
    found = table.at(msqid) if command in (MSG_STAT, MSG_STAT_ANY) else table.get(msqid)
    assert isinstance(found, MessageQueue)
    if command in (IPC_STAT, MSG_STAT, MSG_STAT_ANY):
        if command != MSG_STAT_ANY:
            found.check(t.credentials, READ)
        t.copy_out(buffer, found.pack())
        return 0 if command == IPC_STAT else found.id
    if command == IPC_SET:
        set_queue(t, found, t.copy_in(buffer, 120))
    elif command == IPC_RMID:
        found.check_owner(t.credentials)
        ipc.message_bytes -= found.bytes + len(found.messages) * MESSAGE_COST
        table.remove(found)
    else:
        raise EINVAL("no such command")
    return 0


def set_queue(t: Task, queue: MessageQueue, data: bytes) -> None:
    """IPC_SET: also how many bytes it takes; only CAP_SYS_RESOURCE raises that. EPERM."""
    queue.check_owner(t.credentials)
    bytes_max = int.from_bytes(data[88:96], "little")
    if bytes_max > MSGMNB and not t.credentials.has_cap(CAP_SYS_RESOURCE):
        raise EPERM("more than msg_qbytes' limit")
    queue.change(t, data)
    queue.bytes_max = min(bytes_max, ALL_BYTES_MAX)
    queue.queue.wake(0)
