"""The ELF parser: what it accepts, what it refuses, and that nothing else can happen."""

from __future__ import annotations

import pytest
from elf_maker import (
    ET_DYN,
    PT_GNU_STACK,
    PT_INTERP,
    PT_PHDR,
    R,
    W,
    X,
    header,
    program,
    segment,
)
from hypothesis import given, settings
from hypothesis import strategies as st

from wardian.platform.layout import GUEST_TOP
from wardian.sentry.errno import EINVAL, ENOEXEC, ENOMEM, LinuxError
from wardian.sentry.mm import elf
from wardian.sentry.mm.memory import GUEST_BOTTOM, PAGE_SIZE


def parse(data: bytes, size: int | None = None) -> elf.ElfProgram:
    head = elf.parse_header(data)
    table = data[head.table_offset : head.table_offset + head.table_size]
    return elf.parse_program(head, table, len(data) if size is None else size)


def test_fixed_program_keeps_its_addresses() -> None:
    found = parse(
        program(
            segment(),
            segment(flags=R | W, offset=0x1010, address=0x402010, size=0x20, memory=0x3000),
        )
    )
    assert not found.relocatable
    assert (found.low, found.high) == (0x400000, 0x406000)
    assert [s.prot for s in found.segments] == [
        elf.PROT_READ | elf.PROT_EXEC,
        elf.PROT_READ | elf.PROT_WRITE,
    ]
    assert found.table_address == 0x400040


def test_relocatable_program_remembers_alignment_and_interpreter() -> None:
    found = parse(
        program(
            segment(PT_INTERP, R, 0x200, 0x200, 10),
            segment(address=0, align=0x200000),
            kind=ET_DYN,
            entry=0x10,
        )
    )
    assert found.relocatable and found.align == 0x200000
    assert (found.interpreter_offset, found.interpreter_size) == (0x200, 10)


def test_executable_stack_is_asked_for_by_its_header() -> None:
    assert parse(program(segment(), segment(PT_GNU_STACK, R | W | X, 0, 0, 0))).executable_stack
    assert not parse(program(segment(), segment(PT_GNU_STACK, R | W, 0, 0, 0))).executable_stack
    assert not parse(program(segment())).executable_stack


def test_alignment_lies_are_ignored() -> None:
    for align in (3, 0, 1 << 40, (1 << 64) - 1, 4097):
        assert parse(program(segment(align=align))).align == PAGE_SIZE


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x7fELF",
        b"#!/bin/sh\n",
        b"MZ" + bytes(100),
        header(ident=b"\x7fELF\x01\x01\x01"),
        header(ident=b"\x7fELF\x02\x02\x01"),
        header(machine=3),
        header(machine=183),
        header(kind=1),
        header(kind=4),
        header(phentsize=32),
        header(phnum=0),
        header(phnum=1171),
        header(phnum=0xFFFF),
    ],
)
def test_not_a_program_is_enoexec(data: bytes) -> None:
    with pytest.raises(ENOEXEC):
        elf.parse_header(data)


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (segment(size=0x2000, memory=0x1000), EINVAL),
        (segment(size=0x10000), ENOEXEC),
        (segment(offset=1 << 63, size=1), ENOEXEC),
        (segment(offset=0x10, address=0x400000), ENOEXEC),
        (segment(address=GUEST_TOP, size=0, memory=1), ENOMEM),
        (segment(address=GUEST_TOP - PAGE_SIZE, size=0, memory=PAGE_SIZE + 1), ENOMEM),
        (segment(address=0x400000, size=0, memory=(1 << 64) - 1), ENOMEM),
        (segment(address=(1 << 64) - PAGE_SIZE, size=0, memory=PAGE_SIZE), ENOMEM),
        (segment(address=0, size=0x1000), ENOEXEC),
        (segment(address=0xF000, size=0x1000), ENOEXEC),
        (segment(PT_INTERP, R, 0, 0, 1), ENOEXEC),
        (segment(PT_INTERP, R, 0, 0, 5000), ENOEXEC),
        (segment(PT_INTERP, R, 0x3FFF, 0, 2), ENOEXEC),
        (segment(PT_PHDR, R, 0, 0, 0), ENOEXEC),
    ],
)
def test_hostile_segment_is_refused(bad: bytes, error: type[LinuxError]) -> None:
    with pytest.raises(error):
        parse(program(bad))


def test_table_past_the_end_is_enoexec() -> None:
    data = header(phoff=0xFFFFFFFFFFFFFFF0, phnum=2) + segment()
    with pytest.raises(ENOEXEC):
        parse(data)


def test_entry_point_must_be_in_the_guest() -> None:
    with pytest.raises(ENOEXEC):
        parse(program(segment(), entry=GUEST_TOP))


def test_interpreter_name_ends_with_nul() -> None:
    assert elf.parse_interpreter_name(b"/lib/ld.so\0") == b"/lib/ld.so"
    assert elf.parse_interpreter_name(b"/a\0b\0") == b"/a"
    for bad in (b"", b"/lib/ld.so", b"\0", b"\0a"):
        with pytest.raises(ENOEXEC):
            elf.parse_interpreter_name(bad)


# -- fuzzing ---------------------------------------------------------------------------------------
WORD = st.one_of(
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(
        [
            0,
            1,
            0xFFF,
            0x1000,
            0x1001,
            0x10000,
            0x400000,
            GUEST_TOP - 0x1000,
            GUEST_TOP - 1,
            GUEST_TOP,
            1 << 47,
            1 << 63,
            (1 << 64) - 0x1000,
            (1 << 64) - 1,
        ]
    ),
)
KIND = st.sampled_from([1, 1, 1, 3, 6, PT_GNU_STACK, 0, 2, 0x6474E553])
SEGMENT = st.builds(segment, KIND, st.integers(0, 15), WORD, WORD, WORD, WORD, WORD)


@settings(max_examples=400, deadline=None)
@given(st.lists(SEGMENT, max_size=8), st.sampled_from([2, 3]), WORD, st.integers(64, 1 << 20))
def test_any_program_headers_are_refused_or_sound(
    segments: list[bytes], kind: int, entry: int, size: int
) -> None:
    data = header(kind, entry, phnum=len(segments)) + b"".join(segments)
    try:
        found = parse(data, size)
    except LinuxError:
        return
    check_sound(found, size)


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=600), st.booleans())
def test_any_bytes_are_refused_or_sound(data: bytes, with_magic: bool) -> None:
    if with_magic:
        data = b"\x7fELF\x02\x01\x01" + data[7:]
    try:
        found = parse(data)
    except LinuxError:
        return
    check_sound(found, len(data))


def check_sound(found: elf.ElfProgram, size: int) -> None:
    """The promises of the parser."""
    assert found.segments
    assert found.relocatable or found.low >= GUEST_BOTTOM
    assert 0 <= found.low < found.high <= GUEST_TOP
    assert found.align & (found.align - 1) == 0 and found.align <= elf.MAX_ALIGN
    assert found.interpreter_offset + found.interpreter_size <= size
    for s in found.segments:
        assert s.memory_size > 0 and s.file_size <= s.memory_size
        assert found.low <= s.address and s.address + s.memory_size <= found.high
        if s.file_size:
            assert s.offset + s.file_size <= size
            assert (s.offset - s.address) % PAGE_SIZE == 0
