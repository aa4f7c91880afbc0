"""The stack a program starts with: strings, vectors and the auxiliary vector (getauxval(3), System
V ABI 3.4.1).

From high addresses to low: a null word, the program's name, environment strings, argument strings,
the platform's name and 16 random bytes, then, 16-aligned, argc, argv, envp and the auxiliary
vector. Pure: addresses come in, bytes come out.
"""

from __future__ import annotations

import struct
from typing import Final

from wardian.sentry.errno import E2BIG
from wardian.sentry.mm.memory import PAGE_SIZE

MAX_ARG_STRLEN: Final = 32 * PAGE_SIZE
"""Longest argument or environment string, its NUL included (execve(2))."""
MAX_ARG_STRINGS: Final = 0x7FFFFFFF
ARG_MAX: Final = 131072
ARGUMENT_LIMIT: Final = 6 << 20
"""However large the stack may grow, arguments take no more (three quarters of _STK_LIM)."""

WORD_MASK: Final = (1 << 64) - 1

AT_NULL: Final = 0
AT_PHDR: Final = 3
AT_PHENT: Final = 4
AT_PHNUM: Final = 5
AT_PAGESZ: Final = 6
AT_BASE: Final = 7
AT_FLAGS: Final = 8
AT_ENTRY: Final = 9
AT_UID: Final = 11
AT_EUID: Final = 12
AT_GID: Final = 13
AT_EGID: Final = 14
AT_PLATFORM: Final = 15
AT_HWCAP: Final = 16
AT_CLKTCK: Final = 17
AT_SECURE: Final = 23
AT_RANDOM: Final = 25
AT_HWCAP2: Final = 26
AT_EXECFN: Final = 31
AT_SYSINFO_EHDR: Final = 33
AT_MINSIGSTKSZ: Final = 51


def check_arguments(
    argv: list[bytes], envp: list[bytes], filename: bytes, stack_limit: int
) -> None:
    """E2BIG unless the strings fit into a quarter of the stack limit (execve(2))."""
    limit = max(min(stack_limit // 4, ARGUMENT_LIMIT), ARG_MAX)
    limit -= 8 * (max(len(argv), 1) + len(envp)) + len(filename) + 1
    for strings in (argv, envp):
        for text in strings:
            if len(text) + 1 > MAX_ARG_STRLEN:
                raise E2BIG("a string is longer than MAX_ARG_STRLEN")
            limit -= len(text) + 1
            if limit < 0:
                raise E2BIG("arguments and environment are too long")
    if limit < 0:
        raise E2BIG("too many arguments")


class InitialStack:
    """Where everything went; ``data`` belongs at ``pointer``, which is the first stack pointer."""

    def __init__(self) -> None:
        self.data = b""
        self.pointer = 0
        self.arg_start = 0
        self.arg_end = 0
        self.env_start = 0
        self.env_end = 0
        self.auxv = b""


class StackBuilder:
    """Places strings downwards from ``top``, then the vectors below them."""

    def __init__(self, top: int) -> None:
        self.cursor = top
        self.top = top
        self.pieces: list[bytes] = []  # highest first

    def push(self, data: bytes) -> int:
        """Put ``data`` below what is there; its address."""
        self.pieces.append(data)
        self.cursor -= len(data)
        return self.cursor

    def align(self, alignment: int) -> None:
        """Move down to a multiple of ``alignment``."""
        self.push(bytes(self.cursor % alignment))

    def strings(self, texts: list[bytes]) -> list[int]:
        """NUL-terminated strings in ascending order; their addresses."""
        total = 0
        for text in texts:
            total += len(text) + 1
        address = self.cursor - total
        addresses: list[int] = []
        for text in texts:
            addresses.append(address)
            address += len(text) + 1
        self.push(b"".join([text + b"\0" for text in texts]))
        return addresses

    def data(self) -> bytes:
        """Everything, lowest address first."""
        return b"".join(reversed(self.pieces))


class Vector:
    """The auxiliary vector under construction."""

    def __init__(self) -> None:
        self.words: list[int] = []

    def add(self, kind: int, value: int) -> None:
        """One pair; addresses wrap around as they do in the program's own arithmetic."""
        self.words.append(kind)
        self.words.append(value & WORD_MASK)


def build_stack(
    top: int,
    argv: list[bytes],
    envp: list[bytes],
    filename: bytes,
    platform: bytes,
    random: bytes,
    vector: Vector,
) -> InitialStack:
    """Lay out the stack below ``top``; AT_PLATFORM, AT_RANDOM and AT_EXECFN are added to
    ``vector``.

    ``random``: 16 bytes for AT_RANDOM, then two for the distance between strings and vectors.
    """
    stack = InitialStack()
    builder = StackBuilder(top)
    builder.push(bytes(8))
    execfn = builder.push(filename + b"\0")
    stack.env_end = builder.cursor
    env_addresses = builder.strings(envp)
    stack.env_start = stack.arg_end = builder.cursor
    arg_addresses = builder.strings(argv)
    stack.arg_start = builder.cursor
    builder.align(16)
    builder.push(bytes(int.from_bytes(random[16:18], "little") % 8192 & ~15))
    vector.add(AT_PLATFORM, builder.push(platform + b"\0"))
    builder.align(16)
    vector.add(AT_RANDOM, builder.push(random[:16]))
    vector.add(AT_EXECFN, execfn)
    vector.add(AT_NULL, 0)
    words = [len(argv), *arg_addresses, 0, *env_addresses, 0]
    count = len(words) + len(vector.words)
    builder.push(bytes((builder.cursor - 8 * count) % 16))
    stack.auxv = struct.pack(f"<{len(vector.words)}Q", *vector.words)
    builder.push(struct.pack(f"<{len(words)}Q", *words) + stack.auxv)
    stack.pointer = builder.cursor
    stack.data = builder.data()
    return stack
