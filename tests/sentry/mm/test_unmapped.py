"""Files that are not mapped any more are let go: after many mmap(2) calls, and before ENOSPC."""

from __future__ import annotations

import os
import resource

import pytest

import support
from fake_platform import FakeProcess
from wardian.platform.interface import HostMapping, message
from wardian.sentry.errno import ENOSPC
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.kernel.exit import exit_task
from wardian.sentry.kernel.task import IN_CALL, MAPPING, NO_REPLY, RUNNING, Call, Task
from wardian.sentry.mm import mapping as m
from wardian.sentry.mm.file_mappings import FIRST_LIMIT, FileMapping
from wardian.sentry.mm.unmapped import AHEAD_NS, VAIN_NS, UnmappedFiles, sweep
from wardian.sentry.syscalls import memory
from wardian.sentry.vfs import dcache, namei
from wardian.sentry.vfs.buffers import BytesSource
from wardian.sentry.vfs.file import O_RDWR

MIB = 1 << 20
SYS_READ, SYS_MMAP = 0, 9
ANONYMOUS = m.MAP_SHARED | m.MAP_ANONYMOUS
STACK = HostMapping(0x1000, 0x2000, "rw-p", 0, "00:00", 0, "")
"""An address space in which no file is mapped."""


@pytest.fixture
def t() -> Task:
    task = support.make_task()
    root_fs(task).quota.reclaimer = UnmappedFiles(task.kernel)
    host_maps(task)
    return task


def root_fs(t: Task) -> TmpFS:
    sb = t.fs.root.mount.sb
    assert isinstance(sb, TmpFS)
    return sb


def begin(t: Task, nr: int) -> None:
    """A system call arrives."""
    t.host_state = IN_CALL
    t.call = Call(message(nr, (0, 0, 0, 0, 0, 0)))


def mapped_file(t: Task, size: int = 0, state: int = RUNNING) -> FileMapping:
    """Create, fill, map, unlink and close a file; ``state`` is the thread's afterwards."""
    root = t.fs.root
    inode = root.inode.create(b"f", 0o644, 0, 0)
    dentry = dcache.instantiate(root.dentry, b"f", inode)
    file = inode.open(t, O_RDWR)
    file.path = namei.Path(root.mount, dentry)
    fd = t.files.install(file, False)
    if size:
        file.allocate(0, 0, size)
    begin(t, SYS_MMAP)
    assert memory.mmap(t, 0, 4096, 1, m.MAP_SHARED, fd, 0) == NO_REPLY
    t.host_state = state
    root.inode.unlink(b"f", inode)
    dcache.forget(dentry)
    t.files.close(fd)
    assert t.coming is not None
    return t.coming


def map_anonymous(t: Task, count: int) -> None:
    for _ in range(count):
        begin(t, SYS_MMAP)
        memory.mmap(t, 0, 4096, 3, ANONYMOUS, -1, 0)
        t.host_state = RUNNING


def host_maps(t: Task, *records: FileMapping) -> None:
    """What the host's list says from now on."""
    support.memory(t).mappings = [STACK] + [
        HostMapping(0x10000 * n, 0x10000 * n + 4096, "rw-s", 0, f"00:{r.dev:02x}", r.ino, "")
        for n, r in enumerate(records, 1)
    ]


def known(t: Task) -> list[FileMapping]:
    return list(t.memory.file_mappings.records.values())


def test_many_mappings_have_the_unmapped_ones_forgotten(t: Task) -> None:
    kept = mapped_file(t)
    host_maps(t, kept)
    for _ in range(FIRST_LIMIT - 2):
        mapped_file(t)
    assert len(known(t)) == FIRST_LIMIT - 1 == root_fs(t).quota.inodes_used - 1
    last = mapped_file(t)
    assert known(t) == [kept, last]
    t.coming = None
    assert root_fs(t).quota.inodes_used == 3  # with the root directory


def test_large_files_are_looked_for_sooner(t: Task) -> None:
    for _ in range(4):
        mapped_file(t, 20 * MIB)
    assert len(known(t)) == 1 and root_fs(t).quota.bytes_used == 20 * MIB


def test_shared_anonymous_memory_is_forgotten_too(t: Task) -> None:
    map_anonymous(t, FIRST_LIMIT)
    assert len(known(t)) == 1


def test_what_another_thread_is_about_to_map_is_kept_until_it_speaks_again(t: Task) -> None:
    notified, answered, parked = [support.make_thread(t) for _ in range(3)]
    first = mapped_file(notified)
    begin(notified, SYS_MMAP)  # the stub has yet to report what the host said
    second = mapped_file(answered, state=MAPPING)
    mapped_file(parked)
    begin(parked, SYS_READ)
    map_anonymous(t, FIRST_LIMIT - 3)
    assert known(t)[:2] == [first, second] and len(known(t)) == 3
    assert parked.coming is None
    begin(answered, SYS_READ)
    notified.host_state = RUNNING
    map_anonymous(t, FIRST_LIMIT - 3)
    assert len(known(t)) == 1 and answered.coming is None


def test_everything_is_kept_when_the_host_does_not_say(t: Task) -> None:
    support.memory(t).mappings = []
    map_anonymous(t, FIRST_LIMIT + 5)
    assert len(known(t)) == FIRST_LIMIT + 5


def test_everything_is_kept_while_the_program_is_loaded(t: Task) -> None:
    record = mapped_file(t)
    t.coming = None
    t.host_state = MAPPING
    sweep(t.memory, [t])
    assert known(t) == [record]
    begin(t, SYS_READ)
    sweep(t.memory, [t])
    assert known(t) == []


def test_a_full_file_system_lets_go_of_what_nobody_maps(t: Task) -> None:
    quota = root_fs(t).quota
    quota.bytes_limit = 4 * MIB
    other = support.make_task(parent=t)
    kept = mapped_file(other, MIB)
    host_maps(other, kept)
    for _ in range(10):
        mapped_file(t, MIB)
    assert kept in known(other)
    mapped_file(t, 3 * MIB)
    with pytest.raises(ENOSPC):
        mapped_file(t, 4 * MIB)
    assert kept in known(other)
    dcache.forget(t.fs.root.dentry.children[b"f"])
    host_maps(other)
    del kept
    inode = t.fs.root.inode.lookup(b"f")
    assert inode is not None
    file = inode.open(t, O_RDWR)
    assert file.write(BytesSource(bytes(4 * MIB)), 0) == 4 * MIB
    assert known(other) == []


def test_so_does_one_without_inodes(t: Task) -> None:
    root_fs(t).quota.inodes_limit = 3
    for _ in range(10):
        mapped_file(t)
    host_maps(t, mapped_file(t))
    t.coming = None
    mapped_file(t)
    host_maps(t, *known(t))
    with pytest.raises(ENOSPC):
        mapped_file(t)


def test_the_whole_knows_who_can_make_room_for_a_part(t: Task) -> None:
    part = TmpFS(99, t.kernel.clock, size=MIB, whole=root_fs(t).quota)
    root_fs(t).quota.bytes_limit = 2 * MIB
    mapped_file(t, 2 * MIB)
    file = part.top.create(b"g", 0o644, 0, 0).open(t, O_RDWR)
    t.coming = None
    assert file.write(BytesSource(bytes(MIB)), 0) == MIB


def test_our_own_descriptors_are_freed_when_there_is_none_left(t: Task) -> None:
    for _ in range(3):
        mapped_file(t)
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(name) for name in os.listdir("/proc/self/fd"))
    spare = [os.dup(0) for _ in range(highest)]  # no number is free below the highest one
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(spare) + 1, limits[1]))
    try:
        with pytest.raises(OSError):
            os.dup(0)
        mapped_file(t)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)
        for fd in spare:
            os.close(fd)
    assert len(known(t)) == 2  # the one that was mapped last might have been on its way


class CountingProcess(FakeProcess):
    """Counts how often its list is read."""

    looks = 0

    def maps(self) -> list[HostMapping]:
        self.looks += 1
        return super().maps()


def test_a_full_file_system_is_not_looked_through_at_each_write(t: Task) -> None:
    process = CountingProcess()
    t.memory.process = process
    process.mappings = [STACK]
    quota = root_fs(t).quota
    quota.bytes_limit = MIB
    record = mapped_file(t, MIB)
    host_maps(t, record)
    process.looks = 0
    most = AHEAD_NS // VAIN_NS + 1
    for _ in range(2):
        for _ in range(1000):
            quota.reclaim(1, 0)
        assert process.looks == most
    support.clock(t.kernel).advance(10 * VAIN_NS)
    for _ in range(1000):
        quota.reclaim(1, 0)
    assert process.looks == most + 10
    assert known(t) == [record]


def test_nobody_is_looked_at_who_keeps_no_memory(t: Task) -> None:
    process = CountingProcess()
    t.memory.process = process
    process.mappings = [STACK]
    map_anonymous(t, 3)
    root_fs(t).quota.reclaim(1, 0)
    assert process.looks == 0


def test_a_zombie_keeps_no_files(t: Task) -> None:
    child = support.make_task(parent=t)
    mapped_file(child, MIB)
    assert root_fs(t).quota.bytes_used == MIB
    exit_task(child, 0)
    assert child.group.zombie and root_fs(t).quota.bytes_used == 0
