"""Descriptors in flight (unix(7), SCM_RIGHTS): counting, the limit, and the garbage of cycles.

A message in a receive queue holds a reference to each file it carries. A socket sent over itself,
or two that hold each other, would never be released by counting alone, so :meth:`InFlight.collect`
looks, as net/unix/garbage.c does, for sockets that are referenced from queues only and cannot be
reached from any socket that is referenced from elsewhere.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ETOOMANYREFS
from wardian.sentry.net.constants import AF_UNIX
from wardian.sentry.net.socket import Socket, Ucred
from wardian.sentry.vfs.file import File

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

IN_FLIGHT_LIMIT: Final = 16384
"""Files in flight in one sandbox, whatever the senders' own limits say."""

CAP_SYS_ADMIN: Final = 21
CAP_SYS_RESOURCE: Final = 24


class Packet:
    """One message, or one piece of a stream, in an AF_UNIX receive queue."""

    def __init__(self, data: bytes, sender: UnixEnd, credentials: Ucred | None) -> None:
        self.data = data
        self.start = 0  # bytes before it were read already (streams)
        self.sender = sender  # whose send buffer the packet is charged to
        self.charge = 0
        self.credentials = credentials
        self.files: list[File] = []
        self.uid = 0  # who is charged for ``files``
        self.address = b""  # the sender's name (datagrams)


class UnixEnd(Socket):
    """What descriptor passing needs to know of an AF_UNIX socket."""

    def __init__(self, stack: NetworkStack, kind: int, uid: int, gid: int) -> None:
        super().__init__(stack, AF_UNIX, kind, 0, uid, gid)
        self.packets: list[Packet] = []
        self.sent_charge = 0  # bytes of ours in receive queues, sk_wmem_alloc
        self.carried = 0  # packets with files in ``packets``

    def drop(self) -> None:
        super().drop()
        in_flight = self.stack.in_flight.sockets
        if in_flight and self.references == in_flight.get(self, 0) > 0:
            self.stack.collect_garbage()  # nobody but messages holds it now: perhaps a cycle

    def carriers(self) -> list[UnixEnd]:
        """The sockets whose queues are reachable through this one, pending connections too."""
        return [self]


class InFlight:
    """All descriptors that are in some queue, of one sandbox."""

    def __init__(self) -> None:
        self.total = 0
        self.by_uid: dict[int, int] = {}
        self.sockets: dict[UnixEnd, int] = {}  # AF_UNIX sockets in flight and how often
        self.collecting = False

    def check(self, task: Task, limit: int, count: int) -> None:
        """ETOOMANYREFS when ``task`` has more than ``limit`` (RLIMIT_NOFILE) in flight."""
        if self.total + count > IN_FLIGHT_LIMIT:
            raise ETOOMANYREFS("too many descriptors in flight")
        credentials = task.credentials
        if (
            self.by_uid.get(credentials.uid, 0) > limit
            and not credentials.has_cap(CAP_SYS_RESOURCE)
            and not credentials.has_cap(CAP_SYS_ADMIN)
        ):
            raise ETOOMANYREFS("more descriptors in flight than RLIMIT_NOFILE")

    def add(self, packet: Packet, uid: int, files: list[File], receiver: UnixEnd) -> None:
        """``packet``, bound for ``receiver``, takes ``files`` along."""
        packet.uid = uid
        packet.files = list(files)
        receiver.carried += 1
        for file in files:
            file.hold()
            if isinstance(file, UnixEnd):
                self.sockets[file] = self.sockets.get(file, 0) + 1
        self.total += len(files)
        self.by_uid[uid] = self.by_uid.get(uid, 0) + len(files)

    def remove(self, packet: Packet, receiver: UnixEnd) -> list[File]:
        """The files of ``packet``, whose references now belong to the caller."""
        files = packet.files
        packet.files = []
        receiver.carried -= 1
        self.total -= len(files)
        left = self.by_uid.get(packet.uid, 0) - len(files)
        if left > 0:
            self.by_uid[packet.uid] = left
        else:
            self.by_uid.pop(packet.uid, None)
        for file in files:
            if isinstance(file, UnixEnd):
                count = self.sockets.get(file, 0)
                if count > 1:
                    self.sockets[file] = count - 1
                else:
                    self.sockets.pop(file, None)
        return files

    def collect(self, everyone: list[Socket]) -> None:
        """Release sockets that only queues keep alive."""
        if not self.sockets or self.collecting:
            return
        self.collecting = True
        try:
            for file in self.unreachable(everyone):
                file.drop()
        finally:
            self.collecting = False

    def unreachable(self, everyone: list[Socket]) -> list[File]:
        """Take the files out of the queues that nobody can reach; the caller drops them."""
        reachable = self.reachable(everyone)
        doomed: list[File] = []
        for end in list(self.sockets):
            if end in reachable:
                continue
            for carrier in end.carriers():
                for packet in carrier.packets:
                    if packet.files:
                        doomed.extend(self.remove(packet, carrier))
        return doomed

    def reachable(self, everyone: list[Socket]) -> dict[UnixEnd, None]:
        """The sockets that others than queues hold, those in their queues, and so on."""
        found: dict[UnixEnd, None] = {}
        pending: list[UnixEnd] = []
        for socket in everyone:
            if isinstance(socket, UnixEnd) and socket.references > self.sockets.get(socket, 0):
                pending.append(socket)
        while pending:
            end = pending.pop()
            if end in found:
                continue
            found[end] = None
            for carrier in end.carriers():
                if carrier.carried:
                    pending += carried_sockets(carrier)
        return found


def carried_sockets(carrier: UnixEnd) -> list[UnixEnd]:
    """The AF_UNIX sockets in its queue."""
    found: list[UnixEnd] = []
    for packet in carrier.packets:
        for file in packet.files:
            if isinstance(file, UnixEnd):
                found.append(file)
    return found
