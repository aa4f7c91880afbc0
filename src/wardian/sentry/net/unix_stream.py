"""AF_UNIX connections: SOCK_STREAM and SOCK_SEQPACKET (unix(7), net/unix/af_unix.c).

Bytes travel as :class:`Packet` objects in the receiver's queue, charged to the sender's buffer
until they are read. A stream read ends after a packet that brought descriptors, and never mixes
senders when SO_PASSCRED is on.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    ECONNREFUSED,
    ECONNRESET,
    EINVAL,
    EISCONN,
    EMSGSIZE,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    WOULD_BLOCK,
    LinuxError,
)
from wardian.sentry.net.constants import (
    MAX_BACKLOG,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SOCK_STREAM,
    TCP_CLOSE,
    TCP_ESTABLISHED,
    TCP_LISTEN,
)
from wardian.sentry.net.scm import Packet, UnixEnd
from wardian.sentry.net.socket import (
    HANGUP_EVENTS,
    READ_EVENTS,
    WRITE_EVENTS,
    Incoming,
    Outgoing,
    Socket,
    effective_ucred,
    put_packet,
    shutdown_bits,
)
from wardian.sentry.net.unix import PACKET_OVERHEAD, UnixSocket
from wardian.sentry.net.unix_address import UNNAMED
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import POLLERR, POLLHUP, POLLRDHUP

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

PIECE: Final = 65536
"""The most bytes of a stream in one packet."""


class UnixConnection(UnixSocket):
    """A stream or seqpacket socket: unconnected, listening, or one end of a connection."""

    def __init__(self, stack: NetworkStack, kind: int, uid: int, gid: int) -> None:
        super().__init__(stack, kind, uid, gid)
        self.stream = kind == SOCK_STREAM
        self.backlog = 0
        self.pending: list[UnixConnection] = []  # connections not yet accepted

    def is_stream(self) -> bool:
        return self.stream

    # -- connecting ------------------------------------------------------------------------------
    def listen(self, task: Task, backlog: int) -> None:
        if self.address is UNNAMED:
            raise EINVAL("not bound")
        if self.state not in (TCP_CLOSE, TCP_LISTEN):
            raise EINVAL("connected")
        self.remember_owner(task)
        self.peer_credentials = self.owner
        self.peer_group_list = list(task.credentials.groups)
        grown = backlog > self.backlog
        self.backlog = min(max(backlog, 0), MAX_BACKLOG)
        self.state = TCP_LISTEN
        self.listening = True
        if grown:
            self.queue.wake(WRITE_EVENTS)

    def connect(self, task: Task, address: bytes) -> int:
        if self.options.passcred:
            self.autobind()
        listener = self.find(task, address)
        assert isinstance(listener, UnixConnection)
        if listener.state != TCP_LISTEN or listener.shut & RCV_SHUTDOWN:
            raise ECONNREFUSED("nobody listens")
        if self.state == TCP_ESTABLISHED:
            raise EISCONN("already connected")
        if self.state != TCP_CLOSE:
            raise EINVAL("a listening socket cannot connect")
        if len(listener.pending) > listener.backlog:
            call = task.call
            if call is not None:
                call.state = BacklogWait(listener)
            return WOULD_BLOCK
        self.meet(task, listener)
        return 0

    def meet(self, task: Task, listener: UnixConnection) -> None:
        """Connect to a new end, which waits to be accepted."""
        end = UnixConnection(self.stack, self.kind, listener.uid, listener.owner.gid)
        end.options = listener.options.copy()
        end.address = listener.address
        end.owner = listener.owner
        end.join(self)
        self.join(end)
        self.peer_credentials = listener.peer_credentials
        self.peer_group_list = listener.peer_group_list
        self.owner = effective_ucred(task)
        end.peer_credentials = self.owner
        end.peer_group_list = list(task.credentials.groups)
        listener.pending.append(end)
        listener.queue.wake(READ_EVENTS)

    def connect_park(self, task: Task) -> int:
        call = task.call
        if call is not None and isinstance(call.state, BacklogWait):
            return task.park(call.state.listener.queue, WRITE_EVENTS | POLLHUP)
        return super().connect_park(task)

    def join(self, peer: UnixConnection) -> None:
        """Become one end of a connection."""
        self.peer = peer
        self.state = TCP_ESTABLISHED

    def accept(self, task: Task) -> Socket | None:
        if self.state != TCP_LISTEN:
            raise EINVAL("not listening")
        if not self.pending:
            if self.shut & RCV_SHUTDOWN:
                raise EINVAL("shut down")
            return None
        end = self.pending.pop(0)
        self.queue.wake(WRITE_EVENTS)  # those that wait for room in the backlog
        return end

    def peer_name(self) -> bytes:
        if self.peer is None:
            raise ENOTCONN("not connected")
        return self.peer.address

    def carriers(self) -> list[UnixEnd]:
        found: list[UnixEnd] = [self]
        found.extend(self.pending)
        return found

    # -- sending ----------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        if flags & MSG_OOB:
            raise EOPNOTSUPP("no out-of-band data on AF_UNIX")
        peer = self.peer
        if out is not None and out.address:
            if self.stream:
                if self.state == TCP_ESTABLISHED:
                    raise EISCONN("connected")
                raise EOPNOTSUPP("stream sockets send without address")
            out.address = None  # unix_seqpacket_sendmsg() ignores it
        if peer is None:
            raise ENOTCONN("not connected")
        if self.shut & SEND_SHUTDOWN or peer.released or peer.shut & RCV_SHUTDOWN:
            raise EPIPE("the other end is closed")
        if not self.stream:
            return self.send_record(task, peer, source, flags, out)
        total = 0
        while source.left > 0:
            if self.sent_charge >= self.options.sndbuf:
                return total if total else WOULD_BLOCK
            try:
                moved = self.send_piece(task, peer, source, source.left, out)
            except LinuxError:
                if total == 0:
                    raise
                break
            if moved == 0:
                break
            total += moved
        return total

    def send_record(
        self, task: Task | None, peer: UnixSocket, source: Source, flags: int, out: Outgoing | None
    ) -> int:
        """One whole message of a seqpacket connection."""
        if source.left > self.options.sndbuf - 32:
            raise EMSGSIZE("message larger than the send buffer")
        if self.sent_charge and self.sent_charge + source.left > self.options.sndbuf:
            return WOULD_BLOCK
        return self.send_piece(task, peer, source, source.left, out)

    def send_piece(
        self, task: Task | None, peer: UnixSocket, source: Source, count: int, out: Outgoing | None
    ) -> int:
        """Move up to ``count`` bytes into one packet of the peer's queue; 0 when the file that they
        come from (sendfile(2)) has ended before."""
        data = source.take(min(count, PIECE) if self.stream else count)
        if count and not data:
            return 0
        packet = Packet(data, self, self.credentials_for(task, out, peer))
        if out is not None and out.files:
            self.stack.in_flight.add(packet, self.uid, out.files, peer)
            out.files = []
        packet.charge = len(data) + PACKET_OVERHEAD
        self.sent_charge += packet.charge
        peer.packets.append(packet)
        if peer.queue.registrations:
            peer.queue.wake(READ_EVENTS)
        return len(data)

    # -- receiving --------------------------------------------------------------------------------
    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        if flags & MSG_OOB:
            raise EOPNOTSUPP("no out-of-band data on AF_UNIX")
        if self.state != TCP_ESTABLISHED:
            if self.stream:
                raise EINVAL("not connected")
            raise ENOTCONN("not connected")
        if not self.packets:
            if self.error:
                self.raise_error()
            return 0 if self.shut & RCV_SHUTDOWN else WOULD_BLOCK
        if not self.stream:
            return self.recv_record(sink, flags, into)
        if flags & MSG_PEEK:
            return self.peek(sink, flags, into)
        total = 0
        packets = self.packets
        while packets and sink.left > 0:
            packet = packets[0]
            if total and into is not None and differs(packet, into):
                break
            start = packet.start
            taken = sink.put_part(packet.data, start, len(packet.data) - start)
            total += taken
            had_files = bool(packet.files)
            if into is not None or had_files:
                self.give_control(packet, flags, into)
            if start + taken < len(packet.data):
                packet.start = start + taken
                break
            packets.pop(0)
            self.consumed(packet)
            if had_files:
                break
        self.options.taken(total)
        return total

    def peek(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        """MSG_PEEK on a stream: what a read would give, left in the queue."""
        total = 0
        skip = max(self.options.peek_offset, 0)
        for packet in self.packets:
            available = len(packet.data) - packet.start
            if skip >= available and available:
                skip -= available
                continue
            if sink.left <= 0 or (total and into is not None and differs(packet, into)):
                break
            total += sink.put(packet.data[packet.start + skip : packet.start + skip + sink.left])
            skip = 0
            self.give_control(packet, flags, into)
            if packet.files:
                break
        if self.options.peek_offset >= 0:
            self.options.peek_offset += total
        return total

    def recv_record(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        """One message; what does not fit is lost (MSG_TRUNC says so)."""
        packet = self.packets[0]
        room = sink.left
        taken = put_packet(sink, packet.data)
        if into is not None and len(packet.data) > room:
            into.flags |= MSG_TRUNC
        self.give_control(packet, flags, into)
        if not flags & MSG_PEEK:
            self.packets.pop(0)
            self.consumed(packet)
        return len(packet.data) if flags & MSG_TRUNC else taken

    # -- state ------------------------------------------------------------------------------------
    def poll(self) -> int:
        if self.state == TCP_LISTEN:
            return READ_EVENTS if self.pending else 0
        mask = 0
        if self.error:
            mask |= POLLERR
        if self.shut == SHUTDOWN_MASK or self.state == TCP_CLOSE:
            mask |= POLLHUP
        if self.shut & RCV_SHUTDOWN:
            mask |= POLLRDHUP | READ_EVENTS
        elif self.packets:
            mask |= READ_EVENTS
        if self.sent_charge * 4 <= self.options.sndbuf:
            mask |= WRITE_EVENTS
        return mask

    def shutdown(self, how: int) -> None:
        bits = shutdown_bits(how)
        self.shut |= bits
        peer = self.peer
        if peer is not None:
            if bits & RCV_SHUTDOWN:
                peer.shut |= SEND_SHUTDOWN
            if bits & SEND_SHUTDOWN:
                peer.shut |= RCV_SHUTDOWN
            peer.queue.wake(HANGUP_EVENTS)
        self.queue.wake(HANGUP_EVENTS)

    def release(self) -> None:
        peer = self.peer
        unread = bool(self.packets)
        super().release()
        if peer is not None and not peer.released:
            peer.shut = SHUTDOWN_MASK
            if unread or self.state != TCP_ESTABLISHED:
                peer.error = ECONNRESET.number
            peer.queue.wake(HANGUP_EVENTS)
        pending = self.pending
        self.pending = []
        for end in pending:
            end.refuse()
        self.shut = SHUTDOWN_MASK
        self.queue.wake(HANGUP_EVENTS)

    def refuse(self) -> None:
        """The listener went away before accept(2): the connecting side sees a reset."""
        peer = self.peer
        if peer is not None and not peer.released:
            peer.error = ECONNRESET.number
        self.hold().drop()


class BacklogWait:
    """``Call.state`` of a connect(2) that waits for room in ``listener``'s backlog."""

    def __init__(self, listener: UnixConnection) -> None:
        self.listener = listener


def differs(packet: Packet, into: Incoming) -> bool:
    """True when a read must not go on from ``into``'s sender into ``packet``."""
    so_far = into.credentials
    if so_far is None:
        return False
    return packet.credentials is None or not so_far.same(packet.credentials)


def make_pair(stack: NetworkStack, task: Task, kind: int) -> tuple[UnixConnection, UnixConnection]:
    """socketpair(2) of a connection type."""
    uid, gid = task.credentials.fsuid, task.credentials.fsgid
    a = UnixConnection(stack, kind, uid, gid)
    b = UnixConnection(stack, kind, uid, gid)
    for one, other in ((a, b), (b, a)):
        one.join(other)
        one.owner = effective_ucred(task)
        one.peer_credentials = one.owner
        one.peer_group_list = list(task.credentials.groups)
    return a, b
