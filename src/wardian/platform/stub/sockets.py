"""Unix sockets between the Sentry and its guests' processes, and descriptors sent over them.

``_socket`` is all of ``socket`` that is needed: the module around it takes 2 ms to import, for
constants that are enums.
"""

from __future__ import annotations

import struct
from _socket import AF_UNIX, CMSG_SPACE, SCM_RIGHTS, SOCK_SEQPACKET, SOL_SOCKET, socket, socketpair


def pair() -> tuple[socket, socket]:
    """Two connected ends that keep messages apart."""
    return socketpair(AF_UNIX, SOCK_SEQPACKET)


def send_fds(to: socket, message: bytes, fds: list[int]) -> None:
    """One message with these descriptors; OSError."""
    rights = struct.pack(f"{len(fds)}i", *fds)
    to.sendmsg([message], [(SOL_SOCKET, SCM_RIGHTS, rights)])


def receive_fd(at: socket, size: int) -> tuple[bytes, int]:
    """One message of at most ``size`` bytes, and the one descriptor that came with it
    (close-on-exec), or -1."""
    data, ancillary, _, _ = at.recvmsg(size, CMSG_SPACE(4), 0x40000000)  # MSG_CMSG_CLOEXEC
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS and len(content) == 4:
            return data, struct.unpack("i", content)[0]
    return data, -1
