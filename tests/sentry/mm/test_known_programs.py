"""A program is parsed once, and again when its file has changed."""

from __future__ import annotations

import pytest
from elf_maker import R, X, program, segment
from test_image import DYNAMIC, LOADER, STATIC, build, write_file

import support
from wardian.sentry.errno import ENOEXEC
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm import image, known_programs
from wardian.sentry.mm.mapping import MAP_SHARED, MapRequest, map_file
from wardian.sentry.mm.program_file import read_at
from wardian.sentry.vfs import namei
from wardian.sentry.vfs.buffers import BytesSource
from wardian.sentry.vfs.file import File


@pytest.fixture
def task() -> Task:
    return support.make_task()


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Where program files are read."""
    found: list[int] = []

    def noted(file: File, offset: int, count: int) -> bytes:
        found.append(offset)
        return read_at(file, offset, count)

    monkeypatch.setattr(image, "read_at", noted)
    return found


def run(t: Task, name: bytes) -> tuple[int, list[tuple[int, int, int]]]:
    """Where it would start and what is mapped; the addresses are not random here."""
    t.group.personality = image.ADDR_NO_RANDOMIZE
    built = build(t, name)
    built.release()
    return built.entry, [(m.address, m.length, m.prot) for m in built.mappings]


def rewrite(t: Task, name: bytes, data: bytes) -> None:
    """Change the file in place."""
    namei.resolve(t, -100, name).inode.open(t, 2).write(BytesSource(data), 0)


def settle(t: Task) -> None:
    """The last change is a while ago."""
    support.advance(t.kernel, known_programs.MOMENT_NS + 1)


def test_headers_are_read_once(task: Task, reads: list[int]) -> None:
    write_file(task, b"lib/ld", LOADER)
    write_file(task, b"a", DYNAMIC)
    settle(task)
    first = run(task, b"/a")
    assert reads
    reads.clear()
    assert run(task, b"/a") == first
    assert not reads


def test_a_changed_file_is_read_again(task: Task, reads: list[int]) -> None:
    write_file(task, b"a", STATIC)
    settle(task)
    assert run(task, b"/a")[0] == 0x400000
    other = program(segment(flags=R | X, address=0x700000, size=0x1800), entry=0x700000)
    rewrite(task, b"/a", other.ljust(len(STATIC), b"\0"))
    assert run(task, b"/a")[0] == 0x700000
    settle(task)
    rewrite(task, b"/a", b"not ELF")
    with pytest.raises(ENOEXEC):
        run(task, b"/a")


def test_what_changed_a_moment_ago_is_not_remembered(task: Task, reads: list[int]) -> None:
    write_file(task, b"a", STATIC)
    run(task, b"/a")
    reads.clear()
    run(task, b"/a")
    assert reads


def test_a_broken_program_is_not_remembered(task: Task) -> None:
    write_file(task, b"a", STATIC[:100])
    settle(task)
    for _ in range(2):
        with pytest.raises(ENOEXEC):
            run(task, b"/a")


def test_a_file_that_was_mapped_to_be_written_to_is_read_every_time(
    task: Task, reads: list[int]
) -> None:
    """Stores to a shared mapping leave its times as they are."""
    write_file(task, b"a", STATIC)
    settle(task)
    run(task, b"/a")
    run(task, b"/a")
    reads.clear()
    file = namei.resolve(task, -100, b"/a").inode.open(task, 2)
    map_file(task, MapRequest(0, 4096, R, MAP_SHARED, 0), file)
    for _ in range(2):
        run(task, b"/a")
        assert reads
        reads.clear()
