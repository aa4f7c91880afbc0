"""Instructions that are replaced when a program is loaded ("alternatives", as Linux calls those of
its own text): cpuid.

A processor that is itself a virtual one leaves cpuid to its host: 2 to 10 us each. Every program
that glibc starts asks some 40 times, in the dynamic loader or, linked statically, in its own first
pages: a third of what execve(2) and all that comes before ``main`` take natively. Most answers are
the same on all processors and at all times (``mm.cpuid``), and the program gets them without
asking.

The pages of such instructions are copied to a memfd and mapped over the program's own. There, what
stands in front of the cpuid becomes a jump to a piece of code that repeats it and looks the answer
up; the cpuid stays where it is for whoever comes there by another way. The page with the answers
lies at a distance from the program that is always the same, beside one of the areas that call sites
are patched with (``mm.loader``). Like those patches, all this is there to be seen by a program that
reads its own text, and absent with ``--no-patching``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import ESTALE, LinuxError
from wardian.sentry.mm import cpuid, memfd
from wardian.sentry.mm.elf import PROT_EXEC, PROT_READ, PROT_WRITE
from wardian.sentry.mm.memory import PAGE_SIZE, page_down, page_up
from wardian.sentry.mm.program_file import read_at

if TYPE_CHECKING:
    from wardian.sentry.hostcpu import HostCpu
    from wardian.sentry.mm.cpuid import Answers, Site
    from wardian.sentry.mm.elf import ElfProgram, Segment
    from wardian.sentry.mm.known_programs import KnownProgram
    from wardian.sentry.vfs.file import File

MOST_TEXT: Final = 1 << 20
"""Bytes of a program that are searched: what runs before main is linked first."""
MOST_SEGMENTS: Final = 16
"""Of a program that is looked at: linkers make four or five, and a variable may be in any."""
MOST_OFFSET: Final = 1 << 40
"""In a program's file, and so in the memfd of its copy."""
MOST_FAILURES: Final = 8
"""For want of memory or descriptors; then a program is left as it is."""
MOST_PAGES: Final = 16
"""That are copied of one program."""
MOST_TEXTS: Final = 32
"""Programs whose copies are kept."""
REACH: Final = 0x3F00_0000
"""How far the answers, and a variable, may be from a site: what is repeated beside the answers has
both distances to bridge."""


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
        self.answers: Answers | None = None  # once somebody wants them
        self.texts: list[PatchedText] = []

    def find(self, known: KnownProgram, file: File, page: int) -> PatchedText | None:
        """What to map over ``known``, read from ``file``, with its answers at ``page``; held for
        the caller. A program that is seen for the first time is left as it is."""
        if not known.recalled or known.patchable is False:
            return None
        text = known.patched_text
        if text is not None and text.fd >= 0:
            return text.hold() if text.answers == page else None
        if self.answers is None:
            self.answers = cpuid.Answers(self.cpu)
        try:
            text = patch_unchanged(known, file, page, self.answers)
        except LinuxError:  # no memory, no descriptor left, a file that is gone: perhaps next time
            known.failures += 1
            if known.failures == MOST_FAILURES:
                known.patchable = False
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


def patch_unchanged(
    known: KnownProgram, file: File, page: int, answers: Answers
) -> PatchedText | None:
    """:func:`patch`, if what was read is what is known; ESTALE."""
    text = patch(known.program, file, page, answers)
    try:
        if text is None or (file.inode is not None and known.holds(file.inode.getattr())):
            return text
        raise ESTALE("changed meanwhile")
    except LinuxError:
        if text is not None:
            text.drop()
        raise


def patch(program: ElfProgram, file: File, page: int, answers: Answers) -> PatchedText | None:
    """Copy and patch the first pages of ``program`` that have such instructions, with the answers
    at ``page``; None when there are none, EIO, ENFILE, ENOMEM. Where there are several segments of
    text, one is searched."""
    if len(program.segments) > MOST_SEGMENTS:
        return None
    texts = (s for s in program.segments if s.prot == PROT_READ | PROT_EXEC and s.file_size)
    segment = next(texts, None)
    if segment is None or segment.offset > MOST_OFFSET:
        return None
    text = read_at(file, segment.offset, min(segment.file_size, MOST_TEXT))
    found = cpuid.find_sites(text, answers.leaves)
    sites = [site for site in found if stores_inside(program, segment, site)]
    return copy_pages(program, segment, file, sites, page, answers) if sites else None


def stores_inside(program: ElfProgram, segment: Segment, site: Site) -> bool:
    """False for what cannot be a store to a variable of the program, and so is no instruction."""
    distance = site.variable()
    if distance is None:
        return True
    variable = segment.address + site.start + distance
    return abs(distance) <= REACH and any(
        other.prot & PROT_WRITE and 0 <= variable - other.address < other.memory_size
        for other in program.segments
    )


def copy_pages(
    program: ElfProgram,
    segment: Segment,
    file: File,
    sites: list[Site],
    page: int,
    answers: Answers,
) -> PatchedText | None:
    """The memfd of ``sites``, which stand in ``segment``."""
    first = page_down(segment.address + sites[0].start)
    limit = first + MOST_PAGES * PAGE_SIZE
    sites = [site for site in sites if segment.address + site.jump_end <= limit]
    end = page_up(segment.address + sites[-1].jump_end)
    if shares_pages(program, segment, first, end) or abs(page - first) > REACH:
        return None
    offset = segment.offset - segment.address + first
    pages = bytearray(read_at(file, offset, end - first).ljust(end - first, b"\0"))
    code = bytearray(answers.code)
    for site in sites:
        start = segment.address + site.start
        here = page + len(code)
        repeated = cpuid.answer(site, start, here, page)
        if len(code) + len(repeated) > PAGE_SIZE:
            break
        code += repeated
        at = start - first
        pages[at : at + cpuid.JUMP_SIZE] = cpuid.jump(start, here)
    fd = sealed_memfd(offset, bytes(pages) + bytes(code).ljust(PAGE_SIZE, b"\xcc"))
    return PatchedText(fd, first, end - first, offset, page)


def shares_pages(program: ElfProgram, segment: Segment, start: int, end: int) -> bool:
    """Whether another segment has something in these pages of ``segment``."""
    return any(
        page_down(other.address) < end and start < page_up(other.address + other.memory_size)
        for other in program.segments
        if other is not segment
    )


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
