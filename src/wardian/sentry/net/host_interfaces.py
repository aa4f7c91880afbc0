"""The host's interfaces, addresses and routes, asked once over NETLINK_ROUTE.

``--network=host`` shows them to the guest. To be called before the Sentry confines itself:
afterwards no netlink socket can be made any more.
"""

from __future__ import annotations

import socket
import struct
from typing import Final

from wardian.sentry.net.constants import AF_INET, AF_INET6, AF_NETLINK
from wardian.sentry.net.interfaces import Interface, InterfaceAddress, Route, loopback
from wardian.sentry.net.netlink import (
    IFA_ADDRESS,
    IFA_BROADCAST,
    IFA_LOCAL,
    IFADDRMSG,
    IFINFOMSG,
    IFLA_ADDRESS,
    IFLA_IFNAME,
    IFLA_MTU,
    NLM_F_DUMP,
    NLMSG_DONE,
    NLMSG_ERROR,
    NLMSGHDR,
    RTA_DST,
    RTA_GATEWAY,
    RTA_OIF,
    RTA_PRIORITY,
    RTM_GETADDR,
    RTM_GETLINK,
    RTM_GETROUTE,
    RTMSG,
    attribute,
)

NLM_F_REQUEST: Final = 1
TABLE_MAIN: Final = 254
RTN_UNICAST: Final = 1
ANSWERS_MAX: Final = 1000
WAIT_S: Final = 2.0


class HostNetwork:
    """What the host has."""

    def __init__(self) -> None:
        self.interfaces: list[Interface] = []
        self.routes: list[Route] = []


def read_host_network() -> HostNetwork:
    """Ask the host's kernel; just a loopback when it does not answer."""
    found = HostNetwork()
    try:
        with socket.socket(AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 0) as s:
            s.settimeout(WAIT_S)
            s.bind((0, 0))
            for body in ask(s, RTM_GETLINK):
                add_link(found, body)
            for body in ask(s, RTM_GETADDR):
                add_address(found, body)
            for body in ask(s, RTM_GETROUTE):
                add_route(found, body)
    except OSError:
        pass
    if not found.interfaces:
        found.interfaces.append(loopback())
    return found


def ask(s: socket.socket, kind: int) -> list[bytes]:
    """The bodies of one dump."""
    request = NLMSGHDR.pack(NLMSGHDR.size + 1, kind, NLM_F_REQUEST | NLM_F_DUMP, 1, 0) + b"\0"
    s.send(request + b"\0" * 3)
    bodies: list[bytes] = []
    for _ in range(ANSWERS_MAX):
        data = s.recv(65536)
        offset = 0
        while len(data) - offset >= NLMSGHDR.size:
            length, answer, _, _, _ = NLMSGHDR.unpack_from(data, offset)
            if length < NLMSGHDR.size or answer in (NLMSG_DONE, NLMSG_ERROR):
                return bodies
            bodies.append(data[offset + NLMSGHDR.size : offset + length])
            offset += (length + 3) & ~3
    return bodies


def add_link(found: HostNetwork, body: bytes) -> None:
    """One RTM_NEWLINK."""
    _, kind, index, flags, _ = IFINFOMSG.unpack_from(body)
    rest = body[IFINFOMSG.size :]
    mtu = attribute(rest, IFLA_MTU)
    link = Interface(
        index,
        attribute(rest, IFLA_IFNAME).rstrip(b"\0"),
        kind,
        flags,
        struct.unpack("<I", mtu)[0] if len(mtu) == 4 else 1500,
        attribute(rest, IFLA_ADDRESS)[:6].ljust(6, b"\0"),
    )
    found.interfaces.append(link)


def add_address(found: HostNetwork, body: bytes) -> None:
    """One RTM_NEWADDR."""
    family, prefix, _, scope, index = IFADDRMSG.unpack_from(body)
    rest = body[IFADDRMSG.size :]
    ip = attribute(rest, IFA_LOCAL) or attribute(rest, IFA_ADDRESS)
    if (family, len(ip)) not in ((AF_INET, 4), (AF_INET6, 16)):
        return
    for link in found.interfaces:
        if link.index == index:
            address = InterfaceAddress(family, ip, prefix, scope, attribute(rest, IFA_BROADCAST))
            link.addresses.append(address)


def add_route(found: HostNetwork, body: bytes) -> None:
    """One RTM_NEWROUTE of the main table."""
    family, prefix, _, _, table, protocol, scope, kind, _ = RTMSG.unpack_from(body)
    if family not in (AF_INET, AF_INET6) or table != TABLE_MAIN or kind != RTN_UNICAST:
        return
    rest = body[RTMSG.size :]
    size = 4 if family == AF_INET else 16
    index = attribute(rest, RTA_OIF)
    metric = attribute(rest, RTA_PRIORITY)
    destination = attribute(rest, RTA_DST).ljust(size, b"\0")[:size]
    route = Route(
        family,
        destination,
        prefix,
        attribute(rest, RTA_GATEWAY),
        int.from_bytes(index, "little"),
        int.from_bytes(metric, "little"),
    )
    route.protocol = protocol
    route.scope = scope
    found.routes.append(route)
