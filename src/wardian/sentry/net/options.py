"""SOL_SOCKET options that every family shares (socket(7), net/core/sock.c)."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EDOM,
    EINVAL,
    ENODATA,
    ENODEV,
    ENOPROTOOPT,
    EOPNOTSUPP,
    EPERM,
    ERANGE,
)
from wardian.sentry.net.constants import (
    AF_NETLINK,
    AF_UNIX,
    DEFAULT_BUFFER,
    MIN_RCVBUF,
    MIN_SNDBUF,
    SO_ACCEPTCONN,
    SO_ATTACH_FILTER,
    SO_BINDTODEVICE,
    SO_BROADCAST,
    SO_BUSY_POLL,
    SO_COOKIE,
    SO_DEBUG,
    SO_DETACH_FILTER,
    SO_DOMAIN,
    SO_DONTROUTE,
    SO_ERROR,
    SO_INCOMING_CPU,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_LOCK_FILTER,
    SO_MARK,
    SO_MAX_PACING_RATE,
    SO_NO_CHECK,
    SO_OOBINLINE,
    SO_PASSCRED,
    SO_PASSSEC,
    SO_PEEK_OFF,
    SO_PEERCRED,
    SO_PEERGROUPS,
    SO_PEERSEC,
    SO_PREFER_BUSY_POLL,
    SO_PRIORITY,
    SO_PROTOCOL,
    SO_RCVBUF,
    SO_RCVBUFFORCE,
    SO_RCVLOWAT,
    SO_RCVTIMEO,
    SO_RCVTIMEO_NEW,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_RXQ_OVFL,
    SO_SNDBUF,
    SO_SNDBUFFORCE,
    SO_SNDLOWAT,
    SO_SNDTIMEO,
    SO_SNDTIMEO_NEW,
    SO_TIMESTAMP,
    SO_TIMESTAMPING,
    SO_TIMESTAMPNS,
    SO_TYPE,
    SO_ZEROCOPY,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.socket import Socket

INT: Final = struct.Struct("<i")
LINGER: Final = struct.Struct("<ii")
TIMEVAL: Final = struct.Struct("<qq")
UCRED: Final = struct.Struct("<iII")
U64: Final = struct.Struct("<Q")

CAP_NET_ADMIN: Final = 12
CAP_NET_RAW: Final = 13
IFNAMSIZ: Final = 16
TIMEOUT_LIMIT_S: Final = 1 << 33

# Kept and shown again, without further effect here.
REMEMBERED: Final = frozenset(
    {
        SO_DEBUG,
        SO_DONTROUTE,
        SO_NO_CHECK,
        SO_PRIORITY,
        SO_TIMESTAMP,
        SO_TIMESTAMPNS,
        SO_TIMESTAMPING,
        SO_RXQ_OVFL,
        SO_BUSY_POLL,
        SO_PREFER_BUSY_POLL,
        SO_MAX_PACING_RATE,
        SO_INCOMING_CPU,
        SO_PASSSEC,
        SO_LOCK_FILTER,
        SO_ZEROCOPY,
        SO_MARK,
        SO_OOBINLINE,
    }
)


def int_of(value: bytes) -> int:
    """An option's C int; EINVAL when it is too short."""
    if len(value) < 4:
        raise EINVAL("option value shorter than int")
    return int(INT.unpack_from(value)[0])


def int_or_byte(value: bytes) -> int:
    """An IP-level option, which may be an int or one byte; EINVAL when empty."""
    if len(value) >= 4:
        return int(INT.unpack_from(value)[0])
    if value:
        return value[0]
    raise EINVAL("option value is empty")


class SocketOptions:
    """The values; what is read on hot paths has its own attribute."""

    def __init__(self) -> None:
        self.reuse_address = False
        self.reuse_port = False
        self.broadcast = False
        self.keepalive = False
        self.passcred = False
        self.linger_on = False
        self.linger_s = 0
        self.sndbuf = DEFAULT_BUFFER
        self.rcvbuf = DEFAULT_BUFFER
        self.rcvlowat = 1
        self.peek_offset = -1
        self.send_timeout_ns = -1
        self.receive_timeout_ns = -1
        self.device = b""
        self.others: dict[int, int] = {}

    def taken(self, count: int) -> None:
        """Bytes are gone that SO_PEEK_OFF counted from (sk_peek_offset_bwd())."""
        if self.peek_offset > 0:
            self.peek_offset = max(0, self.peek_offset - count)

    def copy(self) -> SocketOptions:
        """What an accepted socket inherits."""
        o = SocketOptions()
        o.reuse_address = self.reuse_address
        o.reuse_port = self.reuse_port
        o.broadcast = self.broadcast
        o.keepalive = self.keepalive
        o.passcred = self.passcred
        o.linger_on = self.linger_on
        o.linger_s = self.linger_s
        o.sndbuf = self.sndbuf
        o.rcvbuf = self.rcvbuf
        o.rcvlowat = self.rcvlowat
        o.send_timeout_ns = self.send_timeout_ns
        o.receive_timeout_ns = self.receive_timeout_ns
        o.device = self.device
        o.others = dict(self.others)
        return o

    # -- set --------------------------------------------------------------------------------------
    def set(self, socket: Socket, task: Task, name: int, value: bytes) -> None:
        """setsockopt(2) at SOL_SOCKET."""
        if name == SO_BINDTODEVICE:
            self.set_device(socket, value)
            return
        number = int_of(value)
        if name == SO_LINGER:
            self.set_linger(value)
        elif name in (SO_SNDBUF, SO_RCVBUF, SO_SNDBUFFORCE, SO_RCVBUFFORCE):
            self.set_buffer(socket, task, name, number)
        elif name in (SO_RCVTIMEO, SO_RCVTIMEO_NEW):
            self.receive_timeout_ns = timeout_of(value)
        elif name in (SO_SNDTIMEO, SO_SNDTIMEO_NEW):
            self.send_timeout_ns = timeout_of(value)
        elif name in REMEMBERED:
            self.remember(task, name, number)
        else:
            self.set_int(socket, name, number)

    def set_int(self, socket: Socket, name: int, number: int) -> None:
        """The options that are one int."""
        if name == SO_REUSEADDR:
            self.reuse_address = number != 0
        elif name == SO_REUSEPORT:
            if not socket.is_inet:
                raise EOPNOTSUPP("SO_REUSEPORT is for AF_INET and AF_INET6")
            self.reuse_port = number != 0
        elif name == SO_KEEPALIVE:
            self.keepalive = number != 0
        elif name == SO_BROADCAST:
            self.broadcast = number != 0
        elif name == SO_PASSCRED:
            check_passes_credentials(socket)
            self.passcred = number != 0
        elif name == SO_RCVLOWAT:
            self.rcvlowat = max(1, number if number >= 0 else 0x7FFFFFFF)
        elif name == SO_PEEK_OFF:
            self.peek_offset = number
        elif name in (SO_ATTACH_FILTER, SO_DETACH_FILTER):
            raise ENOPROTOOPT("no socket filters here")
        else:
            raise ENOPROTOOPT(f"SOL_SOCKET option {name}")

    def set_linger(self, value: bytes) -> None:
        """SO_LINGER; switched off, the seconds stay."""
        if len(value) < LINGER.size:
            raise EINVAL("SO_LINGER needs struct linger")
        on, seconds = LINGER.unpack_from(value)
        self.linger_on = on != 0
        if on:
            self.linger_s = seconds

    def remember(self, task: Task, name: int, number: int) -> None:
        """Options without effect, with the checks Linux makes."""
        if name == SO_MARK and not task.credentials.has_cap(CAP_NET_ADMIN):
            raise EPERM("SO_MARK needs CAP_NET_ADMIN")
        if (
            name == SO_PRIORITY
            and not 0 <= number <= 6
            and not task.credentials.has_cap(CAP_NET_ADMIN)
        ):
            raise EPERM("priority above 6")
        if name == SO_ZEROCOPY and not 0 <= number <= 1:
            raise EINVAL("SO_ZEROCOPY is 0 or 1")
        self.others[name] = number

    def set_buffer(self, socket: Socket, task: Task, name: int, number: int) -> None:
        """Sizes are doubled for bookkeeping, as socket(7) says, and bounded."""
        if name in (SO_SNDBUFFORCE, SO_RCVBUFFORCE) and not task.credentials.has_cap(CAP_NET_ADMIN):
            raise EPERM("needs CAP_NET_ADMIN")
        if number < 0:
            number = DEFAULT_BUFFER
        size = min(number, DEFAULT_BUFFER) * 2
        if name in (SO_SNDBUF, SO_SNDBUFFORCE):
            self.sndbuf = max(size, MIN_SNDBUF)
        else:
            self.rcvbuf = max(size, MIN_RCVBUF)
        socket.receive_buffer_changed()

    def set_device(self, socket: Socket, value: bytes) -> None:
        """SO_BINDTODEVICE: accepted for an interface that exists."""
        name = value[: IFNAMSIZ - 1].split(b"\0")[0]
        if name and socket.stack.interface_named(name) is None:
            raise ENODEV("no such interface")
        self.device = name

    # -- get --------------------------------------------------------------------------------------
    def get(self, socket: Socket, task: Task, name: int, length: int) -> bytes:
        """getsockopt(2) at SOL_SOCKET."""
        if name == SO_LINGER:
            return LINGER.pack(1 if self.linger_on else 0, self.linger_s)
        if name in (SO_RCVTIMEO, SO_RCVTIMEO_NEW):
            return timeval_bytes(self.receive_timeout_ns)
        if name in (SO_SNDTIMEO, SO_SNDTIMEO_NEW):
            return timeval_bytes(self.send_timeout_ns)
        if name == SO_PEERCRED:
            peer = socket.peer_ucred()
            return UCRED.pack(peer.pid, peer.uid, peer.gid)
        if name == SO_PEERGROUPS:
            groups = socket.peer_groups()
            if socket.family != AF_UNIX:
                raise ENODATA("no peer credentials")
            if length < 4 * len(groups):
                raise ERANGE("group list does not fit")
            return struct.pack(f"<{len(groups)}I", *groups)
        if name == SO_BINDTODEVICE:
            return self.device + b"\0" if self.device else b""
        if name == SO_COOKIE:
            inode = socket.inode
            return U64.pack(inode.ino if inode is not None else 0)
        if name == SO_PEERSEC:
            raise ENOPROTOOPT("no security module")
        return INT.pack(self.get_int(socket, name))

    def get_int(self, socket: Socket, name: int) -> int:
        """The options that are one int."""
        if name == SO_ERROR:
            return socket.take_error()
        if name == SO_TYPE:
            return socket.kind
        if name == SO_SNDBUF:
            return self.sndbuf
        if name == SO_RCVBUF:
            return self.rcvbuf
        if name == SO_REUSEADDR:
            return int(self.reuse_address)
        if name == SO_REUSEPORT:
            return int(self.reuse_port)
        if name == SO_KEEPALIVE:
            return int(self.keepalive)
        if name == SO_BROADCAST:
            return int(self.broadcast)
        if name == SO_PASSCRED:
            check_passes_credentials(socket)
            return int(self.passcred)
        if name == SO_ACCEPTCONN:
            return int(socket.listening)
        if name == SO_DOMAIN:
            return socket.family
        if name == SO_PROTOCOL:
            return socket.protocol
        if name == SO_RCVLOWAT:
            return self.rcvlowat
        if name == SO_SNDLOWAT:
            return 1
        if name == SO_PEEK_OFF:
            return self.peek_offset
        if name == SO_MAX_PACING_RATE:
            return self.others.get(name, -1)
        if name == SO_INCOMING_CPU:
            return self.others.get(name, 0)
        if name in REMEMBERED:
            return self.others.get(name, 0)
        raise ENOPROTOOPT(f"SOL_SOCKET option {name}")


def check_passes_credentials(socket: Socket) -> None:
    """SO_PASSCRED is for families that have credentials to pass."""
    if socket.family not in (AF_UNIX, AF_NETLINK):
        raise EOPNOTSUPP("no credentials to pass")


def timeout_of(value: bytes) -> int:
    """struct timeval as nanoseconds; -1 for zero, which means no time-out."""
    if len(value) < TIMEVAL.size:
        raise EINVAL("time-outs are struct timeval")
    seconds, micros = TIMEVAL.unpack_from(value)
    if not 0 <= micros < 1_000_000:
        raise EDOM("tv_usec out of range")
    if seconds < 0:
        return 0
    if seconds == 0 and micros == 0:
        return -1
    return int(min(seconds, TIMEOUT_LIMIT_S) * 1_000_000_000 + micros * 1000)


def timeval_bytes(timeout_ns: int) -> bytes:
    """The struct timeval getsockopt(2) shows for a time-out."""
    if timeout_ns < 0:
        return TIMEVAL.pack(0, 0)
    return TIMEVAL.pack(timeout_ns // 1_000_000_000, timeout_ns % 1_000_000_000 // 1000)
