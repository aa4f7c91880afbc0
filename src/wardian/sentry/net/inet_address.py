"""Internet addresses (ip(7), ipv6(7)).

Inside, every address is 16 bytes: an IPv4 address is its v4-mapped form, so that one table serves
both families.
"""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import EAFNOSUPPORT, EINVAL
from wardian.sentry.net.constants import AF_INET, AF_INET6

SOCKADDR_IN: Final = struct.Struct("<HBB4s8x")
SOCKADDR_IN6: Final = struct.Struct("<HBBI16sI")
SOCKADDR_IN6_MIN: Final = 24  # before RFC 2553 there was no scope id

MAPPED: Final = b"\0" * 10 + b"\xff\xff"
ANY6: Final = b"\0" * 16
ANY4: Final = MAPPED + b"\0\0\0\0"
LOOPBACK4: Final = MAPPED + b"\x7f\0\0\x01"
LOOPBACK6: Final = b"\0" * 15 + b"\x01"


class InetAddress:
    """An address and a port, and the scope of link-local addresses."""

    def __init__(self, ip: bytes, port: int, scope: int = 0) -> None:
        self.ip = ip
        self.port = port
        self.scope = scope


def is_v4(ip: bytes) -> bool:
    """True for v4-mapped addresses."""
    return ip.startswith(MAPPED)


def is_any(ip: bytes) -> bool:
    """True for the two wildcards."""
    return ip in (ANY6, ANY4)


def is_loopback(ip: bytes) -> bool:
    """True for ::1 and 127/8."""
    return ip == LOOPBACK6 or (ip.startswith(MAPPED) and ip[12] == 127)


def is_multicast(ip: bytes) -> bool:
    """True for ff00::/8 and 224/4."""
    if ip.startswith(MAPPED):
        return ip[12] & 0xF0 == 0xE0
    return ip[0] == 0xFF


def parse(family: int, raw: bytes) -> InetAddress:
    """A sockaddr for a socket of ``family``; EINVAL when short, EAFNOSUPPORT for another family."""
    if len(raw) < 2:
        raise EINVAL("address without family")
    given = raw[0] | raw[1] << 8
    if family == AF_INET:
        if len(raw) < SOCKADDR_IN.size:
            raise EINVAL("short sockaddr_in")
        if given != AF_INET and not (given == 0 and raw[4:8] == b"\0\0\0\0"):
            raise EAFNOSUPPORT("not a sockaddr_in")
        return InetAddress(MAPPED + raw[4:8], raw[2] << 8 | raw[3])
    if given == AF_INET6:
        if len(raw) < SOCKADDR_IN6_MIN:
            raise EINVAL("short sockaddr_in6")
        scope = int.from_bytes(raw[24:28], "little") if len(raw) >= SOCKADDR_IN6.size else 0
        return InetAddress(raw[8:24], raw[2] << 8 | raw[3], scope)
    if len(raw) < SOCKADDR_IN6_MIN:
        raise EINVAL("short sockaddr_in6")
    raise EAFNOSUPPORT("not a sockaddr_in6")


def pack(family: int, ip: bytes, port: int, scope: int = 0) -> bytes:
    """The sockaddr a socket of ``family`` is shown."""
    if family == AF_INET:
        return SOCKADDR_IN.pack(AF_INET, port >> 8, port & 255, ip[12:16])
    return SOCKADDR_IN6.pack(AF_INET6, port >> 8, port & 255, 0, ip, scope)


def overlap(a: bytes, a_v6only: bool, b: bytes, b_v6only: bool) -> bool:
    """True when some packet could be for both bound addresses."""
    return covers(a, a_v6only, b) or covers(b, b_v6only, a)


def covers(bound: bytes, v6only: bool, ip: bytes) -> bool:
    """True when a socket bound to ``bound`` receives what is sent to ``ip``."""
    if bound == ip:
        return True
    if bound == ANY6:
        return not (v6only and ip.startswith(MAPPED))
    return bound == ANY4 and ip.startswith(MAPPED)
