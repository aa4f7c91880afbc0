"""Messages between the user's process and a sandbox's: a header, JSON, raw bytes, descriptors.

Over a stream socket; descriptors travel with the first byte of their message (unix(7)). Both ends
use this module: :func:`encode`, and a :class:`Decoder` fed with what arrives. A message that breaks
the rules is a :class:`WireError`, and the end of the conversation.
"""

from __future__ import annotations

import array
import json
import os
import struct
from _socket import (
    CMSG_SPACE,
    MSG_CMSG_CLOEXEC,
    MSG_CTRUNC,
    MSG_NOSIGNAL,
    SCM_RIGHTS,
    SOL_SOCKET,
)
from _socket import socket as Socket
from collections.abc import Sequence
from typing import Any

HEADER = struct.Struct("<IIB3x")  # bytes of JSON, bytes of payload, descriptors
MAX_FIELDS = 16 << 20
"""More than execve(2) takes of arguments and environment."""
MAX_PAYLOAD = 1 << 20
MAX_FDS = 8
PIECE = 256 << 10
NULL, SAME = "null", "stdout"
"""A stream that is no descriptor: /dev/null inside, or the same as standard output."""

Fields = dict[str, Any]


class WireError(Exception):
    """The other end does not keep to the rules."""


class Message:
    """One message; whoever takes it owns ``fds``."""

    def __init__(self, fields: Fields, payload: bytes = b"", fds: Sequence[int] = ()) -> None:
        self.fields = fields
        self.payload = payload
        self.fds = list(fds)

    def close(self) -> None:
        """Close the descriptors that nobody took."""
        while self.fds:
            os.close(self.fds.pop())


def encode(message: Message) -> bytes:
    """Its bytes; the descriptors go beside the first of them."""
    text = json.dumps(message.fields, separators=(",", ":")).encode()
    if len(text) > MAX_FIELDS or len(message.payload) > MAX_PAYLOAD:
        raise WireError("message too large")
    return HEADER.pack(len(text), len(message.payload), len(message.fds)) + text + message.payload


def send(sock: Socket, data: bytes | memoryview, fds: Sequence[int]) -> int:
    """sendmsg(2): how many bytes went; ``fds`` went if any did."""
    ancillary = [(SOL_SOCKET, SCM_RIGHTS, array.array("i", fds))] if fds else []
    return sock.sendmsg([data[:PIECE]], ancillary, MSG_NOSIGNAL)


def receive(sock: Socket) -> tuple[bytes, list[int]]:
    """recvmsg(2): what has arrived, b"" at the end."""
    space = CMSG_SPACE(4 * MAX_FDS)
    data, ancillary, flags, _ = sock.recvmsg(PIECE, space, MSG_CMSG_CLOEXEC)
    fds = array.array("i")
    for level, kind, content in ancillary:
        if level == SOL_SOCKET and kind == SCM_RIGHTS:
            fds.frombytes(content[: len(content) - len(content) % fds.itemsize])
    if flags & MSG_CTRUNC:
        for fd in fds:
            os.close(fd)
        raise WireError("descriptors were lost: too many open files?")
    return data, list(fds)


class Decoder:
    """Puts messages together from what arrives."""

    def __init__(self) -> None:
        self.buffer = bytearray()
        self.fds: list[int] = []

    def feed(self, data: bytes, fds: Sequence[int]) -> None:
        """Something arrived."""
        self.buffer += data
        self.fds += fds

    def next(self) -> Message | None:
        """The next complete message."""
        if len(self.buffer) < HEADER.size:
            return None
        fields_size, payload_size, fd_count = HEADER.unpack_from(self.buffer)
        if fields_size > MAX_FIELDS or payload_size > MAX_PAYLOAD or fd_count > MAX_FDS:
            raise WireError("message too large")
        middle = HEADER.size + fields_size
        end = middle + payload_size
        if len(self.buffer) < end:
            return None
        text, payload = bytes(self.buffer[HEADER.size : middle]), bytes(self.buffer[middle:end])
        del self.buffer[:end]
        if len(self.fds) < fd_count:
            raise WireError("descriptors are missing")
        fds, self.fds = self.fds[:fd_count], self.fds[fd_count:]
        return Message(parse(text), payload, fds)

    def close(self) -> None:
        """Close what never became a message."""
        while self.fds:
            os.close(self.fds.pop())


def parse(text: bytes) -> Fields:
    """The JSON object of a message."""
    try:
        fields = json.loads(text)
    except ValueError:
        raise WireError("not JSON") from None
    if not isinstance(fields, dict):
        raise WireError("not a JSON object")
    return fields
