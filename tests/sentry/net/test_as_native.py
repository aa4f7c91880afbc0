"""Scenarios run on this machine's Linux and on the Sentry: results, errors and events agree."""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

import pytest
from socket_support import Guest, c, get, in4, in6, make_guest, room, un

from native import NativeGuest
from wardian.sentry.syscalls import socket as calls

NB = c.SOCK_NONBLOCK
LO6 = bytes(15) + b"\1"
LISTEN_ERR = -22


class Sentry(Guest):
    """A guest whose sockets are all non-blocking, as the native one's are."""

    def __init__(self) -> None:
        super().__init__(make_guest().task)

    def socket(self, family: int, kind: int, protocol: int = 0) -> int:
        return super().socket(family, kind | NB, protocol)

    def pair(self, kind: int = 1) -> tuple[int, int]:
        return super().pair(kind | NB)

    def accept(self, fd: int, flags: int = 0) -> int:
        return super().accept(fd, NB)

    def send(self, fd: int, data: bytes, flags: int = 0, to: bytes | None = None) -> int:
        return super().send(fd, data, flags | c.MSG_NOSIGNAL, to)

    def port(self, fd: int) -> int:
        name = self.name(fd)
        assert isinstance(name, bytes)
        return int.from_bytes(name[2:4], "big")

    def recv_count(self, fd: int, count: int, flags: int) -> int:
        return self.call(calls.recvfrom, fd, room(self.task, count), count, flags, 0, 0)

    def ioctl_int(self, fd: int, command: int) -> int:
        place = room(self.task, 4)
        file = self.task.files.get(fd)
        result = self.call(lambda t: file.ioctl(t, command, place))
        return result if result else int(struct.unpack("<i", get(self.task, place, 4))[0])


Report = list[Any]


class Notes:
    """What a scenario saw, with handles instead of descriptor numbers."""

    def __init__(self, guest: Any) -> None:
        self.guest = guest
        self.seen: Report = []

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method = getattr(self.guest, name)

        def noted(*args: Any) -> Any:
            result = method(*args)
            shown = result
            if name in ("socket", "accept", "pair", "port") and (
                not isinstance(result, int) or result >= 0
            ):
                shown = "ok"
            self.seen.append((name, args[1:] if name != "connect" else (), shown))
            return result

        return noted


def tcp(g: Notes) -> tuple[int, int, int]:
    """(listener, client, server)."""
    listener = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.bind(listener, in4("127.0.0.1", 0))
    g.listen(listener, 1)
    client = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.connect(client, in4("127.0.0.1", g.port(listener)))
    g.poll(listener)
    server = g.accept(listener)
    return listener, client, server


def tcp_life(g: Notes) -> None:
    listener, client, server = tcp(g)
    g.poll(client)
    g.poll(server)
    g.recv(client)
    g.send(client, b"hello")
    g.poll(server)
    g.ioctl_int(server, c.FIONREAD)
    g.recv(server, 2, c.MSG_PEEK)
    g.recv(server, 2)
    g.recv(server)
    g.shutdown(client, c.SHUT_WR)
    g.poll(server)
    g.poll(client)
    g.recv(server)
    g.send(server, b"bye")
    g.recv(client)
    g.close(server)
    g.recv(client)
    g.poll(client)
    g.send(client, b"x")
    g.accept(listener)


def tcp_fresh(g: Notes) -> None:
    s = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.poll(s)
    g.recv(s)
    g.send(s, b"x")
    g.shutdown(s, c.SHUT_WR)
    g.accept(s)
    g.ioctl_int(s, c.FIONREAD)
    g.ioctl_int(s, c.SIOCOUTQ)
    g.listen(s)
    g.poll(s)
    g.recv(s)
    g.send(s, b"x")
    g.ioctl_int(s, c.FIONREAD)
    g.ioctl_int(s, c.SIOCOUTQ)
    g.connect(s, in4("127.0.0.1", 9))


def tcp_refused(g: Notes) -> None:
    probe = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.bind(probe, in4("127.0.0.1", 0))
    port = g.port(probe)
    s = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.connect(s, in4("127.0.0.1", port))
    g.poll(s)
    g.get_int(s, c.SOL_SOCKET, c.SO_ERROR)
    g.get_int(s, c.SOL_SOCKET, c.SO_ERROR)
    g.poll(s)
    g.connect(s, in4("127.0.0.1", port))
    g.connect(s, in4("127.0.0.1", port))
    g.connect(s, in4("127.0.0.1", port))
    g.listen(probe)
    g.connect(s, in4("127.0.0.1", port))
    g.connect(s, in4("127.0.0.1", port))
    g.connect(s, in4("127.0.0.1", port))
    g.poll(s)


def tcp_reset_by_unread_data(g: Notes) -> None:
    _, client, server = tcp(g)
    g.send(client, b"unread")
    g.send(server, b"answer")
    g.close(server)
    g.poll(client)
    g.recv(client)
    g.recv(client)
    g.recv(client)
    g.poll(client)
    g.send(client, b"x")
    g.get_int(client, c.SOL_SOCKET, c.SO_ERROR)


def tcp_linger_zero(g: Notes) -> None:
    _, client, server = tcp(g)
    g.set(server, c.SOL_SOCKET, c.SO_LINGER, struct.pack("<ii", 1, 0))
    g.close(server)
    g.poll(client)
    g.send(client, b"x")
    g.send(client, b"x")
    g.recv(client)


def tcp_write_after_peer_closed(g: Notes) -> None:
    _, client, server = tcp(g)
    g.close(server)
    g.poll(client)
    g.send(client, b"one")
    g.poll(client)
    g.send(client, b"two")
    g.recv(client)
    g.get_int(client, c.SOL_SOCKET, c.SO_ERROR)


def tcp_shutdown_both(g: Notes) -> None:
    _, client, server = tcp(g)
    g.shutdown(client, c.SHUT_RD)
    g.poll(client)
    g.recv(client)
    g.send(server, b"late")
    g.recv(client)
    g.shutdown(client, c.SHUT_RDWR)
    g.poll(client)
    g.poll(server)
    g.send(client, b"x")
    g.recv(server)
    g.shutdown(server, c.SHUT_RDWR)
    g.poll(server)
    g.shutdown(server, c.SHUT_RDWR)
    g.shutdown(server, 7)


def tcp_truncating_flags(g: Notes) -> None:
    _, client, server = tcp(g)
    g.send(client, b"0123456789")
    g.recv_count(server, 4, c.MSG_TRUNC)
    g.recv(server)
    g.recv(server, 10, c.MSG_OOB)
    g.recv(server, 10, c.MSG_ERRQUEUE)
    g.send(client, b"ab!", c.MSG_OOB)
    g.poll(server)
    g.recv(server, 10, c.MSG_OOB)
    g.recv(server, 10, c.MSG_OOB)
    g.recv(server, 10)


def tcp_listener_closed(g: Notes) -> None:
    listener = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.bind(listener, in4("127.0.0.1", 0))
    g.listen(listener, 5)
    client = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.connect(client, in4("127.0.0.1", g.port(listener)))
    g.send(client, b"data")
    g.close(listener)
    g.poll(client)
    g.recv(client)
    g.recv(client)


def tcp_listener_shut_down(g: Notes) -> None:
    listener, _, _ = tcp(g)
    g.shutdown(listener, c.SHUT_RD)
    g.poll(listener)
    g.accept(listener)


def binding(g: Notes) -> None:
    a = g.socket(c.AF_INET, c.SOCK_STREAM)
    b = g.socket(c.AF_INET, c.SOCK_STREAM)
    d = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.bind(a, in4("127.0.0.1", 0))
    port = g.port(a)
    here = in4("127.0.0.1", port)
    g.guest.bind(b, here) == -98 or g.seen.append("not in use")
    for s in (a, b, d):
        g.set(s, c.SOL_SOCKET, c.SO_REUSEADDR, 1)
    g.seen.append(g.guest.bind(b, here))
    g.seen.append(g.guest.bind(b, here))
    g.listen(a)
    g.listen(b)
    g.seen.append(g.guest.bind(d, here))
    g.seen.append(g.guest.bind(d, in4("127.0.0.2", port)))
    e = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.bind(e, in4("1.2.3.4", 0))
    six = g.socket(c.AF_INET6, c.SOCK_STREAM)
    g.seen.append(g.guest.bind(six, in6(bytes(16), port)))
    g.set(six, c.IPPROTO_IPV6, c.IPV6_V6ONLY, 1)
    g.seen.append(g.guest.bind(six, in6(bytes(16), port)))


def reuse_port(g: Notes) -> None:
    a = g.socket(c.AF_INET, c.SOCK_STREAM)
    b = g.socket(c.AF_INET, c.SOCK_STREAM)
    d = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.set(a, c.SOL_SOCKET, c.SO_REUSEPORT, 1)
    g.set(b, c.SOL_SOCKET, c.SO_REUSEPORT, 1)
    g.bind(a, in4("0.0.0.0", 0))
    here = in4("0.0.0.0", g.port(a))
    g.seen.append(g.guest.bind(b, here))
    g.seen.append(g.guest.bind(d, here))
    g.listen(a)
    g.listen(b)


def v6_and_mapped(g: Notes) -> None:
    listener = g.socket(c.AF_INET6, c.SOCK_STREAM)
    g.bind(listener, in6(bytes(16), 0))
    g.listen(listener)
    port = g.port(listener)
    four = g.socket(c.AF_INET, c.SOCK_STREAM)
    g.connect(four, in4("127.0.0.1", port))
    server = g.accept(listener)
    g.send(four, b"four")
    g.recv(server)
    six = g.socket(c.AF_INET6, c.SOCK_STREAM)
    g.connect(six, in6(LO6, port))
    other = g.accept(listener)
    g.send(other, b"six")
    g.recv(six)
    mapped = g.socket(c.AF_INET6, c.SOCK_STREAM)
    g.connect(mapped, in6(bytes(10) + b"\xff\xff\x7f\0\0\1", port))
    g.accept(listener)


def udp(g: Notes) -> None:
    a = g.socket(c.AF_INET, c.SOCK_DGRAM)
    b = g.socket(c.AF_INET, c.SOCK_DGRAM)
    g.poll(a)
    g.send(b, b"x")
    g.bind(b, in4("127.0.0.1", 0))
    g.bind(a, in4("127.0.0.1", 0))
    port = g.port(a)
    g.guest.send(b, b"to you", 0, in4("127.0.0.1", port))
    g.poll(a)
    g.ioctl_int(a, c.FIONREAD)
    g.recv(a, 3, c.MSG_PEEK)
    g.recv_count(a, 3, c.MSG_TRUNC)
    g.recv(a)
    g.guest.send(b, b"", 0, in4("127.0.0.1", port))
    g.poll(a)
    g.recv(a)
    g.connect(b, in4("127.0.0.1", port))
    g.send(b, b"connected")
    g.recv(a)
    g.send(b, bytes(65508))
    g.seen.append(g.guest.send(b, bytes(65507), 0))
    g.close(a)
    g.send(b, b"gone")
    g.poll(b)
    g.recv(b)
    g.poll(b)
    g.send(b, b"gone")
    g.send(b, b"gone")
    g.shutdown(b, c.SHUT_RDWR)
    g.poll(b)
    g.recv(b)
    g.send(b, b"x")
    d = g.socket(c.AF_INET, c.SOCK_DGRAM)
    g.shutdown(d, c.SHUT_WR)
    g.connect(d, in4("127.0.0.1", port))
    g.send(d, b"connected")


def unix_stream(g: Notes) -> None:
    a, b = g.pair()
    g.poll(a)
    g.send(a, b"one")
    g.send(a, b"two")
    g.poll(b)
    g.ioctl_int(b, c.FIONREAD)
    g.recv(b, 4, c.MSG_PEEK)
    g.recv(b, 4)
    g.recv(b)
    g.recv(b)
    g.send(a, b"x", 0, un(b"\0nobody"))
    g.shutdown(a, c.SHUT_WR)
    g.poll(a)
    g.poll(b)
    g.recv(b)
    g.send(a, b"x")
    g.send(b, b"back")
    g.close(b)
    g.poll(a)
    g.recv(a)
    g.recv(a)
    g.send(a, b"x")


def unix_stream_unread(g: Notes) -> None:
    a, b = g.pair()
    g.send(a, b"never read")
    g.close(b)
    g.poll(a)
    g.recv(a)
    g.recv(a)
    g.get_int(a, c.SOL_SOCKET, c.SO_ERROR)


def unix_fresh(g: Notes) -> None:
    for kind in (c.SOCK_STREAM, c.SOCK_DGRAM, c.SOCK_SEQPACKET):
        s = g.socket(c.AF_UNIX, kind)
        g.poll(s)
        g.recv(s)
        g.send(s, b"x")
        g.listen(s)
        g.accept(s)
        g.shutdown(s, c.SHUT_WR)
        g.connect(s, un(b"\0wardian-nobody"))
        g.connect(s, un(b"/nonexistent/path\0"))
        g.connect(s, un(b"/\0"))


def unix_names(g: Notes) -> None:
    name = un(b"\0wardian-test-name")
    listener = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.bind(listener, name)
    g.bind(listener, un(b"\0wardian-other"))
    other = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.bind(other, name)
    g.connect(other, name)
    g.listen(listener, 0)
    g.poll(listener)
    g.connect(other, name)
    g.poll(listener)
    g.poll(other)
    third = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.connect(third, name)
    wrong = g.socket(c.AF_UNIX, c.SOCK_DGRAM)
    g.connect(wrong, name)
    server = g.accept(listener)
    g.send(other, b"hi")
    g.recv(server)
    g.connect(other, name)
    g.close(listener)
    g.send(other, b"still")
    g.recv(server)
    g.connect(third, name)


def unix_listener_closed(g: Notes) -> None:
    name = un(b"\0wardian-test-name2")
    listener = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.bind(listener, name)
    g.listen(listener, 5)
    client = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.connect(client, name)
    g.close(listener)
    g.poll(client)
    g.recv(client)
    g.send(client, b"x")


def unix_seqpacket(g: Notes) -> None:
    a, b = g.pair(c.SOCK_SEQPACKET)
    g.send(a, b"first")
    g.send(a, b"second")
    g.recv(b, 3)
    g.recv_count(b, 3, c.MSG_TRUNC)
    g.recv(b)
    g.send(a, bytes(300000))
    g.close(a)
    g.recv(b)
    g.send(b, b"x")


def unix_dgram(g: Notes) -> None:
    a, b = g.pair(c.SOCK_DGRAM)
    g.send(a, b"first")
    g.send(a, b"")
    g.poll(b)
    g.recv(b)
    g.recv(b)
    g.recv(b)
    g.send(a, bytes(300000))
    g.shutdown(b, c.SHUT_RD)
    g.poll(b)
    g.recv(b)
    g.send(a, b"x")
    g.close(b)
    g.poll(a)
    g.send(a, b"x")
    g.send(a, b"x")
    g.recv(a)


def unix_dgram_named(g: Notes) -> None:
    name = un(b"\0wardian-test-name3")
    server = g.socket(c.AF_UNIX, c.SOCK_DGRAM)
    g.bind(server, name)
    client = g.socket(c.AF_UNIX, c.SOCK_DGRAM)
    for _ in range(13):
        g.send(client, b"x", 0, name)
    g.connect(client, name)
    g.poll(client)
    g.recv(server)
    g.recv(server)
    g.poll(client)
    g.connect(server, name)
    third = g.socket(c.AF_UNIX, c.SOCK_DGRAM)
    g.send(third, b"x", 0, name)
    g.close(server)
    g.send(client, b"x")
    g.send(client, b"x")


def options(g: Notes) -> None:
    kinds = [
        g.socket(c.AF_INET, c.SOCK_STREAM),
        g.socket(c.AF_INET, c.SOCK_DGRAM),
        g.socket(c.AF_INET6, c.SOCK_STREAM),
        g.socket(c.AF_UNIX, c.SOCK_STREAM),
    ]
    for s in kinds:
        for name in (
            c.SO_TYPE,
            c.SO_DOMAIN,
            c.SO_PROTOCOL,
            c.SO_ERROR,
            c.SO_ACCEPTCONN,
            c.SO_REUSEADDR,
            c.SO_KEEPALIVE,
            c.SO_RCVLOWAT,
            c.SO_SNDLOWAT,
            c.SO_PASSCRED,
            c.SO_BROADCAST,
            c.SO_OOBINLINE,
            c.SO_PEEK_OFF,
            c.SO_MARK,
            c.SO_PRIORITY,
            999,
        ):
            g.get(s, c.SOL_SOCKET, name)
        for name in (c.SO_REUSEADDR, c.SO_KEEPALIVE, c.SO_REUSEPORT, c.SO_BROADCAST, 999):
            g.set(s, c.SOL_SOCKET, name, 5)
            g.get(s, c.SOL_SOCKET, name)
        g.set(s, c.SOL_SOCKET, c.SO_REUSEADDR, b"\1")
        g.set(s, c.SOL_SOCKET, c.SO_SNDBUF, 10000)
        g.get(s, c.SOL_SOCKET, c.SO_SNDBUF)
        g.set(s, c.SOL_SOCKET, c.SO_RCVBUF, 1)
        g.get(s, c.SOL_SOCKET, c.SO_RCVBUF)
        g.set(s, c.SOL_SOCKET, c.SO_RCVTIMEO, struct.pack("<qq", 2, 500000))
        g.get(s, c.SOL_SOCKET, c.SO_RCVTIMEO, 16)
        g.set(s, c.SOL_SOCKET, c.SO_RCVTIMEO, struct.pack("<qq", 2, 5000000))
        g.get(s, c.SOL_SOCKET, c.SO_LINGER, 8)
        g.set(s, c.SOL_SOCKET, c.SO_LINGER, b"\1\0\0\0")
        for level, name in (
            (6, c.TCP_NODELAY),
            (6, c.TCP_KEEPIDLE),
            (6, c.TCP_MAXSEG),
            (6, 99),
            (0, c.IP_TTL),
            (0, c.IP_TOS),
            (0, c.IP_PKTINFO),
            (0, c.IP_RECVERR),
            (41, c.IPV6_V6ONLY),
            (41, c.IPV6_RECVPKTINFO),
            (17, 1),
            (77, 1),
        ):
            g.set(s, level, name, 1)
            if name != c.TCP_MAXSEG:
                g.get(s, level, name)
        g.set(s, 0, c.IP_TTL, 0)
        g.set(s, 0, c.IP_TTL, 256)
        g.set(s, 6, c.TCP_KEEPIDLE, 0)
        g.set(s, 6, c.TCP_CONGESTION, b"nonsense")


def kinds_of_socket(g: Notes) -> None:
    for family in (c.AF_UNIX, c.AF_INET, c.AF_INET6):
        for kind in (1, 2, 4, 5, 6, 11):
            for protocol in (0, 1, 6, 17, 58):
                if (kind, protocol) != (2, 1) and (kind, protocol) != (2, 58):
                    g.seen.append((family, kind, protocol))
                    fd = g.socket(family, kind, protocol)
                    if fd >= 0:
                        g.guest.close(fd)
    g.socket(c.AF_NETLINK, 1, 0)
    g.socket(200, 1, 0)
    g.socket(45, 1, 0)


SCENARIOS = [
    tcp_life,
    tcp_fresh,
    tcp_refused,
    tcp_reset_by_unread_data,
    tcp_linger_zero,
    tcp_write_after_peer_closed,
    tcp_shutdown_both,
    tcp_truncating_flags,
    tcp_listener_closed,
    tcp_listener_shut_down,
    binding,
    reuse_port,
    v6_and_mapped,
    udp,
    unix_stream,
    unix_stream_unread,
    unix_fresh,
    unix_names,
    unix_listener_closed,
    unix_seqpacket,
    unix_dgram,
    unix_dgram_named,
    options,
    kinds_of_socket,
]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda s: s.__name__)
def test_the_sentry_answers_as_linux_does(scenario: Callable[[Notes], None]) -> None:
    native = NativeGuest()
    ours, theirs = Notes(Sentry()), Notes(native)
    try:
        scenario(theirs)
    finally:
        native.end()
    scenario(ours)
    assert ours.seen == theirs.seen
