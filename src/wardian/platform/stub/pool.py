"""Pool processes: empty, trusted host processes that wait for a program (design D9)."""

from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

from wardian import _core
from wardian.platform.interface import ExecImage
from wardian.platform.stub.process import Space
from wardian.platform.stub.wire import DATA_SIZE, IMAGE, IMAGE_BLOB, IMAGE_MAP
from wardian.sentry.errno import ENOMEM

if TYPE_CHECKING:
    from wardian.platform.stub.thread import StubThread


class PoolProcess:
    """One of them; ``pid`` is 0 until it reported itself."""

    def __init__(self, hub: _core.Hub) -> None:
        self.space = Space(hub)
        self.control, self.theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self.control.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self.control.setblocking(False)
        self.pid = 0
        self.taken_by: StubThread | None = None
        self.rest: list[tuple[int, bytes]] = []  # what did not fit into the channel

    def write_rest(self) -> None:
        """The image is mapped: place what was too large for the channel, and let it go."""
        for address, data in self.rest:
            if _core.vm_write(self.pid, address, data) != len(data):
                os.kill(self.pid, signal.SIGKILL)
                return
        self.rest = []
        try:
            self.control.send(b"G")
        except BrokenPipeError:
            pass  # killed from outside: its pidfd reports that

    def close(self) -> None:
        """Give up before it was asked for."""
        self.control.close()
        self.theirs.close()
        self.space.users += 1
        self.space.drop()


def encode_image(image: ExecImage, fresh: PoolProcess) -> tuple[bytes, bytes, list[int]]:
    """The message byte, the contents of the channel's data area, and the descriptors to send."""
    fds: list[int] = []
    maps: list[bytes] = []
    blobs: list[tuple[int, bytes]] = []
    for mapping in image.mappings:
        index = -1
        if mapping.fd >= 0:
            if mapping.fd not in fds:
                fds.append(mapping.fd)
            index = fds.index(mapping.fd)
        maps.append(IMAGE_MAP.pack(mapping.address, mapping.length, mapping.prot, mapping.offset, index))
        if mapping.data:
            blobs.append((mapping.data_address, mapping.data))
    room = DATA_SIZE - IMAGE.size - sum(map(len, maps))
    if room < 0:
        raise ENOMEM("too many segments")
    placed: list[bytes] = []
    for address, data in blobs:
        piece = IMAGE_BLOB.pack(address, len(data)) + data + bytes(-len(data) % 8)
        if len(piece) <= room:
            placed.append(piece)
            room -= len(piece)
        else:
            fresh.rest.append((address, data))
    header = IMAGE.pack(len(maps), len(placed), image.entry, image.stack_pointer, image.brk_start)
    return (b"W" if fresh.rest else b"G"), header + b"".join(maps) + b"".join(placed), fds
