"""Calls that wait: what wakes them, time-outs, backlogs, what a restarted call returns."""

from __future__ import annotations

import os
import struct

import pytest
from socket_support import Guest, c, in4, make_guest, un

from support import PARKED, advance, call, fork, get, host, put, room, run
from wardian.sentry.errno import EIO
from wardian.sentry.mm.usercopy import UserSink, UserSource
from wardian.sentry.syscalls import file, iov
from wardian.sentry.syscalls import socket as calls
from wardian.sentry.syscalls import socket_msg as messages
from wardian.sentry.vfs import io
from wardian.sentry.vfs.buffers import Source


def result(g: Guest) -> int:
    """What the call that was parked returned."""
    run(g.task.kernel)
    return host(g.task).results[-1]


def waiting_recv(g: Guest, fd: int, count: int = 100, flags: int = 0) -> int:
    """Begin a recv that must block; the buffer."""
    place = room(g.task, count)
    assert g.call(calls.recvfrom, fd, place, count, flags, 0, 0) == PARKED
    return place


def test_recv_waits_for_data() -> None:
    g = make_guest()
    a, b = g.pair()
    peer = Guest(fork(g.task))
    place = waiting_recv(g, b)
    peer.send(a, b"hello")
    assert result(g) == 5
    assert get(g.task, place, 5) == b"hello"


def test_recv_ends_when_the_peer_closes() -> None:
    g = make_guest()
    client, server = g.tcp_pair()
    peer = Guest(fork(g.task))
    g.close(client)
    waiting_recv(g, server)
    peer.close(server)
    peer.close(client)
    assert result(g) == 0


def test_waitall_collects_over_several_sends() -> None:
    g = make_guest()
    client, server = g.tcp_pair()
    peer = Guest(fork(g.task))
    place = waiting_recv(g, server, 10, c.MSG_WAITALL)
    peer.send(client, b"0123")
    run(g.task.kernel)
    peer.send(client, b"456789abc")
    assert result(g) == 10
    assert get(g.task, place, 10) == b"0123456789"
    assert g.recv(server) == b"abc"


def test_waitall_gives_what_there_is_at_the_end() -> None:
    g = make_guest()
    client, server = g.tcp_pair()
    peer = Guest(fork(g.task))
    waiting_recv(g, server, 10, c.MSG_WAITALL)
    peer.send(client, b"0123")
    run(g.task.kernel)
    peer.shutdown(client, c.SHUT_WR)
    assert result(g) == 4


def test_a_big_send_goes_on_as_the_reader_reads() -> None:
    for make in (Guest.tcp_pair, Guest.pair):
        g = make_guest()
        a, b = make(g)
        peer = Guest(fork(g.task))
        data = bytes(range(256)) * 8000
        assert g.send(a, data) == PARKED
        got = []
        while sum(map(len, got)) < len(data):
            piece = peer.recv(b, 100000)
            assert isinstance(piece, bytes) and piece
            got.append(piece)
            run(g.task.kernel)
        assert result(g) == len(data)
        assert b"".join(got) == data


@pytest.mark.parametrize("own", [False, True])
def test_a_sendfile_goes_on_as_the_reader_reads(own: bool) -> None:
    g = make_guest()
    a, b = g.pair()
    data = bytes(range(256)) * 2000
    f = g.call(file.openat, -100, b"/f", os.O_RDWR | os.O_CREAT, 0o644)
    assert g.call(file.write, f, data, len(data)) == len(data)
    g.call(file.lseek, f, 1000, 0)
    place = put(g.task, struct.pack("<q", 1000)) if own else 0
    reader = Guest(fork(g.task))
    assert g.call(iov.sendfile, a, f, place, len(data)) == PARKED
    so_far = get(g.task, place, 8) if own else b""
    assert not own or 1000 < struct.unpack("<q", so_far)[0] < len(data)
    got = b""
    while len(got) < len(data) - 1000:
        part = reader.recv(b, 100_000)
        assert isinstance(part, bytes)
        got += part
        run(g.task.kernel)
    assert got == data[1000:]
    assert result(g) == len(got)
    assert g.call(file.lseek, f, 0, 1) == (1000 if own else len(data))
    assert not own or get(g.task, place, 8) == struct.pack("<q", len(data))


def test_a_nonblocking_send_is_short_and_then_eagain() -> None:
    for make in (Guest.tcp_pair, Guest.pair):
        g = make_guest()
        a, b = make(g)
        sent = g.send(a, bytes(1 << 20), c.MSG_DONTWAIT)
        assert 100000 < sent < 1 << 20
        assert g.send(a, b"x", c.MSG_DONTWAIT) == -11
        assert not g.poll(a) & 4
        while g.poll(b) & 1:
            g.recv(b, 1 << 20)
        assert g.poll(a) & 4


def test_tiny_messages_cannot_fill_memory() -> None:
    g = make_guest()
    a, _ = g.pair(c.SOCK_STREAM | c.SOCK_NONBLOCK)
    count = 0
    while g.send(a, b"x") == 1:
        count += 1
    assert 100 < count < 1000


def test_receive_timeout_for_recv_and_read() -> None:
    g = make_guest()
    a, b = g.pair()
    g.set(b, c.SOL_SOCKET, c.SO_RCVTIMEO, struct.pack("<qq", 1, 0))
    waiting_recv(g, b)
    advance(g.task.kernel, 10**9)
    assert host(g.task).results[-1] == -11

    def read(t, fd, place, count):  # type: ignore[no-untyped-def]
        return io.read(t, io.file_of(t, fd), UserSink(t, place, count))

    assert call(g.task, read, b, room(g.task, 10), 10) == PARKED
    advance(g.task.kernel, 10**9)
    assert host(g.task).results[-1] == -11
    assert a >= 0


def test_write_to_a_closed_peer_signals() -> None:
    g = make_guest()
    a, b = g.pair()
    g.close(b)
    task = g.task

    def write(t, fd, place, count):  # type: ignore[no-untyped-def]
        return io.write(t, io.file_of(t, fd), UserSource(t, place, count))

    from wardian.sentry.kernel.signal_numbers import SIGPIPE, bit
    from wardian.sentry.kernel.signals import pending_mask, set_blocked

    set_blocked(task, bit(SIGPIPE))
    assert g.send(a, b"x", c.MSG_NOSIGNAL) == -32
    assert not pending_mask(task) & bit(SIGPIPE)
    assert g.send(a, b"x") == -32
    assert pending_mask(task) & bit(SIGPIPE)
    assert call(task, write, a, put(task, b"x"), 1) == -32


def test_accept_waits_for_a_connection() -> None:
    g = make_guest()
    listener = g.tcp_listener(80)
    peer = Guest(fork(g.task))
    assert g.accept(listener) == PARKED
    client = peer.socket(c.AF_INET, c.SOCK_STREAM)
    assert peer.connect(client, in4("127.0.0.1", 80)) == 0
    assert result(g) > listener


def test_a_full_backlog_makes_tcp_connect_wait() -> None:
    g = make_guest()
    listener = g.tcp_listener(80, backlog=0)
    peer = Guest(fork(g.task))
    first, second = (peer.socket(c.AF_INET, c.SOCK_STREAM) for _ in range(2))
    assert peer.connect(first, in4("127.0.0.1", 80)) == 0
    assert peer.connect(second, in4("127.0.0.1", 80)) == PARKED
    assert g.accept(listener) > 0
    assert result(peer) == 0
    assert g.accept(listener) > 0


def test_a_full_backlog_makes_unix_connect_wait_or_fail() -> None:
    g = make_guest()
    listener = g.socket(c.AF_UNIX, c.SOCK_STREAM)
    g.bind(listener, un(b"\0l"))
    g.listen(listener, 0)
    peer = Guest(fork(g.task))
    first, second = (peer.socket(c.AF_UNIX, c.SOCK_STREAM) for _ in range(2))
    third = peer.socket(c.AF_UNIX, c.SOCK_STREAM | c.SOCK_NONBLOCK)
    assert peer.connect(first, un(b"\0l")) == 0
    assert peer.connect(third, un(b"\0l")) == -11
    assert peer.connect(second, un(b"\0l")) == PARKED
    assert g.accept(listener) > 0
    assert result(peer) == 0


def test_a_listener_that_goes_refuses_those_that_wait() -> None:
    g = make_guest()
    peer = Guest(fork(g.task))
    listener = g.tcp_listener(80, backlog=0)
    first, second = (peer.socket(c.AF_INET, c.SOCK_STREAM) for _ in range(2))
    peer.connect(first, in4("127.0.0.1", 80))
    assert peer.connect(second, in4("127.0.0.1", 80)) == PARKED
    g.close(listener)
    assert result(peer) == -111
    assert peer.recv(first) == -104


def test_datagram_senders_wait_for_room() -> None:
    g = make_guest()
    server = g.socket(c.AF_UNIX, c.SOCK_DGRAM)
    g.bind(server, un(b"\0d"))
    peer = Guest(fork(g.task))
    client = peer.socket(c.AF_UNIX, c.SOCK_DGRAM)
    peer.connect(client, un(b"\0d"))
    for _ in range(11):
        assert peer.send(client, b"x") == 1
    assert peer.send(client, b"x") == PARKED
    assert not peer.poll(client) & 4
    g.recv(server)
    assert result(peer) == 1


def test_udp_buffer_overflow_drops() -> None:
    g = make_guest()
    a = g.socket(c.AF_INET, c.SOCK_DGRAM)
    g.bind(a, in4("127.0.0.1", 53))
    b = g.socket(c.AF_INET, c.SOCK_DGRAM)
    assert all(g.send(b, bytes(60000), 0, in4("127.0.0.1", 53)) == 60000 for _ in range(10))
    received = 0
    while g.poll(a) & 1:
        g.recv(a, 65536)
        received += 1
    assert 0 < received < 10


def test_recvmmsg_and_sendmmsg() -> None:
    g = make_guest()
    a, b = g.pair(c.SOCK_DGRAM)
    headers = b"".join(
        get(g.task, g.header(put(g.task, data), len(data), b"", 0, b""), 56) + bytes(8)
        for data in (b"one", b"three")
    )
    vector = put(g.task, headers)
    assert g.call(messages.sendmmsg, a, vector, 2, 0) == 2
    assert struct.unpack("<I", get(g.task, vector + 56, 4)) == (3,)
    places = [room(g.task, 100) for _ in range(4)]
    vector = put(
        g.task, b"".join(get(g.task, g.header(p, 100, b"", 0, b""), 56) + bytes(8) for p in places)
    )
    assert g.call(messages.recvmmsg, b, vector, 4, c.MSG_WAITFORONE, None) == 2
    assert get(g.task, places[1], 5) == b"three"
    assert struct.unpack("<I", get(g.task, vector + 64 + 56, 4)) == (5,)
    assert g.call(messages.recvmmsg, b, vector, 4, c.MSG_DONTWAIT, None) == -11


class Failing(Source):
    """A source that can be read only once."""

    def take(self, count: int) -> bytes:
        if self.left < 1000:
            raise EIO("broken")
        self.left -= 100
        return bytes(100)

    def give_back(self, count: int) -> None:
        raise AssertionError


@pytest.mark.parametrize("family", [c.AF_INET, c.AF_UNIX])
def test_what_was_sent_before_an_error_counts(family: int) -> None:
    g = make_guest()
    if family == c.AF_UNIX:
        fd, _ = g.pair()
    else:
        listener, fd = g.socket(family, c.SOCK_STREAM), g.socket(family, c.SOCK_STREAM)
        g.bind(listener, in4("127.0.0.1", 8080))
        g.listen(listener)
        assert g.connect(fd, in4("127.0.0.1", 8080)) == 0
    socket = g.task.files.get(fd)
    assert socket.write(Failing(1000), 0) == 100
    with pytest.raises(EIO):
        socket.write(Failing(900), 0)
