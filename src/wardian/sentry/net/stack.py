"""NetworkStack: one sandbox's network: interfaces, addresses, ports, names, making of sockets.

The stack here is the internal loopback (``--network=loopback``: ``lo`` is up, as in Docker's
``--network none``), or nothing at all (``none``: ``lo`` is down, as after ``unshare -n``).
``host.HostNetworkStack`` replaces the AF_INET part by host sockets.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import (
    EACCES,
    EADDRNOTAVAIL,
    EAFNOSUPPORT,
    EINVAL,
    ENETUNREACH,
    EOPNOTSUPP,
    EPERM,
    EPROTONOSUPPORT,
    ESOCKTNOSUPPORT,
)
from wardian.sentry.fs.anon import SOCKFS_DEV, SOCKFS_MAGIC, AnonFS
from wardian.sentry.net.constants import (
    AF_INET,
    AF_INET6,
    AF_MAX,
    AF_NETLINK,
    AF_PACKET,
    AF_UNIX,
    IPPROTO_ICMP,
    IPPROTO_ICMPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    SOCK_DGRAM,
    SOCK_RAW,
    SOCK_SEQPACKET,
    SOCK_STREAM,
)
from wardian.sentry.net.hosts import addresses_of
from wardian.sentry.net.inet import InetSocket
from wardian.sentry.net.inet_address import (
    ANY4,
    LOOPBACK4,
    LOOPBACK6,
    is_any,
    is_loopback,
    is_multicast,
    is_v4,
)
from wardian.sentry.net.interfaces import (
    ARPHRD_LOOPBACK,
    IFF_LOOPBACK,
    Interface,
    InterfaceAddress,
    Route,
    loopback,
)
from wardian.sentry.net.loopback import LoopbackTcp
from wardian.sentry.net.netlink import NETLINK_ROUTE, NetlinkSocket
from wardian.sentry.net.ports import PortTable
from wardian.sentry.net.scm import InFlight
from wardian.sentry.net.socket import Socket
from wardian.sentry.net.tcp import TcpSocket
from wardian.sentry.net.udp import LoopbackUdp, UdpSocket
from wardian.sentry.net.unix_address import AbstractNames
from wardian.sentry.net.unix_dgram import UnixDatagram, make_datagram_pair
from wardian.sentry.net.unix_stream import UnixConnection, make_pair

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

RT_TABLE_LOCAL = 255
RT_SCOPE_HOST = 254
RTN_LOCAL = 2


class NetworkStack:
    """The network of one sandbox."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.sockfs = AnonFS("sockfs", SOCKFS_DEV, SOCKFS_MAGIC)
        self.sockfs.last_ino = 10000
        self.sockets: dict[int, Socket] = {}  # by inode number; for /proc/net
        self.abstract = AbstractNames()
        self.in_flight = InFlight()
        self.tcp_ports = PortTable(True)
        self.udp_ports = PortTable(False)
        self.tcp = LoopbackTcp()
        self.udp = LoopbackUdp()
        self.netlink_ports: dict[int, NetlinkSocket] = {}
        self.first_unprivileged_port = 1024  # net.ipv4.ip_unprivileged_port_start
        self.interfaces: list[Interface] = [loopback()]
        self.routes: list[Route] = []
        self.local_ips: set[bytes] = set()
        self.offline = False
        self.addresses_changed()

    # -- bookkeeping ------------------------------------------------------------------------------
    def realtime_ns(self) -> int:
        """CLOCK_REALTIME."""
        return self.kernel.clock.realtime_ns()

    def register(self, socket: Socket) -> None:
        """A socket came to be."""
        assert socket.inode is not None
        self.sockets[socket.inode.ino] = socket

    def unregister(self, socket: Socket) -> None:
        """A socket was released."""
        assert socket.inode is not None
        self.sockets.pop(socket.inode.ino, None)

    def collect_garbage(self) -> None:
        """Release AF_UNIX sockets that only messages hold."""
        if self.in_flight.sockets:
            self.in_flight.collect(list(self.sockets.values()))

    def go_offline(self) -> None:
        """--network=none: as in a new network namespace, ``lo`` is there, but down."""
        self.offline = True
        lo = self.interfaces[0]
        lo.flags = IFF_LOOPBACK
        lo.addresses.clear()
        self.addresses_changed()

    # -- addresses --------------------------------------------------------------------------------
    def add_address(self, name: bytes, address: InterfaceAddress) -> None:
        """Give an interface one more address (the one the host name resolves to)."""
        interface = self.interface_named(name)
        assert interface is not None
        interface.addresses.append(address)
        self.addresses_changed()

    def adopt_host_name(self, hosts: bytes, name: bytes) -> None:
        """Make the addresses that /etc/hosts gives ``name`` our own."""
        for address in addresses_of(hosts, name):
            if not self.is_local(address.mapped):
                self.add_address(b"lo", address)

    def addresses_changed(self) -> None:
        """Derive what follows from the interfaces' addresses."""
        self.local_ips = {a.mapped for i in self.interfaces for a in i.addresses}
        self.routes = [local_route(i, a) for i in self.interfaces for a in i.addresses]

    def interface_named(self, name: bytes) -> Interface | None:
        """The interface called ``name``."""
        for interface in self.interfaces:
            if interface.name == name:
                return interface
        return None

    def interface_numbered(self, index: int) -> Interface | None:
        """The interface with an index."""
        for interface in self.interfaces:
            if interface.index == index:
                return interface
        return None

    def is_local(self, ip: bytes) -> bool:
        """True for this machine's own addresses; without any, bind(2) takes every IPv4 address."""
        if self.offline:
            return is_v4(ip)
        return is_loopback(ip) or ip in self.local_ips

    def route(self, socket: InetSocket, ip: bytes) -> tuple[bytes, bytes]:
        """Source and destination address for a packet from ``socket`` to ``ip``; ENETUNREACH."""
        if self.offline:
            if not is_v4(ip) and not is_multicast(ip):
                raise EADDRNOTAVAIL("there is no network, and no address to send from")
            raise ENETUNREACH("there is no network")
        if is_any(ip):
            ip = LOOPBACK4 if ip == ANY4 or is_v4(socket.local_ip) else LOOPBACK6
        elif not self.is_local(ip) and not (is_multicast(ip) and not socket.table.stream):
            raise ENETUNREACH("only the loopback is there")
        if is_v4(ip):
            if socket.v6only:
                raise ENETUNREACH("IPv4 address on an IPV6_V6ONLY socket")
            source = ip if not is_loopback(ip) and not is_multicast(ip) else LOOPBACK4
        else:
            source = ip if ip in self.local_ips else LOOPBACK6
        if not is_any(socket.local_ip):
            if is_v4(socket.local_ip) != is_v4(ip):
                raise ENETUNREACH("bound to the other family")
            source = socket.local_ip
        return source, ip

    # -- making sockets ---------------------------------------------------------------------------
    def socket(self, task: Task, family: int, kind: int, protocol: int) -> Socket:
        """socket(2), without flags in ``kind``."""
        if not 0 <= family < AF_MAX:
            raise EAFNOSUPPORT("no such family")
        if kind not in (SOCK_STREAM, SOCK_DGRAM, SOCK_RAW, 4, SOCK_SEQPACKET, 6, 10):
            raise EINVAL("no such socket type")
        uid, gid = task.credentials.fsuid, task.credentials.fsgid
        if family == AF_UNIX:
            return self.unix_socket(kind, protocol, uid, gid)
        if family in (AF_INET, AF_INET6):
            return self.inet_socket(task, family, kind, protocol)
        if family == AF_NETLINK:
            if kind not in (SOCK_RAW, SOCK_DGRAM):
                raise ESOCKTNOSUPPORT("netlink sockets are raw or datagram")
            if protocol != NETLINK_ROUTE:
                raise EPROTONOSUPPORT("only NETLINK_ROUTE")
            return NetlinkSocket(self, kind, protocol, uid, gid)
        if family == AF_PACKET:
            raise EPERM("no packet sockets")
        raise EAFNOSUPPORT("no such family")

    def unix_socket(self, kind: int, protocol: int, uid: int, gid: int) -> Socket:
        """An AF_UNIX socket."""
        if protocol not in (0, AF_UNIX):
            raise EPROTONOSUPPORT("AF_UNIX has no protocols")
        if kind in (SOCK_STREAM, SOCK_SEQPACKET):
            return UnixConnection(self, kind, uid, gid)
        if kind in (SOCK_DGRAM, SOCK_RAW):
            return UnixDatagram(self, uid, gid)
        raise ESOCKTNOSUPPORT("no such AF_UNIX type")

    def inet_socket(self, task: Task, family: int, kind: int, protocol: int) -> Socket:
        """An AF_INET or AF_INET6 socket; also AF_UNIX-like checks of type and protocol."""
        check_inet_protocol(kind, protocol)
        uid, gid = task.credentials.fsuid, task.credentials.fsgid
        if kind == SOCK_STREAM:
            return TcpSocket(self, family, uid, gid)
        return UdpSocket(self, family, uid, gid)

    def pair(self, task: Task, family: int, kind: int, protocol: int) -> tuple[Socket, Socket]:
        """socketpair(2)."""
        if family != AF_UNIX:
            self.socket(task, family, kind, protocol).hold().drop()
            raise EOPNOTSUPP("only AF_UNIX sockets come in pairs")
        if protocol not in (0, AF_UNIX):
            raise EPROTONOSUPPORT("AF_UNIX has no protocols")
        if kind in (SOCK_STREAM, SOCK_SEQPACKET):
            return make_pair(self, task, kind)
        if kind in (SOCK_DGRAM, SOCK_RAW):
            return make_datagram_pair(self, task)
        raise ESOCKTNOSUPPORT("no such AF_UNIX type")


def check_inet_protocol(kind: int, protocol: int) -> None:
    """The errors of inet_create() for what is not TCP or UDP."""
    if not 0 <= protocol < 263:
        raise EINVAL("no such protocol")
    if kind == SOCK_RAW:
        raise EPERM("no raw sockets")
    if kind == SOCK_STREAM:
        if protocol not in (0, IPPROTO_TCP):
            raise EPROTONOSUPPORT("streams are TCP")
    elif kind == SOCK_DGRAM:
        if protocol in (IPPROTO_ICMP, IPPROTO_ICMPV6):
            raise EACCES("outside net.ipv4.ping_group_range")
        if protocol not in (0, IPPROTO_UDP):
            raise EPROTONOSUPPORT("datagrams are UDP")
    else:
        raise ESOCKTNOSUPPORT("no such internet socket type")


def local_route(interface: Interface, address: InterfaceAddress) -> Route:
    """The entry of the local table that an address brings."""
    prefix = address.prefix if interface.kind == ARPHRD_LOOPBACK else len(address.ip) * 8
    value = int.from_bytes(address.ip, "big")
    shift = len(address.ip) * 8 - prefix
    destination = (value >> shift << shift).to_bytes(len(address.ip), "big")
    route = Route(address.family, destination, prefix, b"", interface.index)
    route.table = RT_TABLE_LOCAL
    route.scope = RT_SCOPE_HOST if address.family == AF_INET else 0
    route.kind = RTN_LOCAL
    route.source = address.ip if address.family == AF_INET else b""
    return route
