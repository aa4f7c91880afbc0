"""build_image: from files of a tmpfs to a list of mappings the engine can follow blindly."""

from __future__ import annotations

import contextlib
import os
import struct

import pytest
from elf_maker import ET_DYN, ET_EXEC, PT_GNU_STACK, PT_INTERP, R, W, X, header, program, segment
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import support
from descriptors import own_descriptors
from wardian.platform.interface import Mapping
from wardian.platform.layout import GUEST_TOP
from wardian.sentry.errno import (
    E2BIG,
    EACCES,
    EINVAL,
    ELIBBAD,
    ELOOP,
    ENOENT,
    ENOEXEC,
    ENOMEM,
    LinuxError,
)
from wardian.sentry.fs.tmpfs_inode import TmpFile, TmpRegular
from wardian.sentry.kernel.rlimits import RLIMIT_AS, RLIMIT_STACK
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm import stack
from wardian.sentry.mm.image import ADDR_NO_RANDOMIZE, ProgramImage, build_image
from wardian.sentry.mm.memory import GUEST_BOTTOM, PAGE_SIZE, Memory
from wardian.sentry.mm.program_file import open_exec
from wardian.sentry.vfs import dcache, namei
from wardian.sentry.vfs.buffers import BytesSource
from wardian.sentry.vfs.dentry import MS_NOEXEC, MS_NOSUID
from wardian.sentry.vfs.file import MapSource

STATIC = program(
    segment(flags=R | X, size=0x1800),
    segment(flags=R | W, offset=0x2000, address=0x402000, size=0x100, memory=0x3000),
)
LOADER = program(segment(address=0, size=0x2000), kind=ET_DYN, entry=0x100)
DYNAMIC = program(
    segment(PT_INTERP, R, 0x300, 0x300, 8),
    segment(address=0, size=0x1000),
    kind=ET_DYN,
    entry=0x200,
)
DYNAMIC = DYNAMIC[:0x300] + b"/lib/ld\0" + DYNAMIC[0x308:]


@pytest.fixture
def task() -> Task:
    return support.make_task()


def write_file(t: Task, name: bytes, data: bytes, mode: int = 0o755) -> None:
    """Put a file into the root directory (``lib/ld`` makes its directory)."""
    directory = t.fs.root
    parts = name.split(b"/")
    for part in parts[:-1]:
        if directory.inode.lookup(part) is None:
            made = directory.inode.mkdir(part, 0o755, 0, 0)
            dcache.instantiate(directory.dentry, part, made)
        directory = namei.resolve(t, -100, b"/" + part)
    if directory.inode.lookup(parts[-1]) is not None:
        inode = directory.inode.lookup(parts[-1])
        assert inode is not None
        directory.inode.unlink(parts[-1], inode)
        dcache.forget(directory.dentry.children[parts[-1]])
    inode = directory.inode.create(parts[-1], mode, 0, 0)
    dcache.instantiate(directory.dentry, parts[-1], inode)
    inode.open(t, 2).write(BytesSource(data), 0)


def build(
    t: Task, name: bytes, argv: list[bytes] | None = None, envp: list[bytes] | None = None
) -> ProgramImage:
    file = open_exec(t, -100, name)
    return build_image(
        t, file, argv if argv is not None else [name], envp or [], name, 0x7E00_3000_0000
    )


def auxv(image: ProgramImage) -> dict[int, int]:
    words = struct.unpack(f"<{len(image.auxv) // 8}Q", image.auxv)
    return dict(zip(words[::2], words[1::2], strict=True))


def test_static_program(task: Task) -> None:
    write_file(task, b"a", STATIC)
    image = build(task, b"/a")
    text, data, bss, above, guard, patches, stack_mapping = image.mappings
    assert image.patch_areas == (guard.address + PAGE_SIZE, patches.address)
    assert patches.address + patches.length == text.address and patches.prot == 0
    assert (text.address, text.length, text.prot) == (0x400000, 0x2000, 5)
    assert (data.address, data.length, data.prot) == (0x402000, 0x1000, 3)
    assert data.data_address == 0x402100 and data.data == bytes(0xF00)
    assert (bss.address, bss.length, bss.fd) == (0x403000, 0x2000, -1)
    assert stack_mapping.length == 8 << 20
    assert guard.address + guard.length == stack_mapping.address and guard.length >= 2 << 20
    assert above.address == stack_mapping.address + (8 << 20)
    assert above.address + above.length == GUEST_TOP and above.prot == guard.prot == 0
    assert image.entry == 0x400000
    assert image.brk_start >= 0x405000
    values = auxv(image)
    assert values[stack.AT_BASE] == 0 and values[stack.AT_PHNUM] == 2
    assert values[stack.AT_PHDR] == 0x400040
    assert values[stack.AT_SYSINFO_EHDR] == 0x7E00_3000_0000
    image.release()


def test_dynamic_program_starts_in_its_interpreter(task: Task) -> None:
    write_file(task, b"lib/ld", LOADER)
    write_file(task, b"d", DYNAMIC)
    image = build(task, b"/d")
    values = auxv(image)
    base = values[stack.AT_BASE]
    assert image.entry == base + 0x100
    assert values[stack.AT_ENTRY] >> 40 in (0x55, 0x56)
    assert values[stack.AT_ENTRY] & 0xFFF == 0x200
    assert any(m.address == base for m in image.mappings)
    assert len(image.files) == 2


def test_addresses_are_random_unless_personality_says_no(task: Task) -> None:
    write_file(task, b"lib/ld", LOADER)
    write_file(task, b"d", DYNAMIC)
    places = {(build(task, b"/d").entry, build(task, b"/d").stack_pointer) for _ in range(5)}
    assert len(places) == 5
    task.group.personality = ADDR_NO_RANDOMIZE
    assert auxv(build(task, b"/d"))[stack.AT_ENTRY] == 0x5555_5555_4200
    assert build(task, b"/d").entry == build(task, b"/d").entry


def test_settle_tells_the_memory_what_is_where(task: Task) -> None:
    write_file(task, b"a", STATIC)
    image = build(task, b"/a", [b"a", b"b c"], [b"X=1"])
    memory = Memory(task.memory.process)
    image.settle(memory)
    assert memory.exe is not None and namei.path_text(memory.exe, task.fs.root) == b"/a"
    assert image.cmdline == b"a\0b c\0" and image.environ == b"X=1\0" and image.name == b"a"
    assert memory.layout.arg_end - memory.layout.arg_start == len(image.cmdline)
    assert memory.layout.start_code == 0x400000 and memory.layout.end_code == 0x401800
    child = memory.fork(task.memory.process)
    assert child.exe is memory.exe and child.layout.arg_start == memory.layout.arg_start
    assert child.file_mappings.records == memory.file_mappings.records != {}


def test_release_lets_go_of_the_files(task: Task) -> None:
    write_file(task, b"a", STATIC)
    file = open_exec(task, -100, b"/a")
    image = build_image(task, file, [b"a"], [], b"/a")
    assert file.references == 1
    image.release()
    assert file.references == 0
    write_file(task, b"bad", b"nothing")
    file = open_exec(task, -100, b"/bad").hold()
    with pytest.raises(ENOEXEC):
        build_image(task, file, [b"a"], [], b"/bad")
    assert file.references == 1


class NoDescriptor(TmpFile):
    """A file that cannot be mapped on the host."""

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return MapSource(-1, 0)


def test_file_without_host_descriptor_is_copied_and_the_copies_are_closed(task: Task) -> None:
    write_file(task, b"a", STATIC)
    inode = namei.resolve(task, -100, b"/a").inode
    assert isinstance(inode, TmpRegular)
    before = len(own_descriptors())
    image = build_image(task, NoDescriptor(inode, 0), [b"a"], [], b"/a")
    text, data = image.mappings[:2]
    assert os.pread(text.fd, 0x2000, text.offset) == STATIC[:0x2000]
    assert os.pread(data.fd, 0x1000, data.offset) == STATIC[0x2000:0x2100].ljust(0x1000, b"\0")
    image.release()
    assert len(own_descriptors()) == before


# -- scripts ---------------------------------------------------------------------------------------
def test_script_gets_its_interpreter_argument_and_name(task: Task) -> None:
    write_file(task, b"a", STATIC)
    write_file(task, b"s", b"#!/a -x y\n")
    image = build(task, b"/s", [b"s", b"1", b"2"])
    assert image.cmdline == b"/a\0-x y\0/s\0001\0002\0"
    assert image.exe is not None and image.exe.dentry.name == b"a"
    assert image.name == b"s"


def test_scripts_nest_five_deep(task: Task) -> None:
    write_file(task, b"s0", STATIC)
    for depth in range(1, 7):
        write_file(task, b"s%d" % depth, b"#!/s%d\n" % (depth - 1))
    assert build(task, b"/s5").cmdline.split(b"\0")[0] == b"/s0"
    with pytest.raises(ELOOP):
        build(task, b"/s6")
    write_file(task, b"self", b"#!/self\n")
    with pytest.raises(ELOOP):
        build(task, b"/self")


def test_missing_interpreters_are_enoent(task: Task) -> None:
    write_file(task, b"s", b"#!/nowhere\n")
    with pytest.raises(ENOENT):
        build(task, b"/s")
    write_file(task, b"d", DYNAMIC)
    with pytest.raises(ENOENT):
        build(task, b"/d")


def test_interpreter_must_be_sound(task: Task) -> None:
    write_file(task, b"d", DYNAMIC)
    for bad in (b"", b"hello", LOADER[:64], header(machine=3) + LOADER[64:]):
        write_file(task, b"lib/ld", bad)
        with pytest.raises(ELIBBAD):
            build(task, b"/d")
    write_file(task, b"lib/ld", LOADER, 0o644)
    with pytest.raises(EACCES):
        build(task, b"/d")


# -- refusals --------------------------------------------------------------------------------------
def test_permission_to_execute(task: Task) -> None:
    write_file(task, b"a", STATIC, 0o600)
    with pytest.raises(EACCES):
        open_exec(task, -100, b"/a")
    write_file(task, b"x", STATIC, 0o111)
    user = support.make_task(parent=task, uid=1000, gid=1000)
    build(user, b"/x").release()
    task.fs.root.mount.flags |= MS_NOEXEC
    with pytest.raises(EACCES):
        open_exec(task, -100, b"/x")
    with pytest.raises(EACCES):
        open_exec(task, -100, b"/")
    with pytest.raises(ENOENT):
        open_exec(task, -100, b"")


@pytest.mark.parametrize(
    ("bad", "error"),
    [
        (program(segment(address=GUEST_TOP - 0x2000)), ENOMEM),
        (program(segment(address=0, size=0, memory=GUEST_TOP), kind=ET_DYN), ENOMEM),
        (program(segment(size=0x1000, memory=0x800)), EINVAL),
        (program(segment(size=0x5000)), ENOEXEC),
        (program(segment(address=0, size=0x1000), kind=ET_DYN, entry=GUEST_TOP - 1), ENOEXEC),
        (program(segment(address=0x6000_0000_0000, size=0x1000), kind=ET_DYN, entry=0), ENOEXEC),
    ],
)
def test_programs_that_do_not_fit_fail_before_anything_is_lost(
    task: Task, bad: bytes, error: type[LinuxError]
) -> None:
    write_file(task, b"bad", bad)
    with pytest.raises(error):
        build(task, b"/bad")


def test_limits(task: Task) -> None:
    write_file(task, b"a", STATIC)
    with pytest.raises(E2BIG):
        build(task, b"/a", [b"x" * 131072])
    task.group.rlimits.set(RLIMIT_STACK, 1 << 62, 1 << 62)
    assert build(task, b"/a").mappings[-1].length == 64 << 20
    task.group.rlimits.set(RLIMIT_STACK, 0, 0)
    assert build(task, b"/a", [b"y" * 130000]).mappings[-1].length >= 256 << 10
    task.group.rlimits.set(RLIMIT_AS, 1 << 16, 1 << 16)
    with pytest.raises(ENOMEM):
        build(task, b"/a")


# -- credentials -----------------------------------------------------------------------------------
def test_set_user_id_program(task: Task) -> None:
    write_file(task, b"su", STATIC, 0o4755)
    user = support.make_task(parent=task, uid=1000, gid=1000)
    image = build(user, b"/su")
    c = image.credentials
    assert (c.uid, c.euid, c.suid, c.fsuid) == (1000, 0, 0, 0)
    assert image.secure and auxv(image)[stack.AT_SECURE] == 1
    assert auxv(image)[stack.AT_EUID] == 0 and c.cap_effective
    assert user.credentials.euid == 1000
    user.credentials.no_new_privs = True
    assert build(user, b"/su").credentials.euid == 1000
    user.credentials.no_new_privs = False
    task.fs.root.mount.flags |= MS_NOSUID
    assert build(user, b"/su").credentials.euid == 1000


def test_ordinary_program_loses_capabilities_only_without_root(task: Task) -> None:
    write_file(task, b"a", STATIC)
    image = build(task, b"/a")
    assert image.credentials.cap_effective == task.credentials.cap_bounding and not image.secure
    user = support.make_task(parent=task, uid=1000, gid=1000)
    changed = user.credentials.copy()
    changed.cap_permitted = changed.cap_effective = 3
    changed.cap_ambient = 1
    user.credentials = changed
    image = build(user, b"/a")
    assert (image.credentials.cap_permitted, image.credentials.cap_effective) == (1, 1)


# -- fuzzing ---------------------------------------------------------------------------------------
WORD = st.one_of(
    st.integers(0, 0x5000),
    st.integers(0, GUEST_TOP + 0x5000),
    st.integers(0, (1 << 64) - 1),
    st.sampled_from(
        [
            0,
            0xFFFF,
            0x10000,
            0x400000,
            0x401000,
            0x6FFF_FFFF_0000,
            GUEST_TOP - 0x1000,
            GUEST_TOP,
            1 << 47,
            1 << 63,
            (1 << 64) - 0x1000,
            (1 << 64) - 1,
        ]
    ),
)
PAGE = WORD.map(lambda word: word & ~0xFFF & (1 << 64) - 1)
SMALL = st.one_of(st.integers(0, 0x4000), WORD)
SEGMENT = st.one_of(
    st.builds(
        segment,
        st.sampled_from([1, 1, 1, 3, 6, PT_GNU_STACK]),
        st.integers(0, 7),
        WORD,
        WORD,
        WORD,
        WORD,
        WORD,
    ),
    st.builds(
        segment,
        st.just(1),
        st.integers(0, 7),
        st.integers(0, 3).map(lambda n: n << 12),
        PAGE,
        st.integers(0, 0x4000),
        SMALL,
        WORD,
    ),
)


@settings(
    max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(SEGMENT, min_size=1, max_size=6),
    st.sampled_from([ET_EXEC, ET_DYN]),
    WORD,
    st.binary(min_size=0, max_size=16),
    st.booleans(),
)
def test_hostile_program_is_refused_or_placed_soundly(
    task: Task, segments: list[bytes], kind: int, entry: int, tail: bytes, as_loader: bool
) -> None:
    data = program(*segments, kind=kind, entry=entry) + tail
    write_file(task, b"lib/ld", data if as_loader else LOADER)
    write_file(task, b"f", DYNAMIC if as_loader else data)
    with contextlib.suppress(LinuxError):
        image = build(task, b"/f")
        check_sound(image, len(data))
        image.release()


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.data())
def test_damaged_program_is_refused_or_placed_soundly(task: Task, data: st.DataObject) -> None:
    raw = bytearray(DYNAMIC)
    for _ in range(data.draw(st.integers(1, 6))):
        raw[data.draw(st.integers(0, 0x310))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.sampled_from([len(raw), 0x1000, 300, 100, 64, 63]))
    write_file(task, b"lib/ld", LOADER)
    write_file(task, b"f", bytes(raw[:cut]))
    with contextlib.suppress(LinuxError):
        image = build(task, b"/f")
        check_sound(image, 0x4000)


def check_sound(image: ProgramImage, file_size: int) -> None:
    """What the trusted loader relies on."""
    assert 0 <= image.entry < GUEST_TOP
    assert image.stack_pointer % 16 == 0
    assert image.brk_start % PAGE_SIZE == 0 and image.brk_start < GUEST_TOP
    assert len(image.mappings) < 64
    stack_mapping = image.mappings[-1]
    assert inside(stack_mapping, image.stack_pointer, len(stack_mapping.data))
    for m in image.mappings:
        assert m.address % PAGE_SIZE == 0 and m.length % PAGE_SIZE == 0 and m.length > 0
        assert m.address >= GUEST_BOTTOM and m.address + m.length <= GUEST_TOP
        assert m.prot & ~7 == 0 and m.offset % PAGE_SIZE == 0
        if m.prot and m is not stack_mapping:
            assert m.address + m.length <= stack_mapping.address
        if m.data:
            assert inside(m, m.data_address, len(m.data))
        if m.fd >= 0:
            assert m.offset < file_size and m.length <= file_size + PAGE_SIZE
            if m.data:
                assert m.prot & 2
                assert m.offset + m.data_address - m.address <= -(-file_size // 4096) * 4096


def inside(mapping: Mapping, address: int, length: int) -> bool:
    return mapping.address <= address and address + length <= mapping.address + mapping.length
