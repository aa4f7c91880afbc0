"""Network interfaces and the ioctls that list them (netdevice(7))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EADDRNOTAVAIL,
    EINVAL,
    ENODEV,
    ENOENT,
    ENOTTY,
    EOPNOTSUPP,
    EPERM,
)
from wardian.sentry.net.constants import AF_INET, AF_INET6
from wardian.sentry.net.inet_address import MAPPED, SOCKADDR_IN

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

IFF_UP: Final = 0x1
IFF_BROADCAST: Final = 0x2
IFF_LOOPBACK: Final = 0x8
IFF_RUNNING: Final = 0x40
IFF_MULTICAST: Final = 0x1000
IFF_LOWER_UP: Final = 0x10000

ARPHRD_ETHER: Final = 1
ARPHRD_LOOPBACK: Final = 772

SIOC_FIRST: Final = 0x8906
SIOC_LAST: Final = 0x89FF
SIOCGSTAMP: Final = 0x8906
SIOCGSTAMPNS: Final = 0x8907
SIOCGIFNAME: Final = 0x8910
SIOCGIFCONF: Final = 0x8912
SIOCGIFFLAGS: Final = 0x8913
SIOCSIFFLAGS: Final = 0x8914
SIOCGIFADDR: Final = 0x8915
SIOCGIFDSTADDR: Final = 0x8917
SIOCGIFBRDADDR: Final = 0x8919
SIOCGIFNETMASK: Final = 0x891B
SIOCGIFMETRIC: Final = 0x891D
SIOCGIFMTU: Final = 0x8921
SIOCGIFHWADDR: Final = 0x8927
SIOCGIFINDEX: Final = 0x8933
SIOCGIFTXQLEN: Final = 0x8942
SIOCETHTOOL: Final = 0x8946
SIOCGIFMAP: Final = 0x8970

SETTERS: Final = frozenset(
    {
        0x890B,
        0x890C,
        0x8914,
        0x8916,
        0x8918,
        0x891A,
        0x891C,
        0x891E,
        0x8922,
        0x8923,
        0x8924,
        0x8943,
        0x8953,
        0x8955,
        0x8971,
        0x89A0,
        0x89A1,
        0x89A2,
        0x89A3,
    }
)

IFREQ: Final = 40
NAME_SIZE: Final = 16
IFCONF: Final = struct.Struct("<i4xQ")
CAP_NET_ADMIN: Final = 12


class InterfaceAddress:
    """One address of an interface; ``ip`` is 4 or 16 bytes as the family says."""

    def __init__(
        self, family: int, ip: bytes, prefix: int, scope: int = 0, broadcast: bytes = b""
    ) -> None:
        self.family = family
        self.ip = ip
        self.prefix = prefix
        self.scope = scope  # RT_SCOPE_*
        self.broadcast = broadcast

    @property
    def mapped(self) -> bytes:
        """The 16-byte form."""
        return MAPPED + self.ip if self.family == AF_INET else self.ip

    def netmask(self) -> bytes:
        """The IPv4 netmask."""
        return (0xFFFFFFFF << (32 - self.prefix) & 0xFFFFFFFF).to_bytes(4, "big")


class Interface:
    """One link."""

    def __init__(
        self, index: int, name: bytes, kind: int, flags: int, mtu: int, mac: bytes
    ) -> None:
        self.index = index
        self.name = name
        self.kind = kind  # ARPHRD_*
        self.flags = flags
        self.mtu = mtu
        self.mac = mac  # 6 bytes
        self.queue_length = 1000
        self.addresses: list[InterfaceAddress] = []
        self.packets = 0  # sent and received alike, on a loopback
        self.bytes = 0

    def first(self, family: int) -> InterfaceAddress | None:
        """The first address of ``family``."""
        for address in self.addresses:
            if address.family == family:
                return address
        return None


class Route:
    """One line of the routing table."""

    def __init__(
        self,
        family: int,
        destination: bytes,
        prefix: int,
        gateway: bytes,
        index: int,
        metric: int = 0,
    ) -> None:
        self.family = family
        self.destination = destination
        self.prefix = prefix
        self.gateway = gateway  # empty: on the link
        self.index = index
        self.metric = metric
        self.table = 254  # RT_TABLE_MAIN
        self.protocol = 2  # RTPROT_KERNEL
        self.scope = 0
        self.kind = 1  # RTN_UNICAST
        self.source = b""


def loopback() -> Interface:
    """``lo``, up, with its two addresses."""
    lo = Interface(
        1,
        b"lo",
        ARPHRD_LOOPBACK,
        IFF_UP | IFF_LOOPBACK | IFF_RUNNING | IFF_LOWER_UP,
        65536,
        b"\0" * 6,
    )
    lo.addresses.append(InterfaceAddress(AF_INET, b"\x7f\0\0\x01", 8, 254))
    lo.addresses.append(InterfaceAddress(AF_INET6, b"\0" * 15 + b"\x01", 128, 254))
    return lo


def interface_ioctl(stack: NetworkStack, task: Task, command: int, argument: int) -> int:
    """The SIOCGIF* family on any socket; ``argument`` is a struct ifreq or ifconf."""
    if command == SIOCGIFCONF:
        return interface_list(stack, task, argument)
    if command in (SIOCGSTAMP, SIOCGSTAMPNS):
        raise ENOENT("no packet was received")
    if command in SETTERS:
        return change(stack, task, command, argument)
    if command == SIOCETHTOOL:
        raise EOPNOTSUPP("no ethtool")
    if command == SIOCGIFNAME:
        request = task.copy_in(argument, IFREQ)
        found = stack.interface_numbered(int.from_bytes(request[16:20], "little"))
        if found is None:
            raise ENODEV("no such interface")
        task.copy_out(argument, found.name.ljust(NAME_SIZE, b"\0"))
        return 0
    if command not in GETTERS:
        raise ENOTTY("no such socket ioctl")
    request = task.copy_in(argument, IFREQ)
    name = request[: NAME_SIZE - 1].split(b"\0")[0].split(b":")[0]
    interface = stack.interface_named(name)
    if interface is None:
        raise ENODEV("no such interface")
    task.copy_out(argument + NAME_SIZE, property_of(interface, command))
    return 0


GETTERS: Final = frozenset(
    {
        SIOCGIFFLAGS,
        SIOCGIFADDR,
        SIOCGIFDSTADDR,
        SIOCGIFBRDADDR,
        SIOCGIFNETMASK,
        SIOCGIFMETRIC,
        SIOCGIFMTU,
        SIOCGIFHWADDR,
        SIOCGIFINDEX,
        SIOCGIFTXQLEN,
        SIOCGIFMAP,
    }
)


def property_of(interface: Interface, command: int) -> bytes:
    """The union of struct ifreq that answers ``command``."""
    if command == SIOCGIFFLAGS:
        return struct.pack("<H", interface.flags & 0xFFFF)
    if command == SIOCGIFINDEX:
        return struct.pack("<i", interface.index)
    if command == SIOCGIFMTU:
        return struct.pack("<i", interface.mtu)
    if command == SIOCGIFMETRIC:
        return struct.pack("<i", 0)
    if command == SIOCGIFTXQLEN:
        return struct.pack("<i", interface.queue_length)
    if command == SIOCGIFHWADDR:
        return struct.pack("<H14s", interface.kind, interface.mac)
    if command == SIOCGIFMAP:
        return b"\0" * 24
    address = interface.first(AF_INET)
    if address is None:
        raise EADDRNOTAVAIL("no IPv4 address")
    ip = address.ip
    if command == SIOCGIFNETMASK:
        ip = address.netmask()
    elif command == SIOCGIFBRDADDR:
        ip = address.broadcast or b"\0" * 4
    return SOCKADDR_IN.pack(AF_INET, 0, 0, ip)


def interface_list(stack: NetworkStack, task: Task, argument: int) -> int:
    """SIOCGIFCONF: the interfaces that have an IPv4 address."""
    length, buffer = IFCONF.unpack(task.copy_in(argument, IFCONF.size))
    entries: list[bytes] = []
    for interface in stack.interfaces:
        for address in interface.addresses:
            if address.family == AF_INET:
                entry = interface.name.ljust(NAME_SIZE, b"\0")
                entry += SOCKADDR_IN.pack(AF_INET, 0, 0, address.ip)
                entries.append(entry.ljust(IFREQ, b"\0"))
    if buffer == 0:
        task.copy_out(argument, struct.pack("<i", len(entries) * IFREQ))
        return 0
    if length < 0:
        raise EINVAL("negative length")
    fitting = entries[: length // IFREQ]
    if fitting:
        task.copy_out(buffer, b"".join(fitting))
    task.copy_out(argument, struct.pack("<i", len(fitting) * IFREQ))
    return 0


def change(stack: NetworkStack, task: Task, command: int, argument: int) -> int:
    """Setting things: only what is up already may be set up."""
    if not task.credentials.has_cap(CAP_NET_ADMIN):
        raise EPERM("needs CAP_NET_ADMIN")
    request = task.copy_in(argument, IFREQ)
    interface = stack.interface_named(request[: NAME_SIZE - 1].split(b"\0")[0])
    if interface is None:
        raise ENODEV("no such interface")
    flags = int.from_bytes(request[16:18], "little")
    if command == SIOCSIFFLAGS and flags & interface.flags & IFF_UP:
        return 0
    raise EPERM("interfaces are fixed here")
