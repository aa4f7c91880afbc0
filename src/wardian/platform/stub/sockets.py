"""Unix sockets between the Sentry and its guests' processes, and descriptors sent over them.

``_socket`` is all of ``socket`` that is needed: the module around it takes 2 ms to import, for
constants that are enums.
"""

from __future__ import annotations

import fcntl
import struct
from _socket import (
    AF_UNIX,
    CMSG_SPACE,
    SCM_RIGHTS,
    SOCK_SEQPACKET,
    SOL_SOCKET,
    socket,
    socketpair,
)
from typing import Final

from wardian import _core

SIOCOUTQ: Final = 0x5411
"""Bytes sent that nobody has received (unix(7))."""
UNASKED: Final = 16
"""Messages to one thread in a row before the socket is asked whether it takes them: descriptors
under way count against a limit that all of the user's processes share (unix(7), ETOOMANYREFS)."""


def pair() -> tuple[socket, socket]:
    """Two connected ends that keep messages apart."""
    return socketpair(AF_UNIX, SOCK_SEQPACKET)


def send_fds(to: socket, message: bytes, fds: list[int]) -> None:
    """One message with these descriptors, now or never; OSError."""
    _core.send_fds(to.fileno(), message, fds)


class Control:
    """The socket on which a guest process gets descriptors, and only the Sentry speaks. Processes
    that share their memory share it too."""

    def __init__(self, ours: socket) -> None:
        self.socket = ours
        self.users = 1
        self.sent_to: object | None = None  # the thread that has yet to take what was sent last
        self.unasked = 0  # messages since the socket was last known to be empty

    def is_free(self, thread: object) -> bool:
        """Whether something may be sent to ``thread``: all that was sent before has been taken. A
        thread takes what it was sent before it asks for more; so says the stub."""
        if self.sent_to is None or (self.sent_to is thread and self.unasked < UNASKED):
            return True
        if fcntl.ioctl(self.socket.fileno(), SIOCOUTQ, bytes(4)) != bytes(4):
            return False
        self.sent_to = None
        self.unasked = 0
        return True

    def send(self, thread: object, fds: list[int]) -> None:
        """One message for ``thread``, which takes it when it has its answer; OSError."""
        send_fds(self.socket, b"F", fds)
        self.sent_to = thread
        self.unasked += 1

    def share(self) -> Control:
        """One user more."""
        self.users += 1
        return self

    def drop(self) -> None:
        """One user less; the last one closes it."""
        self.users -= 1
        if self.users == 0:
            self.socket.close()


def receive_fd(at: socket, size: int) -> tuple[bytes, int]:
    """One message of at most ``size`` bytes, and the one descriptor that came with it
    (close-on-exec), or -1."""
    data, ancillary, _, _ = at.recvmsg(size, CMSG_SPACE(4), 0x40000000)  # MSG_CMSG_CLOEXEC
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS and len(content) == 4:
            return data, struct.unpack("i", content)[0]
    return data, -1
