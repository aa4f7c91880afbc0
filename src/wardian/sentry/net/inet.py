"""AF_INET and AF_INET6 sockets, what TCP and UDP share: binding, names, options (ip(7))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EACCES,
    EADDRINUSE,
    EADDRNOTAVAIL,
    EINVAL,
    ENOBUFS,
    ENODEV,
    ENOPROTOOPT,
    ENOTCONN,
    EOPNOTSUPP,
    EPERM,
)
from wardian.sentry.net.constants import (
    AF_INET,
    AF_INET6,
    IP_ADD_MEMBERSHIP,
    IP_DROP_MEMBERSHIP,
    IP_FREEBIND,
    IP_MULTICAST_IF,
    IP_MULTICAST_TTL,
    IP_OPTIONS,
    IP_TOS,
    IP_TRANSPARENT,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPV6_FREEBIND,
    IPV6_JOIN_GROUP,
    IPV6_LEAVE_GROUP,
    IPV6_MULTICAST_HOPS,
    IPV6_TRANSPARENT,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    MCAST_JOIN_GROUP,
    MCAST_LEAVE_GROUP,
    SOL_SOCKET,
)
from wardian.sentry.net.inet_address import (
    ANY4,
    ANY6,
    InetAddress,
    is_any,
    is_multicast,
    is_v4,
    pack,
    parse,
)
from wardian.sentry.net.inet_options import KNOWN, key
from wardian.sentry.net.options import INT, int_or_byte
from wardian.sentry.net.socket import Socket

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.ports import PortTable
    from wardian.sentry.net.stack import NetworkStack

CAP_NET_BIND_SERVICE: Final = 10
CAP_NET_ADMIN: Final = 12
HOPS: Final = frozenset(
    {
        key(IPPROTO_IP, IP_TTL),
        key(IPPROTO_IP, IP_MULTICAST_TTL),
        key(IPPROTO_IPV6, IPV6_UNICAST_HOPS),
        key(IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
    }
)
FREEBIND: Final = (
    key(IPPROTO_IP, IP_FREEBIND),
    key(IPPROTO_IP, IP_TRANSPARENT),
    key(IPPROTO_IPV6, IPV6_FREEBIND),
    key(IPPROTO_IPV6, IPV6_TRANSPARENT),
)
TIME_TO_LIVE: Final = key(IPPROTO_IP, IP_TTL)
TYPE_OF_SERVICE: Final = key(IPPROTO_IP, IP_TOS)
V6ONLY: Final = key(IPPROTO_IPV6, IPV6_V6ONLY)
MAX_MEMBERSHIPS: Final = 20
"""net.ipv4.igmp_max_memberships."""


class InetSocket(Socket):
    """A TCP or UDP endpoint: addresses are in the 16-byte form of ``inet_address``."""

    def __init__(
        self,
        stack: NetworkStack,
        family: int,
        kind: int,
        protocol: int,
        table: PortTable,
        uid: int,
        gid: int,
    ) -> None:
        super().__init__(stack, family, kind, protocol, uid, gid)
        self.table = table
        self.any_ip = ANY4 if family == AF_INET else ANY6
        self.local_ip = self.any_ip
        self.local_port = 0
        self.remote_ip = self.any_ip
        self.remote_port = 0
        self.scope = 0
        self.v6only = False
        self.bound_ip = False  # bind(2) named an address
        self.bound_port = False  # bind(2) named a port
        self.numbers: dict[int, int] = {}  # IP-level options that were set
        self.groups: list[bytes] = []  # multicast memberships
        self.multicast_index = 0

    # -- names ------------------------------------------------------------------------------------
    def bind(self, task: Task, address: bytes) -> None:
        where = parse(self.family, address)
        if self.local_port or self.bound_ip:
            raise EINVAL("already bound")
        self.check_local(where)
        privileged = 0 < where.port < self.stack.first_unprivileged_port
        if privileged and not task.credentials.has_cap(CAP_NET_BIND_SERVICE):
            raise EACCES("privileged port")
        if where.port:
            self.table.bind(self, where.ip, where.port)
            self.bound_port = True
        else:
            self.local_ip = where.ip
            self.table.ephemeral(self, where.ip, True)
        self.local_ip = where.ip
        self.bound_ip = not is_any(where.ip)
        self.scope = where.scope

    def check_local(self, where: InetAddress) -> None:
        """EADDRNOTAVAIL unless the address is the sandbox's own, a wildcard or a group."""
        ip = where.ip
        if is_any(ip) or self.stack.is_local(ip):
            if self.v6only and is_v4(ip):
                raise EINVAL("v4-mapped address on an IPV6_V6ONLY socket")
            return
        if is_multicast(ip) and not self.table.stream:
            return
        if not any(self.numbers.get(k) for k in FREEBIND):
            raise EADDRNOTAVAIL("not an address of this machine")

    def autobind(self) -> None:
        """Take an ephemeral port if there is no port yet."""
        if not self.local_port:
            self.table.ephemeral(self, self.local_ip, False)

    def local_name(self) -> bytes:
        return pack(self.family, self.local_ip, self.local_port, self.scope)

    def peer_name(self) -> bytes:
        if not self.remote_port:
            raise ENOTCONN("not connected")
        return pack(self.family, self.remote_ip, self.remote_port)

    # -- options ----------------------------------------------------------------------------------
    def number(self, level: int, name: int) -> int:
        """The value of a numeric option."""
        k = key(level, name)
        found = self.numbers.get(k)
        return found if found is not None else KNOWN[k][0]

    def setsockopt(self, task: Task, level: int, name: int, value: bytes) -> None:
        if level == SOL_SOCKET:
            self.options.set(self, task, name, value)
            return
        if level == IPPROTO_IPV6 and self.family != AF_INET6:
            raise ENOPROTOOPT("not an IPv6 socket")
        if level == IPPROTO_IP and name in (IP_ADD_MEMBERSHIP, IP_DROP_MEMBERSHIP):
            self.ip_membership(name == IP_ADD_MEMBERSHIP, value)
        elif level == IPPROTO_IPV6 and name in (IPV6_JOIN_GROUP, IPV6_LEAVE_GROUP):
            if len(value) < 20:
                raise EINVAL("not a struct ipv6_mreq")
            self.membership(name == IPV6_JOIN_GROUP, value[:16])
        elif level in (IPPROTO_IP, IPPROTO_IPV6) and MCAST_JOIN_GROUP <= name <= MCAST_LEAVE_GROUP:
            self.group_request(name, value)
        elif level == IPPROTO_IP and name == IP_MULTICAST_IF:
            self.set_multicast_interface(value)
        elif level == IPPROTO_IP and name == IP_OPTIONS:
            if value:
                raise EINVAL("no IP options here")
        else:
            self.set_number(task, level, name, value)

    def set_number(self, task: Task, level: int, name: int, value: bytes) -> None:
        """One of the options in ``inet_options.KNOWN``."""
        k = key(level, name)
        known = KNOWN.get(k)
        if known is None or not self.allows_level(level):
            raise ENOPROTOOPT(f"option {name} of level {level}")
        number = int_or_byte(value)
        default, least, greatest = known
        if greatest == -1:
            number = int(number != 0)
        elif not least <= number <= greatest:
            raise EINVAL("option value out of range")
        if number == 0 and k == TIME_TO_LIVE:
            raise EINVAL("a TTL of 0")
        if k == TYPE_OF_SERVICE and self.table.stream:
            number &= ~3  # the ECN bits are TCP's own
        if number == -1 and k in HOPS:
            number = default
        if k == V6ONLY:
            if self.local_port or self.bound_ip:
                raise EINVAL("already bound")
            self.v6only = number != 0
        if k in FREEBIND[1::2] and not task.credentials.has_cap(CAP_NET_ADMIN):
            raise EPERM("needs CAP_NET_ADMIN")
        self.numbers[k] = number

    def getsockopt(self, task: Task, level: int, name: int, length: int) -> bytes:
        if level == SOL_SOCKET:
            return self.options.get(self, task, name, length)
        if level == IPPROTO_IP and name == IP_MULTICAST_IF:
            return b"\0\0\0\0"
        if level == IPPROTO_IP and name == IP_OPTIONS:
            return b""
        k = key(level, name)
        if self.family == AF_INET and not self.allows_level(level):
            raise EOPNOTSUPP("no such level")
        if k not in KNOWN or not self.allows_level(level):
            raise ENOPROTOOPT(f"option {name} of level {level}")
        number = self.number(level, name)
        if level == IPPROTO_IP and 0 < length < 4 and 0 <= number <= 255:
            return bytes([number])
        return INT.pack(number)

    def allows_level(self, level: int) -> bool:
        """True for the levels this socket has; IPPROTO_IP works on IPv6 sockets too."""
        if level == IPPROTO_IPV6:
            return self.family == AF_INET6
        return level in (IPPROTO_IP, self.transport_level())

    def transport_level(self) -> int:
        """IPPROTO_TCP or IPPROTO_UDP."""
        raise NotImplementedError

    # -- multicast --------------------------------------------------------------------------------
    def ip_membership(self, join: bool, value: bytes) -> None:
        """IP_ADD_MEMBERSHIP: struct ip_mreq or ip_mreqn."""
        if len(value) < 8:
            raise EINVAL("not a struct ip_mreq")
        self.membership(join, ANY4[:12] + value[:4])

    def group_request(self, name: int, value: bytes) -> None:
        """MCAST_JOIN_GROUP and MCAST_LEAVE_GROUP: struct group_req."""
        if name not in (MCAST_JOIN_GROUP, MCAST_LEAVE_GROUP):
            raise ENOPROTOOPT("no source filters here")
        if len(value) < 8 + 28:
            raise EINVAL("not a struct group_req")
        family = struct.unpack_from("<H", value, 8)[0]
        if family not in (AF_INET, AF_INET6):
            raise EADDRNOTAVAIL("not an internet address")
        self.membership(name == MCAST_JOIN_GROUP, parse(family, value[8:36]).ip)

    def membership(self, join: bool, group: bytes) -> None:
        """Join or leave ``group``; it lives on the loopback only."""
        if not is_multicast(group):
            raise EINVAL("not a multicast address")
        if not join:
            if group not in self.groups:
                raise EADDRNOTAVAIL("not a member")
            self.groups.remove(group)
            return
        if group in self.groups:
            raise EADDRINUSE("already a member")
        if len(self.groups) >= MAX_MEMBERSHIPS:
            raise ENOBUFS("too many memberships")
        self.groups.append(group)

    def set_multicast_interface(self, value: bytes) -> None:
        """IP_MULTICAST_IF: in_addr, ip_mreq or ip_mreqn; checked, then without effect."""
        if len(value) < 4:
            raise EINVAL("short IP_MULTICAST_IF")
        if len(value) >= 12:
            index = INT.unpack_from(value, 8)[0]
            if index and self.stack.interface_numbered(index) is None:
                raise ENODEV("no such interface")
            return
        ip = ANY4[:12] + (value[4:8] if len(value) >= 8 else value[:4])
        if not is_any(ip) and not self.stack.is_local(ip):
            raise EADDRNOTAVAIL("not an address of this machine")

    # -- the rest ---------------------------------------------------------------------------------
    def unsent_bytes(self) -> int:
        return 0

    def forget_port(self) -> None:
        """Give the port back, unless bind(2) asked for it."""
        if not self.bound_port:
            self.table.release(self)
            self.local_port = 0

    def tcp_state(self) -> int:
        """The state column of /proc/net/tcp and udp."""
        raise NotImplementedError

    def queue_sizes(self) -> tuple[int, int]:
        """Bytes waiting to be sent and to be read, for /proc/net."""
        return self.unsent_bytes(), 0

    def release(self) -> None:
        super().release()
        self.table.release(self)
