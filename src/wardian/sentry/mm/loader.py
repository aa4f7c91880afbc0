"""Places a program, its interpreter and its stack in an empty address space, and lists the
mappings.

    patch_low  a patch area and a page of answers, just below the program where there is room
    0x55.._... position-independent program, brk after it; a fixed one where it says
    ...        what the guest maps, downwards from the interpreter
    ...        the interpreter
    guard_low  reserved: the stack's guard, of random length; it starts with the interpreter's
               page of answers (mm.alternatives) and a patch area
    stack_low  the stack, mapped whole
    stack_high reserved up to GUEST_TOP

All addresses are random as on Linux (randomize_va_space = 2). The host places the guest's mappings
from the top down into what is free, so the reserved ranges (no access, no memory) also keep them
off the stack and make their addresses random.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import MOST_MAPPINGS, Mapping
from wardian.platform.layout import GUEST_TOP
from wardian.sentry.errno import ENODEV, ENOMEM
from wardian.sentry.hostport import Clock
from wardian.sentry.mm.elf import PROT_EXEC, PROT_READ, PROT_WRITE, ElfProgram, Segment
from wardian.sentry.mm.file_mappings import FileMapping
from wardian.sentry.mm.mapping import copy_to_memfd
from wardian.sentry.mm.memory import (
    GUEST_BOTTOM,
    PAGE_SIZE,
    PATCH_ROOM,
    page_down,
    page_up,
)
from wardian.sentry.vfs.file import MapSource

if TYPE_CHECKING:
    from wardian.sentry.mm.alternatives import PatchedText
    from wardian.sentry.mm.stack import InitialStack
    from wardian.sentry.vfs.file import File

PIE_BASE: Final = 0x5555_5555_4000  # two thirds of the address space (ELF_ET_DYN_BASE)
MMAP_RANDOM_BITS: Final = 28
STACK_RANDOM_BITS: Final = 22
BRK_RANDOM_BITS: Final = 13
STACK_GUARD: Final = 2 << 20  # at least so much is reserved below the stack
MIN_STACK: Final = 256 << 10
MAX_STACK: Final = 64 << 20
MAX_COPIED: Final = 1 << 30  # bytes of a program that has no host descriptor


class Placement:
    """Where things go: biases are added to a file's own addresses."""

    def __init__(self) -> None:
        self.program_bias = 0
        self.interpreter_bias = 0
        self.brk_start = 0
        self.guard_low = 0
        self.stack_low = 0
        self.stack_high = 0
        self.patch_low = 0  # 0: no room
        self.first_bias = 0  # of what runs first: the interpreter, else the program
        self.answers_low = 0  # the page beside it for mm.alternatives; 0: no room


class Loader:
    """Fills the lists of an image being built; ``memfds`` are to be closed by the image's owner."""

    def __init__(
        self,
        mappings: list[Mapping],
        file_mappings: list[tuple[FileMapping, int]],
        memfds: list[int],
        clock: Clock,
        stack_limit: int,
        randomize: bool,
    ) -> None:
        self.mappings = mappings
        self.file_mappings = file_mappings
        self.memfds = memfds
        self.stack_size = page_up(max(MIN_STACK, min(stack_limit, MAX_STACK)))
        self.copied = 0
        bits = STACK_RANDOM_BITS + 2 * MMAP_RANDOM_BITS + BRK_RANDOM_BITS
        self.randomness = 0  # enough for all that is placed; used up from below
        if randomize:
            self.randomness = int.from_bytes(clock.random((bits + 7) // 8), "little")

    # -- addresses ---------------------------------------------------------------------------------
    def random_pages(self, bits: int) -> int:
        """A random multiple of the page size, below ``2**bits`` pages."""
        pages = self.randomness & ((1 << bits) - 1)
        self.randomness >>= bits
        return pages * PAGE_SIZE

    def place(self, program: ElfProgram, interpreter: ElfProgram | None) -> Placement:
        """Choose all addresses; ENOMEM when something does not fit."""
        p = Placement()
        p.stack_high = GUEST_TOP - PAGE_SIZE - self.random_pages(STACK_RANDOM_BITS)
        p.stack_low = p.stack_high - self.stack_size
        ceiling = p.stack_low - STACK_GUARD - self.random_pages(MMAP_RANDOM_BITS)
        p.guard_low = ceiling
        if program.relocatable:
            base = PIE_BASE + self.random_pages(MMAP_RANDOM_BITS)
            p.program_bias = _align_up(base, program.align) - program.low
        low, high = program.low + p.program_bias, program.high + p.program_bias
        if high > ceiling:
            raise ENOMEM("program is too large, or overlaps the stack")
        p.patch_low = max(0, page_down(low) - PATCH_ROOM)
        if p.patch_low < GUEST_BOTTOM:
            p.patch_low = 0
        if interpreter is not None:
            taken = p.patch_low or low
            p.interpreter_bias = self._place_interpreter(interpreter, taken, high, ceiling)
            p.first_bias = p.interpreter_bias
            if interpreter.high + p.interpreter_bias == p.guard_low:
                p.answers_low = p.guard_low
        else:
            p.first_bias = p.program_bias
            if p.patch_low:
                p.answers_low = low - PAGE_SIZE
        p.brk_start = high + self.random_pages(BRK_RANDOM_BITS)
        if p.brk_start > ceiling:
            p.brk_start = high
        return p

    def _place_interpreter(self, interpreter: ElfProgram, low: int, high: int, ceiling: int) -> int:
        """The interpreter's bias: near the top, else below the program."""
        size = interpreter.high - interpreter.low
        if not interpreter.relocatable:
            if interpreter.high > ceiling or (interpreter.low < high and low < interpreter.high):
                raise ENOMEM("interpreter overlaps the program or the stack")
            return 0
        for limit in (ceiling, low):
            base = (limit - size) // interpreter.align * interpreter.align
            if base >= GUEST_BOTTOM and (base + size <= low or base >= high):
                return base - interpreter.low
        raise ENOMEM("no room for the interpreter")

    # -- mappings ----------------------------------------------------------------------------------
    def map_program(self, program: ElfProgram, file: File, bias: int) -> None:
        """List the mappings of all segments; later ones may overlay earlier ones, as mmap(2)
        would."""
        for segment in program.segments:
            self._map_segment(segment, file, bias)

    def _map_segment(self, segment: Segment, file: File, bias: int) -> None:
        address = segment.address + bias
        start = page_down(address)
        end = page_up(address + segment.memory_size)
        file_end = address + segment.file_size
        mapped_end = start
        if segment.file_size:
            mapped_end = page_up(file_end)
            has_bss = segment.memory_size > segment.file_size
            offset = segment.offset - (address - start)
            self._map_file(
                file, start, mapped_end, segment.prot, offset, file_end if has_bss else mapped_end
            )
        if end > mapped_end:
            prot = PROT_READ | PROT_WRITE | (segment.prot & PROT_EXEC)
            self.mappings.append(Mapping(mapped_end, end - mapped_end, prot, -1, 0))

    def _map_file(
        self, file: File, start: int, end: int, prot: int, offset: int, zero_from: int
    ) -> None:
        """Map a file's pages at [start, end), with zeros from ``zero_from`` on.

        Linux, too, leaves the tail of a read-only page alone.
        """
        length = end - start
        source = _map_source(file, offset, length)
        if source is None or source.host_fd < 0:
            source = self._copied(file, offset, zero_from - start)
        mapping = Mapping(start, length, prot, source.host_fd, source.host_offset)
        if zero_from < end and prot & PROT_WRITE:
            mapping.data = bytes(end - zero_from)
            mapping.data_address = zero_from
        self.mappings.append(mapping)
        record = FileMapping(start, length, file.path, offset, False)
        record.memory_size = source.memory_size
        self.file_mappings.append((record, source.host_fd))

    def _copied(self, file: File, offset: int, length: int) -> MapSource:
        """A memfd with a piece of a file that has no host descriptor."""
        self.copied += length
        if self.copied > MAX_COPIED:
            raise ENOMEM("program is too large to be copied")
        fd = copy_to_memfd(file, offset, length)
        self.memfds.append(fd)
        return MapSource(fd, 0)

    def map_stack(self, initial: InitialStack, placement: Placement, executable: bool) -> None:
        """The stack with its first contents, and the reserved ranges on both sides."""
        if initial.pointer < placement.stack_low + PAGE_SIZE:
            raise ENOMEM("arguments do not fit on the stack")
        prot = PROT_READ | PROT_WRITE | (PROT_EXEC if executable else 0)
        p = placement
        self.mappings.append(Mapping(p.stack_high, GUEST_TOP - p.stack_high, 0, -1, 0))
        self.mappings.append(Mapping(p.guard_low, p.stack_low - p.guard_low, 0, -1, 0))
        if p.patch_low:
            self.mappings.append(Mapping(p.patch_low, PATCH_ROOM, 0, -1, 0))
        self.mappings.append(
            Mapping(p.stack_low, self.stack_size, prot, -1, 0, initial.data, initial.pointer)
        )

    def map_patched(self, text: PatchedText, file: File, bias: int) -> None:
        """``text`` over what :meth:`map_program` and :meth:`map_stack` have listed."""
        prot = PROT_READ | PROT_EXEC
        start = text.address + bias
        self.mappings.append(Mapping(start, text.length, prot, text.fd, text.offset))
        answers = Mapping(text.answers + bias, PAGE_SIZE, prot, text.fd, text.answers_offset)
        self.mappings.append(answers)
        record = FileMapping(start, text.length, file.path, text.offset, False)
        sizes = [r.memory_size for r, _ in self.file_mappings if r.path is file.path]
        record.memory_size = max(sizes, default=-1)  # of the same file
        self.file_mappings.append((record, text.fd))

    @property
    def may_be_patched(self) -> bool:
        """Whether the engine takes what :meth:`map_patched` adds."""
        return len(self.mappings) + 2 <= MOST_MAPPINGS

    def check_total(self, limit: int) -> None:
        """ENOMEM when all mappings together exceed RLIMIT_AS, or are too many for the engine."""
        if len(self.mappings) > MOST_MAPPINGS:
            raise ENOMEM(f"more than {MOST_MAPPINGS} segments")
        if sum([mapping.length for mapping in self.mappings if mapping.prot]) > limit:
            raise ENOMEM("program exceeds RLIMIT_AS")


def _map_source(file: File, offset: int, length: int) -> MapSource | None:
    """The host descriptor of ``file`` to map, or None when it has none."""
    try:
        source = file.map(False, False, offset, length)
    except ENODEV:
        return None
    return source if source.host_offset % PAGE_SIZE == 0 else None


def _align_up(value: int, alignment: int) -> int:
    return -(-value // alignment) * alignment
