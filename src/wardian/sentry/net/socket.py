"""Socket: the open file every address family's endpoint is (socket(2), socket(7)).

``sentry.syscalls.socket`` owns blocking, flags and guest structures; a family subclasses
:class:`Socket` and gives non-blocking operations in terms of raw ``sockaddr`` bytes, :class:`Sink`
and :class:`Source`. The next layer down differs: AF_UNIX connects objects, TCP and UDP use
``sentry.net.transport``, ``--network=host`` a host socket. A socket's ``queue`` is woken with the
poll(2) events that may have become true.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EAGAIN,
    EINVAL,
    ENOTCONN,
    ENOTTY,
    EOPNOTSUPP,
    WOULD_BLOCK,
    LinuxError,
    error_of,
)
from wardian.sentry.fs.anon import AnonInode
from wardian.sentry.net.constants import (
    AF_INET,
    AF_INET6,
    FIONREAD,
    MSG_DONTWAIT,
    RCV_SHUTDOWN,
    SEND_SHUTDOWN,
    SHUT_RD,
    SHUT_RDWR,
    SHUT_WR,
    SHUTDOWN_MASK,
    SIOCOUTQ,
    SOL_SOCKET,
)
from wardian.sentry.net.interfaces import SIOC_FIRST, SIOC_LAST, interface_ioctl
from wardian.sentry.net.options import INT, SocketOptions
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    O_RDWR,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDHUP,
    POLLRDNORM,
    POLLWRNORM,
    File,
)
from wardian.sentry.vfs.inode import S_IFSOCK

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.net.stack import NetworkStack

READ_EVENTS: Final = POLLIN | POLLRDNORM
WRITE_EVENTS: Final = POLLOUT | POLLWRNORM
HANGUP_EVENTS: Final = POLLIN | POLLRDNORM | POLLOUT | POLLWRNORM | POLLERR | POLLHUP | POLLRDHUP


class Ucred:
    """struct ucred (unix(7))."""

    def __init__(self, pid: int, uid: int, gid: int) -> None:
        self.pid = pid
        self.uid = uid
        self.gid = gid

    def same(self, other: Ucred) -> bool:
        """True when all three numbers agree."""
        return self.pid == other.pid and self.uid == other.uid and self.gid == other.gid


def effective_ucred(task: Task) -> Ucred:
    """What SO_PEERCRED shows of ``task``."""
    return Ucred(task.group.pid, task.credentials.euid, task.credentials.egid)


class ControlMessage:
    """One received cmsg(3), without its header."""

    def __init__(self, level: int, kind: int, data: bytes) -> None:
        self.level = level
        self.kind = kind
        self.data = data


class Outgoing:
    """What sendmsg(2) brings besides bytes."""

    def __init__(self, address: bytes | None) -> None:
        self.address = address  # raw sockaddr, None when none was given
        self.credentials: Ucred | None = None  # SCM_CREDENTIALS, already checked
        self.files: list[File] = []  # SCM_RIGHTS; the sender's references, not counted
        self.messages: list[ControlMessage] = []  # other levels (IP_PKTINFO, ...)


class Incoming:
    """What recvmsg(2) reports besides bytes."""

    def __init__(self) -> None:
        self.address = b""  # raw sockaddr of the sender; empty when there is none
        self.flags = 0  # MSG_TRUNC, MSG_EOR, ...
        self.credentials: Ucred | None = None
        self.files: list[File] = []  # SCM_RIGHTS; each holds one reference for the receiver
        self.messages: list[ControlMessage] = []

    def drop_files(self) -> None:
        """Let go of descriptors nobody will install."""
        for file in self.files:
            file.drop()
        self.files = []


class Socket(File):
    """One endpoint. Subclasses override what their family and type can do."""

    def __init__(
        self, stack: NetworkStack, family: int, kind: int, protocol: int, uid: int, gid: int
    ) -> None:
        inode = AnonInode(stack.sockfs, S_IFSOCK | 0o777, uid, gid, stack.realtime_ns())
        super().__init__(inode, O_RDWR)
        self.stack = stack
        self.family = family
        self.kind = kind
        self.protocol = protocol
        self.options = SocketOptions()
        self.error = 0  # sk_err: reported once, by SO_ERROR or the next operation
        self.shut = 0  # RCV_SHUTDOWN | SEND_SHUTDOWN
        self.listening = False
        self.released = False
        self.uid = uid  # owner, for /proc/net and SO_REUSEPORT
        stack.register(self)

    # -- names and connections --------------------------------------------------------------------
    def bind(self, task: Task, address: bytes) -> None:
        """bind(2)."""
        raise EOPNOTSUPP("bind not supported")

    def listen(self, task: Task, backlog: int) -> None:
        """listen(2)."""
        raise EOPNOTSUPP("not a connection-mode socket")

    def accept(self, task: Task) -> Socket | None:
        """The next connection of a listening socket, or None when there is none yet."""
        raise EOPNOTSUPP("not a connection-mode socket")

    def connect(self, task: Task, address: bytes) -> int:
        """connect(2): 0, or WOULD_BLOCK when it is to be called again after a wake of
        :meth:`connect_park`."""
        raise EOPNOTSUPP("connect not supported")

    def connect_park(self, task: Task) -> int:
        """Park ``task`` until a connect that would block is worth trying again."""
        return task.park(self.queue, WRITE_EVENTS | POLLERR | POLLHUP)

    def connect_timed_out(self) -> LinuxError:
        """The error of a connect that would block and may not wait (any longer)."""
        return EAGAIN("would block")

    def accepted_name(self) -> bytes:
        """The peer's address as accept(2) reports it."""
        return self.peer_name()

    def local_name(self) -> bytes:
        """getsockname(2): the raw sockaddr."""
        raise EOPNOTSUPP("getsockname not supported")

    def peer_name(self) -> bytes:
        """getpeername(2)."""
        raise ENOTCONN("not connected")

    # -- data -------------------------------------------------------------------------------------
    def send(self, task: Task | None, source: Source, flags: int, out: Outgoing | None) -> int:
        """Send what fits; the byte count or WOULD_BLOCK. SIGPIPE is the caller's business."""
        raise EOPNOTSUPP("send not supported")

    def recv(self, sink: Sink, flags: int, into: Incoming | None) -> int:
        """Receive into ``sink``; the result of recv(2), or WOULD_BLOCK."""
        raise EOPNOTSUPP("recv not supported")

    def read(self, sink: Sink, offset: int) -> int:
        return self.recv(sink, 0, None)

    def write(self, source: Source, offset: int) -> int:
        return self.send(None, source, 0, None)

    def end_or_block(self, flags: int) -> int:
        """An empty datagram queue: only a blocking read sees shutdown(2) as end of file."""
        if self.shut & RCV_SHUTDOWN and not (self.nonblocking or flags & MSG_DONTWAIT):
            return 0
        return WOULD_BLOCK

    def is_stream(self) -> bool:
        """True when byte counts may be split (MSG_WAITALL applies, sends go on until done)."""
        return False

    def writes_all(self) -> bool:
        return self.is_stream()

    def shutdown(self, how: int) -> None:
        """shutdown(2)."""
        raise EOPNOTSUPP("shutdown not supported")

    # -- options ----------------------------------------------------------------------------------
    def setsockopt(self, task: Task, level: int, name: int, value: bytes) -> None:
        """setsockopt(2)."""
        if level != SOL_SOCKET:
            raise EOPNOTSUPP("no such level")
        self.options.set(self, task, name, value)

    def getsockopt(self, task: Task, level: int, name: int, length: int) -> bytes:
        """getsockopt(2): the value, longer than ``length`` maybe; the caller cuts."""
        if level != SOL_SOCKET:
            raise EOPNOTSUPP("no such level")
        return self.options.get(self, task, name, length)

    def timeout_ns(self, writing: bool) -> int:
        """SO_RCVTIMEO or SO_SNDTIMEO in nanoseconds; -1 for none."""
        return self.options.send_timeout_ns if writing else self.options.receive_timeout_ns

    # -- the rest ---------------------------------------------------------------------------------
    def unread_bytes(self) -> int:
        """FIONREAD."""
        raise ENOTTY("not a number this family tells")

    def unsent_bytes(self) -> int:
        """SIOCOUTQ."""
        raise ENOTTY("not a number this family tells")

    def receive_buffer_changed(self) -> None:
        """SO_RCVBUF or SO_SNDBUF was set."""

    def peer_ucred(self) -> Ucred:
        """SO_PEERCRED."""
        return Ucred(0, 0xFFFFFFFF, 0xFFFFFFFF)

    def peer_groups(self) -> list[int]:
        """SO_PEERGROUPS."""
        return []

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if command in (FIONREAD, SIOCOUTQ):
            count = self.unread_bytes() if command == FIONREAD else self.unsent_bytes()
            task.copy_out(argument, INT.pack(min(count, 0x7FFFFFFF)))
            return 0
        if SIOC_FIRST <= command <= SIOC_LAST:
            return interface_ioctl(self.stack, task, command, argument)
        raise ENOTTY("no such socket ioctl")

    def take_error(self) -> int:
        """The pending error, forgotten."""
        number = self.error
        self.error = 0
        return number

    def raise_error(self) -> None:
        """Raise the pending error, if there is one."""
        if self.error:
            raise error_of(self.take_error(), "pending socket error")

    def release(self) -> None:
        self.released = True
        self.stack.unregister(self)

    def describe(self) -> str:
        inode = self.inode
        return f"socket:[{inode.ino if inode is not None else 0}]"

    @property
    def is_inet(self) -> bool:
        """True for AF_INET and AF_INET6."""
        return self.family in (AF_INET, AF_INET6)


def shutdown_bits(how: int) -> int:
    """RCV_SHUTDOWN | SEND_SHUTDOWN for shutdown(2)'s ``how``; EINVAL."""
    if how == SHUT_RD:
        return RCV_SHUTDOWN
    if how == SHUT_WR:
        return SEND_SHUTDOWN
    if how == SHUT_RDWR:
        return SHUTDOWN_MASK
    raise EINVAL("how must be SHUT_RD, SHUT_WR or SHUT_RDWR")


def put_packet(sink: Sink, data: bytes) -> int:
    """Copy a datagram's bytes; what was copied (the rest is the caller's to lose)."""
    if not data or sink.left <= 0:
        return 0
    return sink.put(data)


__all__ = [
    "HANGUP_EVENTS",
    "READ_EVENTS",
    "WOULD_BLOCK",
    "WRITE_EVENTS",
    "ControlMessage",
    "Incoming",
    "Outgoing",
    "Socket",
    "Ucred",
    "effective_ucred",
    "put_packet",
    "shutdown_bits",
]
