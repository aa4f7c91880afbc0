"""A guest that makes socket calls on made-up tasks: thin wrappers over the handlers."""

from __future__ import annotations

import struct

from support import call, get, make_kernel, make_task, put, room
from wardian.sentry.errno import LinuxError
from wardian.sentry.kernel.kernel import Kernel
from wardian.sentry.kernel.task import Task
from wardian.sentry.net import constants as c
from wardian.sentry.net.stack import NetworkStack
from wardian.sentry.syscalls import socket as calls
from wardian.sentry.syscalls import socket_msg as messages

__all__ = ["Guest", "LinuxError", "c", "in4", "in6", "make_guest", "make_net", "un"]


def in4(ip: str, port: int) -> bytes:
    """struct sockaddr_in."""
    digits = bytes(map(int, ip.split(".")))
    return struct.pack("<H", 2) + port.to_bytes(2, "big") + digits + bytes(8)


def in6(ip: bytes, port: int, scope: int = 0) -> bytes:
    """struct sockaddr_in6."""
    head = struct.pack("<H", 10) + port.to_bytes(2, "big") + bytes(4)
    return head + ip + struct.pack("<I", scope)


def un(path: bytes) -> bytes:
    """struct sockaddr_un."""
    return struct.pack("<H", 1) + path


def make_net() -> Kernel:
    """A kernel with a loopback network."""
    kernel = make_kernel()
    kernel.network = NetworkStack(kernel)
    return kernel


def make_guest(uid: int = 0) -> Guest:
    """One process on a fresh kernel."""
    return Guest(make_task(make_net(), uid=uid, gid=uid))


class Guest:
    """A process; every method is one system call and returns what the guest would see."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.net = task.kernel.network

    def call(self, handler, *args) -> int:  # type: ignore[no-untyped-def]
        return call(self.task, handler, *args)

    def socket(self, family: int, kind: int, protocol: int = 0) -> int:
        return self.call(calls.socket, family, kind, protocol)

    def pair(self, kind: int = c.SOCK_STREAM) -> tuple[int, int]:
        place = room(self.task, 8)
        assert self.call(calls.socketpair, c.AF_UNIX, kind, 0, place) == 0
        a, b = struct.unpack("<ii", get(self.task, place, 8))
        return a, b

    def bind(self, fd: int, address: bytes) -> int:
        return self.call(calls.bind, fd, address, len(address))

    def listen(self, fd: int, backlog: int = 5) -> int:
        return self.call(calls.listen, fd, backlog)

    def connect(self, fd: int, address: bytes) -> int:
        return self.call(calls.connect, fd, address, len(address))

    def accept(self, fd: int, flags: int = 0) -> int:
        return self.call(calls.accept4, fd, 0, 0, flags)

    def accept_name(self, fd: int) -> tuple[int, bytes]:
        place, size = room(self.task, 128), put(self.task, struct.pack("<i", 128))
        new = self.call(calls.accept4, fd, place, size, 0)
        return new, self.named(place, size)

    def named(self, place: int, size: int) -> bytes:
        length = struct.unpack("<i", get(self.task, size, 4))[0]
        return get(self.task, place, length)

    def name(self, fd: int, peer: bool = False) -> bytes | int:
        place, size = room(self.task, 128), put(self.task, struct.pack("<i", 128))
        handler = calls.getpeername if peer else calls.getsockname
        result = self.call(handler, fd, place, size)
        return result if result < 0 else self.named(place, size)

    def send(self, fd: int, data: bytes, flags: int = 0, to: bytes | None = None) -> int:
        return self.call(calls.sendto, fd, data, len(data), flags, to, len(to or b""))

    def recv(self, fd: int, count: int = 4096, flags: int = 0) -> bytes | int:
        place = room(self.task, count)
        result = self.call(calls.recvfrom, fd, place, count, flags, 0, 0)
        return result if result < 0 else get(self.task, place, min(result, count))

    def recvfrom(self, fd: int, count: int = 4096, flags: int = 0) -> tuple[bytes, bytes] | int:
        place = room(self.task, count)
        name, size = room(self.task, 128), put(self.task, struct.pack("<i", 128))
        result = self.call(calls.recvfrom, fd, place, count, flags, name, size)
        if result < 0:
            return result
        return get(self.task, place, min(result, count)), self.named(name, size)

    def sendmsg(
        self, fd: int, data: bytes, control: bytes = b"", flags: int = 0, to: bytes = b""
    ) -> int:
        return self.call(
            messages.sendmsg,
            fd,
            self.header(put(self.task, data), len(data), control, len(control), to),
            flags,
        )

    def header(self, place: int, count: int, control: bytes, room_for: int, name: bytes) -> int:
        t = self.task
        iov = put(t, struct.pack("<QQ", place, count))
        ctl = put(t, control.ljust(room_for, b"\0")) if room_for else 0
        where = put(t, name.ljust(128, b"\0")) if name else 0
        return put(t, struct.pack("<Qi4xQQQQi4x", where, len(name), iov, 1, ctl, room_for, 0))

    def recvmsg(
        self, fd: int, count: int = 4096, room_for: int = 256, flags: int = 0
    ) -> tuple[bytes, list[tuple[int, int, bytes]], int] | int:
        """(data, control messages, msg_flags)."""
        t = self.task
        place = room(t, count)
        header = self.header(place, count, b"", room_for, b"")
        result = self.call(messages.recvmsg, fd, header, flags)
        if result < 0:
            return result
        fields = struct.unpack("<Qi4xQQQQi4x", get(t, header, 56))
        control = get(t, fields[4], fields[5]) if fields[5] else b""
        return get(t, place, min(result, count)), cmsgs(control), fields[6]

    def set(self, fd: int, level: int, name: int, value: int | bytes) -> int:
        data = struct.pack("<i", value) if isinstance(value, int) else value
        return self.call(calls.setsockopt, fd, level, name, data, len(data))

    def get(self, fd: int, level: int, name: int, length: int = 4) -> bytes | int:
        place, size = room(self.task, length), put(self.task, struct.pack("<i", length))
        result = self.call(calls.getsockopt, fd, level, name, place, size)
        return result if result < 0 else self.named(place, size)

    def get_int(self, fd: int, level: int, name: int) -> int:
        value = self.get(fd, level, name)
        assert isinstance(value, bytes)
        return int(struct.unpack("<i", value)[0])

    def shutdown(self, fd: int, how: int) -> int:
        return self.call(calls.shutdown, fd, how)

    def close(self, fd: int) -> None:
        self.task.files.close(fd)

    def poll(self, fd: int) -> int:
        return self.task.files.get(fd).poll()

    # -- shapes that many tests need --
    def tcp_listener(self, port: int = 8000, backlog: int = 5) -> int:
        fd = self.socket(c.AF_INET, c.SOCK_STREAM)
        assert self.bind(fd, in4("127.0.0.1", port)) == 0
        assert self.listen(fd, backlog) == 0
        return fd

    def tcp_pair(self, port: int = 8000) -> tuple[int, int]:
        """(client, server) ends of a connection."""
        listener = self.tcp_listener(port)
        client = self.socket(c.AF_INET, c.SOCK_STREAM)
        assert self.connect(client, in4("127.0.0.1", port)) == 0
        server = self.accept(listener)
        self.close(listener)
        return client, server


def cmsg(level: int, kind: int, data: bytes) -> bytes:
    """One control message, padded."""
    whole = struct.pack("<Qii", 16 + len(data), level, kind) + data
    return whole.ljust((len(whole) + 7) // 8 * 8, b"\0")


def cmsgs(control: bytes) -> list[tuple[int, int, bytes]]:
    """Control data, parsed."""
    found = []
    while len(control) >= 16:
        length, level, kind = struct.unpack_from("<Qii", control)
        found.append((level, kind, control[16:length]))
        control = control[(length + 7) // 8 * 8 :]
    return found
