"""System V message queues (msgop(2))."""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import (
    E2BIG,
    EAGAIN,
    EINVAL,
    ENOMEM,
    ENOMSG,
    ENOSYS,
    EPERM,
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
    IpcNamespace,
    IpcTable,
    IpcWait,
    now,
    stat,
    waited_for,
)
from wardian.sentry.kernel.msg import (
    ALL_BYTES_MAX,
    MESSAGE_COST,
    MSGMAX,
    MSGMNB,
    Message,
    MessageQueue,
)
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls.kinds import Addr, Int, Long, Size

MSG_NOERROR: Final = 0o10000
MSG_COPY: Final = 0o40000
MSG_STAT: Final = 11
MSG_INFO: Final = 12
MSG_STAT_ANY: Final = 13
MSG_LIMITS: Final = struct.Struct("<7iH2x")
LONG: Final = struct.Struct("<q")


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
        t.copy_out(buffer, queue_limits(ipc, command == MSG_INFO))
        return table.highest()
    if command in (IPC_STAT, MSG_STAT, MSG_STAT_ANY):
        return stat(t, table, msqid, command, command != MSG_STAT_ANY, buffer)
    found = table.get(msqid)
    assert isinstance(found, MessageQueue)
    if command == IPC_SET:
        set_queue(t, found, t.copy_in(buffer, 120))
    elif command == IPC_RMID:
        found.check_owner(t.credentials)
        ipc.message_bytes -= found.bytes + len(found.messages) * MESSAGE_COST
        table.remove(found)
    else:
        raise EINVAL("no such command")
    return 0


def queue_limits(ipc: IpcNamespace, used: bool) -> bytes:
    """struct msginfo; ``used``: with what there is in place of three of the limits."""
    table = ipc.queues
    pool, maps, headers = MSGMNB * table.limit // 1024, MSGMNB, MSGMNB
    if used:
        queues = [q for q in table.objects.values() if isinstance(q, MessageQueue)]
        pool, maps = len(queues), sum([len(q.messages) for q in queues])
        headers = ipc.message_bytes
    return MSG_LIMITS.pack(pool, maps, MSGMAX, MSGMNB, table.limit, 16, headers, 0xFFFF)


def set_queue(t: Task, queue: MessageQueue, data: bytes) -> None:
    """IPC_SET: also how many bytes it takes; only CAP_SYS_RESOURCE raises that. EPERM."""
    bytes_max = int.from_bytes(data[88:96], "little")
    if bytes_max > MSGMNB and not t.credentials.has_cap(CAP_SYS_RESOURCE):
        raise EPERM("more than msg_qbytes' limit")
    queue.change(t, data)
    queue.bytes_max = min(bytes_max, ALL_BYTES_MAX)
    queue.queue.wake(0)
