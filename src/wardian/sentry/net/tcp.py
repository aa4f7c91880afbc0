"""TCP sockets (tcp(7)): the socket side; a :class:`StreamTransport` carries the bytes.

States are kept as facts, not as RFC 9293's names: listening, connecting, a transport or none, which
directions are finished. :meth:`TcpSocket.tcp_state` derives the name for TCP_INFO and
/proc/net/tcp.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EADDRINUSE,
    EALREADY,
    ECONNABORTED,
    ECONNREFUSED,
    ECONNRESET,
    EINPROGRESS,
    EINVAL,
    EISCONN,
    ENOENT,
    ENOTCONN,
    EOPNOTSUPP,
    EPIPE,
    WOULD_BLOCK,
    LinuxError,
    error_of,
)
from wardian.sentry.net.bytequeue import ByteQueue
from wardian.sentry.net.constants import (
    AF_UNSPEC,
    IPPROTO_TCP,
    MAX_BACKLOG,
    MSG_ERRQUEUE,
    MSG_FASTOPEN,
    MSG_OOB,
    MSG_PEEK,
    MSG_TRUNC,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUTDOWN_MASK,
    SIOCATMARK,
    SO_OOBINLINE,
    SOCK_STREAM,
    TCP_CLOSE,
    TCP_CLOSE_WAIT,
    TCP_CONGESTION,
    TCP_ESTABLISHED,
    TCP_FIN_WAIT2,
    TCP_INFO,
    TCP_LISTEN,
    TCP_SYN_SENT,
    TCP_TIME_WAIT,
)
from wardian.sentry.net.inet import InetSocket
from wardian.sentry.net.inet_address import InetAddress, is_any, pack, parse
from wardian.sentry.net.options import INT
from wardian.sentry.net.socket import (
    HANGUP_EVENTS,
    READ_EVENTS,
    WRITE_EVENTS,
    Incoming,
    Outgoing,
    Socket,
    shutdown_bits,
)
from wardian.sentry.net.transport import StreamTransport
from wardian.sentry.net.unix_address import family_of
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import POLLERR, POLLHUP, POLLPRI, POLLRDHUP
from wardian.sentry.vfs.file_part import size_of

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack
    from wardian.sentry.vfs.file_part import Piece

IDLE: Final = 0
CONNECTING: Final = 1
CONNECTED: Final = 2

CONGESTION: Final = (b"cubic", b"reno")
INFO_SIZE: Final = 248
INFO_HEAD: Final = struct.Struct("<8B24I")


class TcpSocket(InetSocket):
    """One TCP endpoint."""

    def __init__(self, stack: NetworkStack, family: int, uid: int, gid: int) -> None:
        super().__init__(stack, family, SOCK_STREAM, IPPROTO_TCP, stack.tcp_ports, uid, gid)
        self.progress = IDLE
        self.transport: StreamTransport | None = None
        self.received = ByteQueue()
        self.finished = False  # the peer's FIN or RST has come (SOCK_DONE)
        self.no_space = False  # somebody wants to know when the window opens (SOCK_NOSPACE)
        self.backlog = 0
        self.pending: list[TcpSocket] = []  # established, not yet accepted
        self.waiting: list[TcpSocket] = []  # connecting, no room in ``pending``
        self.listener: TcpSocket | None = None  # whose ``pending`` this is in
        self.urgent = -1  # the out-of-band byte, -1 for none
        self.urgent_mark = -1  # where it was in ``received``
        self.congestion = CONGESTION[0]

    def is_stream(self) -> bool:
        return True

    def transport_level(self) -> int:
        return IPPROTO_TCP

    # -- listening --------------------------------------------------------------------------------
    def listen(self, task: Task, backlog: int) -> None:
        if self.progress != IDLE:
            raise EINVAL("connected")
        self.backlog = min(backlog, MAX_BACKLOG) if backlog >= 0 else MAX_BACKLOG
        if self.listening:
            return
        self.autobind()
        if self.table.conflicts(self, self.local_ip, self.local_port):
            raise EADDRINUSE("another socket listens")
        self.listening = True
        self.shut = 0
        self.stack.tcp.add_listener(self)

    def accept(self, task: Task) -> Socket | None:
        if not self.listening:
            raise EINVAL("not listening")
        if not self.pending:
            return None
        child = self.pending.pop(0)
        child.listener = None
        if self.waiting:
            self.stack.tcp.admit(self)
        return child

    # -- connecting -------------------------------------------------------------------------------
    def connect(self, task: Task, address: bytes) -> int:
        if family_of(address) == AF_UNSPEC:
            self.disconnect()
            return 0
        where = parse(self.family, address)
        if self.listening or self.progress == CONNECTED:
            raise EISCONN("already connected")
        if self.progress == IDLE:
            self.start_connect(where)
            if self.nonblocking:
                raise EINPROGRESS("connecting")
        return self.finish_connect()

    def start_connect(self, where: InetAddress) -> None:
        """Begin: the outcome is in ``transport`` and ``error``, now or later."""
        source, destination = self.stack.route(self, where.ip)
        self.progress = CONNECTING
        self.shut = 0
        self.finished = False
        if is_any(self.local_ip):
            self.local_ip = source
        try:
            self.autobind()
        except Exception:
            self.progress = IDLE
            self.restore_local()
            raise
        self.remote_ip = destination
        self.remote_port = where.port
        self.stack.tcp.connect(self)

    def finish_connect(self) -> int:
        """The outcome of a connect that has begun, or WOULD_BLOCK."""
        if self.transport is not None:
            self.progress = CONNECTED
            return 0
        if self.shut == SHUTDOWN_MASK:
            number = self.take_error()
            self.progress = IDLE
            self.shut = 0
            self.finished = False
            self.restore_local()
            if number:
                raise error_of(number, "connect failed")
            raise ECONNABORTED("connect failed, and the error was fetched")
        if self.nonblocking:
            raise EALREADY("still connecting")
        return WOULD_BLOCK

    def restore_local(self) -> None:
        """A connection is over: an address that bind(2) did not name is forgotten."""
        if not self.bound_ip:
            self.local_ip = self.any_ip
        self.forget_port()

    def disconnect(self) -> None:
        """connect(2) with AF_UNSPEC."""
        if self.listening:
            self.stop_listening()
        self.stack.tcp.forget(self)
        if self.transport is not None:
            self.transport.reset()
        self.closed()
        self.restore_local()
        self.progress = IDLE
        self.shut = 0
        self.finished = False
        self.error = 0
        self.received.clear()

    # -- call-backs of the transport ---------------------------------------------------------------
    def established(self, transport: StreamTransport) -> None:
        """The connection is there."""
        self.transport = transport
        self.queue.wake(WRITE_EVENTS)

    def connect_failed(self, number: int) -> None:
        """The connection was refused or ran out of time."""
        self.error = number
        self.closed()
        self.queue.wake(HANGUP_EVENTS)

    def closed(self) -> None:
        """Nothing goes in or out any more; what was received can still be read."""
        self.transport = None
        self.shut = SHUTDOWN_MASK
        self.finished = True
        self.forget_port()

    def peer_name(self) -> bytes:
        if self.transport is None:
            raise ENOTCONN("not connected")
        return self.accepted_name()

    def accepted_name(self) -> bytes:
        return pack(self.family, self.remote_ip, self.remote_port)

    def connect_timed_out(self) -> LinuxError:
        return EINPROGRESS("still connecting")

    def arrived(self, data: Piece) -> None:
        """Bytes came in."""
        if self.released:
            transport = self.transport
            self.transport = None
            if transport is not None:
                transport.reset()
            return
        self.received.put(data)
        if self.queue.registrations:
            self.queue.wake(READ_EVENTS)

    def arrived_urgent(self, byte: int) -> None:
        """An out-of-band byte came in (tcp(7), "urgent data")."""
        if self.options.others.get(SO_OOBINLINE):
            self.urgent_mark = self.received.size
            self.arrived(bytes([byte]))
        else:
            self.urgent = byte
            self.urgent_mark = self.received.size
        self.queue.wake(POLLPRI)

    def peer_finished(self) -> None:
        """FIN came in."""
        self.shut |= RCV_SHUTDOWN
        self.finished = True
        if self.queue.registrations:
            self.queue.wake(HANGUP_EVENTS)

    def peer_reset(self) -> None:
        """RST came in (tcp_reset() of net/ipv4/tcp_input.c)."""
        self.error = EPIPE.number if self.finished else ECONNRESET.number
        self.closed()
        self.queue.wake(HANGUP_EVENTS)

    def room_grew(self) -> None:
        """The window opened."""
        self.no_space = False
        self.queue.wake(WRITE_EVENTS)

    # -- data -------------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        transport = self.transport
        if transport is None or self.error or self.shut & SEND_SHUTDOWN:
            return self.cannot_send(flags)
        if flags & MSG_OOB:
            return self.send_urgent(transport, source)
        total = 0
        while source.left > 0:
            room = transport.room()
            if room <= 0:
                self.no_space = True
                return total if total else WOULD_BLOCK
            try:
                piece = source.take_piece(room)
            except LinuxError:
                if total == 0:
                    raise
                break
            size = size_of(piece)
            if not size:
                break
            total += size
            transport.push(piece)
        return total

    def cannot_send(self, flags: int) -> int:
        """Why nothing can be sent now (do_error of tcp_sendmsg())."""
        if flags & MSG_FASTOPEN:
            raise EOPNOTSUPP("no TCP Fast Open")
        if self.error:
            self.raise_error()
        if self.progress == CONNECTING and not self.shut & SEND_SHUTDOWN:
            return WOULD_BLOCK
        raise EPIPE("not connected for sending")

    def send_urgent(self, transport: StreamTransport, source: Source) -> int:
        """MSG_OOB: the last byte is urgent, the others are ordinary."""
        count = min(source.left, max(transport.room(), 0))
        if count <= 0:
            self.no_space = True
            return WOULD_BLOCK if source.left else 0
        data = source.take(count)
        if count > 1:
            transport.push(data[:-1])
        self.stack.tcp.push_urgent(transport, data[-1])
        return count

    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        received = self.received
        if received.size and not flags & (MSG_PEEK | MSG_TRUNC | MSG_OOB | MSG_ERRQUEUE):
            total = received.take(sink)
            self.options.taken(total)
            if self.transport is not None:
                self.transport.consumed()
            return total
        if flags & MSG_ERRQUEUE:
            return WOULD_BLOCK
        if flags & MSG_OOB:
            return self.recv_urgent(sink, flags, into)
        if self.listening:
            raise ENOTCONN("listening")
        if received.size:
            return self.recv_special(sink, flags)
        return self.nothing_received()

    def nothing_received(self) -> int:
        """End of file, an error, or nothing yet (tcp_recvmsg())."""
        if self.finished and not self.error:
            return 0
        if self.error and not (self.finished and self.error == EPIPE.number):
            self.raise_error()
        if self.shut & RCV_SHUTDOWN:
            return 0
        if self.transport is None and self.progress != CONNECTING:
            raise ENOTCONN("not connected")
        return WOULD_BLOCK

    def recv_special(self, sink: Sink, flags: int) -> int:
        """MSG_PEEK leaves the bytes, MSG_TRUNC throws them away unseen."""
        if flags & MSG_PEEK:
            offset = self.options.peek_offset
            if flags & MSG_TRUNC:
                return min(sink.left, self.received.size)
            count = self.received.peek(sink, max(offset, 0))
            if offset >= 0:
                self.options.peek_offset += count
            return count
        count = self.received.discard(sink.left)
        self.options.taken(count)
        if self.transport is not None:
            self.transport.consumed()
        return count

    def recv_urgent(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        """MSG_OOB."""
        if self.options.others.get(SO_OOBINLINE) or self.urgent < 0:
            raise EINVAL("no urgent data")
        byte = bytes([self.urgent])
        if not flags & MSG_PEEK:
            self.urgent = -1
        if into is not None:
            into.flags |= MSG_OOB
        if sink.left <= 0:
            if into is not None:
                into.flags |= MSG_TRUNC
            return 0
        return sink.put(byte)

    # -- state ------------------------------------------------------------------------------------
    def poll(self) -> int:
        if self.listening:
            return READ_EVENTS if self.pending else 0
        mask = 0
        if self.error:
            mask |= POLLERR
        if self.shut == SHUTDOWN_MASK:
            mask |= POLLHUP
        transport = self.transport
        if transport is None:
            if self.progress == CONNECTING and not self.shut:
                return mask
            mask |= POLLHUP
        if self.shut & RCV_SHUTDOWN:
            mask |= READ_EVENTS | POLLRDHUP
        elif self.received.size and self.received.size >= self.options.rcvlowat:
            mask |= READ_EVENTS
        if self.urgent >= 0:
            mask |= POLLPRI
        if transport is None or self.shut & SEND_SHUTDOWN:
            return mask | WRITE_EVENTS
        if transport.room() * 3 >= transport.window():
            mask |= WRITE_EVENTS
        else:
            self.no_space = True
        return mask

    def shutdown(self, how: int) -> None:
        bits = shutdown_bits(how)
        if self.listening:
            if bits & RCV_SHUTDOWN:
                self.stop_listening()
                self.queue.wake(HANGUP_EVENTS)
            return
        transport = self.transport
        if transport is None:
            if self.progress == CONNECTING and not self.shut:
                self.stack.tcp.forget(self)
                self.connect_failed(0)
                self.progress = IDLE
                return
            self.shut |= bits  # inet_shutdown() does so, to wake who polls
            raise ENOTCONN("not connected")
        if self.finished and self.shut & SEND_SHUTDOWN:
            raise ENOTCONN("closed in both directions")
        finishing = bits & SEND_SHUTDOWN and not self.shut & SEND_SHUTDOWN
        self.shut |= bits
        if finishing:
            transport.finish()
        self.queue.wake(HANGUP_EVENTS)

    def stop_listening(self) -> None:
        """Refuse from now on; connections nobody accepted are reset."""
        self.listening = False
        self.stack.tcp.remove_listener(self)
        pending = self.pending
        self.pending = []
        for child in pending:
            child.listener = None
            if child.transport is not None:
                child.transport.reset()
                child.transport = None
            child.hold().drop()
        waiting = self.waiting
        self.waiting = []
        for client in waiting:
            client.connect_failed(ECONNREFUSED.number)

    def release(self) -> None:
        if self.listening:
            self.stop_listening()
        self.stack.tcp.forget(self)
        transport = self.transport
        super().release()
        if transport is not None:
            lingers = not (self.options.linger_on and self.options.linger_s == 0)
            if self.received.size or not lingers:
                self.transport = None
                transport.reset()
            elif not self.shut & SEND_SHUTDOWN:
                transport.finish()
        self.received.clear()
        self.shut = SHUTDOWN_MASK
        self.queue.wake(HANGUP_EVENTS)

    # -- options and reports ----------------------------------------------------------------------
    def setsockopt(self, task: Task, level: int, name: int, value: bytes) -> None:
        if level == IPPROTO_TCP and name == TCP_CONGESTION:
            wanted = value[:15].split(b"\0")[0]
            if wanted not in CONGESTION:
                raise ENOENT("no such congestion control")
            self.congestion = wanted
            return
        super().setsockopt(task, level, name, value)

    def getsockopt(self, task: Task, level: int, name: int, length: int) -> bytes:
        if level == IPPROTO_TCP and name == TCP_CONGESTION:
            return self.congestion.ljust(16, b"\0")
        if level == IPPROTO_TCP and name == TCP_INFO:
            return self.info()
        return super().getsockopt(task, level, name, length)

    def info(self) -> bytes:
        """struct tcp_info, as of an undisturbed loopback connection."""
        unacked = len(self.pending) if self.listening else 0
        backlog = self.backlog if self.listening else 0
        head = INFO_HEAD.pack(
            self.tcp_state(),
            0,
            0,
            0,
            0,
            7,
            0x77,
            0,
            201000,
            40000,
            65483,
            536,
            unacked,
            backlog,
            0,
            0,
            0,
            0,
            0,
            0,
            0,
            65535,
            65483,
            20,
            10,
            0x7FFFFFFF,
            10,
            65483,
            3,
            0,
            65495,
            0,
        )
        return head.ljust(INFO_SIZE, b"\0")

    def unread_bytes(self) -> int:
        if self.listening:
            raise EINVAL("listening")
        return self.received.size

    def unsent_bytes(self) -> int:
        if self.listening:
            raise EINVAL("listening")
        return self.transport.unsent() if self.transport is not None else 0

    def queue_sizes(self) -> tuple[int, int]:
        if self.listening:
            return 0, len(self.pending)
        return self.unsent_bytes(), self.received.size

    def tcp_state(self) -> int:
        if self.listening:
            return TCP_LISTEN
        if self.transport is None:
            return TCP_SYN_SENT if self.progress == CONNECTING and not self.shut else TCP_CLOSE
        if self.shut & SEND_SHUTDOWN:
            return TCP_TIME_WAIT if self.finished else TCP_FIN_WAIT2
        return TCP_CLOSE_WAIT if self.finished else TCP_ESTABLISHED

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command == SIOCATMARK:
            task.copy_out(argument, INT.pack(int(self.urgent_mark == 0)))
            return 0
        return super().ioctl(task, command, argument)

    def child(self) -> TcpSocket:
        """The socket of a connection that came to this listener."""
        end = TcpSocket(self.stack, self.family, self.uid, 0)
        end.options = self.options.copy()
        end.numbers = dict(self.numbers)
        end.v6only = self.v6only
        end.congestion = self.congestion
        end.progress = CONNECTED
        end.listener = self
        return end
