"""Which cpuid instructions are replaced, and what is answered."""

from __future__ import annotations

import struct

import pytest

from wardian import _core
from wardian.sentry.hostcpu import HostCpu
from wardian.sentry.mm.cpuid import (
    ANY,
    LOOKUP,
    MOST_LOOKS,
    MOST_MOVES,
    Answers,
    find_sites,
    is_jumped_to,
)

LEAVES = {0, 7, 0xD, 0x8000_0006}
CPUID = b"\x0f\xa2"
L2 = b"\xb8\x06\x00\x00\x80"
LEAF_7 = b"\xb8\x07\x00\x00\x00"
MOVES = b"\x44\x89\xe0\x89\xf1"
PADDING = b"\x90" * 16


def found(before: bytes) -> list[bytes]:
    """What would be replaced in front of a cpuid."""
    return [site.before for site in find_sites(PADDING + before + CPUID + PADDING, LEAVES)]


@pytest.mark.parametrize(
    "before",
    [
        L2,
        b"\x76\x46" + L2,  # jbe over it: 46 is no prefix
        LEAF_7 + b"\x31\xc9",
        LEAF_7 + b"\x89\xd1",
        LEAF_7 + b"\xb9\x01\x00\x00\x00",
        b"\xbe\x07\x00\x00\x00\x31\xc9\x89\xf0",
        b"\x89\x1d\x00\x01\x00\x00",
        b"\xc7\x44\x24\x60\x00\x00\x00\x00",
        b"\xc7\x84\x24\x90\x00\x00\x00\x00\x00\x00\x00",
        MOVES,
    ],
)
def test_known_shapes(before: bytes) -> None:
    (replaced,) = found(before)
    assert before.endswith(replaced) and len(replaced) >= 5


@pytest.mark.parametrize(
    "before",
    [
        b"\x41" + L2,  # mov to r8d
        b"\x41" + LEAF_7 + b"\x31\xc9",
        b"\xb8\x01\x00\x00\x00",  # leaf 1 tells processors apart
        b"\xb8\x0b\x00\x00\x00\x31\xc9",
        b"\xb9" + L2[1:],  # mov to ecx
        LEAF_7 + b"\x31\xd2",  # xor %edx, %edx
        LEAF_7 + b"\x89\xc8",  # mov %ecx, %eax
        b"\x44\x89\x1d\x00\x01\x00\x00",  # a register that needs a prefix
        b"\x66\xc7\x44\x24\x60\x00\x00\x00",  # 16 bits
        b"\x89\x03\x90\x90\x90\x90",
        b"\x89\xf1",
        b"",
    ],
)
def test_unknown_shapes(before: bytes) -> None:
    assert found(before) == []


@pytest.mark.parametrize(
    "jump",
    [
        (b"\x75", -2, "b"),
        (b"\xeb", -2, "b"),
        (b"\xe3", -2, "b"),
        (b"\xe9", -5, "i"),
        (b"\x0f\x84", -6, "i"),
        (b"\x90\xe9", -6, "i"),
        (b"\x90\x90\xe9", -7, "i"),
        (b"\x90\x90\x90\xe9", -8, "i"),
    ],
)
@pytest.mark.parametrize("gap", [0, 40])
def test_moves_that_somebody_jumps_between_are_left_alone(
    jump: tuple[bytes, int, str], gap: int
) -> None:
    opcode, size, kind = jump
    middle = len(PADDING) + 3
    after = len(PADDING + MOVES + CPUID) + gap
    distance = struct.pack("<" + kind, middle - (after - size))
    text = PADDING + MOVES + CPUID + b"\x90" * gap + opcode + distance + PADDING
    assert is_jumped_to(text, middle) and not is_jumped_to(text, middle + 1)
    assert find_sites(text, LEAVES) == []
    before = opcode + struct.pack("<" + kind, gap + 3)
    text = PADDING + before + b"\x90" * gap + MOVES + CPUID + PADDING
    assert find_sites(text, LEAVES) == []


def test_a_text_of_nothing_else_is_not_searched_to_its_end() -> None:
    """Minutes, in which nobody is answered."""
    assert len(find_sites(PADDING + (MOVES + CPUID) * 100_000, LEAVES)) == MOST_MOVES
    assert len(find_sites(PADDING + (L2 + CPUID) * 100_000, LEAVES)) == MOST_LOOKS


def test_bytes_at_both_ends() -> None:
    for text in (b"", CPUID, L2 + CPUID, PADDING + MOVES + CPUID):
        assert len(find_sites(text, LEAVES)) == (text[-4:-2] == b"\x89\xf1")


# -- answers ---------------------------------------------------------------------------------------
class Machine(HostCpu):
    """A processor with these leaves; others are zero."""

    def __init__(self, leaves: dict[tuple[int, int], tuple[int, int, int, int]]) -> None:
        super().__init__()
        self.known = leaves

    def cpuid(self, leaf: int, subleaf: int) -> tuple[int, int, int, int]:
        return self.known.get((leaf, subleaf), (0, 0, 0, 0))


INTEL = {
    (0, 0): (0x20, 0x756E_6547, 0, 0),
    (0x8000_0000, 0): (0x8000_0008, 0, 0, 0),
    (7, 0): (2, 0, 0, 0),
    (4, 0): (1, 0, 0, 0),
    (4, 1): (2, 0, 0, 0),
    (0xD, 0): (0b111, 0, 0, 0),
    (0xD, 1): (0, 0, 1 << 11, 0),
}


def asked(cpu: HostCpu) -> set[tuple[int, int]]:
    """Leaves and subleaves that are answered."""
    return {struct.unpack("<6I", entry)[:2] for entry in Answers(cpu).entries}


def test_what_intel_is_asked() -> None:
    expected = {(0, ANY), (2, ANY), (7, 0), (7, 1), (7, 2), (4, 0), (4, 1), (4, 2)}
    expected |= {(0xD, 0), (0xD, 1), (0xD, 2), (0xD, 11)}
    expected |= {(0x8000_0000 + leaf, ANY) for leaf in range(9)}
    assert asked(Machine(INTEL)) == expected


def test_processors_that_differ_are_not_asked_for_their_caches() -> None:
    leaves = {leaf for leaf, _ in asked(Machine({**INTEL, (7, 0): (2, 0, 0, 1 << 15)}))}
    assert leaves == {0, 7, 0xD, *range(0x8000_0000, 0x8000_0009)} - {0x8000_0006}


def test_an_old_processor() -> None:
    assert asked(Machine({(0, 0): (1, 0, 0, 0)})) == {(0, ANY), (0x8000_0000, ANY)}


def test_all_answers_are_this_processors() -> None:
    answers = Answers(HostCpu())
    assert answers.code.startswith(LOOKUP) and len(answers.code) % 8 == 0
    for entry in answers.entries:
        leaf, subleaf, *registers = struct.unpack("<6I", entry)
        assert tuple(registers) == _core.cpuid(leaf, 0 if subleaf == ANY else subleaf)
    assert not answers.leaves & {1, 0xB, 0x1F, 0x8000_001E}, "these tell processors apart"


def test_sites_do_not_overlap() -> None:
    """What looks like a store of a constant, with a whole question in it."""
    store = b"\xc7\x84\x24" + L2 + CPUID + b"\x00" + CPUID
    assert [site.start for site in find_sites(bytes(16) + store, LEAVES)] == [19]
