"""execve(2)'s preparation: from a program file to an :class:`ExecImage` (fs/exec.c,
fs/binfmt_elf.c).

Nothing of the calling task changes here, so every failure is an errno the caller can be given.
``kernel.exec`` calls :func:`build_image`, hands the image to the engine, and when the program runs
calls :meth:`ProgramImage.settle` for the new :class:`Memory` and then
:meth:`ProgramImage.release`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import ExecImage
from wardian.platform.layout import GUEST_TOP
from wardian.sentry.errno import ELIBBAD, ELOOP, ENOEXEC, LinuxError
from wardian.sentry.kernel.rlimits import RLIMIT_AS, RLIMIT_STACK
from wardian.sentry.mm import elf, known_programs, memfd, stack
from wardian.sentry.mm.elf import ElfProgram
from wardian.sentry.mm.exec_credentials import credentials_after_exec
from wardian.sentry.mm.file_mappings import FileMapping
from wardian.sentry.mm.known_programs import KnownProgram
from wardian.sentry.mm.loader import Loader, Placement
from wardian.sentry.mm.memory import PAGE_SIZE, Layout, Memory
from wardian.sentry.mm.program_file import open_interpreter, read_at
from wardian.sentry.mm.script import PEEK_SIZE, parse_script
from wardian.sentry.vfs.inode import Attributes
from wardian.sentry.vfs.permissions import MAY_READ, permitted

if TYPE_CHECKING:
    from wardian.sentry.hostport import Clock
    from wardian.sentry.kernel.credentials import Credentials
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.mm.alternatives import PatchedText
    from wardian.sentry.vfs.dentry import Path
    from wardian.sentry.vfs.file import File
    from wardian.sentry.vfs.inode import Inode

HWCAP2_FSGSBASE: Final = 2
MAX_SCRIPT_DEPTH: Final = 5
COMM_LENGTH: Final = 15
ADDR_NO_RANDOMIZE: Final = 0x0040000  # personality(2)


class ProgramImage(ExecImage):
    """A program ready to run, and what its task becomes with it."""

    def __init__(self, credentials: Credentials) -> None:
        super().__init__()
        self.files: list[File] = []  # held until the engine has mapped them
        self.denied: list[Inode] = []
        self.memfds: list[int] = []  # ours to close
        self.patched_texts: list[PatchedText] = []  # ours to drop
        self.file_mappings: list[tuple[FileMapping, int]] = []  # with the host descriptor
        self.layout = Layout()
        self.auxv = b""
        self.exe: Path | None = None
        self.name = b""  # comm
        self.cmdline = b""
        self.environ = b""
        self.credentials = credentials
        self.secure = False  # set-user-ID and the like: also makes the process undumpable
        self.readable = True  # the caller may read program and interpreter

    def add_file(self, file: File) -> File:
        """Keep ``file`` open, and from being written, until :meth:`release`; ETXTBSY."""
        self.files.append(file.hold())
        if file.inode is not None:
            file.inode.deny_write_access()
            self.denied.append(file.inode)
        return file

    def settle(self, memory: Memory) -> None:
        """Tell the new address space what is where."""
        memory.set_exe(self.exe)
        memory.layout = self.layout
        memory.auxv = self.auxv
        last: dict[int, FileMapping] = {}  # of each file: the record of one replaces its older ones
        for mapping, host_fd in self.file_mappings:
            last[host_fd] = mapping
        for host_fd, mapping in last.items():
            mapping.identify(host_fd)
            memory.file_mappings.add(mapping)

    def release(self) -> None:
        """The engine has mapped everything, or exec failed."""
        files, self.files = self.files, []
        self.file_mappings = []
        for file in files:
            file.drop()
        denied, self.denied = self.denied, []
        for inode in denied:
            inode.allow_write_access()
        memfds, self.memfds = self.memfds, []
        for fd in memfds:
            memfd.close(fd)
        texts, self.patched_texts = self.patched_texts, []
        for text in texts:
            text.drop()


def build_image(
    task: Task,
    file: File,
    argv: list[bytes],
    envp: list[bytes],
    filename: bytes,
    vdso_base: int = 0,
) -> ProgramImage:
    """The image of ``file`` (from :func:`open_exec`, held by the caller) with its arguments.

    ``filename`` is the path as execve(2) was given it: AT_EXECFN and a script's own name.
    """
    builder = ImageBuilder(task, list(argv) or [b""], envp, filename, vdso_base)
    try:
        builder.build(file)
    except LinuxError:
        builder.image.release()
        raise
    return builder.image


class ImageBuilder:
    """The steps of :func:`build_image`; each uses what those before it found."""

    def __init__(
        self, task: Task, argv: list[bytes], envp: list[bytes], filename: bytes, vdso_base: int
    ) -> None:
        self.task = task
        self.image = ProgramImage(task.credentials)
        self.argv = argv
        self.envp = envp
        self.filename = filename
        self.vdso_base = vdso_base
        self.stack_limit = task.group.rlimits.soft[RLIMIT_STACK]

    def build(self, file: File) -> None:
        """All of them."""
        self.check_arguments()
        program_file = self.follow_scripts(self.image.add_file(file))
        self.check_arguments()
        first_file, first = program_file, read_program(program_file, self.task.kernel.clock)
        program = first.program
        interpreter_file: File | None = None
        interpreter: ElfProgram | None = None
        if program.interpreter_size:
            interpreter_file = first_file = self.open_interpreter(program)
            first = read_interpreter(interpreter_file, self.task.kernel.clock)
            interpreter = first.program
        self.describe(program_file, interpreter_file)
        loader = self.loader()
        placement = loader.place(program, interpreter)
        loader.map_program(program, program_file, placement.program_bias)
        if interpreter is not None and interpreter_file is not None:
            loader.map_program(interpreter, interpreter_file, placement.interpreter_bias)
        self.find_entry(program, interpreter, placement)
        initial = self.initial_stack(program, placement)
        loader.map_stack(initial, placement, program.executable_stack)
        loader.check_total(self.task.group.rlimits.soft[RLIMIT_AS])
        if loader.may_be_patched:
            self.map_alternatives(loader, placement, first, first_file)
        self.fill_layout(program, placement, initial)

    def check_arguments(self) -> None:
        """E2BIG."""
        stack.check_arguments(self.argv, self.envp, self.filename, self.stack_limit)

    def follow_scripts(self, file: File) -> File:
        """Follow ``#!`` lines to a program file, which gets more arguments. ELOOP."""
        name = self.filename
        for _ in range(MAX_SCRIPT_DEPTH + 1):
            known = known_programs.recall(file) is not None
            line = None if known else parse_script(read_at(file, 0, PEEK_SIZE))
            if line is None:
                return file
            extra = [line.argument] if line.argument else []
            self.argv = [line.interpreter, *extra, name, *self.argv[1:]]
            name = line.interpreter
            file = self.image.add_file(open_interpreter(self.task, name))
        raise ELOOP("interpreter scripts are nested too deep")

    def open_interpreter(self, program: ElfProgram) -> File:
        """Open what PT_INTERP names; ENOENT, EACCES, ENOEXEC."""
        name = elf.parse_interpreter_name(program.interpreter)
        return self.image.add_file(open_interpreter(self.task, name))

    def describe(self, program_file: File, interpreter_file: File | None) -> None:
        """What the task will be known by, and what it may do."""
        image = self.image
        outcome = credentials_after_exec(self.task.credentials, program_file.path)
        image.credentials, image.secure = outcome.credentials, outcome.secure
        image.readable = is_readable(self.task, program_file) and (
            interpreter_file is None or is_readable(self.task, interpreter_file)
        )
        image.exe = program_file.path
        image.name = self.filename.rpartition(b"/")[2][:COMM_LENGTH]
        image.cmdline = b"".join([text + b"\0" for text in self.argv])
        image.environ = b"".join([text + b"\0" for text in self.envp])

    def loader(self) -> Loader:
        """What places and maps the programs."""
        image, task = self.image, self.task
        randomize = not task.group.personality & ADDR_NO_RANDOMIZE
        return Loader(
            image.mappings,
            image.file_mappings,
            image.memfds,
            task.kernel.clock,
            self.stack_limit,
            randomize,
        )

    def find_entry(
        self, program: ElfProgram, interpreter: ElfProgram | None, placement: Placement
    ) -> None:
        """The first instruction: the dynamic loader's, if there is one."""
        entry = program.header.entry + placement.program_bias
        if interpreter is not None:
            entry = interpreter.header.entry + placement.interpreter_bias
        if not 0 <= entry < GUEST_TOP:
            raise ENOEXEC("entry point outside of the address space")
        self.image.entry = entry

    def initial_stack(self, program: ElfProgram, placement: Placement) -> stack.InitialStack:
        """The stack as the program finds it."""
        kernel = self.task.kernel
        return stack.build_stack(
            placement.stack_high,
            self.argv,
            self.envp,
            self.filename,
            kernel.host_cpu.platform,
            kernel.clock.random(18),
            self.auxiliary_vector(program, placement),
        )

    def auxiliary_vector(self, program: ElfProgram, placement: Placement) -> stack.Vector:
        """All entries but those whose values lie on the stack; the order is Linux's."""
        host = self.task.kernel.host_cpu
        vector = stack.Vector()
        if self.vdso_base:
            vector.add(stack.AT_SYSINFO_EHDR, self.vdso_base)
        vector.add(stack.AT_MINSIGSTKSZ, host.minimum_signal_stack)
        vector.add(stack.AT_HWCAP, host.hwcap)
        vector.add(stack.AT_PAGESZ, 4096)
        vector.add(stack.AT_CLKTCK, host.clock_ticks)
        if program.table_address:
            vector.add(stack.AT_PHDR, program.table_address + placement.program_bias)
        vector.add(stack.AT_PHENT, elf.PROGRAM_HEADER_SIZE)
        vector.add(stack.AT_PHNUM, program.header.table_count)
        vector.add(stack.AT_BASE, placement.interpreter_bias)
        vector.add(stack.AT_FLAGS, 0)
        vector.add(stack.AT_ENTRY, program.header.entry + placement.program_bias)
        credentials = self.image.credentials
        vector.add(stack.AT_UID, credentials.uid)
        vector.add(stack.AT_EUID, credentials.euid)
        vector.add(stack.AT_GID, credentials.gid)
        vector.add(stack.AT_EGID, credentials.egid)
        vector.add(stack.AT_SECURE, 1 if self.image.secure else 0)
        # Without FSGSBASE (bit 1): gs is the stub's, and arch_prctl(2) the way to ask for it.
        vector.add(stack.AT_HWCAP2, host.hwcap2 & ~HWCAP2_FSGSBASE)
        return vector

    def map_alternatives(
        self, loader: Loader, placement: Placement, first: KnownProgram, file: File
    ) -> None:
        """Patch what runs first: the interpreter, else the program. Its page of answers lies
        between it and the area for call sites, where there is room for them."""
        alternatives = self.task.kernel.alternatives
        room = placement.answers_low
        if alternatives is None or not room:
            return
        text = alternatives.find(first, file, room - placement.first_bias)
        if text is not None:
            self.image.patched_texts.append(text)
            self.image.sealed.append(text.fd)
            loader.map_patched(text, file, placement.first_bias)

    def fill_layout(
        self, program: ElfProgram, placement: Placement, initial: stack.InitialStack
    ) -> None:
        """The numbers of proc_pid_stat(5), and what of them the engine is told."""
        image = self.image
        image.auxv = initial.auxv
        image.stack_pointer = initial.pointer
        image.brk_start = placement.brk_start
        image.patch_areas = (placement.guard_low + PAGE_SIZE, placement.patch_low)
        layout = image.layout
        place_segments(layout, program, placement.program_bias)
        layout.start_brk = placement.brk_start
        layout.patch_low = placement.patch_low
        layout.start_stack = initial.pointer
        layout.stack_low, layout.stack_high = placement.stack_low, placement.stack_high
        layout.guard_low = placement.guard_low
        layout.arg_start, layout.arg_end = initial.arg_start, initial.arg_end
        layout.env_start, layout.env_end = initial.env_start, initial.env_end
        layout.vdso = self.vdso_base


def is_readable(task: Task, file: File) -> bool:
    """Whether ``task`` might also have opened the program for reading (would_dump of Linux)."""
    inode = file.inode
    return inode is not None and permitted(task.credentials, inode, MAY_READ)


def read_program(file: File, clock: Clock) -> KnownProgram:
    """``file`` as a program; ENOEXEC and others of ``mm.elf``."""
    known = known_programs.recall(file)
    if known is not None:
        return known
    inode = file.inode
    attributes = inode.getattr() if inode is not None else Attributes()
    program = parse_program(file, attributes.size)
    return known_programs.remember(file, attributes, program, clock)


def parse_program(file: File, size: int) -> ElfProgram:
    """Read the headers of ``file``."""
    header = elf.parse_header(read_at(file, 0, elf.HEADER_SIZE))
    if header.table_offset + header.table_size > size:
        raise ENOEXEC("program headers lie past the end of the file")
    table = read_at(file, header.table_offset, header.table_size)
    program = elf.parse_program(header, table, size)
    program.interpreter = read_at(file, program.interpreter_offset, program.interpreter_size)
    return program


def read_interpreter(file: File, clock: Clock) -> KnownProgram:
    """The dynamic loader; whatever is wrong with it is ELIBBAD (execve(2))."""
    try:
        return read_program(file, clock)
    except LinuxError as error:
        raise ELIBBAD(f"ELF interpreter: {error.words}") from error


def place_segments(layout: Layout, program: ElfProgram, bias: int) -> None:
    """Where code and data begin and end."""
    layout.start_code = program.segments[0].address + bias
    for segment in program.segments:
        start = segment.address + bias
        end = start + segment.file_size
        layout.start_code = min(layout.start_code, start)
        layout.start_data = max(layout.start_data, start)
        layout.end_data = max(layout.end_data, end)
        if segment.flags & elf.PF_X:
            layout.end_code = max(layout.end_code, end)
