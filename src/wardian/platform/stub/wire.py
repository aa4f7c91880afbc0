"""The words on the channel: mirrors native/include/channel.h (a test compares them)."""

import struct
from typing import Final

KIND_SYSCALL: Final = 1
KIND_FAULT: Final = 2
KIND_INTERRUPTED: Final = 3
KIND_FRAME_FAULT: Final = 4
KIND_HOSTRET: Final = 5
KIND_CLONED: Final = 6
KIND_CHECKIN: Final = 7
KIND_PATCH: Final = 9

MAYBE_CLONED: Final = 100
"""Not on the channel: KIND_CLONED when the host refused a clone, otherwise anything."""

ACTION_RETURN: Final = 1
ACTION_RESUME: Final = 2
ACTION_SIGNAL: Final = 3
ACTION_SIGRETURN: Final = 4
ACTION_HOSTCALL: Final = 5
ACTION_CLONE: Final = 6
ACTION_EXIT: Final = 7
ACTION_EXIT_GROUP: Final = 8
ACTION_MAP: Final = 9
ACTION_EXEC: Final = 10

INTERRUPT_SIGNAL: Final = 23

IDS_OFFSET: Final = 248
SIGINFO_OFFSET: Final = 384
DATA_OFFSET: Final = 512
DATA_SIZE: Final = 0x8000 - 512

WORDS: Final = [struct.Struct(f"<{n}Q") for n in range(13)]
DELIVER: Final = struct.Struct("<11Q")
IDS: Final = struct.Struct("<7I")
IMAGE: Final = struct.Struct("<7Q")
IMAGE_MAP: Final = struct.Struct("<4Qq")
IMAGE_BLOB: Final = struct.Struct("<2Q")

SYS_MMAP: Final = 9
SYS_MUNMAP: Final = 11


def signed_int(value: int) -> int:
    """The lower half of a register as the int it holds."""
    value &= 0xFFFFFFFF
    return value - 0x1_0000_0000 if value >= 0x8000_0000 else value
