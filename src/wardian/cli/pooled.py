"""``WARDIAN_POOL=SOCKET wardian do ...``: the command runs in a fork of ``wardian pool``
(``cli.pool``), which has everything imported. We hand over our words, environment, directory and
streams, pass signals on, and end with the command's status.

Whatever is in the way of that (no server, a terminal, closed streams) is no error: the command is
then started as without a pool.
"""

from __future__ import annotations

import _signal as signal
import os
import struct
from _socket import AF_UNIX, MSG_CMSG_CLOEXEC, SCM_RIGHTS, SO_PEERCRED, SOCK_STREAM, SOL_SOCKET
from _socket import socket as Socket
from fcntl import F_SETFL, F_SETOWN, fcntl

from wardian.host.messages import complain
from wardian.host.relay import FORWARDED, ignored_signals

HEADER = struct.Struct("<3IQ")  # bytes of text, words, umask, ignored signals
LENGTHS = struct.Struct("<I")
ANSWER = struct.Struct("<i")
LOST_STATUS = 125
PEER = struct.Struct("<3i")


def run_pooled(path: str, words: list[str]) -> int | None:
    """The exit status; None when there is no way."""
    if not all(map(usable, (0, 1, 2))):
        return None
    try:
        directory = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        server = Socket(AF_UNIX, SOCK_STREAM)
        server.connect(os.fsencode(path))
    except OSError:
        return None
    if peer_uid(server) != os.geteuid():
        return None  # somebody else's: it would see our environment
    return converse(server, directory, words)


def usable(fd: int) -> bool:
    """Open and no terminal: a terminal's processes are those of its session."""
    try:
        return not os.isatty(fd) and os.fstat(fd) is not None
    except OSError:
        return False


def peer_uid(peer: Socket) -> int:
    """Who is at the other end (unix(7))."""
    return int(PEER.unpack(peer.getsockopt(SOL_SOCKET, SO_PEERCRED, PEER.size))[1])


def request(words: list[str]) -> bytes:
    """All that the command shall have of us, but for descriptors."""
    variables = [name + b"=" + value for name, value in os.environb.items()]
    text = b"\0".join([*map(os.fsencode, words), *variables])
    mask = os.umask(0o077)
    os.umask(mask)
    ignored = sum(1 << number - 1 for number in ignored_signals())
    return HEADER.pack(len(text), len(words), mask, ignored) + text


def converse(server: Socket, directory: int, words: list[str]) -> int | None:
    """Ask, pass signals on until the end, take the status."""
    ignored = ignored_signals()
    watched = {number for number in FORWARDED if number not in ignored}
    signal.pthread_sigmask(signal.SIG_BLOCK, {*watched, signal.SIGIO})
    data = request(words)
    rights = struct.pack("4i", 0, 1, 2, directory)
    try:
        sent = server.sendmsg([data], [(SOL_SOCKET, SCM_RIGHTS, rights)])
        server.sendall(data[sent:])
        _, ancillary, _, _ = server.recvmsg(1, 64, MSG_CMSG_CLOEXEC)
    except OSError:
        ancillary = []
    if not ancillary:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {*watched, signal.SIGIO})
        return None
    launcher = struct.unpack("i", ancillary[0][2])[0]
    fcntl(server.fileno(), F_SETOWN, os.getpid())
    fcntl(server.fileno(), F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
    while (status := answer(server)) is None:
        info = signal.sigwaitinfo({*watched, signal.SIGIO})
        if info.si_signo != signal.SIGIO:
            tell(launcher, info.si_signo)
    return status


def answer(server: Socket) -> int | None:
    """The exit status, None while there is none."""
    try:
        data = server.recv(ANSWER.size)
    except BlockingIOError:
        return None
    except ConnectionError:
        data = b""
    if len(data) == ANSWER.size:
        return int(ANSWER.unpack(data)[0])
    complain("the pool ended, and the sandbox with it")
    return LOST_STATUS


def tell(launcher: int, number: int) -> None:
    """Pass a signal on."""
    try:
        signal.pidfd_send_signal(launcher, number)
    except ProcessLookupError:
        pass
