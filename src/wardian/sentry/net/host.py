"""``--network=host``: TCP and UDP through non-blocking host sockets of the Sentry.

Nothing the guest says reaches the host unchecked: families, types, addresses, flags and options are
parsed here and passed on from a short list. Readiness comes from the :class:`HostPoller`,
edge-triggered: an operation is tried first. The Sentry's own filter allows the plain calls only, so
there are no control messages.
"""

from __future__ import annotations

import ipaddress
import socket as hostsocket
from typing import TYPE_CHECKING, Any, Final

from wardian.platform.hostfds import MOST
from wardian.sentry.errno import (
    EACCES,
    EDESTADDRREQ,
    EINPROGRESS,
    EINVAL,
    ENETUNREACH,
    ENFILE,
    ENOPROTOOPT,
    EOPNOTSUPP,
    WOULD_BLOCK,
    LinuxError,
    from_os_error,
)
from wardian.sentry.net.constants import (
    AF_INET,
    AF_INET6,
    AF_UNSPEC,
    IP_MTU,
    IP_MTU_DISCOVER,
    IP_MULTICAST_LOOP,
    IP_MULTICAST_TTL,
    IP_TOS,
    IP_TTL,
    IPPROTO_IP,
    IPPROTO_IPV6,
    IPPROTO_TCP,
    IPPROTO_UDP,
    IPV6_MULTICAST_HOPS,
    IPV6_MULTICAST_LOOP,
    IPV6_TCLASS,
    IPV6_UNICAST_HOPS,
    IPV6_V6ONLY,
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_MORE,
    MSG_NOSIGNAL,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SO_BROADCAST,
    SO_ERROR,
    SO_KEEPALIVE,
    SO_LINGER,
    SO_OOBINLINE,
    SO_RCVBUF,
    SO_RCVLOWAT,
    SO_REUSEADDR,
    SO_REUSEPORT,
    SO_SNDBUF,
    SOCK_STREAM,
    SOL_SOCKET,
    TCP_CONGESTION,
    TCP_CORK,
    TCP_DEFER_ACCEPT,
    TCP_INFO,
    TCP_KEEPCNT,
    TCP_KEEPIDLE,
    TCP_KEEPINTVL,
    TCP_LINGER2,
    TCP_MAXSEG,
    TCP_NODELAY,
    TCP_NOTSENT_LOWAT,
    TCP_QUICKACK,
    TCP_SYNCNT,
    TCP_USER_TIMEOUT,
)
from wardian.sentry.net.host_interfaces import HostNetwork
from wardian.sentry.net.inet import CAP_NET_BIND_SERVICE
from wardian.sentry.net.inet_address import InetAddress, is_v4, pack, parse
from wardian.sentry.net.inet_options import KNOWN, key
from wardian.sentry.net.options import INT, LINGER, int_or_byte
from wardian.sentry.net.socket import (
    Incoming,
    Outgoing,
    Socket,
    put_packet,
    shutdown_bits,
)
from wardian.sentry.net.stack import NetworkStack, check_inet_protocol
from wardian.sentry.net.unix_address import family_of
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLPRI,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRNORM,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

PIECE: Final = 1 << 18
"""The most bytes moved in one host call."""

DATAGRAM_MAX: Final = 65536
POLL_EVENTS: Final = POLLIN | POLLPRI | POLLOUT | POLLRDHUP
SEND_FLAGS: Final = MSG_OOB | MSG_MORE
ALWAYS: Final = MSG_DONTWAIT | MSG_NOSIGNAL

PASSED_ON: Final = frozenset(
    {
        key(SOL_SOCKET, SO_REUSEADDR),
        key(SOL_SOCKET, SO_REUSEPORT),
        key(SOL_SOCKET, SO_KEEPALIVE),
        key(SOL_SOCKET, SO_BROADCAST),
        key(SOL_SOCKET, SO_OOBINLINE),
        key(SOL_SOCKET, SO_SNDBUF),
        key(SOL_SOCKET, SO_RCVBUF),
        key(SOL_SOCKET, SO_RCVLOWAT),
        key(IPPROTO_TCP, TCP_NODELAY),
        key(IPPROTO_TCP, TCP_CORK),
        key(IPPROTO_TCP, TCP_KEEPIDLE),
        key(IPPROTO_TCP, TCP_KEEPINTVL),
        key(IPPROTO_TCP, TCP_KEEPCNT),
        key(IPPROTO_TCP, TCP_SYNCNT),
        key(IPPROTO_TCP, TCP_LINGER2),
        key(IPPROTO_TCP, TCP_DEFER_ACCEPT),
        key(IPPROTO_TCP, TCP_QUICKACK),
        key(IPPROTO_TCP, TCP_USER_TIMEOUT),
        key(IPPROTO_TCP, TCP_MAXSEG),
        key(IPPROTO_TCP, TCP_NOTSENT_LOWAT),
        key(IPPROTO_IP, IP_TOS),
        key(IPPROTO_IP, IP_TTL),
        key(IPPROTO_IP, IP_MTU_DISCOVER),
        key(IPPROTO_IP, IP_MULTICAST_TTL),
        key(IPPROTO_IP, IP_MULTICAST_LOOP),
        key(IPPROTO_IPV6, IPV6_V6ONLY),
        key(IPPROTO_IPV6, IPV6_UNICAST_HOPS),
        key(IPPROTO_IPV6, IPV6_TCLASS),
        key(IPPROTO_IPV6, IPV6_MULTICAST_HOPS),
        key(IPPROTO_IPV6, IPV6_MULTICAST_LOOP),
    }
)
"""Options whose int goes to the host; the other known ones are remembered here without effect."""

ASKED: Final = PASSED_ON | {key(SOL_SOCKET, SO_ERROR), key(IPPROTO_IP, IP_MTU)}
"""Options whose int comes from the host."""


def host_address(where: InetAddress, family: int) -> tuple[Any, ...]:
    """An address as Python's socket module takes it: always numeric, so nothing is looked up."""
    if family == AF_INET:
        return (str(ipaddress.IPv4Address(where.ip[12:])), where.port)
    text = hostsocket.inet_ntop(hostsocket.AF_INET6, where.ip)
    return (text, where.port, 0, where.scope)


def raw_address(family: int, name: Any) -> bytes:
    """A sockaddr from what Python's socket module returns."""
    if not name:
        return b""
    if family == AF_INET:
        ip = b"\0" * 10 + b"\xff\xff" + hostsocket.inet_pton(hostsocket.AF_INET, name[0])
        return pack(family, ip, name[1])
    ip = hostsocket.inet_pton(hostsocket.AF_INET6, name[0].split("%")[0])
    return pack(family, ip, name[1], name[3] if len(name) > 3 else 0)


class HostSocket(Socket):
    """A guest's TCP or UDP socket in front of a host socket."""

    def __init__(
        self,
        stack: NetworkStack,
        family: int,
        kind: int,
        protocol: int,
        uid: int,
        gid: int,
        host: hostsocket.socket,
    ) -> None:
        super().__init__(stack, family, kind, protocol, uid, gid)
        self.host = host
        self.descriptor = host.fileno()
        self.queue = stack.kernel.poller.watch(self.descriptor, POLL_EVENTS)
        self.disconnected = False  # UDP after connect(2) with AF_UNSPEC
        self.numbers: dict[int, int] = {}

    def is_stream(self) -> bool:
        return self.kind == SOCK_STREAM

    # -- names and connections -----------------------------------------------------------------
    def bind(self, task: Task, address: bytes) -> None:
        where = parse(self.family, address)
        privileged = 0 < where.port < self.stack.first_unprivileged_port
        if privileged and not task.credentials.has_cap(CAP_NET_BIND_SERVICE):
            raise EACCES("privileged port")
        try:
            self.host.bind(host_address(where, self.family))
        except OSError as e:
            raise from_os_error(e) from None

    def listen(self, task: Task, backlog: int) -> None:
        try:
            self.host.listen(min(max(backlog, 0), 4096))
        except OSError as e:
            raise from_os_error(e) from None
        self.listening = True

    def accept(self, task: Task) -> Socket | None:
        try:
            host, _ = self.host.accept()
        except BlockingIOError:
            return None
        except OSError as e:
            raise from_os_error(e) from None
        check_room(host)
        new = HostSocket(self.stack, self.family, self.kind, self.protocol, self.uid, 0, host)
        new.options = self.options.copy()
        new.numbers = dict(self.numbers)
        return new

    def connect(self, task: Task, address: bytes) -> int:
        if family_of(address) == AF_UNSPEC:
            if self.is_stream():
                raise EOPNOTSUPP("a host connection cannot be undone")
            self.disconnected = True
            return 0
        where = parse(self.family, address)
        try:
            self.host.connect(host_address(where, self.family))
        except BlockingIOError as e:  # EINPROGRESS, or EALREADY when it is called again
            if self.nonblocking:
                raise from_os_error(e) from None
            return WOULD_BLOCK
        except OSError as e:
            raise from_os_error(e) from None
        self.disconnected = False
        return 0

    def connect_timed_out(self) -> LinuxError:
        return EINPROGRESS("still connecting")

    def local_name(self) -> bytes:
        try:
            return raw_address(self.family, self.host.getsockname())
        except OSError as e:
            raise from_os_error(e) from None

    def peer_name(self) -> bytes:
        try:
            return raw_address(self.family, self.host.getpeername())
        except OSError as e:
            raise from_os_error(e) from None

    # -- data ------------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        if self.error:
            self.raise_error()
        host_flags = flags & SEND_FLAGS | ALWAYS
        if not self.is_stream():
            return self.send_datagram(source, host_flags, out)
        total = 0
        while source.left > 0:
            data = source.take(min(source.left, PIECE))
            try:
                sent = self.host.send(data, host_flags)
            except BlockingIOError:
                source.give_back(len(data))
                return total if total else WOULD_BLOCK
            except OSError as e:
                source.give_back(len(data))
                if total:
                    return total
                raise from_os_error(e) from None
            total += sent
            if sent < len(data):
                source.give_back(len(data) - sent)
                return total
        return total

    def send_datagram(self, source: Source, flags: int, out: Outgoing | None) -> int:
        """One UDP datagram."""
        if source.left > DATAGRAM_MAX:
            raise from_os_error(OSError(90, "datagram too long"))
        name: tuple[Any, ...] | None = None
        if out is not None and out.address:
            name = self.destination(out.address)
        elif self.disconnected:
            raise EDESTADDRREQ("no destination")
        count = source.left
        data = source.take(count)
        if count and not data:
            return 0  # the file that they come from (sendfile(2)) has ended before
        try:
            if name is None:
                self.host.send(data, flags)
            else:
                self.host.sendto(data, flags, name)
        except BlockingIOError:
            source.give_back(len(data))
            return WOULD_BLOCK
        except OSError as e:
            raise from_os_error(e) from None
        return len(data)

    def destination(self, raw: bytes) -> tuple[Any, ...]:
        """Where a datagram goes."""
        where = parse(self.family, raw)
        if where.port == 0:
            raise EINVAL("port 0")
        if self.family == AF_INET6 and is_v4(where.ip) and self.number(IPPROTO_IPV6, IPV6_V6ONLY):
            raise ENETUNREACH("IPv4 address on an IPV6_V6ONLY socket")
        return host_address(where, self.family)

    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        if flags & MSG_ERRQUEUE:
            return WOULD_BLOCK
        if self.error:
            self.raise_error()
        host_flags = flags & (MSG_PEEK | MSG_OOB) | MSG_DONTWAIT
        try:
            if not self.is_stream():
                return self.recv_datagram(sink, flags, host_flags, into)
            data = self.host.recv(min(sink.left, PIECE), host_flags)
        except BlockingIOError:
            return WOULD_BLOCK
        except OSError as e:
            raise from_os_error(e) from None
        if flags & MSG_TRUNC:
            return len(data)
        return sink.put(data) if data else 0

    def recv_datagram(self, sink: Sink, flags: int, host_flags: int, into: Incoming | None) -> int:
        """One UDP datagram, cut to what fits."""
        data, name = self.host.recvfrom(DATAGRAM_MAX, host_flags)
        room = sink.left
        taken = put_packet(sink, data)
        if into is not None:
            into.address = raw_address(self.family, name)
            if len(data) > room:
                into.flags |= MSG_TRUNC
        return len(data) if flags & MSG_TRUNC else taken

    def shutdown(self, how: int) -> None:
        bits = shutdown_bits(how)
        try:
            self.host.shutdown(how)
        except OSError as e:
            raise from_os_error(e) from None
        finally:
            self.shut |= bits & (RCV_SHUTDOWN | SEND_SHUTDOWN)

    def poll(self) -> int:
        mask = self.stack.kernel.poller.ready(self.descriptor, POLL_EVENTS | POLLERR | POLLHUP)
        if mask & POLLIN:
            mask |= POLLRDNORM
        if mask & POLLOUT:
            mask |= POLLWRNORM
        if self.error:
            mask |= POLLERR
        return mask

    # -- options -----------------------------------------------------------------------------------
    def number(self, level: int, name: int) -> int:
        """What the guest set, or the default."""
        k = key(level, name)
        found = self.numbers.get(k)
        return found if found is not None else KNOWN[k][0]

    def setsockopt(self, task: Task, level: int, name: int, value: bytes) -> None:
        k = key(level, name)
        if level == SOL_SOCKET:
            self.options.set(self, task, name, value)  # every check is made there
            if name == SO_LINGER:
                self.pass_on(level, name, LINGER.pack(*LINGER.unpack_from(value)))
            elif k in PASSED_ON:
                self.pass_on(level, name, value[:4])
            return
        if level == IPPROTO_TCP and name == TCP_CONGESTION and self.is_stream():
            self.pass_on(level, name, value[:15].split(b"\0")[0])
            return
        if k not in KNOWN or not self.allows_level(level):
            raise ENOPROTOOPT(f"option {name} of level {level}")
        number = int_or_byte(value)
        if k in PASSED_ON:
            self.pass_on(level, name, INT.pack(number))
        self.numbers[k] = number

    def pass_on(self, level: int, name: int, value: bytes) -> None:
        """Set an option of the host socket."""
        try:
            self.host.setsockopt(level, name, value)
        except OSError as e:
            raise from_os_error(e) from None

    def getsockopt(self, task: Task, level: int, name: int, length: int) -> bytes:
        k = key(level, name)
        try:
            if k in ASKED:
                return INT.pack(self.host.getsockopt(level, name))
            if level == IPPROTO_TCP and self.is_stream() and name in (TCP_INFO, TCP_CONGESTION):
                return self.host.getsockopt(level, name, min(max(length, 1), 256))
        except OSError as e:
            raise from_os_error(e) from None
        if level == SOL_SOCKET:
            return self.options.get(self, task, name, length)
        if k not in KNOWN or not self.allows_level(level):
            raise ENOPROTOOPT(f"option {name} of level {level}")
        return INT.pack(self.number(level, name))

    def allows_level(self, level: int) -> bool:
        """True for the levels this socket has."""
        if level == IPPROTO_IPV6:
            return self.family == AF_INET6
        return level in (IPPROTO_IP, IPPROTO_TCP if self.is_stream() else IPPROTO_UDP)

    # -- the rest --------------------------------------------------------------------------------
    def unread_bytes(self) -> int:
        if self.listening:
            raise EINVAL("listening")
        try:
            data = self.host.recv(DATAGRAM_MAX, MSG_PEEK | MSG_DONTWAIT)
        except OSError:
            return 0
        return len(data)

    def unsent_bytes(self) -> int:
        if self.listening:
            raise EINVAL("listening")
        return 0

    def release(self) -> None:
        super().release()
        self.stack.kernel.poller.forget(self.descriptor)
        try:
            self.host.close()
        except OSError:
            pass  # an error of an earlier operation, nobody is left to tell


def check_room(host: hostsocket.socket) -> None:
    """ENFILE, and ``host`` closed, when only the descriptors that we keep are left."""
    if host.fileno() >= MOST:
        host.close()
        raise ENFILE("the Sentry is out of descriptors")


class HostNetworkStack(NetworkStack):
    """The sandbox's network is the host's; AF_UNIX and AF_NETLINK stay inside."""

    def __init__(self, kernel: Kernel, known: HostNetwork) -> None:
        super().__init__(kernel)
        self.interfaces = known.interfaces
        self.addresses_changed()
        self.routes.extend(known.routes)

    def inet_socket(self, task: Task, family: int, kind: int, protocol: int) -> Socket:
        check_inet_protocol(kind, protocol)
        number = IPPROTO_TCP if kind == SOCK_STREAM else IPPROTO_UDP
        try:
            host = hostsocket.socket(
                family, kind | hostsocket.SOCK_NONBLOCK | hostsocket.SOCK_CLOEXEC, 0
            )
        except OSError as e:
            raise from_os_error(e) from None
        check_room(host)
        uid, gid = task.credentials.fsuid, task.credentials.fsgid
        return HostSocket(self, family, kind, number, uid, gid, host)
