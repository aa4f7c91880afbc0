"""The same interface as ``socket_support.Guest``, on the machine's own kernel: for comparing."""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
from collections.abc import Callable
from typing import Any

POLL_ALL = 0x1 | 0x2 | 0x4 | 0x40 | 0x100 | 0x2000


class NativeGuest:
    """This process, making real system calls without blocking."""

    def __init__(self) -> None:
        self.sockets: dict[int, socket.socket] = {}

    def run(self, operation: Callable[[], Any]) -> Any:
        try:
            result = operation()
        except OSError as error:
            return -(error.errno or 0)
        return 0 if result is None else result

    def add(self, s: socket.socket) -> int:
        s.setblocking(False)
        self.sockets[s.fileno()] = s
        return s.fileno()

    def socket(self, family: int, kind: int, protocol: int = 0) -> int:
        return self.run(lambda: self.add(socket.socket(family, kind, protocol)))

    def pair(self, kind: int = 1) -> tuple[int, int]:
        a, b = socket.socketpair(socket.AF_UNIX, kind)
        return self.add(a), self.add(b)

    def address(self, raw: bytes) -> Any:
        family = struct.unpack_from("<H", raw)[0]
        if family == socket.AF_UNIX:
            return raw[2:] if raw[2:3] == b"\0" else os.fsdecode(raw[2:].rstrip(b"\0"))
        port = int.from_bytes(raw[2:4], "big")
        if family == socket.AF_INET:
            return socket.inet_ntop(family, raw[4:8]), port
        return socket.inet_ntop(socket.AF_INET6, raw[8:24]), port

    def bind(self, fd: int, address: bytes) -> int:
        return self.run(lambda: self.sockets[fd].bind(self.address(address)))

    def listen(self, fd: int, backlog: int = 5) -> int:
        return self.run(lambda: self.sockets[fd].listen(backlog))

    def connect(self, fd: int, address: bytes) -> int:
        return self.run(lambda: self.sockets[fd].connect(self.address(address)))

    def accept(self, fd: int, flags: int = 0) -> int:
        return self.run(lambda: self.add(self.sockets[fd].accept()[0]))

    def port(self, fd: int) -> int:
        return int(self.sockets[fd].getsockname()[1])

    def send(self, fd: int, data: bytes, flags: int = 0, to: bytes | None = None) -> int:
        s = self.sockets[fd]
        if to is not None:
            return self.run(lambda: s.sendto(data, flags | 0x4000, self.address(to)))
        return self.run(lambda: s.send(data, flags | 0x4000))

    def recv(self, fd: int, count: int = 4096, flags: int = 0) -> bytes | int:
        def receive() -> bytes:
            return self.sockets[fd].recv(count, flags)

        return self.run(receive)

    def recv_count(self, fd: int, count: int, flags: int) -> int:
        buffer = bytearray(max(count, 65536))
        return self.run(lambda: self.sockets[fd].recv_into(buffer, count, flags))

    def set(self, fd: int, level: int, name: int, value: int | bytes) -> int:
        return self.run(lambda: self.sockets[fd].setsockopt(level, name, value))

    def get_int(self, fd: int, level: int, name: int) -> int:
        return self.run(lambda: self.sockets[fd].getsockopt(level, name))

    def get(self, fd: int, level: int, name: int, length: int = 4) -> Any:
        return self.run(lambda: self.sockets[fd].getsockopt(level, name, length))

    def shutdown(self, fd: int, how: int) -> int:
        return self.run(lambda: self.sockets[fd].shutdown(how))

    def close(self, fd: int) -> None:
        self.sockets.pop(fd).close()

    def poll(self, fd: int) -> int:
        p = select.poll()
        p.register(fd, POLL_ALL)
        found = p.poll(0)
        return found[0][1] if found else 0

    def ioctl_int(self, fd: int, command: int) -> int:
        def ask() -> int:
            return int(struct.unpack("<i", fcntl.ioctl(fd, command, b"\0\0\0\0"))[0])

        return self.run(ask)

    def end(self) -> None:
        for s in self.sockets.values():
            s.close()
        self.sockets.clear()
