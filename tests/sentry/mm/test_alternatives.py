"""cpuid instructions whose answer is known are replaced when a program is loaded."""

from __future__ import annotations

import ctypes
import fcntl
import mmap
import os
import struct
from collections.abc import Iterator

import pytest
from elf_maker import ET_DYN, R, W, X, program, segment
from test_image import DYNAMIC, build, write_file
from test_known_programs import rewrite, settle

import support
from descriptors import own_descriptors
from wardian import _core
from wardian.sentry.errno import ENFILE, ENOENT
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm import alternatives, cpuid, known_programs, loader, memfd
from wardian.sentry.mm.alternatives import Alternatives, PatchedText
from wardian.sentry.mm.cpuid import Answers, Site, find_sites
from wardian.sentry.mm.image import ADDR_NO_RANDOMIZE, ProgramImage
from wardian.sentry.mm.memory import PAGE_SIZE, PATCH_ROOM
from wardian.sentry.vfs.buffers import BytesSource
from wardian.sentry.vfs.inode import AttributeChange

L2_CACHE = 0x8000_0006
ASK = b"\xb8" + struct.pack("<I", L2_CACHE)  # mov $L2_CACHE, %eax
CPUID = b"\x0f\xa2"
LEAF_7 = b"\xb8\x07\x00\x00\x00"
STORE = b"\x89\x15" + struct.pack("<i", 0x2F00)  # mov %edx, 0x2f00(%rip)

# int ask(uint32_t registers[4], int edi, int esi, int r8): all it says that it changes, it changes
BEGIN = (
    b"\x53\x57\x49\x89\xf9\x89\xf7\x89\xd6\x41\x89\xc8"  # push; r9=rdi; edi, esi, r8d = arguments
    b"\x48\xc7\xc0\xff\xff\xff\xff\x48\x89\xc3\x48\x89\xc1\x48\x89\xc2"  # rax, rbx, rcx, rdx = -1
    b"\x48\x89\x44\x24\xf8"  # mov %rax, -8(%rsp): in the red zone
)
END = (
    b"\x41\x89\x01\x49\x89\x59\x04\x41\x89\x49\x08\x41\x89\x51\x0c"  # stored
    b"\x0f\x92\xc0\x0f\xb6\xc0"  # setc %al; movzbl %al, %eax
    b"\x48\x83\x7c\x24\xf8\xff\x74\x05\xb8\x02\x00\x00\x00"  # 2 if the red zone has changed
    b"\x5f\x5b\xc3"  # pop; ret
)
CARRY = b"\xf9"  # stc


def asking(before: bytes, first: bytes = b"") -> bytes:
    """The function, with ``first`` and then ``before`` in front of its cpuid."""
    return BEGIN + first + CARRY + before + CPUID + END


FUNCTION = asking(ASK)
TEXT_AT = 0x1100
DATA_AT = 0x4000


def with_text(text: bytes, at: int = TEXT_AT, kind: int = ET_DYN) -> bytes:
    """A file with ``text`` at an offset in its one segment of text."""
    base = 0 if kind == ET_DYN else 0x40_0000
    data = program(
        segment(flags=R | X, address=base, size=0x3800),
        segment(flags=R | W, offset=0x4000, address=base + 0x4000, size=0x100),
        kind=kind,
        entry=base + 0x200,
        size=0x5000,
    )
    return data[:at] + text + data[at + len(text) :]


@pytest.fixture
def task() -> Iterator[Task]:
    t = support.make_task()
    found = t.kernel.alternatives = Alternatives(t.kernel.host_cpu)
    t.group.personality = ADDR_NO_RANDOMIZE
    yield t
    for text in found.texts:
        text.drop()


def again(t: Task, name: bytes) -> ProgramImage:
    """The image of a program that has run before."""
    build(t, name).release()
    return build(t, name)


def patched(image: ProgramImage) -> list[tuple[int, int]]:
    """Where patched pages, then their answers, would be mapped."""
    fds = [text.fd for text in image.patched_texts]
    return [(m.address, m.length) for m in image.mappings if m.fd in fds]


# -- what they become ----------------------------------------------------------------------------
def run_text(text: PatchedText, at: int, data: bytes = b"") -> tuple[list[int], int]:
    """Call the function at the program's own address ``at``: what it stored, and its carry."""
    low = min(text.address, text.answers)
    high = max(text.address + text.length, text.answers + PAGE_SIZE, DATA_AT + PAGE_SIZE)
    prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    memory = mmap.mmap(-1, high - low, prot=prot)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pages = os.pread(text.fd, text.length, text.offset)
    memory[text.address - low : text.address - low + text.length] = pages
    answers = os.pread(text.fd, PAGE_SIZE, text.answers_offset)
    memory[text.answers - low : text.answers - low + PAGE_SIZE] = answers
    stored = (ctypes.c_uint32 * 4)()
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, *[ctypes.c_int] * 3)(base + at - low)
    carry = function(ctypes.addressof(stored), 1, 3, 0xD)
    assert memory[DATA_AT - low : DATA_AT - low + len(data)] == data
    return list(stored), carry


def patched_text(t: Task, data: bytes, answers: int) -> PatchedText | None:
    write_file(t, b"a", data)
    settle(t)
    image = again(t, b"/a")
    file = image.files[0]
    known = known_programs.recall(file)
    assert known is not None
    text = alternatives.patch(known.program, file, answers, Answers(t.kernel.host_cpu))
    image.release()
    return text


@pytest.mark.parametrize("answers", [-PAGE_SIZE, 0x9000])
@pytest.mark.parametrize(
    ("function", "leaf", "subleaf"),
    [
        (asking(ASK), L2_CACHE, 0),
        (asking(LEAF_7 + b"\x31\xc9"), 7, 0),  # xor %ecx, %ecx
        (asking(b"\xb8\x0d\x00\x00\x00\x89\xf9"), 0xD, 1),  # mov %edi, %ecx
        (asking(b"\xb8\x0d\x00\x00\x00\xb9\x02\x00\x00\x00"), 0xD, 2),  # mov $2, %ecx
        (asking(b"\xbe\x0d\x00\x00\x00\x31\xc9\x89\xf0"), 0xD, 0),  # esi, ecx, eax
        (asking(b"\x44\x89\xc0\x89\xf1"), 0xD, 3),  # mov %r8d, %eax; mov %esi, %ecx
        (asking(b"\xc7\x44\x24\xf0\x00\x00\x00\x00", ASK), L2_CACHE, 0),
        (asking(b"\xc7\x84\x24\xf0\xff\xff\xff\x00\x00\x00\x00", ASK), L2_CACHE, 0),
        (asking(LEAF_7 + b"\xb9\x99\x00\x00\x00"), 7, 0x99),  # nobody knows: the processor
    ],
    ids="eax zero register constant esi moves store long_store unknown".split(),
)
def test_the_answer_is_the_processors(
    task: Task, function: bytes, leaf: int, subleaf: int, answers: int
) -> None:
    text = patched_text(task, with_text(function), answers)
    assert text is not None
    there = TEXT_AT - text.address
    now = os.pread(text.fd, text.length, text.offset)[there : there + len(function)]
    changed = [at for at in range(len(function)) if now[at] != function[at]]
    assert now[changed[0]] == 0xE9 and changed[-1] < changed[0] + 5, "only a jump is new"
    assert now[changed[0] + 5 :].startswith(function[changed[0] + 5 :]), "the cpuid stays"
    registers, carry = run_text(text, TEXT_AT)
    assert registers == list(_core.cpuid(leaf, subleaf))
    kept = b"\x31\xc9" not in function  # xor clears the carry
    assert carry == kept, "flags, and what lies below the stack pointer, are as they were"
    text.drop()


def test_a_store_in_front_of_the_question_still_stores(task: Task) -> None:
    function = asking(STORE, b"\xba\x11\x22\x33\x44" + ASK)  # mov $0x44332211, %edx
    end = TEXT_AT + function.index(STORE) + len(STORE)
    function = function.replace(STORE, b"\x89\x15" + struct.pack("<i", DATA_AT - end))
    text = patched_text(task, with_text(function), 0x9000)
    assert text is not None
    assert run_text(text, TEXT_AT, b"\x11\x22\x33\x44")[0] == list(_core.cpuid(L2_CACHE, 0))
    text.drop()


def test_a_store_to_no_variable_is_no_instruction(task: Task) -> None:
    function = asking(b"\x89\x15" + struct.pack("<i", 0x12_3456), ASK)
    assert patched_text(task, with_text(function), 0x9000) is None


def test_a_site_across_two_pages(task: Task) -> None:
    at = 0x2000 - FUNCTION.index(ASK) - 3
    text = patched_text(task, with_text(FUNCTION, at), 0x9000)
    assert text is not None
    assert (text.address, text.length) == (0x1000, 0x2000)
    assert run_text(text, at)[0] == list(_core.cpuid(L2_CACHE, 0))
    text.drop()


def test_no_more_sites_than_there_is_room_for(task: Task) -> None:
    text = patched_text(task, with_text((ASK + CPUID) * 500, 0x300), 0x9000)
    assert text is not None
    pages = os.pread(text.fd, text.length, text.offset)
    assert 50 < pages.count(b"\xe9") < 250
    text.drop()


def test_nobody_can_change_the_pages(task: Task) -> None:
    text = patched_text(task, with_text(FUNCTION), 0x9000)
    assert text is not None
    with pytest.raises(PermissionError):
        os.pwrite(text.fd, b"x", text.offset)
    with pytest.raises(PermissionError):
        os.ftruncate(text.fd, 0)
    with pytest.raises(PermissionError):
        mmap.mmap(text.fd, PAGE_SIZE)
    text.drop()


def test_other_memfds_cannot_be_sealed() -> None:
    fd = memfd.create(PAGE_SIZE)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    memfd.close(fd)


# -- what is left alone --------------------------------------------------------------------------
@pytest.mark.parametrize("page", [1 << 31, -1 << 31, 0x7FFF_F000, 0x4000_0000, 1 << 46])
def test_answers_out_of_reach(task: Task, page: int) -> None:
    assert patched_text(task, with_text(FUNCTION), page) is None


@pytest.mark.parametrize("page", [0x3F00_0000, -0x3EFF_0000])
@pytest.mark.parametrize("distance", [-(1 << 31), -0x3F00_0000, 0x3EFF_FFF0, 0x7FFF_FFF0])
def test_a_variable_far_from_its_store(task: Task, page: int, distance: int) -> None:
    """Whatever the distances, the loader has no error but an errno."""
    base = 1 << 32
    data = program(
        segment(flags=R | X, address=base, size=0x3800),
        segment(flags=R | W, offset=0x4000, address=base - (1 << 31), size=0, memory=1 << 31),
        segment(flags=R | W, offset=0x4000, address=base + 0x4000, size=0, memory=1 << 32),
        entry=base,
        size=0x5000,
    )
    text = asking(b"\x89\x15" + struct.pack("<i", distance), ASK)
    found = patched_text(
        task, data[:TEXT_AT] + text + data[TEXT_AT + len(text) :], base + 0x1000 + page
    )
    assert (found is None) == (abs(distance + 6) > 0x3F00_0000)
    if found is not None:
        found.drop()


def test_text_that_can_be_written_to(task: Task) -> None:
    data = program(segment(flags=R | W | X, address=0, size=0x3000), kind=ET_DYN, size=0x4000)
    data = data[:TEXT_AT] + FUNCTION + data[TEXT_AT + len(FUNCTION) :]
    assert patched_text(task, data, 0x9000) is None


def test_pages_that_another_segment_shares(task: Task) -> None:
    data = program(
        segment(flags=R | X, address=0, size=0x1800),
        segment(flags=R | W, offset=0x1800, address=0x1800, size=0x100),
        kind=ET_DYN,
        size=0x4000,
    )
    data = data[:TEXT_AT] + FUNCTION + data[TEXT_AT + len(FUNCTION) :]
    assert patched_text(task, data, 0x9000) is None


def test_many_segments_are_not_searched(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each may be the same text, and may have stores to be looked for in each."""
    searched: list[int] = []
    monkeypatch.setattr(cpuid, "find_sites", lambda text, leaves: searched.append(1) or [])
    task.kernel.alternatives = None
    text = segment(flags=R | X, address=0, size=0x3000)
    many = [segment(flags=R | W, offset=0x4000, address=0x4000, size=0x10)] * 16
    for segments, looks in (([text, *many], 0), ([text, text, text], 1)):
        searched.clear()
        data = program(*segments, kind=ET_DYN, size=0x5000)
        assert patched_text(task, data, 0x9000) is None
        assert len(searched) == looks


def test_a_segment_at_the_end_of_the_largest_file(task: Task) -> None:
    """Whatever the offset, the loader has no error but an errno."""
    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    image = again(task, b"/a")
    known = known_programs.recall(image.files[0])
    assert known is not None
    end = (1 << 63) - PAGE_SIZE
    change = AttributeChange()
    change.size = end
    image.files[0].inode.setattr(change)
    image.files[0].inode.open(task, 2).write(BytesSource(FUNCTION), end - PAGE_SIZE)
    known.program.segments[0].offset = end - PAGE_SIZE
    answers = Answers(task.kernel.host_cpu)
    assert alternatives.patch(known.program, image.files[0], -PAGE_SIZE, answers) is None
    image.release()


def test_a_program_with_as_many_mappings_as_there_may_be(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    image = build(task, b"/a")
    count = len(image.mappings)
    image.release()
    for most, patches in ((count + 1, 0), (count + 2, 1)):
        monkeypatch.setattr(loader, "MOST_MAPPINGS", most)
        image = build(task, b"/a")
        assert len(image.patched_texts) == patches
        image.release()


def test_patched_pages_keep_what_their_file_takes(task: Task) -> None:
    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    image = again(task, b"/a")
    own, *_, patched_record = [record for record, _ in image.file_mappings]
    assert patched_record.memory_size == own.memory_size > 0
    image.release()


def test_sites_far_behind_the_first(task: Task) -> None:
    size = (alternatives.MOST_PAGES + 4) * PAGE_SIZE
    data = program(segment(flags=R | X, address=0, size=size), kind=ET_DYN, size=size)
    far, ask = size - 0x100, ASK + CPUID
    data = data[:0x300] + ask + data[0x300 + len(ask) : far] + ask + data[far + len(ask) :]
    text = patched_text(task, data, -PAGE_SIZE)
    assert text is not None
    assert (text.address, text.length) == (0, PAGE_SIZE)
    text.drop()


# -- when programs are loaded --------------------------------------------------------------------
def test_the_second_time_a_program_is_loaded(task: Task) -> None:
    write_file(task, b"a", with_text(FUNCTION, kind=2))
    settle(task)
    first = build(task, b"/a")
    assert patched(first) == []
    first.release()
    second = build(task, b"/a")
    assert patched(second) == [(0x40_1000, PAGE_SIZE), (0x40_0000 - PAGE_SIZE, PAGE_SIZE)]
    assert second.patch_areas[1] == 0x40_0000 - PATCH_ROOM
    text = second.patched_texts[0]
    shown = [record for record, fd in second.file_mappings if fd == text.fd]
    assert [(record.start, record.offset) for record in shown] == [(0x40_1000, 0x1000)]
    assert shown[0].path is second.exe
    second.release()
    third = build(task, b"/a")
    assert third.patched_texts == [text], "made once"
    assert third.sealed == [text.fd], "a guest may be sent it, and go on with it"
    third.release()


def test_the_interpreter_is_patched_and_not_its_program(task: Task) -> None:
    write_file(task, b"lib/ld", with_text(FUNCTION))
    write_file(task, b"a", DYNAMIC[:0x800] + FUNCTION + DYNAMIC[0x800 + len(FUNCTION) :])
    settle(task)
    image = again(task, b"/a")
    guard = image.layout.guard_low
    assert patched(image) == [(guard - 0x5000 + 0x1000, PAGE_SIZE), (guard, PAGE_SIZE)]
    assert image.patch_areas[0] == guard + PAGE_SIZE
    order = [m.address for m in image.mappings]
    assert order.index(guard) < len(order) - 1 - order[::-1].index(guard), "over the reserved range"
    image.release()


def test_not_with_no_patching(task: Task) -> None:
    task.kernel.alternatives = None
    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    image = again(task, b"/a")
    assert image.patched_texts == []
    image.release()


def test_a_program_without_sites_is_searched_once(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    searched: list[int] = []

    def noted(text: bytes, leaves: set[int]) -> list[Site]:
        searched.append(len(text))
        return find_sites(text, leaves)

    monkeypatch.setattr(cpuid, "find_sites", noted)
    write_file(task, b"a", with_text(b""))
    settle(task)
    for _ in range(3):
        again(task, b"/a").release()
    assert len(searched) == 1


def test_a_changed_program_is_not_patched_with_old_pages(task: Task) -> None:
    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    old = again(task, b"/a")
    assert old.patched_texts
    old.release()
    rewrite(task, b"/a", with_text(b"\x90" + FUNCTION))
    settle(task)
    new = build(task, b"/a")
    assert new.patched_texts == []
    new.release()
    image = build(task, b"/a")
    text = image.patched_texts[0]
    assert os.pread(text.fd, 2, TEXT_AT) == b"\x90" + FUNCTION[:1]
    image.release()


def test_the_oldest_pages_make_room_when_nobody_loads_them(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(alternatives, "MOST_TEXTS", 1)
    write_file(task, b"a", with_text(FUNCTION))
    write_file(task, b"b", with_text(FUNCTION))
    settle(task)
    image = again(task, b"/a")
    old = image.patched_texts[0]
    again(task, b"/b").release()
    assert old.fd >= 0, "the engine has not mapped it yet"
    os.fstat(old.fd)
    image.release()
    assert old.fd == -1
    image = build(task, b"/a")
    assert image.patched_texts[0].fd >= 0, "made again"
    image.release()


def test_no_descriptor_left(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def none(length: int, sealable: bool = False) -> int:
        raise ENFILE("none")

    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    build(task, b"/a").release()
    with monkeypatch.context() as patch:
        patch.setattr(memfd, "create", none)
        image = build(task, b"/a")
        assert image.patched_texts == []
        image.release()
    image = build(task, b"/a")
    assert image.patched_texts, "the next time there is one"
    image.release()


def test_a_file_that_is_gone_when_it_has_been_copied(
    task: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its memfd is, too; and after some failures nobody tries again."""
    write_file(task, b"a", with_text(FUNCTION))
    settle(task)
    image = again(task, b"/a")
    file, known = image.files[0], known_programs.recall(image.files[0])
    assert known is not None and task.kernel.alternatives is not None
    known.patched_text = None
    before = own_descriptors()

    def gone(attributes: object) -> bool:
        raise ENOENT("gone")

    monkeypatch.setattr(known, "holds", gone)
    for failure in range(1, alternatives.MOST_FAILURES + 2):
        assert task.kernel.alternatives.find(known, file, -PAGE_SIZE) is None
        assert known.failures == min(failure, alternatives.MOST_FAILURES)
    assert own_descriptors() == before
    image.release()
