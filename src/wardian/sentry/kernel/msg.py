"""System V message queues (msgop(2))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.kernel.ipc import IpcObject

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task

MSGMAX: Final = 8192
MSGMNB: Final = 16384
MSG_EXCEPT: Final = 0o20000
MESSAGE_COST: Final = 128
ALL_BYTES_MAX: Final = 64 << 20
"""In all queues together: the Sentry's own memory holds them."""
MSQID: Final = struct.Struct("<qqqQQQii16x")
"""struct msqid64_ds after its permission."""


class Message:
    """One message."""

    def __init__(self, kind: int, data: bytes) -> None:
        self.kind = kind
        self.data = data


class MessageQueue(IpcObject):
    """One queue."""

    def __init__(self, task: Task, key: int, mode: int) -> None:
        super().__init__(task, key, mode)
        self.messages: list[Message] = []
        self.bytes = 0
        self.bytes_max = MSGMNB
        self.sent_at = 0
        self.received_at = 0
        self.sender = 0
        self.receiver = 0

    def has_room(self, count: int) -> bool:
        """Whether a message of ``count`` bytes fits."""
        return self.bytes + count <= self.bytes_max and len(self.messages) < self.bytes_max

    def pick(self, kind: int, flags: int) -> Message | None:
        """The message that msgrcv(2) with type ``kind`` gets."""
        best: Message | None = None
        for message in self.messages:
            if kind < 0:
                if message.kind <= -kind and (best is None or message.kind < best.kind):
                    best = message
            elif kind == 0 or (message.kind == kind) != bool(flags & MSG_EXCEPT):
                return message
        return best

    def pack(self, kernel: Kernel) -> bytes:
        """struct msqid64_ds."""
        return self.pack_permission() + MSQID.pack(
            self.sent_at,
            self.received_at,
            self.changed,
            self.bytes,
            len(self.messages),
            self.bytes_max,
            self.sender,
            self.receiver,
        )
