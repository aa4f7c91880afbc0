"""The text of /proc/net (proc_pid_net(5)): functions that ``fs.proc`` calls when a file is read.

Numbers a program could act upon (addresses, ports, states, queues, owners, inodes) are real; hash
table positions and timers are zero.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.net.constants import (
    AF_INET,
    AF_INET6,
    SOCK_DGRAM,
    SOCK_STREAM,
    TCP_LISTEN,
)
from wardian.sentry.net.inet import InetSocket
from wardian.sentry.net.interfaces import Route
from wardian.sentry.net.netlink import NetlinkSocket
from wardian.sentry.net.socket import Socket
from wardian.sentry.net.unix import UnixSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from wardian.sentry.kernel.kernel import Kernel

SO_ACCEPTCON: Final = 0x10000
SS_UNCONNECTED: Final = 1
SS_CONNECTED: Final = 3
RT_TABLE_LOCAL: Final = 255
RTF_UP: Final = 1
RTF_GATEWAY: Final = 2
RTF_LOCAL: Final = 0x80000000

TCP_HEAD: Final = (
    "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid"
    "  timeout inode"
)
TCP6_HEAD: Final = (
    "  sl  local_address                         remote_address                        st"
    " tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode"
)
UDP_HEAD: Final = TCP_HEAD.replace("  sl", "   sl", 1) + " ref pointer drops"
UDP6_HEAD: Final = TCP6_HEAD + " ref pointer drops"
UNIX_HEAD: Final = "Num       RefCount Protocol Flags    Type St Inode Path\n"
DEV_HEAD: Final = (
    "Inter-|   Receive                                                |  Transmit\n"
    " face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets"
    " errs drop fifo colls carrier compressed\n"
)
ROUTE_HEAD: Final = (
    "Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT"
)
NETLINK_HEAD: Final = (
    "sk               Eth Pid        Groups   Rmem     Wmem     Dump  Locks    Drops    Inode\n"
)


def sockets_of(kernel: Kernel, family: int, kind: int) -> list[Socket]:
    """All sockets of one family and type."""
    return [s for s in kernel.network.sockets.values() if s.family == family and s.kind == kind]


def hex_address(ip: bytes, four: bool) -> str:
    """Words of an address in host byte order, as /proc/net prints them."""
    raw = ip[12:] if four else ip
    return "".join(f"{int.from_bytes(raw[i : i + 4], 'little'):08X}" for i in range(0, len(raw), 4))


def inet_line(number: int, socket: InetSocket, four: bool) -> str:
    """What the lines for TCP and UDP begin with."""
    local = f"{hex_address(socket.local_ip, four)}:{socket.local_port:04X}"
    state = socket.tcp_state()
    remote_ip = socket.any_ip if state == TCP_LISTEN else socket.remote_ip
    remote = f"{hex_address(remote_ip, four)}:{socket.remote_port:04X}"
    sending, receiving = socket.queue_sizes()
    inode = socket.inode.ino if socket.inode is not None else 0
    return (
        f"{number:4d}: {local} {remote} {state:02X} {sending:08X}:{receiving:08X} "
        f"00:00000000 00000000 {socket.uid:5d}        0 {inode} "
    )


def stream_table(kernel: Kernel, family: int, head: str) -> bytes:
    """/proc/net/tcp and tcp6: sockets with a port."""
    four = family == AF_INET
    width = 149 if four else 0
    lines = [head.ljust(width)]
    for socket in sockets_of(kernel, family, SOCK_STREAM):
        if isinstance(socket, InetSocket) and socket.local_port:
            line = inet_line(len(lines) - 1, socket, four) + "1 0000000000000000 100 0 0 10 0"
            lines.append(line.ljust(width))
    return ("\n".join(lines) + "\n").encode()


def datagram_table(kernel: Kernel, family: int, head: str) -> bytes:
    """/proc/net/udp and udp6."""
    four = family == AF_INET
    width = 127 if four else 0
    lines = [head.ljust(width)]
    for socket in sockets_of(kernel, family, SOCK_DGRAM):
        if isinstance(socket, InetSocket) and socket.local_port:
            line = inet_line(len(lines) - 1, socket, four)
            lines.append((" " + line + "2 0000000000000000 0").ljust(width))
    return ("\n".join(lines) + "\n").encode()


def tcp(kernel: Kernel) -> bytes:
    """/proc/net/tcp."""
    return stream_table(kernel, AF_INET, TCP_HEAD)


def tcp6(kernel: Kernel) -> bytes:
    """/proc/net/tcp6."""
    return stream_table(kernel, AF_INET6, TCP6_HEAD)


def udp(kernel: Kernel) -> bytes:
    """/proc/net/udp."""
    return datagram_table(kernel, AF_INET, UDP_HEAD)


def udp6(kernel: Kernel) -> bytes:
    """/proc/net/udp6."""
    return datagram_table(kernel, AF_INET6, UDP6_HEAD)


def unix(kernel: Kernel) -> bytes:
    """/proc/net/unix."""
    lines = [UNIX_HEAD.encode()]
    for socket in kernel.network.sockets.values():
        if isinstance(socket, UnixSocket):
            state = SS_CONNECTED if socket.peer is not None else SS_UNCONNECTED
            flags = SO_ACCEPTCON if socket.listening else 0
            inode = socket.inode.ino if socket.inode is not None else 0
            head = (
                f"{0:016x}: {max(socket.references, 1) + 1:08X} 00000000 {flags:08X} "
                f"{socket.kind:04X} {state:02X} {inode:5d}"
            )
            lines.append(head.encode() + shown_name(socket.address) + b"\n")
    return b"".join(lines)


def shown_name(address: bytes) -> bytes:
    """An AF_UNIX name as a last column: ``@`` for NUL."""
    name = address[2:]
    if not name:
        return b""
    if name[0] == 0:
        return b" " + name.replace(b"\0", b"@")
    return b" " + name.rstrip(b"\0")


def dev(kernel: Kernel) -> bytes:
    """/proc/net/dev."""
    lines = [DEV_HEAD]
    for i in kernel.network.interfaces:
        name = i.name.decode("ascii", "replace")
        lines.append(
            f"{name:>6}: {i.bytes:7d} {i.packets:7d}    0    0    0     0          0"
            f"         0 {i.bytes:8d} {i.packets:7d}    0    0    0     0       0"
            "          0\n"
        )
    return "".join(lines).encode()


def interface_name(kernel: Kernel, index: int) -> str:
    """The name of an interface."""
    found = kernel.network.interface_numbered(index)
    return found.name.decode("ascii", "replace") if found is not None else "?"


def route(kernel: Kernel) -> bytes:
    """/proc/net/route: the main IPv4 table."""
    lines = [ROUTE_HEAD.ljust(127)]
    for r in kernel.network.routes:
        if r.family == AF_INET and r.table != RT_TABLE_LOCAL:
            mask = (0xFFFFFFFF << (32 - r.prefix) & 0xFFFFFFFF).to_bytes(4, "big")
            flags = RTF_UP | (RTF_GATEWAY if r.gateway else 0)
            words = [
                hex_address(b"\0" * 12 + w, True)
                for w in (r.destination, r.gateway or b"\0" * 4, mask)
            ]
            line = (
                f"{interface_name(kernel, r.index)}\t{words[0]}\t{words[1]}\t{flags:04X}\t0\t0"
                f"\t{r.metric}\t{words[2]}\t0\t0\t0"
            )
            lines.append(line.ljust(127))
    return ("\n".join(lines) + "\n").encode()


def if_inet6(kernel: Kernel) -> bytes:
    """/proc/net/if_inet6."""
    lines: list[str] = []
    for i in kernel.network.interfaces:
        for a in i.addresses:
            if a.family == AF_INET6:
                scope = 0x10 if a.scope == 254 else 0x20 if a.scope == 253 else 0
                name = i.name.decode("ascii", "replace")
                lines.append(
                    f"{a.ip.hex()} {i.index:02x} {a.prefix:02x} {scope:02x} 80 {name:>8}\n"
                )
    return "".join(lines).encode()


def ipv6_route(kernel: Kernel) -> bytes:
    """/proc/net/ipv6_route."""
    lines = [route6_line(kernel, r) for r in kernel.network.routes if r.family == AF_INET6]
    return "".join(lines).encode()


def route6_line(kernel: Kernel, r: Route) -> str:
    """One IPv6 route."""
    flags = RTF_UP | (RTF_GATEWAY if r.gateway else 0)
    if r.table == RT_TABLE_LOCAL:
        flags |= RTF_LOCAL
    gateway = (r.gateway or b"\0" * 16).hex()
    name = interface_name(kernel, r.index)
    return (
        f"{r.destination.hex()} {r.prefix:02x} {'0' * 32} 00 {gateway} {r.metric:08x} "
        f"00000002 00000000 {flags:08x} {name:>8}\n"
    )


def arp(kernel: Kernel) -> bytes:
    """/proc/net/arp: nobody is near."""
    return b"IP address       HW type     Flags       HW address            Mask     Device\n"


def netlink(kernel: Kernel) -> bytes:
    """/proc/net/netlink."""
    lines = [NETLINK_HEAD]
    for s in kernel.network.sockets.values():
        if isinstance(s, NetlinkSocket) and s.port:
            inode = s.inode.ino if s.inode is not None else 0
            lines.append(
                f"{0:016x} {s.protocol:<3d} {s.port:<10d} {s.groups:08x} {0:<8d} {0:<8d} "
                f"{0:<5d} {2:<8d} {0:<8d} {inode:<8d}\n"
            )
    return "".join(lines).encode()


def packet(kernel: Kernel) -> bytes:
    """/proc/net/packet."""
    return b"sk       RefCnt Type Proto  Iface R Rmem   User   Inode\n"


def raw(kernel: Kernel) -> bytes:
    """/proc/net/raw."""
    return (TCP_HEAD + " ref pointer drops\n").encode()


def raw6(kernel: Kernel) -> bytes:
    """/proc/net/raw6."""
    return (UDP6_HEAD + "\n").encode()


def igmp(kernel: Kernel) -> bytes:
    """/proc/net/igmp."""
    return b"Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter\n"


def sockstat(kernel: Kernel) -> bytes:
    """/proc/net/sockstat."""
    count = len(kernel.network.sockets)
    streams = len(sockets_of(kernel, AF_INET, SOCK_STREAM))
    datagrams = len(sockets_of(kernel, AF_INET, SOCK_DGRAM))
    return (
        f"sockets: used {count}\nTCP: inuse {streams} orphan 0 tw 0 alloc {streams} mem 0\n"
        f"UDP: inuse {datagrams} mem 0\nUDPLITE: inuse 0\nRAW: inuse 0\n"
        "FRAG: inuse 0 memory 0\n"
    ).encode()


def sockstat6(kernel: Kernel) -> bytes:
    """/proc/net/sockstat6."""
    streams = len(sockets_of(kernel, AF_INET6, SOCK_STREAM))
    datagrams = len(sockets_of(kernel, AF_INET6, SOCK_DGRAM))
    return (
        f"TCP6: inuse {streams}\nUDP6: inuse {datagrams}\nUDPLITE6: inuse 0\n"
        "RAW6: inuse 0\nFRAG6: inuse 0 memory 0\n"
    ).encode()


SNMP: Final = {
    "Ip": "Forwarding DefaultTTL InReceives InHdrErrors InAddrErrors ForwDatagrams InUnknownProtos"
    " InDiscards InDelivers OutRequests OutDiscards OutNoRoutes ReasmTimeout ReasmReqds"
    " ReasmOKs ReasmFails FragOKs FragFails FragCreates",
    "Icmp": "InMsgs InErrors InCsumErrors InDestUnreachs OutMsgs OutErrors OutDestUnreachs",
    "Tcp": "RtoAlgorithm RtoMin RtoMax MaxConn ActiveOpens PassiveOpens AttemptFails EstabResets"
    " CurrEstab InSegs OutSegs RetransSegs InErrs OutRsts InCsumErrors",
    "Udp": "InDatagrams NoPorts InErrors OutDatagrams RcvbufErrors SndbufErrors InCsumErrors"
    " IgnoredMulti MemErrors",
}


def snmp(kernel: Kernel) -> bytes:
    """/proc/net/snmp: the usual counters, all zero."""
    return counters(SNMP)


def netstat(kernel: Kernel) -> bytes:
    """/proc/net/netstat."""
    return counters(
        {
            "TcpExt": "SyncookiesSent SyncookiesRecv ListenOverflows ListenDrops",
            "IpExt": "InNoRoutes InOctets OutOctets",
        }
    )


def counters(groups: dict[str, str]) -> bytes:
    """Two lines per group: names and zeros."""
    lines: list[str] = []
    for name, fields in groups.items():
        zeros = " ".join("0" for _ in fields.split())
        lines.append(f"{name}: {fields}\n{name}: {zeros}\n")
    return "".join(lines).encode()


FILES: Final[list[tuple[str, Callable[[Kernel], bytes]]]] = [
    ("tcp", tcp),
    ("tcp6", tcp6),
    ("udp", udp),
    ("udp6", udp6),
    ("unix", unix),
    ("dev", dev),
    ("route", route),
    ("if_inet6", if_inet6),
    ("ipv6_route", ipv6_route),
    ("arp", arp),
    ("netlink", netlink),
    ("packet", packet),
    ("raw", raw),
    ("raw6", raw6),
    ("sockstat", sockstat),
    ("sockstat6", sockstat6),
    ("snmp", snmp),
    ("netstat", netstat),
    ("igmp", igmp),
]
"""Every file of /proc/net."""
