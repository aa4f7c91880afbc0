"""Port numbers of one protocol: who has which, conflicts, ephemeral ones (ip(7), socket(7))."""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import EADDRINUSE, EADDRNOTAVAIL
from wardian.sentry.net.inet_address import overlap

if TYPE_CHECKING:
    from wardian.sentry.net.inet import InetSocket


class PortTable:
    """The bound sockets of TCP or UDP, by port."""

    def __init__(self, stream: bool) -> None:
        self.stream = stream
        self.ports: dict[int, dict[InetSocket, None]] = {}
        self.low = 32768  # net.ipv4.ip_local_port_range
        self.high = 60999

    def conflicts(self, socket: InetSocket, ip: bytes, port: int) -> bool:
        """True when ``socket`` may not have ``ip`` and ``port``."""
        for other in self.ports.get(port, {}):
            if other is socket or not overlap(ip, socket.v6only, other.local_ip, other.v6only):
                continue
            mine, theirs = socket.options, other.options
            if mine.reuse_port and theirs.reuse_port and socket.uid == other.uid:
                continue
            quiet = not self.stream or not other.listening
            if quiet and mine.reuse_address and theirs.reuse_address:
                continue
            return True
        return False

    def bind(self, socket: InetSocket, ip: bytes, port: int) -> None:
        """Give ``socket`` the port; EADDRINUSE."""
        if self.conflicts(socket, ip, port):
            raise EADDRINUSE(f"port {port} is taken")
        self.add(socket, port)

    def add(self, socket: InetSocket, port: int) -> None:
        """Enter ``socket`` without a check (accepted connections share the listener's port)."""
        bucket = self.ports.get(port)
        if bucket is None:
            bucket = {}
            self.ports[port] = bucket
        bucket[socket] = None
        socket.local_port = port

    def ephemeral(self, socket: InetSocket, ip: bytes, for_bind: bool) -> None:
        """Give ``socket`` a free port; EADDRINUSE for bind(2), EADDRNOTAVAIL for connect(2)."""
        span = self.high - self.low + 1
        start = int.from_bytes(socket.stack.kernel.clock.random(4), "little") % span
        ports = self.ports
        for i in range(span):
            port = self.low + (start + i) % span
            if port not in ports:
                self.add(socket, port)
                return
        for i in range(span):
            port = self.low + (start + i) % span
            if not self.conflicts(socket, ip, port):
                self.add(socket, port)
                return
        if for_bind:
            raise EADDRINUSE("no free port")
        raise EADDRNOTAVAIL("no free port")

    def release(self, socket: InetSocket) -> None:
        """Give the port back; harmless when there is none."""
        bucket = self.ports.get(socket.local_port)
        if bucket is not None and socket in bucket:
            del bucket[socket]
            if not bucket:
                del self.ports[socket.local_port]
