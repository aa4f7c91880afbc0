"""AF_UNIX datagrams (unix(7)): connected or not, reliable, with a bounded receive queue."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    ECONNREFUSED,
    ECONNRESET,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
    EPIPE,
    WOULD_BLOCK,
)
from wardian.sentry.net.constants import (
    AF_UNSPEC,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SOCK_DGRAM,
    TCP_CLOSE,
    TCP_ESTABLISHED,
)
from wardian.sentry.net.scm import Packet
from wardian.sentry.net.socket import (
    HANGUP_EVENTS,
    READ_EVENTS,
    WRITE_EVENTS,
    Incoming,
    Outgoing,
    effective_ucred,
    put_packet,
    shutdown_bits,
)
from wardian.sentry.net.unix import PACKET_OVERHEAD, UnixSocket
from wardian.sentry.net.unix_address import family_of
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import POLLERR, POLLHUP, POLLRDHUP

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

MAX_QUEUE: Final = 10
"""net.unix.max_dgram_qlen: senders wait when a queue holds more."""


class UnixDatagram(UnixSocket):
    """A SOCK_DGRAM socket (SOCK_RAW is the same thing on AF_UNIX)."""

    def __init__(self, stack: NetworkStack, uid: int, gid: int) -> None:
        super().__init__(stack, SOCK_DGRAM, uid, gid)
        self.waiting: list[UnixDatagram] = []  # senders that found the queue full

    # -- connecting -------------------------------------------------------------------------------
    def connect(self, task: Task, address: bytes) -> int:
        if family_of(address) == AF_UNSPEC:
            self.disconnect()
            return 0
        if self.options.passcred:
            self.autobind()
        peer = self.find(task, address)
        self.check_may_send(peer)
        if self.peer is not None and self.peer is not peer:
            self.disconnect()
        self.peer = peer
        self.state = TCP_ESTABLISHED
        self.peer_credentials = peer.owner
        self.queue.wake(WRITE_EVENTS)
        return 0

    def disconnect(self) -> None:
        """connect(2) with AF_UNSPEC: what the old peer sent is dropped; it learns of a reset."""
        old = self.peer
        if old is None:
            return
        self.peer = None
        self.state = TCP_CLOSE
        self.discard_packets()
        if old.peer is self and not old.released:
            old.error = ECONNRESET.number
            old.queue.wake(HANGUP_EVENTS)

    def check_may_send(self, to: UnixSocket) -> None:
        """EPERM when ``to`` is connected to somebody else."""
        if to.peer is not None and to.peer is not self:
            raise EPERM("the receiver is connected to another socket")

    def peer_name(self) -> bytes:
        if self.peer is None:
            raise ENOTCONN("not connected")
        return self.peer.address

    # -- sending ----------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        if flags & MSG_OOB:
            raise EOPNOTSUPP("no out-of-band data on AF_UNIX")
        if self.shut & SEND_SHUTDOWN:
            raise EPIPE("shut down for sending")
        to = self.receiver(task, out)
        if source.left > self.options.sndbuf - 32:
            raise EMSGSIZE("message larger than the send buffer")
        if self.sent_charge and self.sent_charge + source.left > self.options.sndbuf:
            return WOULD_BLOCK
        if len(to.packets) > MAX_QUEUE and to is not self and to.peer is not self:
            if self not in to.waiting:
                to.waiting.append(self)
            return WOULD_BLOCK
        if self.options.passcred:
            self.autobind()
        wanted = source.left
        data = source.take(wanted)
        count = len(data)
        if wanted and not count:
            return 0  # the file that they come from (sendfile(2)) has ended before
        packet = Packet(data, self, self.credentials_for(task, out, to))
        packet.address = self.address
        if out is not None and out.files:
            self.stack.in_flight.add(packet, self.uid, out.files, to)
        packet.charge = count + PACKET_OVERHEAD
        self.sent_charge += packet.charge
        to.packets.append(packet)
        if to.queue.registrations:
            to.queue.wake(READ_EVENTS)
        return count

    def receiver(self, task: Task | None, out: Outgoing | None) -> UnixDatagram:
        """Where a datagram goes: the address given, or the connected peer."""
        if out is not None and out.address:
            sender = task if task is not None else self.stack.kernel.current
            assert sender is not None
            to = self.find(sender, out.address)
            self.check_may_send(to)
        else:
            if self.peer is None:
                raise ENOTCONN("not connected")
            to = self.peer
            if to.released:
                self.peer = None
                self.state = TCP_CLOSE
                raise ECONNREFUSED("the receiver is gone")
        assert isinstance(to, UnixDatagram)
        if to.shut & RCV_SHUTDOWN:
            raise EPIPE("the receiver is shut down")
        return to

    # -- receiving --------------------------------------------------------------------------------
    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        if flags & MSG_OOB:
            raise EOPNOTSUPP("no out-of-band data on AF_UNIX")
        if not self.packets:
            if self.error:
                self.raise_error()
            return self.end_or_block(flags)
        packet = self.packets[0]
        room = sink.left
        taken = put_packet(sink, packet.data)
        if into is not None:
            into.address = packet.address if len(packet.address) > 2 else b""
            if len(packet.data) > room:
                into.flags |= MSG_TRUNC
        self.give_control(packet, flags, into)
        if not flags & MSG_PEEK:
            self.packets.pop(0)
            self.consumed(packet)
            if self.waiting:
                self.admit()
        return len(packet.data) if flags & MSG_TRUNC else taken

    def admit(self) -> None:
        """There is room in the queue: wake who waited for it."""
        waiting = self.waiting
        self.waiting = []
        for sender in waiting:
            sender.queue.wake(WRITE_EVENTS)

    # -- state ------------------------------------------------------------------------------------
    def poll(self) -> int:
        mask = 0
        if self.error:
            mask |= POLLERR
        if self.shut == SHUTDOWN_MASK:
            mask |= POLLHUP
        if self.shut & RCV_SHUTDOWN:
            mask |= POLLRDHUP | READ_EVENTS
        elif self.packets:
            mask |= READ_EVENTS
        if self.writable_now() and not self.peer_is_full():
            mask |= WRITE_EVENTS
        return mask

    def peer_is_full(self) -> bool:
        """True when a connected peer's queue has no room; asks to be woken then."""
        peer = self.peer
        if not isinstance(peer, UnixDatagram) or peer.peer is self or peer.released:
            return False
        if len(peer.packets) <= MAX_QUEUE:
            return False
        if self not in peer.waiting:
            peer.waiting.append(self)
        return True

    def shutdown(self, how: int) -> None:
        bits = shutdown_bits(how)
        self.shut |= bits
        self.queue.wake(HANGUP_EVENTS)

    def release(self) -> None:
        peer = self.peer
        super().release()
        self.admit()
        if peer is not None and peer.peer is self and not peer.released:
            peer.queue.wake(HANGUP_EVENTS)


def make_datagram_pair(stack: NetworkStack, task: Task) -> tuple[UnixDatagram, UnixDatagram]:
    """socketpair(2) of datagram sockets."""
    uid, gid = task.credentials.fsuid, task.credentials.fsgid
    a = UnixDatagram(stack, uid, gid)
    b = UnixDatagram(stack, uid, gid)
    for one, other in ((a, b), (b, a)):
        one.peer = other
        one.state = TCP_ESTABLISHED
        one.owner = effective_ucred(task)
        one.peer_credentials = one.owner
    return a, b
