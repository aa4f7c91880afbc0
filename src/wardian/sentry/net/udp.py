"""UDP sockets (udp(7)) over the internal loopback.

A datagram goes straight into the receiver's queue, or is dropped when that is full, as on Linux. A
connected socket that sends to a port nobody has learns of it as ECONNREFUSED (the ICMP message of a
real network).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    ECONNREFUSED,
    EDESTADDRREQ,
    EINVAL,
    EMSGSIZE,
    ENETUNREACH,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    WOULD_BLOCK,
)
from wardian.sentry.net.constants import (
    AF_INET,
    AF_UNSPEC,
    IP_PKTINFO,
    IP_RECVERR,
    IP_RECVORIGDSTADDR,
    IP_RECVTOS,
    IP_RECVTTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_UDP,
    IPV6_HOPLIMIT,
    IPV6_PKTINFO,
    IPV6_RECVERR,
    IPV6_RECVHOPLIMIT,
    IPV6_RECVPKTINFO,
    IPV6_RECVTCLASS,
    IPV6_TCLASS,
    MSG_ERRQUEUE,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SO_TIMESTAMP,
    SO_TIMESTAMPNS,
    SOCK_DGRAM,
    SOL_SOCKET,
    TCP_CLOSE,
    TCP_ESTABLISHED,
)
from wardian.sentry.net.inet import InetSocket
from wardian.sentry.net.inet_address import (
    ANY4,
    covers,
    is_any,
    is_multicast,
    is_v4,
    pack,
    parse,
)
from wardian.sentry.net.inet_options import key
from wardian.sentry.net.options import INT, TIMEVAL
from wardian.sentry.net.socket import (
    HANGUP_EVENTS,
    READ_EVENTS,
    WRITE_EVENTS,
    ControlMessage,
    Incoming,
    Outgoing,
    put_packet,
    shutdown_bits,
)
from wardian.sentry.net.unix_address import family_of
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import POLLERR, POLLHUP, POLLRDHUP

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

MAX_DATAGRAM: Final = 65507
MAX_DATAGRAM6: Final = 65527
DATAGRAM_OVERHEAD: Final = 768
TTL: Final = 64
ERRORS_MAX: Final = 16

PKTINFO: Final = struct.Struct("<i4s4s")
PKTINFO6: Final = struct.Struct("<16sI")
EXTENDED_ERROR: Final = struct.Struct("<I4B2I")  # struct sock_extended_err
ORIGIN_ICMP: Final = 2
ORIGIN_ICMP6: Final = 3
RECVERR4: Final = key(IPPROTO_IP, IP_RECVERR)
RECVERR6: Final = key(IPPROTO_IPV6, IPV6_RECVERR)


class Datagram:
    """One datagram in a receive queue."""

    def __init__(
        self,
        data: bytes,
        source_ip: bytes,
        source_port: int,
        destination_ip: bytes,
        destination_port: int,
        time_ns: int,
    ) -> None:
        self.data = data
        self.source_ip = source_ip
        self.source_port = source_port
        self.destination_ip = destination_ip
        self.destination_port = destination_port
        self.time_ns = time_ns


class UdpSocket(InetSocket):
    """One UDP endpoint."""

    def __init__(self, stack: NetworkStack, family: int, uid: int, gid: int) -> None:
        super().__init__(stack, family, SOCK_DGRAM, IPPROTO_UDP, stack.udp_ports, uid, gid)
        self.received: list[Datagram] = []
        self.charge = 0  # bytes in ``received``, with overhead
        self.drops = 0
        self.errors: list[Datagram] = []  # MSG_ERRQUEUE: datagrams that came back

    def transport_level(self) -> int:
        return IPPROTO_UDP

    # -- connecting -------------------------------------------------------------------------------
    def connect(self, task: Task, address: bytes) -> int:
        if family_of(address) == AF_UNSPEC:
            self.disconnect()
            return 0
        where = parse(self.family, address)
        source, destination = self.stack.route(self, where.ip)
        if not self.bound_ip:
            self.local_ip = source
        self.autobind()
        self.remote_ip = destination
        self.remote_port = where.port
        return 0

    def disconnect(self) -> None:
        """connect(2) with AF_UNSPEC."""
        self.remote_ip = self.any_ip
        self.remote_port = 0
        if not self.bound_ip:
            self.local_ip = self.any_ip
        self.forget_port()

    # -- sending ----------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        if flags & MSG_OOB:
            raise EOPNOTSUPP("no out-of-band data on UDP")
        if self.error:
            self.raise_error()
        self.autobind()
        if self.shut & SEND_SHUTDOWN:
            raise EPIPE("shut down for sending")
        if out is not None and out.address:
            to_ip, to_port = self.destination(out.address)
        elif self.remote_port:
            to_ip, to_port = self.remote_ip, self.remote_port
        else:
            raise EDESTADDRREQ("no destination")
        count = source.left
        if count > (MAX_DATAGRAM if is_v4(to_ip) else MAX_DATAGRAM6):
            raise EMSGSIZE("datagram too long")
        from_ip = self.local_ip
        if is_any(from_ip) or (out is not None and out.messages):
            from_ip, to_ip = self.stack.route(self, to_ip)
            from_ip = self.chosen_source(out, from_ip)
        data = source.take(count)
        if count and not data:
            return 0  # the file that they come from (sendfile(2)) has ended before
        datagram = Datagram(
            data, from_ip, self.local_port, to_ip, to_port, self.stack.realtime_ns()
        )
        self.stack.udp.deliver(self, datagram)
        return len(data)

    def destination(self, raw: bytes) -> tuple[bytes, int]:
        """Where sendto(2) sends."""
        family = self.family
        if family != AF_INET and family_of(raw) == AF_INET:
            raise ENETUNREACH("IPv4 address on an IPv6 socket")
        where = parse(family, raw)
        if where.port == 0:
            raise EINVAL("port 0")
        _, ip = self.stack.route(self, where.ip)
        return ip, where.port

    def chosen_source(self, out: Outgoing | None, otherwise: bytes) -> bytes:
        """The source address IP_PKTINFO asks for; EINVAL when it is not ours."""
        if out is None:
            return otherwise
        for message in out.messages:
            if message.level == IPPROTO_IP and message.kind == IP_PKTINFO:
                if len(message.data) < PKTINFO.size:
                    raise EINVAL("short in_pktinfo")
                ip = ANY4[:12] + message.data[4:8]
            elif message.level == IPPROTO_IPV6 and message.kind == IPV6_PKTINFO:
                if len(message.data) < PKTINFO6.size:
                    raise EINVAL("short in6_pktinfo")
                ip = message.data[:16]
            else:
                continue
            if is_any(ip):
                continue
            if not self.stack.is_local(ip):
                raise EINVAL("not an address of this machine")
            return ip
        return otherwise

    def undeliverable(self, datagram: Datagram) -> None:
        """Nobody has that port (icmp_err): a connected or IP_RECVERR socket gets to know."""
        wants_queue = self.numbers.get(RECVERR4) or self.numbers.get(RECVERR6)
        if not self.remote_port and not wants_queue:
            return
        if wants_queue and len(self.errors) < ERRORS_MAX:
            self.errors.append(datagram)
        self.error = ECONNREFUSED.number
        self.queue.wake(HANGUP_EVENTS)

    # -- receiving --------------------------------------------------------------------------------
    def arrived(self, datagram: Datagram) -> None:
        """A datagram for us; dropped when the buffer is full."""
        size = len(datagram.data) + DATAGRAM_OVERHEAD
        if self.charge + size > self.options.rcvbuf:
            self.drops += 1
            return
        if self.shut & RCV_SHUTDOWN:
            return
        self.charge += size
        self.received.append(datagram)
        if self.queue.registrations:
            self.queue.wake(READ_EVENTS)

    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        if flags & MSG_ERRQUEUE:
            return self.recv_error(sink, flags, into)
        if not self.received:
            if self.error:
                self.raise_error()
            return self.end_or_block(flags)
        datagram = self.received[0]
        data = datagram.data
        room = sink.left
        taken = put_packet(sink, data)
        if into is not None:
            into.address = pack(self.family, datagram.source_ip, datagram.source_port)
            if len(data) > room:
                into.flags |= MSG_TRUNC
            if self.numbers or self.options.others:
                self.describe_packet(datagram, into)
        if not flags & MSG_PEEK:
            self.received.pop(0)
            self.charge -= len(data) + DATAGRAM_OVERHEAD
        return len(data) if flags & MSG_TRUNC else taken

    def recv_error(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        """MSG_ERRQUEUE: the datagram that came back, and why (ip(7), IP_RECVERR)."""
        if not self.errors:
            return WOULD_BLOCK
        datagram = self.errors[0] if flags & MSG_PEEK else self.errors.pop(0)
        taken = put_packet(sink, datagram.data)
        if not self.errors:
            self.error = 0
        if into is not None:
            into.flags |= MSG_ERRQUEUE
            into.address = pack(self.family, datagram.destination_ip, datagram.destination_port)
            four = self.family == AF_INET
            origin, kind, code = (ORIGIN_ICMP, 3, 3) if four else (ORIGIN_ICMP6, 1, 4)
            why = EXTENDED_ERROR.pack(ECONNREFUSED.number, origin, kind, code, 0, 0, 0)
            offender = pack(self.family, datagram.destination_ip, 0)
            level, name = (IPPROTO_IP, IP_RECVERR) if four else (IPPROTO_IPV6, IPV6_RECVERR)
            into.messages.append(ControlMessage(level, name, why + offender))
        return taken

    def describe_packet(self, datagram: Datagram, into: Incoming) -> None:
        """The control messages the socket asked for."""
        others = self.options.others
        add = into.messages
        seconds, rest = divmod(datagram.time_ns, 1_000_000_000)
        if others.get(SO_TIMESTAMPNS):
            add.append(ControlMessage(SOL_SOCKET, SO_TIMESTAMPNS, TIMEVAL.pack(seconds, rest)))
        elif others.get(SO_TIMESTAMP):
            stamp = TIMEVAL.pack(seconds, rest // 1000)
            add.append(ControlMessage(SOL_SOCKET, SO_TIMESTAMP, stamp))
        ip = datagram.destination_ip
        if is_v4(ip):
            if self.number(IPPROTO_IP, IP_PKTINFO):
                info = PKTINFO.pack(1, ip[12:], ip[12:])
                add.append(ControlMessage(IPPROTO_IP, IP_PKTINFO, info))
            if self.number(IPPROTO_IP, IP_RECVTTL):
                add.append(ControlMessage(IPPROTO_IP, IP_TTL, INT.pack(TTL)))
            if self.number(IPPROTO_IP, IP_RECVTOS):
                add.append(ControlMessage(IPPROTO_IP, IP_TOS, b"\0"))
            if self.number(IPPROTO_IP, IP_RECVORIGDSTADDR):
                name = pack(AF_INET, ip, datagram.destination_port)
                add.append(ControlMessage(IPPROTO_IP, IP_RECVORIGDSTADDR, name))
        if self.family == AF_INET:
            return
        if self.number(IPPROTO_IPV6, IPV6_RECVPKTINFO):
            add.append(ControlMessage(IPPROTO_IPV6, IPV6_PKTINFO, PKTINFO6.pack(ip, 1)))
        if self.number(IPPROTO_IPV6, IPV6_RECVHOPLIMIT):
            add.append(ControlMessage(IPPROTO_IPV6, IPV6_HOPLIMIT, INT.pack(TTL)))
        if self.number(IPPROTO_IPV6, IPV6_RECVTCLASS):
            add.append(ControlMessage(IPPROTO_IPV6, IPV6_TCLASS, INT.pack(0)))

    # -- state ------------------------------------------------------------------------------------
    def poll(self) -> int:
        mask = WRITE_EVENTS
        if self.error or self.errors:
            mask |= POLLERR
        if self.shut == SHUTDOWN_MASK:
            mask |= POLLHUP
        if self.shut & RCV_SHUTDOWN:
            mask |= POLLRDHUP | READ_EVENTS
        elif self.received:
            mask |= READ_EVENTS
        return mask

    def shutdown(self, how: int) -> None:
        bits = shutdown_bits(how)
        self.shut |= bits
        self.queue.wake(HANGUP_EVENTS)
        if not self.remote_port:
            raise ENOTCONN("not connected")

    def unread_bytes(self) -> int:
        return len(self.received[0].data) if self.received else 0

    def tcp_state(self) -> int:
        return TCP_ESTABLISHED if self.remote_port else TCP_CLOSE

    def queue_sizes(self) -> tuple[int, int]:
        return 0, self.charge

    def release(self) -> None:
        super().release()
        self.received = []
        self.charge = 0


class LoopbackUdp:
    """Delivery of datagrams inside the sandbox."""

    def deliver(self, sender: UdpSocket, datagram: Datagram) -> None:
        """Give ``datagram`` to whom it is for, or tell ``sender`` that there is nobody."""
        bucket = sender.table.ports.get(datagram.destination_port)
        if is_multicast(datagram.destination_ip):
            for socket in list(bucket or ()):
                if isinstance(socket, UdpSocket) and datagram.destination_ip in socket.groups:
                    socket.arrived(datagram)
            return
        best: list[UdpSocket] = []
        best_score = 0
        for socket in bucket or ():
            assert isinstance(socket, UdpSocket)
            score = match(socket, datagram)
            if score > best_score:
                best_score = score
                best = [socket]
            elif score and score == best_score:
                best.append(socket)
        if not best:
            sender.undeliverable(datagram)
        elif len(best) == 1:
            best[0].arrived(datagram)
        elif best[0].options.reuse_port:
            best[datagram.source_port % len(best)].arrived(datagram)
        else:
            best[-1].arrived(datagram)  # SO_REUSEADDR: the latest one bound


def match(socket: UdpSocket, datagram: Datagram) -> int:
    """How well ``socket`` fits (compute_score() of net/ipv4/udp.c); 0 for not at all."""
    ip = datagram.destination_ip
    if not covers(socket.local_ip, socket.v6only, ip):
        return 0
    score = 1
    if socket.local_ip == ip:
        score += 2
    elif socket.local_ip[10] == ip[10]:
        score += 1
    if socket.remote_port:
        if socket.remote_port != datagram.source_port or socket.remote_ip != datagram.source_ip:
            return 0
        score += 4
    return score
