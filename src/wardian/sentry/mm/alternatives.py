"""Instructions that are replaced when a program is loaded ("alternatives", as Linux calls those of
its own text): cpuid.

A processor that is itself a virtual one leaves cpuid to its host: 2 to 10 us each. Every program
that glibc starts asks some 40 times, mostly the same few questions about caches, in the dynamic
loader or, linked statically, in its own first pages: a third of what execve(2) and all that comes
before ``main`` take. Where the compiler has left ``mov $leaf, %eax; cpuid``, and the answer depends
on nothing else, the program gets it without asking.

The pages of such sites are copied to a memfd, with the five bytes of the mov replaced by a jump to
a page of answers, and mapped over the program's own; the cpuid stays where it is for whoever comes
there by another way. The page of answers lies at a distance from the program that is always the
same, beside one of the areas that call sites are patched with (``mm.loader``). Like those patches,
all this is there to be seen by a program that reads its own text, and absent with
``--no-patching``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import LinuxError
from wardian.sentry.mm import memfd
from wardian.sentry.mm.elf import PROT_EXEC, PROT_READ
from wardian.sentry.mm.memory import PAGE_SIZE, page_down, page_up
from wardian.sentry.mm.program_file import read_at

if TYPE_CHECKING:
    from wardian.sentry.hostcpu import HostCpu
    from wardian.sentry.mm.elf import ElfProgram, Segment
    from wardian.sentry.mm.known_programs import KnownProgram
    from wardian.sentry.vfs.file import File

LEAVES: Final = frozenset([2, *range(0x8000_0000, 0x8000_0009)])
"""Their answers do not depend on ecx, and are the same on all processors of a machine."""
CPUID: Final = b"\x0f\xa2"
MOV_EAX: Final = 0xB8
REX_B: Final = 0x41  # before it: mov to r8d
MOV_SIZE: Final = 5
ANSWER_SIZE: Final = 32
MOST_SITES: Final = PAGE_SIZE // ANSWER_SIZE
MOST_TEXT: Final = 1 << 20
"""Bytes of a program that are searched: what runs before main is linked first."""
MOST_PAGES: Final = 16
"""That are copied of one program."""
MOST_TEXTS: Final = 32
"""Programs whose copies are kept."""
REACH: Final = 0x7FFF_0000

_ANSWER: Final = struct.Struct("<BIBIBIBIBi")


class PatchedText:
    """Pages of one program with the jumps in them, and their page of answers.

    Addresses are the program's own, before relocation. ``offset`` is that of the same pages in the
    program's file, so that the host's list of mappings shows the right one. The memfd is closed
    when nobody holds the object.
    """

    def __init__(self, fd: int, address: int, length: int, offset: int, answers: int) -> None:
        self.fd = fd
        self.address = address
        self.length = length
        self.offset = offset
        self.answers = answers  # the address of their page
        self.answers_offset = offset + length  # and where it is in the memfd
        self.holders = 1

    def hold(self) -> PatchedText:
        """For somebody who calls :meth:`drop`."""
        self.holders += 1
        return self

    def drop(self) -> None:
        """No longer needed by one."""
        self.holders -= 1
        if self.holders == 0:
            memfd.close(self.fd)
            self.fd = -1


class Alternatives:
    """The patched texts of a kernel, the oldest first."""

    def __init__(self, cpu: HostCpu) -> None:
        self.cpu = cpu
        self.texts: list[PatchedText] = []

    def find(self, known: KnownProgram, file: File, answers: int) -> PatchedText | None:
        """What to map over ``known``, read from ``file``, with its answers at ``answers``; held
        for the caller. A program that is seen for the first time is left as it is."""
        if not known.recalled or known.patchable is False:
            return None
        text = known.patched_text
        if text is not None and text.fd >= 0:
            return text.hold() if text.answers == answers else None
        try:
            text = patch(known.program, file, answers, self.cpu)
        except LinuxError:
            return None  # no memory or no descriptor left: perhaps there is the next time
        if text is not None and not is_unchanged(known, file):
            text.drop()
            return None
        known.patchable, known.patched_text = text is not None, text
        return self.keep(text) if text is not None else None

    def keep(self, text: PatchedText) -> PatchedText:
        """``text`` is new, and held for the table; the oldest one makes room. Held for the
        caller, too."""
        self.texts.append(text)
        if len(self.texts) > MOST_TEXTS:
            self.texts.pop(0).drop()
        return text.hold()


def is_unchanged(known: KnownProgram, file: File) -> bool:
    """Whether what was read just now is what is known."""
    return file.inode is not None and known.holds(file.inode.getattr())


def patch(program: ElfProgram, file: File, answers: int, cpu: HostCpu) -> PatchedText | None:
    """Copy and patch the first pages of ``program`` that have such instructions; None when there
    are none, EIO, ENFILE, ENOMEM."""
    for segment in program.segments:
        if segment.prot != PROT_READ | PROT_EXEC or not segment.file_size:
            continue
        text = read_at(file, segment.offset, min(segment.file_size, MOST_TEXT))
        sites = find_sites(text)
        if sites:
            return copy_pages(program, segment, file, sites, answers, cpu)
    return None


def find_sites(text: bytes) -> list[tuple[int, int]]:
    """Where in ``text`` a mov is followed by its cpuid, and the leaf that is asked for."""
    sites: list[tuple[int, int]] = []
    at = text.find(CPUID, MOV_SIZE + 1)
    while at >= 0 and len(sites) < MOST_SITES:
        leaf = int.from_bytes(text[at - 4 : at], "little")
        if text[at - 5] == MOV_EAX and text[at - 6] != REX_B and leaf in LEAVES:
            sites.append((at - MOV_SIZE, leaf))
        at = text.find(CPUID, at + 2)
    return sites


def copy_pages(
    program: ElfProgram,
    segment: Segment,
    file: File,
    sites: list[tuple[int, int]],
    answers: int,
    cpu: HostCpu,
) -> PatchedText | None:
    """The memfd of ``sites``, which are offsets in ``segment``."""
    first = page_down(segment.address + sites[0][0])
    limit = first + MOST_PAGES * PAGE_SIZE
    sites = [site for site in sites if segment.address + site[0] + MOV_SIZE <= limit]
    end = page_up(segment.address + sites[-1][0] + MOV_SIZE)
    if shares_pages(program, segment, first, end) or abs(answers - first) > REACH:
        return None
    offset = segment.offset - segment.address + first
    pages = bytearray(read_at(file, offset, end - first).ljust(end - first, b"\0"))
    code = bytearray()
    known: dict[int, tuple[int, int, int, int]] = {}
    for at, leaf in sites:
        if leaf not in known:
            known[leaf] = cpu.cpuid(leaf)
        site = segment.address + at
        here = answers + len(code)
        code += answer(known[leaf], here, site + MOV_SIZE + len(CPUID))
        jump = (here - (site + MOV_SIZE)).to_bytes(4, "little", signed=True)
        pages[site - first : site - first + MOV_SIZE] = b"\xe9" + jump
    fd = sealed_memfd(offset, bytes(pages) + bytes(code).ljust(PAGE_SIZE, b"\xcc"))
    return PatchedText(fd, first, end - first, offset, answers)


def shares_pages(program: ElfProgram, segment: Segment, start: int, end: int) -> bool:
    """Whether another segment has something in these pages of ``segment``."""
    return any(
        page_down(other.address) < end and start < page_up(other.address + other.memory_size)
        for other in program.segments
        if other is not segment
    )


def answer(registers: tuple[int, int, int, int], here: int, back: int) -> bytes:
    """Code for ``here`` that sets eax, ebx, ecx and edx, and nothing else, and goes on at
    ``back``."""
    eax, ebx, ecx, edx = registers
    distance = back - (here + _ANSWER.size)
    code = _ANSWER.pack(0xB8, eax, 0xBB, ebx, 0xB9, ecx, 0xBA, edx, 0xE9, distance)
    return code.ljust(ANSWER_SIZE, b"\xcc")


def sealed_memfd(offset: int, data: bytes) -> int:
    """A memfd with ``data`` at ``offset`` that nobody can change: guests are given it."""
    fd = memfd.create(offset + len(data), sealable=True)
    try:
        memfd.write_at(fd, data, offset)
        memfd.seal(fd)
    except LinuxError:
        memfd.close(fd)
        raise
    return fd
