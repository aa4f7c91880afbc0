"""System V IPC: what shared memory, semaphores and message queues have in common (sysvipc(7)).

Identifiers are made as in ipc/util.c: an index that goes round, and a sequence number above it, so
that the identifier of a removed object is not soon another's.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EACCES, EEXIST, EIDRM, EINVAL, ENOENT, ENOSPC, EPERM
from wardian.sentry.kernel.credentials import CAP_IPC_OWNER, CAP_SYS_ADMIN
from wardian.sentry.kernel.task import CallState
from wardian.sentry.kernel.waitqueue import WaitQueue

if TYPE_CHECKING:
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

IPC_PRIVATE: Final = 0
IPC_CREAT: Final = 0o1000
IPC_EXCL: Final = 0o2000
IPC_NOWAIT: Final = 0o4000
IPC_RMID: Final = 0
IPC_SET: Final = 1
IPC_STAT: Final = 2
IPC_INFO: Final = 3
IPC_64: Final = 0x100

INDEX_MAX: Final = 32768
MIN_CYCLE: Final = 64
READ: Final = 0o444
WRITE: Final = 0o222

PERMISSION: Final = struct.Struct("<i5IHH4xQQ")
"""struct ipc64_perm."""


class IpcObject:
    """One segment, set or queue: struct kern_ipc_perm."""

    def __init__(self, task: Task, key: int, mode: int) -> None:
        credentials = task.credentials
        self.id = -1
        self.sequence = 0
        self.key = key
        self.uid = self.creator_uid = credentials.euid
        self.gid = self.creator_gid = credentials.egid
        self.mode = mode & 0o777
        self.removed = False
        self.changed = now(task)
        self.queue = WaitQueue()  # of tasks blocked on it

    def check(self, credentials: Credentials, wanted: int) -> None:
        """EACCES unless the mode gives ``wanted`` (bits of any class), as ipcperms()."""
        asked = wanted >> 6 | wanted >> 3 | wanted
        granted = self.mode
        if credentials.euid in (self.creator_uid, self.uid):
            granted >>= 6
        elif credentials.in_group(self.creator_gid) or credentials.in_group(self.gid):
            granted >>= 3
        if asked & ~granted & 7 and not credentials.has_cap(CAP_IPC_OWNER):
            raise EACCES("the mode does not allow it")

    def check_owner(self, credentials: Credentials) -> None:
        """EPERM unless the caller made or owns it."""
        mine = credentials.euid in (self.creator_uid, self.uid)
        if not mine and not credentials.has_cap(CAP_SYS_ADMIN):
            raise EPERM("another user's")

    def pack_permission(self, extra: int = 0) -> bytes:
        """struct ipc64_perm; ``extra`` are mode bits besides the permissions."""
        return PERMISSION.pack(
            self.key,
            self.uid,
            self.gid,
            self.creator_uid,
            self.creator_gid,
            self.mode | extra,
            self.sequence,
            0,
            0,
            0,
        )

    def pack(self, kernel: Kernel) -> bytes:
        """What IPC_STAT tells."""
        raise NotImplementedError

    def change(self, task: Task, data: bytes) -> None:
        """IPC_SET: owner, group and mode from a struct ipc64_perm; EPERM."""
        self.check_owner(task.credentials)
        fields = PERMISSION.unpack_from(data)
        self.uid, self.gid = fields[1], fields[2]
        self.mode = fields[5] & 0o777
        self.changed = now(task)


class IpcTable:
    """All objects of one kind."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self.objects: dict[int, IpcObject] = {}  # by index
        self.keys: dict[int, IpcObject] = {}
        self.last = -1
        self.sequence = 0

    def find(self, task: Task, key: int, flags: int) -> IpcObject | None:
        """What the ...get(2) calls look for; None: make a new one. EEXIST, ENOENT, EACCES."""
        found = self.keys.get(key) if key != IPC_PRIVATE else None
        if found is None:
            if key != IPC_PRIVATE and not flags & IPC_CREAT:
                raise ENOENT("no object has this key")
            if len(self.objects) >= self.limit:
                raise ENOSPC("too many of them")
            return None
        if flags & IPC_CREAT and flags & IPC_EXCL:
            raise EEXIST("the key is in use")
        return found

    def add(self, new: IpcObject) -> int:
        """Number a new object."""
        cycle = min(max(len(self.objects) * 3 // 2, MIN_CYCLE), INDEX_MAX)
        index = (self.last + 1) % cycle
        while index in self.objects:
            index = (index + 1) % cycle
        if index <= self.last:
            self.sequence = (self.sequence + 1) & 0xFFFF
        self.last = index
        new.sequence = self.sequence
        new.id = self.sequence * INDEX_MAX + index & 0x7FFF_FFFF
        self.objects[index] = new
        if new.key != IPC_PRIVATE:
            self.keys[new.key] = new
        return new.id

    def get(self, number: int) -> IpcObject:
        """The object of an identifier; EINVAL."""
        found = self.objects.get(number % INDEX_MAX) if number >= 0 else None
        if found is None or found.id != number:
            raise EINVAL("no such identifier")
        return found

    def at(self, index: int) -> IpcObject:
        """The object at an index (SHM_STAT and the like); EINVAL."""
        found = self.objects.get(index)
        if found is None:
            raise EINVAL("nothing at this index")
        return found

    def highest(self) -> int:
        """The highest index in use, 0 when there is none."""
        return max(self.objects, default=0)

    def forget_key(self, old: IpcObject) -> None:
        """The key is free for others."""
        if self.keys.get(old.key) is old:
            del self.keys[old.key]
        old.key = IPC_PRIVATE

    def remove(self, old: IpcObject) -> None:
        """IPC_RMID; whoever waits finds it gone."""
        self.forget_key(old)
        self.objects.pop(old.id % INDEX_MAX, None)
        old.removed = True
        old.queue.wake(0)


class IpcNamespace:
    """The System V objects of one sandbox."""

    def __init__(self) -> None:
        self.segments = IpcTable(4096)  # SHMMNI
        self.semaphores = IpcTable(32000)  # SEMMNI
        self.queues = IpcTable(32000)  # MSGMNI
        self.semaphore_count = 0  # of all sets
        self.undoing: set[int] = set()  # pids of processes with semaphore adjustments
        self.undo_count = 0  # of those adjustments
        self.message_bytes = 0  # in all queues, with MESSAGE_COST for each


def now(task: Task) -> int:
    """Seconds since the epoch."""
    return task.kernel.clock.realtime_ns() // 1_000_000_000


def stat(
    task: Task, table: IpcTable, number: int, command: int, checked: bool, address: int
) -> int:
    """IPC_STAT of an identifier; SHM_STAT and the like of an index, which tell the identifier, and
    if not ``checked`` (SHM_STAT_ANY) to everybody."""
    found = table.get(number) if command == IPC_STAT else table.at(number)
    if checked:
        found.check(task.credentials, READ)
    task.copy_out(address, found.pack(task.kernel))
    return 0 if command == IPC_STAT else found.id


class IpcWait(CallState):
    """What a blocked semop(2), msgsnd(2) or msgrcv(2) waits on."""

    def __init__(self, target: IpcObject) -> None:
        self.target = target


def waited_for(task: Task) -> IpcObject | None:
    """The object a call that runs again was parked on; EIDRM when it was removed meanwhile."""
    state = task.call.state if task.call is not None else None
    if not isinstance(state, IpcWait):
        return None
    state.abandon()
    if state.target.removed:
        raise EIDRM("it was removed meanwhile")
    return state.target
