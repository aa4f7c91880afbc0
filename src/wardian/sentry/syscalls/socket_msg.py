"""sendmsg(2), recvmsg(2), sendmmsg(2), recvmmsg(2): struct msghdr and control data (cmsg(3))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EBADF,
    EINVAL,
    EMSGSIZE,
    ENOBUFS,
    EPERM,
    ESRCH,
    LinuxError,
)
from wardian.sentry.kernel.credentials import CAP_SETGID, CAP_SETUID, CAP_SYS_ADMIN
from wardian.sentry.kernel.task import PARKED
from wardian.sentry.mm.usercopy import IOV_MAX, IovecSink, IovecSource, Segments, read_iovec
from wardian.sentry.net.constants import (
    AF_UNIX,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_DONTWAIT,
    MSG_WAITFORONE,
    SCM_CREDENTIALS,
    SCM_MAX_FD,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from wardian.sentry.net.options import UCRED
from wardian.sentry.net.socket import ControlMessage, Incoming, Outgoing, Socket, Ucred
from wardian.sentry.syscalls.kinds import FD, Addr, Flags, InTimespec, UInt
from wardian.sentry.syscalls.socket import SOCKADDR_MAX, receive, socket_of, transmit
from wardian.sentry.time import timespec_ns
from wardian.sentry.vfs.file import O_PATH, File

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

MSGHDR: Final = struct.Struct("<Qi4xQQQQi4x")
MMSGHDR_SIZE: Final = 64
CMSGHDR: Final = struct.Struct("<Qii")
RESULT: Final = struct.Struct("<Qi4x")  # msg_controllen and msg_flags
U32: Final = struct.Struct("<I")

NAMELEN_OFFSET: Final = 8
CONTROLLEN_OFFSET: Final = 40
CONTROL_MAX: Final = 131072
"""net.core.optmem_max: the most control data of one message."""

VLEN_MAX: Final = 1024
RLIMIT_NOFILE: Final = 7


class MessageHeader:
    """struct msghdr, as copied in once."""

    def __init__(self, t: Task, address: int) -> None:
        fields = MSGHDR.unpack(t.copy_in(address, MSGHDR.size))
        self.name: int = fields[0]
        self.name_length: int = fields[1]
        self.iov: int = fields[2]
        self.iov_count: int = fields[3]
        self.control: int = fields[4]
        self.control_length: int = fields[5]
        self.address = address
        if self.name == 0:
            self.name_length = 0
        if self.name_length < 0:
            raise EINVAL("negative address length")
        if self.iov_count > IOV_MAX:
            raise EMSGSIZE("iovec too long")

    def segments(self, t: Task) -> Segments:
        """The buffers."""
        return read_iovec(t, self.iov, self.iov_count)


# -- sending -------------------------------------------------------------------------------------
def sendmsg(t: Task, fd: FD, message: Addr, flags: Flags) -> int:
    """sendmsg(2)."""
    return send_one(t, socket_of(t, fd), message, flags)


def send_one(t: Task, s: Socket, message: int, flags: int) -> int:
    """Send the message described at ``message``."""
    header = MessageHeader(t, message)
    name: bytes | None = None
    if header.name_length:
        name = t.copy_in(header.name, min(header.name_length, SOCKADDR_MAX))
    out = Outgoing(name) if name is not None or header.control_length else None
    call = t.call
    if out is not None and header.control_length and not (call is not None and call.done):
        if header.control_length > CONTROL_MAX:
            raise ENOBUFS("control data too long")
        parse_control(t, s, t.copy_in(header.control, header.control_length), out)
    return transmit(t, s, IovecSource(t, header.segments(t)), flags, out)


def parse_control(t: Task, s: Socket, data: bytes, out: Outgoing) -> None:
    """Check every control message and put it where it belongs (__scm_send(), ip_cmsg_send())."""
    offset = 0
    while len(data) - offset >= CMSGHDR.size:
        length, level, kind = CMSGHDR.unpack_from(data, offset)
        if not CMSGHDR.size <= length <= len(data) - offset:
            raise EINVAL("malformed control data")
        body = data[offset + CMSGHDR.size : offset + length]
        offset += (length + 7) & ~7
        if s.family != AF_UNIX:
            out.messages.append(ControlMessage(level, kind, body))
        elif level == SOL_SOCKET:
            if kind == SCM_RIGHTS:
                add_rights(t, s, body, out)
            elif kind == SCM_CREDENTIALS:
                out.credentials = checked_credentials(t, body)
            else:
                raise EINVAL("unknown control message")


def add_rights(t: Task, s: Socket, body: bytes, out: Outgoing) -> None:
    """SCM_RIGHTS: look the descriptors up; EBADF, EINVAL, ETOOMANYREFS."""
    count = len(body) // 4
    if count + len(out.files) > SCM_MAX_FD:
        raise EINVAL("too many descriptors")
    for i in range(count):
        file = t.files.get(int.from_bytes(body[4 * i : 4 * i + 4], "little", signed=True))
        if file.flags & O_PATH:
            raise EBADF("opened with O_PATH")
        out.files.append(file)
    s.stack.in_flight.check(t, t.group.rlimits.soft[RLIMIT_NOFILE], count)


def checked_credentials(t: Task, body: bytes) -> Ucred:
    """SCM_CREDENTIALS: only true ones, without privilege (scm_check_creds())."""
    if len(body) != UCRED.size:
        raise EINVAL("not a struct ucred")
    pid, uid, gid = UCRED.unpack(body)
    c = t.credentials
    if pid != t.group.pid and not c.has_cap(CAP_SYS_ADMIN):
        raise EPERM("somebody else's pid")
    if uid not in (c.uid, c.euid, c.suid) and not c.has_cap(CAP_SETUID):
        raise EPERM("somebody else's uid")
    if gid not in (c.gid, c.egid, c.sgid) and not c.has_cap(CAP_SETGID):
        raise EPERM("somebody else's gid")
    if t.kernel.pids.group(pid) is None:
        raise ESRCH("no such process")
    return Ucred(pid, uid, gid)


def sendmmsg(t: Task, fd: FD, vector: Addr, count: UInt, flags: Flags) -> int:
    """sendmmsg(2): after the first message nothing waits; a short count is the result then."""
    s = socket_of(t, fd)
    sent = 0
    for i in range(min(count, VLEN_MAX)):
        place = vector + i * MMSGHDR_SIZE
        try:
            n = send_one(t, s, place, flags | MSG_DONTWAIT if i else flags)
        except LinuxError:
            if sent:
                break
            raise
        if n == PARKED:
            return PARKED
        call = t.call
        if call is not None:
            call.done = 0
        t.copy_out(place + MSGHDR.size, U32.pack(n))
        sent += 1
    return sent


# -- receiving -----------------------------------------------------------------------------------
def recvmsg(t: Task, fd: FD, message: Addr, flags: Flags) -> int:
    """recvmsg(2)."""
    call = t.call
    return receive_one(t, socket_of(t, fd), message, flags, call.done if call is not None else 0)


def receive_one(t: Task, s: Socket, message: int, flags: int, done: int) -> int:
    """Receive into the message described at ``message``, of which ``done`` bytes came before."""
    header = MessageHeader(t, message)
    segments = header.segments(t)
    if done:
        skip_bytes(segments, done)
    into = Incoming()
    n = receive(t, s, IovecSink(t, segments), flags & ~MSG_CMSG_CLOEXEC, into)
    if n < 0:
        return n
    try:
        if header.name:
            put_name(t, header, into.address)
        left = put_control(t, s, header, into, flags)
    finally:
        into.drop_files()
    result = RESULT.pack(header.control_length - left, into.flags | flags & MSG_CMSG_CLOEXEC)
    t.copy_out(message + CONTROLLEN_OFFSET, result[:12])
    return n


def put_name(t: Task, header: MessageHeader, name: bytes) -> None:
    """msg_name and msg_namelen."""
    if name and header.name_length:
        t.copy_out(header.name, name[: header.name_length])
    t.copy_out(header.address + NAMELEN_OFFSET, U32.pack(len(name)))


def skip_bytes(segments: Segments, count: int) -> None:
    """Leave out what was filled before the call was parked."""
    while count > 0 and segments.lengths:
        step = min(count, segments.lengths[0])
        segments.total -= step
        count -= step
        if step == segments.lengths[0]:
            segments.lengths.pop(0)
            segments.addresses.pop(0)
        else:
            segments.lengths[0] -= step
            segments.addresses[0] += step


def put_control(t: Task, s: Socket, header: MessageHeader, into: Incoming, flags: int) -> int:
    """Write the control messages; the room that is left. MSG_CTRUNC when something did not fit."""
    left: int = header.control_length if header.control else 0
    unused: int = header.control_length - left
    place = header.control
    messages = into.messages
    credentials = into.credentials
    if s.family == AF_UNIX and credentials is not None and s.options.passcred:
        body = UCRED.pack(credentials.pid, credentials.uid, credentials.gid)
        messages = [*messages, ControlMessage(SOL_SOCKET, SCM_CREDENTIALS, body)]
    for message in messages:
        used = put_message(t, place, left, message, into)
        place += used
        left -= used
    if into.files:
        left -= put_rights(t, place, left, into, bool(flags & MSG_CMSG_CLOEXEC))
    return left + unused


def put_message(t: Task, place: int, left: int, message: ControlMessage, into: Incoming) -> int:
    """One control message, cut when it does not fit; the room it took."""
    if left < CMSGHDR.size:
        into.flags |= MSG_CTRUNC
        return 0
    length = CMSGHDR.size + len(message.data)
    if length > left:
        into.flags |= MSG_CTRUNC
        length = left
    head = CMSGHDR.pack(length, message.level, message.kind)
    t.copy_out(place, (head + message.data)[:length])
    return min((length + 7) & ~7, left)


def put_rights(t: Task, place: int, left: int, into: Incoming, cloexec: bool) -> int:
    """Install as many descriptors as there is room for, and say so; the others are closed."""
    room = max(0, left - CMSGHDR.size) // 4
    numbers: list[bytes] = []
    files: list[File] = into.files
    while files and len(numbers) < room:
        try:
            fd = t.files.install(files[0], cloexec)
        except LinuxError:
            break
        files.pop(0).drop()
        numbers.append(U32.pack(fd))
    if files:
        into.flags |= MSG_CTRUNC
    if not numbers:
        return 0
    length = CMSGHDR.size + 4 * len(numbers)
    t.copy_out(place, CMSGHDR.pack(length, SOL_SOCKET, SCM_RIGHTS) + b"".join(numbers))
    return min((length + 7) & ~7, left)


def recvmmsg(
    t: Task, fd: FD, vector: Addr, count: UInt, flags: Flags, timeout: InTimespec | None
) -> int:
    """recvmmsg(2): the time-out is looked at after each message only, as on Linux."""
    s = socket_of(t, fd)
    call = t.call
    limit = -1
    if timeout is not None:
        limit = timespec_ns(timeout)
    if call is not None and limit >= 0:
        t.deadline(limit)
    one_flags = flags & ~MSG_WAITFORONE
    received = call.done if call is not None else 0
    while received < min(count, VLEN_MAX):
        place = vector + received * MMSGHDR_SIZE
        if received and flags & MSG_WAITFORONE:
            one_flags |= MSG_DONTWAIT
        if call is not None:
            call.done = 0  # ``receive`` keeps its own progress there
        try:
            n = receive_one(t, s, place, one_flags, 0)
        except LinuxError:
            if received:
                break
            raise
        if call is not None:
            call.done = received
        if n == PARKED:
            return PARKED
        t.copy_out(place + MSGHDR.size, U32.pack(n))
        received += 1
        if limit >= 0 and t.expired():
            break
    return received
