"""TCP inside the sandbox: two sockets, bytes objects passed by reference, no segments.

The bytes under way sit in the receiver's queue; a sender's window is its own send buffer plus the
receiver's receive buffer. Delivery happens in the sender's call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.sentry.errno import ECONNREFUSED
from wardian.sentry.net.inet_address import covers
from wardian.sentry.net.socket import READ_EVENTS
from wardian.sentry.net.transport import StreamTransport

if TYPE_CHECKING:
    from wardian.sentry.net.tcp import TcpSocket
    from wardian.sentry.vfs.file_part import Piece


class LoopbackStream(StreamTransport):
    """One direction out of ``near`` into ``far``, and the way back for window news."""

    def __init__(self, near: TcpSocket, far: TcpSocket) -> None:
        self.near = near
        self.far = far
        self.open = True

    def window(self) -> int:
        return self.near.options.sndbuf + self.far.options.rcvbuf

    def room(self) -> int:
        far = self.far
        return self.near.options.sndbuf + far.options.rcvbuf - far.received.size

    def push(self, data: Piece) -> None:
        self.far.arrived(data)

    def finish(self) -> None:
        far = self.far
        if far.released:
            return
        far.peer_finished()

    def reset(self) -> None:
        self.open = False
        far = self.far
        if far.transport is None:
            return
        if far.released:
            far.transport = None
        else:
            far.peer_reset()

    def consumed(self) -> None:
        far = self.far
        if far.no_space and far.transport is not None:
            window = far.options.sndbuf + self.near.options.rcvbuf
            if (window - self.near.received.size) * 3 >= window:
                far.room_grew()

    def unsent(self) -> int:
        return max(0, self.far.received.size - self.far.options.rcvbuf)


class LoopbackTcp:
    """Listeners by port, and connection set-up between them and connecting sockets."""

    def __init__(self) -> None:
        self.listeners: dict[int, list[TcpSocket]] = {}

    def add_listener(self, socket: TcpSocket) -> None:
        """``socket`` began to listen."""
        self.listeners.setdefault(socket.local_port, []).append(socket)

    def remove_listener(self, socket: TcpSocket) -> None:
        """``socket`` stopped listening."""
        found = self.listeners.get(socket.local_port)
        if found is not None and socket in found:
            found.remove(socket)
            if not found:
                del self.listeners[socket.local_port]

    def find(self, ip: bytes, port: int, spread: int) -> TcpSocket | None:
        """The best listener for ``ip``; among equal ones (SO_REUSEPORT) ``spread`` chooses."""
        best: list[TcpSocket] = []
        best_score = 0
        for socket in self.listeners.get(port, []):
            if not covers(socket.local_ip, socket.v6only, ip):
                continue
            score = 1
            if socket.local_ip == ip:
                score = 3
            elif socket.local_ip[10] == ip[10]:
                score = 2  # the wildcard of the packet's own family
            if score > best_score:
                best = [socket]
                best_score = score
            elif score == best_score:
                best.append(socket)
        return best[spread % len(best)] if best else None

    def connect(self, client: TcpSocket) -> None:
        """Connect ``client`` to whoever listens at its remote address."""
        listener = self.find(client.remote_ip, client.remote_port, client.local_port)
        if listener is None:
            client.connect_failed(ECONNREFUSED.number)
        elif len(listener.pending) > listener.backlog:
            listener.waiting.append(client)
            client.listener = listener
        else:
            self.join(client, listener)

    def join(self, client: TcpSocket, listener: TcpSocket) -> None:
        """The handshake."""
        server = listener.child()
        server.local_ip = client.remote_ip
        server.remote_ip = client.local_ip
        server.remote_port = client.local_port
        server.table.add(server, client.remote_port)
        server.transport = LoopbackStream(server, client)
        listener.pending.append(server)
        client.established(LoopbackStream(client, server))
        listener.queue.wake(READ_EVENTS)

    def admit(self, listener: TcpSocket) -> None:
        """accept(2) made room: let waiting clients in."""
        while listener.waiting and len(listener.pending) <= listener.backlog:
            client = listener.waiting.pop(0)
            client.listener = None
            self.join(client, listener)

    def forget(self, socket: TcpSocket) -> None:
        """``socket`` no longer waits to be let in."""
        listener = socket.listener
        socket.listener = None
        if listener is not None and socket in listener.waiting:
            listener.waiting.remove(socket)

    def push_urgent(self, transport: StreamTransport, byte: int) -> None:
        """Deliver an out-of-band byte."""
        if isinstance(transport, LoopbackStream):
            transport.far.arrived_urgent(byte)
