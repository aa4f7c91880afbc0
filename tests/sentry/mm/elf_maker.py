"""Makes ELF files, sound and unsound, for the loader's tests."""

from __future__ import annotations

import struct

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_PHDR, PT_GNU_STACK = 1, 2, 3, 6, 0x6474E551
R, W, X = 4, 2, 1
ET_EXEC, ET_DYN = 2, 3
PAGE = 4096


def header(
    kind: int = ET_EXEC,
    entry: int = 0x401000,
    phoff: int = 64,
    phnum: int = 1,
    phentsize: int = 56,
    machine: int = 62,
    ident: bytes = b"\x7fELF\x02\x01\x01",
) -> bytes:
    """An Elf64_Ehdr."""
    return struct.pack(
        "<16sHHIQQQIHHHHHH",
        ident,
        kind,
        machine,
        1,
        entry,
        phoff,
        0,
        0,
        64,
        phentsize,
        phnum,
        0,
        0,
        0,
    )


def segment(
    kind: int = PT_LOAD,
    flags: int = R | X,
    offset: int = 0,
    address: int = 0x400000,
    size: int = 0x1000,
    memory: int | None = None,
    align: int = PAGE,
) -> bytes:
    """An Elf64_Phdr."""
    return struct.pack(
        "<IIQQQQQQ",
        kind,
        flags,
        offset,
        address,
        address,
        size,
        size if memory is None else memory,
        align,
    )


def program(
    *segments: bytes, kind: int = ET_EXEC, entry: int = 0x400000, size: int = 0x4000
) -> bytes:
    """A file of ``size`` bytes with these program headers behind the ELF header."""
    head = header(kind, entry, phnum=len(segments)) + b"".join(segments)
    return head.ljust(size, b"\xcc")
