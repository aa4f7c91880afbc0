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
from wardian import _core
from wardian.platform.stub.thread import opened_for_writing
from wardian.sentry.errno import ENFILE
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm import alternatives, known_programs, memfd
from wardian.sentry.mm.alternatives import Alternatives, PatchedText, find_sites
from wardian.sentry.mm.image import ADDR_NO_RANDOMIZE, ProgramImage
from wardian.sentry.mm.memory import PAGE_SIZE, PATCH_ROOM

L2_CACHE = 0x8000_0006
ASK = b"\xb8" + struct.pack("<I", L2_CACHE) + b"\x0f\xa2"  # mov $L2_CACHE, %eax; cpuid

# void ask(uint32_t registers[4]): every register is something else before, and flags are set
FUNCTION = (
    b"\x53\x49\x89\xf8\x48\xc7\xc3\xff\xff\xff\xff\x48\x89\xd9\x48\x89\xda\xf9"  # push rbx; ...stc
    + ASK
    + b"\x41\x89\x00\x49\x89\x58\x04\x41\x89\x48\x08\x41\x89\x50\x0c"  # stored; rbx as 64 bits
    + b"\x0f\x92\xc0\x0f\xb6\xc0\x5b\xc3"  # setc al; movzx eax, al; pop rbx; ret
)
TEXT_AT = 0x1100


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


# -- which instructions --------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("text", "sites"),
    [
        (b"\x90\x90" + ASK, [(2, L2_CACHE)]),
        (b"\x90\x90" + ASK + b"\x90\x90" + ASK, [(2, L2_CACHE), (11, L2_CACHE)]),
        (b"\x90\x41" + ASK, []),  # mov $L2_CACHE, %r8d
        (b"\x90\x90\xb8\x07\x00\x00\x00\x0f\xa2", []),  # depends on ecx
        (b"\x90\x90\xb8\x01\x00\x00\x00\x0f\xa2", []),  # and on the processor
        (b"\x90\x90\xb9" + ASK[1:], []),  # mov to ecx
        (b"\x90\x90\x89\xc8\x0f\xa2", []),
        (ASK[2:], []),
        (b"\x0f\xa2", []),
        (b"", []),
    ],
)
def test_only_moves_of_known_leaves_are_sites(text: bytes, sites: list[tuple[int, int]]) -> None:
    assert find_sites(text) == sites


def test_no_more_sites_than_there_is_room_for() -> None:
    assert len(find_sites(b"\x90" + ASK * 1000)) == alternatives.MOST_SITES


# -- what they become ----------------------------------------------------------------------------
def run_text(text: PatchedText, at: int) -> tuple[list[int], int]:
    """Call the function at the program's own address ``at``: what it stored, and its carry."""
    low = min(text.address, text.answers)
    high = max(text.address + text.length, text.answers + PAGE_SIZE)
    prot = mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC
    memory = mmap.mmap(-1, high - low, prot=prot)
    base = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    pages = os.pread(text.fd, text.length, text.offset)
    memory[text.address - low : text.address - low + text.length] = pages
    answers = os.pread(text.fd, PAGE_SIZE, text.answers_offset)
    memory[text.answers - low : text.answers - low + PAGE_SIZE] = answers
    stored = (ctypes.c_uint32 * 4)()
    function = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)(base + at - low)
    carry = function(ctypes.addressof(stored))
    return list(stored), carry


def patched_text(t: Task, data: bytes, answers: int) -> PatchedText | None:
    write_file(t, b"a", data)
    settle(t)
    image = again(t, b"/a")
    file = image.files[0]
    known = known_programs.recall(file)
    assert known is not None
    text = alternatives.patch(known.program, file, answers, t.kernel.host_cpu)
    image.release()
    return text


@pytest.mark.parametrize("answers", [-PAGE_SIZE, 0x9000])
def test_the_answer_is_the_processors(task: Task, answers: int) -> None:
    text = patched_text(task, with_text(FUNCTION), answers)
    assert text is not None
    pages = os.pread(text.fd, text.length, text.offset)
    at = TEXT_AT + FUNCTION.index(ASK) - text.address
    assert pages[at] == 0xE9, "the mov became a jump"
    assert pages[at + 5 : at + 7] == b"\x0f\xa2", "the cpuid stays for who comes another way"
    registers, carry = run_text(text, TEXT_AT)
    assert registers == list(_core.cpuid(L2_CACHE, 0))
    assert carry == 1, "flags are as they were"
    text.drop()


def test_a_site_across_two_pages(task: Task) -> None:
    at = 0x2000 - FUNCTION.index(ASK) - 3
    text = patched_text(task, with_text(FUNCTION, at), 0x9000)
    assert text is not None
    assert (text.address, text.length) == (0x1000, 0x2000)
    assert run_text(text, at)[0] == list(_core.cpuid(L2_CACHE, 0))
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
    assert not opened_for_writing(text.fd), "a guest may be sent it"
    text.drop()


def test_other_memfds_count_as_opened_for_writing() -> None:
    fd = memfd.create(PAGE_SIZE)
    assert opened_for_writing(fd)
    with pytest.raises(PermissionError):
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    memfd.close(fd)


# -- what is left alone --------------------------------------------------------------------------
def test_answers_out_of_reach(task: Task) -> None:
    assert patched_text(task, with_text(FUNCTION), 1 << 31) is None


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


def test_sites_far_behind_the_first(task: Task) -> None:
    size = (alternatives.MOST_PAGES + 4) * PAGE_SIZE
    data = program(segment(flags=R | X, address=0, size=size), kind=ET_DYN, size=size)
    far = size - 0x100
    data = data[:0x300] + ASK + data[0x300 + len(ASK) : far] + ASK + data[far + len(ASK) :]
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

    def noted(text: bytes) -> list[tuple[int, int]]:
        searched.append(len(text))
        return find_sites(text)

    monkeypatch.setattr(alternatives, "find_sites", noted)
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
