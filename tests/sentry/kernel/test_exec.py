"""What execve(2) does to the task, and where the engine may load the program."""

import pytest
from elf_maker import ET_DYN, PT_INTERP, R, program, segment

from support import host, make_task
from wardian.platform.interface import MOST_MAPPINGS
from wardian.sentry.errno import ENOMEM
from wardian.sentry.kernel.exec import replace_program
from wardian.sentry.kernel.task import NO_REPLY, Task
from wardian.sentry.mm.program_file import open_exec
from wardian.sentry.vfs import dcache
from wardian.sentry.vfs.buffers import BytesSource

LOADER = program(segment(address=0, size=0x2000), kind=ET_DYN, entry=0x100)
DYNAMIC = program(
    segment(PT_INTERP, R, 0x300, 0x300, 4),
    segment(address=0, size=0x1000),
    kind=ET_DYN,
    entry=0x200,
)
DYNAMIC = DYNAMIC[:0x300] + b"/ld\0" + DYNAMIC[0x304:]


def write_file(t: Task, name: bytes, data: bytes, mode: int) -> None:
    root = t.fs.root
    inode = root.inode.create(name, mode, 0, 0)
    dcache.instantiate(root.dentry, name, inode)
    inode.open(t, 2).write(BytesSource(data), 0)


def user(program_mode: int, loader_mode: int) -> Task:
    """An ordinary user's task, with a program and its loader in the root directory."""
    root = make_task()
    write_file(root, b"ld", LOADER, loader_mode)
    write_file(root, b"a", DYNAMIC, program_mode)
    return make_task(parent=root, uid=1000, gid=1000)


def execute(t: Task, name: bytes = b"/a") -> int:
    return replace_program(t, open_exec(t, -100, name).hold(), [name], [], name)


def test_the_same_rights_and_readable_files_let_the_process_stay() -> None:
    t = user(0o755, 0o755)
    assert execute(t) == NO_REPLY
    assert host(t).images[0].same_rights and t.group.dumpable == 1


@pytest.mark.parametrize(("program_mode", "loader_mode"), [(0o711, 0o755), (0o755, 0o711)])
def test_what_the_caller_may_not_read_is_not_given_to_its_process(
    program_mode: int, loader_mode: int
) -> None:
    """Nor to others of the same user: it is not dumpable (would_dump of Linux)."""
    t = user(program_mode, loader_mode)
    assert execute(t) == NO_REPLY
    assert not host(t).images[0].same_rights and t.group.dumpable == 0
    t = user(0o755, 0o755)
    t.group.dumpable = 0
    execute(t)
    assert not host(t).images[0].same_rights and t.group.dumpable == 1


def test_more_segments_than_an_image_has_fail_before_anything_is_lost() -> None:
    t = make_task()
    ends = [segment(address=0x500000 + 0x2000 * n, size=0, memory=0x1000) for n in range(1000)]
    write_file(t, b"a", program(segment(size=0x1000), *ends), 0o755)
    t.files.cloexec.clear()
    with pytest.raises(ENOMEM):
        execute(t)
    assert not host(t).images and t.image is None and not t.group.has_execed
    write_file(t, b"b", program(segment(size=0x1000), *ends[: MOST_MAPPINGS - 20]), 0o755)
    assert execute(t, b"/b") == NO_REPLY
    assert len(host(t).images[0].mappings) <= MOST_MAPPINGS
