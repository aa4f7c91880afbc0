"""The messages between client and server."""

from __future__ import annotations

import os
import socket

import pytest

from wardian.sdk import wire
from wardian.sdk.wire import HEADER, Decoder, Message, WireError, encode


def decode_all(data: bytes, step: int) -> list[Message]:
    decoder = Decoder()
    found = []
    for start in range(0, len(data), step):
        decoder.feed(data[start : start + step], [])
        while (message := decoder.next()) is not None:
            found.append(message)
    return found


@pytest.mark.parametrize("step", [1, 7, 1000])
def test_messages_arrive_whole_however_they_are_cut(step: int) -> None:
    messages = [Message({"id": n, "x": "ü" * n}, b"p" * n) for n in range(50)]
    found = decode_all(b"".join(map(encode, messages)), step)
    assert [(m.fields, m.payload) for m in found] == [(m.fields, m.payload) for m in messages]


def test_names_that_are_not_utf8_survive() -> None:
    [message] = decode_all(encode(Message({"path": "/\udcff"})), 1000)
    assert message.fields["path"] == "/\udcff"


@pytest.mark.parametrize(
    "data",
    [
        HEADER.pack(wire.MAX_FIELDS + 1, 0, 0),
        HEADER.pack(0, wire.MAX_PAYLOAD + 1, 0),
        HEADER.pack(2, 0, wire.MAX_FDS + 1) + b"{}",
        HEADER.pack(2, 0, 1) + b"{}",
        HEADER.pack(2, 0, 0) + b"[]",
        HEADER.pack(2, 0, 0) + b"{!",
        HEADER.pack(2, 0, 0) + b"\xff\xfe",
    ],
)
def test_nonsense_is_refused(data: bytes) -> None:
    decoder = Decoder()
    decoder.feed(data, [])
    with pytest.raises(WireError):
        decoder.next()


def test_too_large_a_message_is_not_sent() -> None:
    with pytest.raises(WireError):
        encode(Message({}, bytes(wire.MAX_PAYLOAD + 1)))


def test_descriptors_stay_with_their_message() -> None:
    ours, theirs = socket.socketpair()
    pipes = [os.pipe() for _ in range(3)]
    for number, (read, _) in enumerate(pipes):
        message = Message({"n": number}, fds=[read] if number != 1 else [])
        wire.send(ours, encode(message), message.fds)
    ours.close()
    decoder = Decoder()
    while True:
        data, fds = wire.receive(theirs)
        if not data:
            break
        decoder.feed(data, fds)
    found = []
    while (arrived := decoder.next()) is not None:
        found.append(len(arrived.fds))
        assert not any(os.get_inheritable(fd) for fd in arrived.fds)
        arrived.close()
    assert found == [1, 0, 1]
    theirs.close()
    for read, write in pipes:
        os.close(read)
        os.close(write)
