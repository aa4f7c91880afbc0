"""Socket calls (socket(2), send(2), recv(2), ...): descriptors, flags, blocking.

The work is done in ``sentry.net``. Messages with control data (sendmsg, recvmsg and the vector
forms) are in ``syscalls.socket_msg``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EAGAIN,
    EBADF,
    EINVAL,
    ENOTSOCK,
    EPIPE,
    WOULD_BLOCK,
    LinuxError,
)
from wardian.sentry.mm.usercopy import UserSink, source_of
from wardian.sentry.net.constants import (
    MSG_DONTWAIT,
    MSG_ERRQUEUE,
    MSG_NOSIGNAL,
    MSG_PEEK,
    MSG_WAITALL,
    SOCK_CLOEXEC,
    SOCK_NONBLOCK,
    SOCK_TYPE_MASK,
)
from wardian.sentry.net.options import INT
from wardian.sentry.net.socket import Incoming, Outgoing, Socket
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, InBuf, Int, OutBuf, Size
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import O_NONBLOCK, O_PATH, POLLIN, POLLOUT
from wardian.sentry.vfs.io import MAX_RW_COUNT, broken_pipe, file_of

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

SOCKADDR_MAX: Final = 128
"""sizeof(struct sockaddr_storage)."""


# -- making and connecting -----------------------------------------------------------------------
def socket(t: Task, family: Int, kind: Int, protocol: Int) -> int:
    """socket(2)."""
    check_type_flags(kind)
    s = t.kernel.network.socket(t, family, kind & SOCK_TYPE_MASK, protocol)
    if kind & SOCK_NONBLOCK:
        s.flags |= O_NONBLOCK
    return t.files.install(s, bool(kind & SOCK_CLOEXEC))


def check_type_flags(kind: int) -> None:
    """EINVAL for flags beside SOCK_NONBLOCK and SOCK_CLOEXEC."""
    if kind & ~(SOCK_TYPE_MASK | SOCK_NONBLOCK | SOCK_CLOEXEC):
        raise EINVAL("unknown socket flags")


def socketpair(t: Task, family: Int, kind: Int, protocol: Int, pair: OutBuf) -> int:
    """socketpair(2)."""
    check_type_flags(kind)
    a, b = t.kernel.network.pair(t, family, kind & SOCK_TYPE_MASK, protocol)
    if kind & SOCK_NONBLOCK:
        a.flags |= O_NONBLOCK
        b.flags |= O_NONBLOCK
    cloexec = bool(kind & SOCK_CLOEXEC)
    b.hold()
    try:
        first = t.files.install(a, cloexec)
        try:
            second = t.files.install(b, cloexec)
        except LinuxError:
            t.files.close(first)
            raise
    finally:
        b.drop()
    t.copy_out(pair, INT.pack(first) + INT.pack(second))
    return 0


def socket_of(t: Task, fd: int) -> Socket:
    """The socket behind ``fd``; EBADF, ENOTSOCK."""
    f = file_of(t, fd)
    if not isinstance(f, Socket):
        if f.flags & O_PATH:
            raise EBADF("opened with O_PATH")
        raise ENOTSOCK("not a socket")
    return f


def checked_address(address: bytes, length: int) -> bytes:
    """move_addr_to_kernel(): EINVAL for lengths no address has."""
    if not 0 <= length <= SOCKADDR_MAX:
        raise EINVAL("address length")
    return address


def bind(t: Task, fd: FD, address: InBuf, length: Int) -> int:
    """bind(2)."""
    s = socket_of(t, fd)
    s.bind(t, checked_address(address, length))
    return 0


def listen(t: Task, fd: FD, backlog: Int) -> int:
    """listen(2)."""
    socket_of(t, fd).listen(t, backlog)
    return 0


def connect(t: Task, fd: FD, address: InBuf, length: Int) -> int:
    """connect(2)."""
    s = socket_of(t, fd)
    if s.connect(t, checked_address(address, length)) != WOULD_BLOCK:
        return 0
    if s.nonblocking or not arm_timeout(t, s, True):
        raise s.connect_timed_out()
    hold(t, s)
    return s.connect_park(t)


def accept(t: Task, fd: FD, address: Addr, length: Addr) -> int:
    """accept(2)."""
    return accept4(t, fd, address, length, Flags(0))


def accept4(t: Task, fd: FD, address: Addr, length: Addr, flags: Flags) -> int:
    """accept4(2)."""
    if flags & ~(SOCK_NONBLOCK | SOCK_CLOEXEC):
        raise EINVAL("unknown flags")
    s = socket_of(t, fd)
    t.files.check_room()
    new = s.accept(t)
    if new is None:
        return wait(t, s, 0, POLLIN, False)
    if flags & SOCK_NONBLOCK:
        new.flags |= O_NONBLOCK
    new.hold()
    try:
        if address:
            put_address(t, new.accepted_name(), address, length)
        return t.files.install(new, bool(flags & SOCK_CLOEXEC))
    finally:
        new.drop()


def put_address(t: Task, name: bytes, address: int, length: int) -> None:
    """Give the guest a sockaddr, cut at the int at ``length``, which becomes its true size."""
    room = int(INT.unpack(t.copy_in(length, 4))[0])
    if room < 0:
        raise EINVAL("negative address length")
    if room:
        t.copy_out(address, name[:room])
    t.copy_out(length, INT.pack(len(name)))


def getsockname(t: Task, fd: FD, address: Addr, length: Addr) -> int:
    """getsockname(2)."""
    put_address(t, socket_of(t, fd).local_name(), address, length)
    return 0


def getpeername(t: Task, fd: FD, address: Addr, length: Addr) -> int:
    """getpeername(2)."""
    put_address(t, socket_of(t, fd).peer_name(), address, length)
    return 0


def shutdown(t: Task, fd: FD, how: Int) -> int:
    """shutdown(2)."""
    socket_of(t, fd).shutdown(how)
    return 0


def setsockopt(t: Task, fd: FD, level: Int, name: Int, value: InBuf | None, length: Int) -> int:
    """setsockopt(2)."""
    s = socket_of(t, fd)
    if length < 0:
        raise EINVAL("negative option length")
    s.setsockopt(t, level, name, value if value is not None else b"")
    return 0


def getsockopt(t: Task, fd: FD, level: Int, name: Int, value: Addr, length: Addr) -> int:
    """getsockopt(2)."""
    s = socket_of(t, fd)
    room = int(INT.unpack(t.copy_in(length, 4))[0])
    if room < 0:
        raise EINVAL("negative option length")
    data = s.getsockopt(t, level, name, room)[:room]
    if data:
        t.copy_out(value, data)
    t.copy_out(length, INT.pack(len(data)))
    return 0


# -- sending and receiving -----------------------------------------------------------------------
def sendto(
    t: Task, fd: FD, data: InBuf, size: Size, flags: Flags, address: InBuf | None, length: Int
) -> int:
    """sendto(2) and send(2)."""
    s = socket_of(t, fd)
    out: Outgoing | None = None
    if address is not None:
        out = Outgoing(checked_address(address, length))
    return transmit(t, s, source_of(t, data, min(size, MAX_RW_COUNT)), flags, out)


def recvfrom(
    t: Task, fd: FD, buffer: OutBuf, size: Size, flags: Flags, address: Addr, length: Addr
) -> int:
    """recvfrom(2) and recv(2)."""
    s = socket_of(t, fd)
    if size > MAX_RW_COUNT:
        size = Size(MAX_RW_COUNT)
    call = t.call
    done = call.done if call is not None else 0
    into = Incoming() if address else None
    n = receive(t, s, UserSink(t, buffer + done, size - done), flags, into)
    if into is not None and n >= 0:
        into.drop_files()
        if into.address:
            put_address(t, into.address, address, length)
        elif length:
            t.copy_out(length, INT.pack(0))
    return n


def transmit(t: Task, s: Socket, source: Source, flags: int, out: Outgoing | None) -> int:
    """Send all of ``source`` (streams) or one message; bytes sent, or PARKED."""
    call = t.call
    done = 0
    if call is not None and call.done:
        done = call.done
        source.skip(done)
    while True:
        try:
            n = s.send(t, source, flags, out)
        except LinuxError as error:
            if done:
                return done
            if error.number == EPIPE.number and not flags & MSG_NOSIGNAL and s.is_stream():
                broken_pipe(t)
            raise
        if n == WOULD_BLOCK:
            if call is not None:
                call.done = done
            return wait(t, s, flags, POLLOUT, True)
        done += n
        if source.left == 0 or n == 0 or not s.is_stream():
            return done


def receive(t: Task, s: Socket, sink: Sink, flags: int, into: Incoming | None) -> int:
    """Receive into ``sink``: the call's result, what MSG_WAITALL got before included; or PARKED."""
    n = s.recv(sink, flags, into)
    if n >= 0 and not flags & MSG_WAITALL:
        return n
    call = t.call
    done = call.done if call is not None else 0
    if flags & MSG_WAITALL and s.is_stream() and not flags & MSG_PEEK:
        while n > 0:
            done += n
            if sink.left <= 0 or (into is not None and into.files):
                return done
            n = received_more(s, sink, flags, into)
        if n == 0:
            return done
        if call is not None:
            call.done = done
    elif n >= 0:
        return n
    return wait(t, s, flags, POLLIN, False)


def received_more(s: Socket, sink: Sink, flags: int, into: Incoming | None) -> int:
    """Go on with MSG_WAITALL; an error waits for the next call."""
    try:
        return s.recv(sink, flags, into)
    except LinuxError as error:
        s.error = error.number
        return 0


def wait(t: Task, s: Socket, flags: int, events: int, writing: bool) -> int:
    """Park until ``s`` may be ready; what was done before, or EAGAIN, when that is not wanted."""
    if flags & (MSG_DONTWAIT | MSG_ERRQUEUE) or s.nonblocking or not arm_timeout(t, s, writing):
        call = t.call
        if call is not None and call.done:
            return call.done
        raise EAGAIN("would block")
    hold(t, s)
    return t.park(s.queue, events)


def arm_timeout(t: Task, s: Socket, writing: bool) -> bool:
    """Set SO_RCVTIMEO or SO_SNDTIMEO going; False when it has passed."""
    limit = s.timeout_ns(writing)
    if limit < 0:
        return True
    deadline = t.deadline(limit)
    if t.expired():
        return False
    t.park_until(deadline)
    return True


def hold(t: Task, s: Socket) -> None:
    """Keep ``s`` while the call is parked, even when its descriptor is closed."""
    call = t.call
    if call is not None:
        call.hold_file(s)
