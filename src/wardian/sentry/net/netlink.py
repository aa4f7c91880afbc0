"""AF_NETLINK, NETLINK_ROUTE only (rtnetlink(7)): for getifaddrs(3), ``ip addr`` and runtimes.

A request is answered at once into the socket's own receive queue. Dumps of links, addresses and
routes work; changes are refused with EPERM, everything else with EOPNOTSUPP.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EADDRINUSE,
    ECONNREFUSED,
    EINVAL,
    EMSGSIZE,
    ENODEV,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EPERM,
    WOULD_BLOCK,
)
from wardian.sentry.net.constants import (
    AF_INET,
    AF_NETLINK,
    AF_UNSPEC,
    MSG_PEEK,
    MSG_TRUNC,
    SOL_NETLINK,
    SOL_SOCKET,
)
from wardian.sentry.net.interfaces import IFF_UP, Interface, InterfaceAddress, Route
from wardian.sentry.net.options import INT, int_of
from wardian.sentry.net.socket import (
    READ_EVENTS,
    WRITE_EVENTS,
    Incoming,
    Outgoing,
    Socket,
    put_packet,
)
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import POLLERR

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

NETLINK_ROUTE: Final = 0
SOCKADDR_NL: Final = struct.Struct("<HHII")
NLMSGHDR: Final = struct.Struct("<IHHII")
IFINFOMSG: Final = struct.Struct("<BxHiII")
IFADDRMSG: Final = struct.Struct("<BBBBi")
RTMSG: Final = struct.Struct("<8BI")
RTATTR: Final = struct.Struct("<HH")

NLMSG_ERROR: Final = 2
NLMSG_DONE: Final = 3
NLM_F_MULTI: Final = 2
NLM_F_ACK: Final = 4
NLM_F_DUMP: Final = 0x300

RTM_NEWLINK, RTM_GETLINK = 16, 18
RTM_NEWADDR, RTM_GETADDR = 20, 22
RTM_NEWROUTE, RTM_GETROUTE = 24, 26
RTM_GETNEIGH: Final = 30
RTM_GETRULE: Final = 34
RTM_LAST: Final = 127

IFLA_ADDRESS, IFLA_BROADCAST, IFLA_IFNAME, IFLA_MTU = 1, 2, 3, 4
IFLA_QDISC, IFLA_STATS, IFLA_TXQLEN, IFLA_OPERSTATE = 6, 7, 13, 16
IFLA_LINKMODE, IFLA_STATS64, IFLA_GROUP, IFLA_ALT_IFNAME = 17, 23, 27, 53
IFA_ADDRESS, IFA_LOCAL, IFA_LABEL, IFA_BROADCAST = 1, 2, 3, 4
IFA_CACHEINFO, IFA_FLAGS = 6, 8
RTA_DST, RTA_OIF, RTA_GATEWAY, RTA_PRIORITY = 1, 4, 5, 6
RTA_PREFSRC, RTA_TABLE = 7, 15

IFA_F_PERMANENT: Final = 0x80
IF_OPER_UNKNOWN: Final = 0
IF_OPER_DOWN: Final = 2
IF_OPER_UP: Final = 6
ARPHRD_LOOPBACK: Final = 772

DUMP_SIZE: Final = 3776
"""The most bytes of a dump in one datagram: readers bring a page (NLMSG_GOODSIZE)."""

QUEUE_LIMIT: Final = 256
MAX_REQUESTS: Final = 64
"""Requests looked at in one sendmsg(2)."""


class NetlinkSocket(Socket):
    """A NETLINK_ROUTE socket."""

    def __init__(self, stack: NetworkStack, kind: int, protocol: int, uid: int, gid: int) -> None:
        super().__init__(stack, AF_NETLINK, kind, protocol, uid, gid)
        self.port = 0
        self.groups = 0
        self.destination_port = 0
        self.received: list[bytes] = []
        self.numbers: dict[int, int] = {}

    # -- names ------------------------------------------------------------------------------------
    def parse(self, address: bytes) -> tuple[int, int]:
        """Port and groups of a sockaddr_nl."""
        if len(address) < SOCKADDR_NL.size:
            raise EINVAL("short sockaddr_nl")
        family, _, port, groups = SOCKADDR_NL.unpack_from(address)
        if family != AF_NETLINK:
            raise EINVAL("not a sockaddr_nl")
        return int(port), int(groups)

    def bind(self, task: Task, address: bytes) -> None:
        port, groups = self.parse(address)
        if self.port:
            if port not in (0, self.port):
                raise EINVAL("already bound")
        else:
            self.take_port(port or task.group.pid, port != 0)
        self.groups = groups

    def take_port(self, wanted: int, exactly: bool) -> None:
        """Take a port number; EADDRINUSE when ``exactly`` this one is gone."""
        taken = self.stack.netlink_ports
        if wanted in taken:
            if exactly:
                raise EADDRINUSE("netlink port taken")
            wanted = 0xFFFFEFFF
            while wanted in taken:
                wanted -= 1
        taken[wanted] = self
        self.port = wanted

    def connect(self, task: Task, address: bytes) -> int:
        if len(address) >= 2 and address[0] | address[1] << 8 == AF_UNSPEC:
            self.destination_port = 0
            return 0
        port, _ = self.parse(address)
        if not self.port:
            self.take_port(task.group.pid, False)
        self.destination_port = port
        return 0

    def local_name(self) -> bytes:
        return SOCKADDR_NL.pack(AF_NETLINK, 0, self.port, self.groups)

    def peer_name(self) -> bytes:
        return SOCKADDR_NL.pack(AF_NETLINK, 0, self.destination_port, 0)

    # -- data -------------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        to = self.destination_port
        if out is not None and out.address:
            to, _ = self.parse(out.address)
        if to != 0:
            raise ECONNREFUSED("only the kernel answers here")
        sender = task if task is not None else self.stack.kernel.current
        if not self.port:
            self.take_port(sender.group.pid if sender is not None else 1, False)
        count = source.left
        if count > self.options.sndbuf - 32:
            raise EMSGSIZE("message larger than the send buffer")
        data = source.take(count)
        offset = 0
        for _ in range(MAX_REQUESTS):
            if len(data) - offset < NLMSGHDR.size:
                break
            length = int(NLMSGHDR.unpack_from(data, offset)[0])
            if length < NLMSGHDR.size or length > len(data) - offset:
                break
            self.request(data[offset : offset + length])
            offset += (length + 3) & ~3
        return count

    def request(self, message: bytes) -> None:
        """Answer one request."""
        _, kind, flags, sequence, _ = NLMSGHDR.unpack_from(message)
        if not flags & 1 or kind < 16:  # not NLM_F_REQUEST, or a control message
            return
        try:
            if flags & NLM_F_DUMP == NLM_F_DUMP:
                self.reply_dump(self.dump(kind, message), sequence)
                return
            answer = self.answer(kind, message)
            self.reply(self.message(answer[0], 0, sequence, answer[1]))
            if flags & NLM_F_ACK:
                self.acknowledge(message, 0)
        except (EPERM, EOPNOTSUPP, EINVAL, ENODEV) as error:
            self.acknowledge(message, error.number)

    def dump(self, kind: int, message: bytes) -> list[tuple[int, bytes]]:
        """(type, body) of everything a dump shows."""
        family = message[NLMSGHDR.size] if len(message) > NLMSGHDR.size else 0
        stack = self.stack
        if kind == RTM_GETLINK:
            return [(RTM_NEWLINK, link_body(i)) for i in stack.interfaces]
        if kind == RTM_GETADDR:
            return [
                (RTM_NEWADDR, address_body(i, a))
                for i in stack.interfaces
                for a in i.addresses
                if family in (AF_UNSPEC, a.family)
            ]
        if kind == RTM_GETROUTE:
            return [
                (RTM_NEWROUTE, route_body(r))
                for r in stack.routes
                if family in (AF_UNSPEC, r.family)
            ]
        if kind in (RTM_GETNEIGH, RTM_GETRULE) or (kind <= RTM_LAST and kind % 4 == 2):
            return []
        raise EOPNOTSUPP(f"netlink request {kind}")

    def answer(self, kind: int, message: bytes) -> tuple[int, bytes]:
        """The answer to a question about one object."""
        body = message[NLMSGHDR.size :]
        if kind == RTM_GETLINK:
            return RTM_NEWLINK, link_body(self.link_asked(body))
        if kind == RTM_GETROUTE:
            return RTM_NEWROUTE, route_body(self.route_asked(body))
        if kind % 4 in (0, 1, 3):
            raise EPERM("the network is fixed here")
        raise EOPNOTSUPP(f"netlink request {kind}")

    def link_asked(self, body: bytes) -> Interface:
        """The link an RTM_GETLINK names by index or name; ENODEV."""
        if len(body) < IFINFOMSG.size:
            raise EINVAL("short ifinfomsg")
        index = IFINFOMSG.unpack_from(body)[2]
        found = self.stack.interface_numbered(index) if index else None
        name = attribute(body[IFINFOMSG.size :], IFLA_IFNAME)
        if not index:
            name = name or attribute(body[IFINFOMSG.size :], IFLA_ALT_IFNAME)
            found = self.stack.interface_named(name.split(b"\0")[0])
        if found is None:
            raise ENODEV("no such interface")
        return found

    def route_asked(self, body: bytes) -> Route:
        """The route to an address (``ip route get``)."""
        if len(body) < RTMSG.size:
            raise EINVAL("short rtmsg")
        family = body[0]
        destination = attribute(body[RTMSG.size :], RTA_DST)
        for route in self.stack.routes:
            if route.family == family and matches(destination, route):
                found = Route(family, destination, len(destination) * 8, route.gateway, route.index)
                found.source = route.source
                return found
        raise ENODEV("no route")

    # -- replies ----------------------------------------------------------------------------------
    def message(self, kind: int, flags: int, sequence: int, body: bytes) -> bytes:
        """One netlink message, padded."""
        length = NLMSGHDR.size + len(body)
        head = NLMSGHDR.pack(length, kind, flags, sequence, self.port)
        return head + body + b"\0" * (-length % 4)

    def reply_dump(self, items: list[tuple[int, bytes]], sequence: int) -> None:
        """All items in as few datagrams as fit, then NLMSG_DONE in one of its own."""
        parts: list[bytes] = []
        size = 0
        for kind, body in items:
            part = self.message(kind, NLM_F_MULTI, sequence, body)
            if size + len(part) > DUMP_SIZE:
                self.reply(b"".join(parts))
                parts = []
                size = 0
            parts.append(part)
            size += len(part)
        if parts:
            self.reply(b"".join(parts))
        self.reply(self.message(NLMSG_DONE, NLM_F_MULTI, sequence, INT.pack(0)))

    def acknowledge(self, message: bytes, number: int) -> None:
        """NLMSG_ERROR with ``-number``, and the request it is about (the header, on success)."""
        _, _, _, sequence, _ = NLMSGHDR.unpack_from(message)
        echo = message if number else message[: NLMSGHDR.size]
        self.reply(self.message(NLMSG_ERROR, 0, sequence, INT.pack(-number) + echo))

    def reply(self, data: bytes) -> None:
        """Into our own queue; a reader that never reads loses answers."""
        if len(self.received) >= QUEUE_LIMIT:
            self.error = 105  # ENOBUFS
            return
        self.received.append(data)
        self.queue.wake(READ_EVENTS)

    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        if not self.received:
            if self.error:
                self.raise_error()
            return WOULD_BLOCK
        data = self.received[0]
        room = sink.left
        taken = put_packet(sink, data)
        if into is not None:
            into.address = SOCKADDR_NL.pack(AF_NETLINK, 0, 0, 0)
            if len(data) > room:
                into.flags |= MSG_TRUNC
        if not flags & MSG_PEEK:
            self.received.pop(0)
        return len(data) if flags & MSG_TRUNC else taken

    def poll(self) -> int:
        mask = WRITE_EVENTS | (POLLERR if self.error else 0)
        return mask | READ_EVENTS if self.received else mask

    # -- the rest ---------------------------------------------------------------------------------
    def setsockopt(self, task: Task, level: int, name: int, value: bytes) -> None:
        if level == SOL_NETLINK:
            self.numbers[name & 0xFF] = int_of(value)
            return
        super().setsockopt(task, level, name, value)

    def getsockopt(self, task: Task, level: int, name: int, length: int) -> bytes:
        if level == SOL_NETLINK:
            if name not in self.numbers:
                raise ENOPROTOOPT("no such netlink option")
            return INT.pack(self.numbers[name])
        if level != SOL_SOCKET:
            raise ENOPROTOOPT("no such level")
        return super().getsockopt(task, level, name, length)

    def release(self) -> None:
        super().release()
        if self.stack.netlink_ports.get(self.port) is self:
            del self.stack.netlink_ports[self.port]
        self.received = []


def attr(kind: int, data: bytes) -> bytes:
    """One rtattr, padded."""
    length = RTATTR.size + len(data)
    return RTATTR.pack(length, kind) + data + b"\0" * (-length % 4)


def attribute(data: bytes, wanted: int) -> bytes:
    """The payload of the first attribute of a kind; empty when there is none."""
    offset = 0
    while len(data) - offset >= RTATTR.size:
        length, kind = RTATTR.unpack_from(data, offset)
        if length < RTATTR.size or length > len(data) - offset:
            break
        if kind & 0x3FFF == wanted:
            return data[offset + RTATTR.size : offset + length]
        offset += (length + 3) & ~3
    return b""


def matches(destination: bytes, route: Route) -> bool:
    """True when ``route`` leads to ``destination``."""
    if len(destination) != len(route.destination):
        return False
    shift = len(destination) * 8 - route.prefix
    a = int.from_bytes(destination, "big") >> shift
    return a == int.from_bytes(route.destination, "big") >> shift


def operational_state(link: Interface) -> int:
    """RFC 2863; a loopback that is up never tells."""
    if not link.flags & IFF_UP:
        return IF_OPER_DOWN
    return IF_OPER_UNKNOWN if link.kind == ARPHRD_LOOPBACK else IF_OPER_UP


def link_body(link: Interface) -> bytes:
    """struct ifinfomsg and attributes of RTM_NEWLINK."""
    is_loopback = link.kind == ARPHRD_LOOPBACK
    head = IFINFOMSG.pack(0, link.kind, link.index, link.flags, 0)
    stats = [link.packets, link.packets, link.bytes, link.bytes]
    return b"".join(
        [
            head,
            attr(IFLA_IFNAME, link.name + b"\0"),
            attr(IFLA_TXQLEN, struct.pack("<I", link.queue_length)),
            attr(IFLA_OPERSTATE, bytes([operational_state(link)])),
            attr(IFLA_LINKMODE, b"\0"),
            attr(IFLA_MTU, struct.pack("<I", link.mtu)),
            attr(IFLA_GROUP, b"\0\0\0\0"),
            attr(IFLA_QDISC, b"noqueue\0" if link.flags & IFF_UP else b"noop\0"),
            attr(IFLA_ADDRESS, link.mac),
            attr(IFLA_BROADCAST, b"\0" * 6 if is_loopback else b"\xff" * 6),
            attr(IFLA_STATS64, struct.pack("<4Q", *stats) + b"\0" * (21 * 8)),
            attr(
                IFLA_STATS, struct.pack("<4I", *[s & 0xFFFFFFFF for s in stats]) + b"\0" * (20 * 4)
            ),
        ]
    )


def address_body(link: Interface, address: InterfaceAddress) -> bytes:
    """struct ifaddrmsg and attributes of RTM_NEWADDR."""
    head = IFADDRMSG.pack(
        address.family, address.prefix, IFA_F_PERMANENT, address.scope, link.index
    )
    parts = [head, attr(IFA_ADDRESS, address.ip)]
    if address.family == AF_INET:
        parts.append(attr(IFA_LOCAL, address.ip))
        if address.broadcast:
            parts.append(attr(IFA_BROADCAST, address.broadcast))
        parts.append(attr(IFA_LABEL, link.name + b"\0"))
    parts.append(attr(IFA_FLAGS, struct.pack("<I", IFA_F_PERMANENT)))
    parts.append(attr(IFA_CACHEINFO, struct.pack("<4I", 0xFFFFFFFF, 0xFFFFFFFF, 0, 0)))
    return b"".join(parts)


def route_body(route: Route) -> bytes:
    """struct rtmsg and attributes of RTM_NEWROUTE."""
    head = RTMSG.pack(
        route.family, route.prefix, 0, 0, route.table, route.protocol, route.scope, route.kind, 0
    )
    parts = [head, attr(RTA_TABLE, struct.pack("<I", route.table))]
    if route.prefix:
        parts.append(attr(RTA_DST, route.destination))
    if route.metric:
        parts.append(attr(RTA_PRIORITY, struct.pack("<I", route.metric)))
    if route.gateway:
        parts.append(attr(RTA_GATEWAY, route.gateway))
    if route.source:
        parts.append(attr(RTA_PREFSRC, route.source))
    parts.append(attr(RTA_OIF, struct.pack("<i", route.index)))
    return b"".join(parts)
