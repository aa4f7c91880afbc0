"""Parser of ELF program files (elf(5)), for exec. Every byte is hostile.

Pure: bytes in, a checked :class:`ElfProgram` out, or a ``LinuxError``. The caller reads the file:
first :data:`HEADER_SIZE` bytes for :func:`parse_header`, then the program headers for
:func:`parse_program`. What comes out keeps its promises whatever went in: segments are ordered,
sizes and offsets are bounded by the file, addresses by the guest's range, and file pages are
congruent with memory pages. ``mm.image`` turns it into mappings.

Linux finds most of these faults after its point of no return and kills the program with SIGSEGV;
here they are found before, so that execve(2) can fail with ENOEXEC and the caller lives.
"""

from __future__ import annotations

import struct
from typing import Final

from wardian.platform.layout import GUEST_TOP
from wardian.sentry.errno import EINVAL, ENOEXEC, ENOMEM
from wardian.sentry.mm.memory import GUEST_BOTTOM, PAGE_SIZE, page_down, page_up

HEADER_SIZE: Final = 64
PROGRAM_HEADER_SIZE: Final = 56
MAX_TABLE: Final = 65536  # bytes of program headers, as in fs/binfmt_elf.c
MAX_INTERPRETER: Final = 4096
MAX_ALIGN: Final = 1 << 30  # larger alignments of a PIE are ignored

MAGIC: Final = b"\x7fELF"
ET_EXEC: Final = 2
ET_DYN: Final = 3
EM_X86_64: Final = 62
PT_LOAD: Final = 1
PT_INTERP: Final = 3
PT_PHDR: Final = 6
PT_GNU_STACK: Final = 0x6474E551
PF_X: Final = 1
PF_W: Final = 2
PF_R: Final = 4
PROT_READ: Final = 1
PROT_WRITE: Final = 2
PROT_EXEC: Final = 4

_HEADER: Final = struct.Struct("<16sHHIQQQIHHHHHH")
_PROGRAM_HEADER: Final = struct.Struct("<IIQQQQQQ")


MACHINES: Final = {
    3: "i386",
    8: "mips",
    20: "ppc",
    21: "ppc64",
    22: "s390x",
    40: "arm",
    62: "x32",
    183: "aarch64",
    243: "riscv",
    258: "loongarch",
}


def machine_name(ident: bytes, machine: int) -> str:
    """What a foreign program was made for; the fields may be in the other byte order."""
    if ident[5] == 2:
        machine = machine >> 8 | (machine & 0xFF) << 8
    return MACHINES.get(machine, f"machine {machine}")


class ElfHeader:
    """The parts of Elf64_Ehdr that exec uses."""

    def __init__(self, kind: int, entry: int, table_offset: int, table_count: int) -> None:
        self.kind = kind  # ET_EXEC or ET_DYN
        self.entry = entry
        self.table_offset = table_offset
        self.table_count = table_count

    @property
    def table_size(self) -> int:
        """Bytes of program headers to read at ``table_offset``."""
        return self.table_count * PROGRAM_HEADER_SIZE


class Segment:
    """One PT_LOAD: ``file_size`` bytes at ``offset`` go to ``address``, zeros up to
    ``memory_size``."""

    def __init__(
        self, address: int, memory_size: int, offset: int, file_size: int, flags: int
    ) -> None:
        self.address = address
        self.memory_size = memory_size
        self.offset = offset
        self.file_size = file_size
        self.flags = flags

    @property
    def prot(self) -> int:
        """PF_* as PROT_*."""
        prot = 0
        if self.flags & PF_R:
            prot |= PROT_READ
        if self.flags & PF_W:
            prot |= PROT_WRITE
        if self.flags & PF_X:
            prot |= PROT_EXEC
        return prot


class ElfProgram:
    """A program or an interpreter, checked. Addresses are the file's own, before relocation."""

    def __init__(self, header: ElfHeader) -> None:
        self.header = header
        self.segments: list[Segment] = []
        self.interpreter_offset = 0
        self.interpreter_size = 0  # 0: none; the NUL is counted
        self.interpreter = b""  # its name as it stands in the file, once it was read
        self.executable_stack = False
        self.align = PAGE_SIZE
        self.low = 0  # page-aligned bounds of all segments
        self.high = 0
        self.table_address = 0  # where the program headers are in memory (AT_PHDR), 0: nowhere

    @property
    def relocatable(self) -> bool:
        """True for ET_DYN: the loader chooses the address."""
        return self.header.kind == ET_DYN


def parse_header(data: bytes) -> ElfHeader:
    """Check the ELF header at the start of ``data``; ENOEXEC."""
    if len(data) < HEADER_SIZE or data[:4] != MAGIC:
        raise ENOEXEC("not an ELF file")
    fields = _HEADER.unpack_from(data, 0)
    ident: bytes = fields[0]
    kind, machine, entry, offset = fields[1], fields[2], fields[4], fields[5]
    entry_size, count = fields[9], fields[10]
    if ident[4] != 2 or ident[5] != 1 or machine != EM_X86_64:
        raise ENOEXEC(f"it is for {machine_name(ident, machine)}, this is x86-64")
    if kind != ET_EXEC and kind != ET_DYN:
        raise ENOEXEC("neither an executable nor a shared object")
    if entry_size != PROGRAM_HEADER_SIZE:
        raise ENOEXEC("program headers have the wrong size")
    if count == 0 or count * PROGRAM_HEADER_SIZE > MAX_TABLE:
        raise ENOEXEC("no program headers, or too many")
    return ElfHeader(kind, entry, offset, count)


def parse_program(header: ElfHeader, table: bytes, file_size: int) -> ElfProgram:
    """Check the program headers; ENOEXEC, EINVAL or ENOMEM."""
    if len(table) < header.table_size:
        raise ENOEXEC("program headers lie past the end of the file")
    program = ElfProgram(header)
    for index in range(header.table_count):
        _take_header(program, table, index * PROGRAM_HEADER_SIZE, file_size)
    if not program.segments:
        raise ENOEXEC("no loadable segments")
    program.low = min(page_down(segment.address) for segment in program.segments)
    program.high = max(page_up(s.address + s.memory_size) for s in program.segments)
    if not program.relocatable and program.low < GUEST_BOTTOM:
        raise ENOEXEC("segment below mmap_min_addr")
    if header.entry >= GUEST_TOP:
        raise ENOEXEC("entry point outside of the address space")
    program.table_address = _find_table(program) or program.table_address
    return program


def _take_header(program: ElfProgram, table: bytes, at: int, file_size: int) -> None:
    """Note one program header in ``program``."""
    fields: tuple[int, int, int, int, int, int, int, int]
    fields = _PROGRAM_HEADER.unpack_from(table, at)
    kind, flags, offset, address, _, size, memory, align = fields
    if kind == PT_LOAD:
        segment = Segment(address, memory, offset, size, flags)
        _check_segment(segment, file_size)
        if memory:
            program.segments.append(segment)
        if PAGE_SIZE < align <= MAX_ALIGN and align & (align - 1) == 0:
            program.align = max(program.align, align)
    elif kind == PT_INTERP and not program.interpreter_size:
        if not 2 <= size <= MAX_INTERPRETER or offset + size > file_size:
            raise ENOEXEC("bad length of the interpreter's name")
        program.interpreter_offset = offset
        program.interpreter_size = size
    elif kind == PT_GNU_STACK:
        program.executable_stack = bool(flags & PF_X)
    elif kind == PT_PHDR and address < GUEST_TOP:
        program.table_address = address


def _check_segment(segment: Segment, file_size: int) -> None:
    """Raise unless the segment lies in the guest's range and in the file."""
    if segment.file_size > segment.memory_size:
        raise EINVAL("segment is larger in the file than in memory")
    if segment.address >= GUEST_TOP or segment.memory_size > GUEST_TOP - segment.address:
        raise ENOMEM("segment outside of the address space")
    if segment.file_size == 0:
        return
    if segment.offset + segment.file_size > file_size:
        raise ENOEXEC("segment lies past the end of the file")
    if (segment.offset - segment.address) % PAGE_SIZE:
        raise ENOEXEC("segment's offset and address disagree about the page")


def _find_table(program: ElfProgram) -> int:
    """The address of the program headers: in the segment that holds their file offset."""
    offset = program.header.table_offset
    for segment in program.segments:
        if segment.offset <= offset < segment.offset + segment.file_size:
            return segment.address + offset - segment.offset
    return 0


def parse_interpreter_name(data: bytes) -> bytes:
    """The path in a PT_INTERP; ENOEXEC when it is not NUL-terminated."""
    if not data or data[-1] != 0:
        raise ENOEXEC("interpreter's name is not NUL-terminated")
    name = data[: data.index(b"\0")]
    if not name:
        raise ENOEXEC("interpreter's name is empty")
    return name
