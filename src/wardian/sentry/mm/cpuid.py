"""cpuid instructions of a program: where they stand, and what is put in their place
(``mm.alternatives``; AMD64 Architecture Programmer's Manual vol. 3, CPUID; Intel SDM vol. 2A).
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from wardian.sentry.hostcpu import HostCpu

CPUID: Final = b"\x0f\xa2"
JUMP_SIZE: Final = 5
STORE_SIZE: Final = 6
"""Of a register, to a variable; no other shape is so long."""
MOST_BEFORE: Final = 12
"""Bytes before the instruction that are looked at."""
MOST_LOOKS: Final = 200
"""Instructions, or what looks like one, that are considered in one text: real ones have some 40."""
MOST_MOVES: Final = 8
"""Of the shape that takes a millisecond each to be sure of."""
FAR: Final = 0x2000
"""How far jumps to a place are looked for: within a large function."""

# -- the answers -----------------------------------------------------------------------------------
INTEL: Final = 0x756E_6547  # ebx of leaf 0
HYBRID: Final = 1 << 15  # edx of leaf 7: the processors are not all alike
XSAVE_AREAS: Final = 0xD
MOST_SUBLEAVES: Final = 32
EXTENDED: Final = 0x8000_0000
AMD_CACHES: Final = 0x8000_001D
ANY: Final = 0xFFFF_FFFF  # ecx does not matter; as a leaf: there are no more

_ENTRY: Final = struct.Struct("<6I")

# Looks for eax and ecx among the entries that follow it, at lookup + 0x38; changes no flag.
LOOKUP: Final = (
    b"\x9c"  # pushfq
    b"\x48\x8d\x15\x30\x00\x00\x00"  # lea entries(%rip), %rdx
    b"\x8b\x1a"  # next: mov (%rdx), %ebx
    b"\x83\xfb\xff"  # cmp $-1, %ebx
    b"\x74\x15"  # je none
    b"\x39\xc3"  # cmp %eax, %ebx
    b"\x75\x0b"  # jne other
    b"\x83\x7a\x04\xff"  # cmpl $-1, 4(%rdx)
    b"\x74\x0f"  # je found
    b"\x39\x4a\x04"  # cmp %ecx, 4(%rdx)
    b"\x74\x0a"  # je found
    b"\x48\x83\xc2\x18"  # other: add $24, %rdx
    b"\xeb\xe4"  # jmp next
    b"\x0f\xa2"  # none: cpuid
    b"\x9d"  # popfq
    b"\xc3"  # ret
    b"\x8b\x42\x08"  # found: mov 8(%rdx), %eax
    b"\x8b\x5a\x0c"  # mov 12(%rdx), %ebx
    b"\x8b\x4a\x10"  # mov 16(%rdx), %ecx
    b"\x8b\x52\x14"  # mov 20(%rdx), %edx
    b"\x9d"  # popfq
    b"\xc3"  # ret
    b"\xcc\xcc"
)
LEAVE_RED_ZONE: Final = b"\x48\x8d\x64\x24\x80"  # lea -128(%rsp), %rsp
RETURN_TO_RED_ZONE: Final = b"\x48\x8d\xa4\x24\x80\x00\x00\x00"  # lea 128(%rsp), %rsp


class Answers:
    """What this machine's processors answer, as far as it is the same on all of them: nothing that
    tells one from the other (leaves 1, 0xB, 0x1F, 0x8000001E)."""

    def __init__(self, cpu: HostCpu) -> None:
        self.cpu = cpu
        self.leaves: set[int] = set()
        self.entries: list[bytes] = []
        self.hybrid = cpu.cpuid(0, 0)[0] >= 7 and bool(cpu.cpuid(7, 0)[3] & HYBRID)
        self.ask_extended()
        self.ask_standard()
        end = _ENTRY.pack(ANY, 0, 0, 0, 0, 0)
        self.code = LOOKUP + b"".join(self.entries) + end

    def ask(self, leaf: int, subleaf: int = ANY) -> tuple[int, int, int, int]:
        """Put one more question, and remember the answer."""
        registers = self.cpu.cpuid(leaf, 0 if subleaf == ANY else subleaf)
        self.leaves.add(leaf)
        self.entries.append(_ENTRY.pack(leaf, subleaf, *registers))
        return registers

    def ask_extended(self) -> None:
        """Features, name, caches, sizes: asked most often."""
        most = self.ask(EXTENDED)[0]
        for leaf in (6, 5, 1, 7, 8, 2, 3, 4):
            if EXTENDED + leaf <= most and not (leaf == 6 and self.hybrid):
                self.ask(EXTENDED + leaf)
        if most >= AMD_CACHES:
            self.ask_until_none(AMD_CACHES)

    def ask_standard(self) -> None:
        """The rest."""
        most, vendor, _, _ = self.ask(0)
        if most >= 7:
            self.ask_features()
        if most >= XSAVE_AREAS:
            self.ask_xsave_areas()
        if vendor == INTEL and not self.hybrid:
            if most >= 2:
                self.ask(2)
            if most >= 4:
                self.ask_until_none(4)

    def ask_features(self) -> None:
        """Leaf 7."""
        most = self.ask(7, 0)[0]
        for subleaf in range(1, min(most, 2) + 1):
            self.ask(7, subleaf)
        if not most:
            self.ask(7, 1)  # is asked for all the same

    def ask_xsave_areas(self) -> None:
        """Leaf 0xD: sizes, and a subleaf for each state component."""
        low = self.ask(XSAVE_AREAS, 0)
        more = self.ask(XSAVE_AREAS, 1)
        components = low[0] | more[2]
        for subleaf in range(2, MOST_SUBLEAVES):
            if components >> subleaf & 1:
                self.ask(XSAVE_AREAS, subleaf)

    def ask_until_none(self, leaf: int) -> None:
        """One subleaf for each cache, and one that says that there are no more."""
        for subleaf in range(MOST_SUBLEAVES):
            if not self.ask(leaf, subleaf)[0] & 0x1F:
                return


# -- where it is asked -----------------------------------------------------------------------------
class Site:
    """A cpuid that is asked for by the instructions in front of it.

    ``start`` is where these stand in the text; the first five bytes from there become a jump.
    """

    def __init__(self, start: int, before: bytes) -> None:
        self.start = start
        self.before = before

    def variable(self) -> int | None:
        """How far from its start the variable is that a register is stored to, if it does that."""
        if len(self.before) != STORE_SIZE:
            return None
        return STORE_SIZE + int.from_bytes(self.before[2:], "little", signed=True)

    @property
    def jump_end(self) -> int:
        """Where the jump ends."""
        return self.start + JUMP_SIZE

    @property
    def size(self) -> int:
        """Of all that is jumped over."""
        return len(self.before) + len(CPUID)


def find_sites(text: bytes, leaves: set[int]) -> list[Site]:
    """All of ``text`` that are known shapes, and ask, as far as can be seen, for one of
    ``leaves``. How much is looked at is bounded: the text may be anybody's."""
    sites: list[Site] = []
    moves = looks = end = 0
    at = text.find(CPUID, MOST_BEFORE)
    while at >= 0 and looks < MOST_LOOKS:
        looks += 1
        size = size_before(text[at - MOST_BEFORE : at], leaves)
        if not size and moves < MOST_MOVES and is_pair_of_moves(text[at - 5 : at]):
            moves += 1
            size = 0 if is_jumped_to(text, at - 2) else 5
        if size and at - size >= end:
            sites.append(Site(at - size, text[at - size : at]))
            end = at + len(CPUID)
        at = text.find(CPUID, at + len(CPUID))
    return sites


def size_before(before: bytes, leaves: set[int]) -> int:
    """How many of the bytes before a cpuid are instructions that may be run elsewhere, the first
    of which has five bytes that can be replaced. 0: the shape is unknown.

    What is no instruction, but looks like one, would be destroyed: every shape is so long that
    chance does not make it.
    """
    return size_of_constant(before, leaves) or size_of_store(before)


def size_of_constant(before: bytes, leaves: set[int]) -> int:
    """``mov $leaf, %eax``, and then maybe ecx: from another register, a constant, zero."""
    if is_move(before, 5, 0xB8, leaves):
        return 5
    if before[-2] == 0x89 and before[-1] & 0xC7 == 0xC1 and is_move(before, 7, 0xB8, leaves):
        return 7
    if before[-2:] == b"\x31\xc9" and is_move(before, 7, 0xB8, leaves):
        return 7
    if before[-5] == 0xB9 and is_move(before, 10, 0xB8, leaves):
        return 10
    if before[-4:] == b"\x31\xc9\x89\xf0" and is_move(before, 9, 0xBE, leaves):
        return 9  # the leaf is in esi, too
    return 0


def is_move(before: bytes, size: int, opcode: int, leaves: set[int]) -> bool:
    """Whether the last ``size`` bytes begin with a mov of one of ``leaves`` to a register; to eax
    and not, with another prefix, to r8d."""
    at = len(before) - size
    leaf = int.from_bytes(before[at + 1 : at + 5], "little")
    return before[at] == opcode and before[at - 1] != 0x41 and leaf in leaves


def size_of_store(before: bytes) -> int:
    """A store between two questions: of a register to a variable, of a constant to the stack."""
    if before[-6] == 0x89 and before[-5] & 0xC7 == 0x05 and not is_prefix(before[-7]):
        return STORE_SIZE
    if before[-8:-5] == b"\xc7\x44\x24" and not is_prefix(before[-9]):
        return 8
    if before[-11:-8] == b"\xc7\x84\x24" and not is_prefix(before[-12]):
        return 11
    return 0


def is_prefix(byte: int) -> bool:
    """Whether the instruction may have begun before."""
    return byte & 0xF0 == 0x40 or byte == 0x66


def is_pair_of_moves(before: bytes) -> bool:
    """``mov %r8d...%r15d, %eax; mov %esi, %ecx``, of a loop over subleaves: both are replaced, so
    nobody may jump between them."""
    return before[:2] == b"\x44\x89" and before[2] & 0xC7 == 0xC0 and before[3:] == b"\x89\xf1"


def is_jumped_to(text: bytes, place: int) -> bool:
    """Whether something that looks like a jump to ``place`` is found around it."""
    for at in range(max(place - 0x82, 0), min(place + 0x80, len(text) - 1)):
        short = text[at] & 0xF0 == 0x70 or text[at] == 0xEB or text[at] & 0xFC == 0xE0
        if short and at + 2 + ((text[at + 1] ^ 0x80) - 0x80) == place:
            return True
    low = max(place - FAR, 0)
    near = text[low : place + FAR]
    for shift in range(4):
        piece = near[shift : shift + (len(near) - shift) // 4 * 4]
        wanted = place - low - shift - 4
        for distance in memoryview(piece).cast("i"):
            if distance == wanted:
                return True
            wanted -= 4
    return False


# -- what is put there -----------------------------------------------------------------------------
def jump(start: int, target: int) -> bytes:
    """A jump that stands at ``start``."""
    return b"\xe9" + relative(target - (start + JUMP_SIZE))


def relative(distance: int) -> bytes:
    return distance.to_bytes(4, "little", signed=True)


def answer(site: Site, start: int, here: int, lookup: int) -> bytes:
    """Code for ``here`` that does what ``site``, at ``start`` in memory, does, but asks
    ``lookup``."""
    code = moved(site, start - here)
    code += LEAVE_RED_ZONE
    code += b"\xe8" + relative(lookup - (here + len(code) + 5))
    code += RETURN_TO_RED_ZONE
    return code + jump(here + len(code), start + site.size)


def moved(site: Site, by: int) -> bytes:
    """The instructions for another place, from which their own is ``by`` away. Only the store of a
    register names its variable by distance."""
    variable = site.variable()
    if variable is None:
        return site.before
    return site.before[:2] + relative(variable + by - STORE_SIZE)
