"""mmap(2) and its relatives, as far as they reach the Sentry."""

from __future__ import annotations

import os

import pytest

import support
from descriptors import own_descriptors
from wardian.platform.interface import HostMapping
from wardian.platform.layout import GUEST_TOP, TRUSTED_BASE
from wardian.sentry.errno import (
    EACCES,
    EBADF,
    EINVAL,
    ENODEV,
    ENOMEM,
    EOPNOTSUPP,
    EOVERFLOW,
    EPERM,
    LinuxError,
)
from wardian.sentry.fs.devices import FullFile, NullFile, ZeroFile
from wardian.sentry.kernel.rlimits import RLIMIT_MEMLOCK
from wardian.sentry.kernel.task import NO_REPLY, Task
from wardian.sentry.mm import mapping as m
from wardian.sentry.mm.file_mappings import FileMapping
from wardian.sentry.syscalls import memory, process_vm
from wardian.sentry.vfs import dcache, namei
from wardian.sentry.vfs.buffers import BytesSource, Sink
from wardian.sentry.vfs.file import O_RDONLY, O_RDWR, O_WRONLY, File, MapSource

R, W, X = 1, 2, 4


class PlainFile(File):
    """A file without a host descriptor."""

    def __init__(self, template: File, data: bytes) -> None:
        super().__init__(template.inode, O_RDWR)
        self.data = data

    def read(self, sink: Sink, offset: int) -> int:
        return sink.put(self.data[offset : offset + sink.left])

    def map(self, shared: bool, writable: bool, offset: int, length: int) -> MapSource:
        return MapSource(-1, 0)


@pytest.fixture
def t() -> Task:
    return support.make_task()


def open_file(t: Task, flags: int, data: bytes = b"hello") -> int:
    root = t.fs.root
    inode = root.inode.create(b"f%d" % len(t.files.fds()), 0o644, 0, 0)
    file = inode.open(t, O_RDWR)
    file.write(BytesSource(data), 0)
    file = inode.open(t, flags)
    file.path = namei.Path(root.mount, dcache.instantiate(root.dentry, b"f", inode))
    return t.files.install(file, False)


def mmap(
    t: Task,
    fd: int,
    prot: int = R,
    flags: int = m.MAP_SHARED,
    address: int = 0,
    length: int = 4096,
    offset: int = 0,
) -> int:
    return memory.mmap(t, address, length, prot, flags, fd, offset)


def last_record(t: Task) -> FileMapping:
    return list(t.memory.file_mappings.records.values())[-1]


def test_shared_mapping_is_left_to_the_engine(t: Task) -> None:
    fd = open_file(t, O_RDWR)
    assert mmap(t, fd, R | W, length=5000) == NO_REPLY
    address, length, prot, flags, host_fd, offset = support.host(t).mapped[-1]
    assert (address, length, prot, flags, offset) == (0, 8192, 3, m.MAP_SHARED, 0)
    assert host_fd >= 0
    record = last_record(t)
    assert record.path is not None and record.shared and record.ino


def test_open_mode_decides(t: Task) -> None:
    reading, writing = open_file(t, O_RDONLY), open_file(t, O_WRONLY)
    for fd, prot, flags in (
        (reading, R | W, m.MAP_SHARED),
        (writing, W, m.MAP_SHARED),
        (writing, R, m.MAP_PRIVATE),
    ):
        with pytest.raises(EACCES):
            mmap(t, fd, prot, flags)
    assert mmap(t, reading, R | W, m.MAP_PRIVATE) == NO_REPLY


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"length": 0}, EINVAL),
        ({"offset": 5}, EINVAL),
        ({"flags": 0}, EINVAL),
        ({"flags": 0x0F}, EINVAL),
        ({"flags": m.MAP_SHARED_VALIDATE | m.MAP_SYNC}, EOPNOTSUPP),
        ({"flags": m.MAP_PRIVATE | m.MAP_GROWSDOWN}, EINVAL),
        ({"flags": m.MAP_PRIVATE | m.MAP_FIXED, "address": 0x10001}, EINVAL),
        ({"flags": m.MAP_PRIVATE | m.MAP_FIXED, "address": 0x1000}, EPERM),
        ({"flags": m.MAP_PRIVATE | m.MAP_FIXED, "address": GUEST_TOP}, ENOMEM),
        (
            {"flags": m.MAP_PRIVATE | m.MAP_FIXED, "address": GUEST_TOP - 4096, "length": 4097},
            ENOMEM,
        ),
        ({"flags": m.MAP_PRIVATE | m.MAP_FIXED_NOREPLACE, "address": (1 << 64) - 4096}, ENOMEM),
        ({"length": (1 << 64) - 1}, ENOMEM),
        ({"length": GUEST_TOP}, ENOMEM),
        ({"length": TRUSTED_BASE - GUEST_TOP}, ENOMEM),
        ({"offset": (1 << 64) - 4096, "length": 8192}, EOVERFLOW),
        ({"fd": 99}, EBADF),
    ],
)
def test_bad_requests(t: Task, change: dict[str, int], error: type[LinuxError]) -> None:
    arguments = {"fd": open_file(t, O_RDWR), "flags": m.MAP_SHARED, **change}
    with pytest.raises(error):
        mmap(t, **arguments)
    assert not support.host(t).mapped


def test_hints_outside_the_guest_are_dropped(t: Task) -> None:
    fd = open_file(t, O_RDONLY)
    for hint, used in ((0x12345678, 0x12345000), (0x800, 0), (GUEST_TOP, 0), ((1 << 64) - 1, 0)):
        mmap(t, fd, address=hint)
        assert support.host(t).mapped[-1][0] == used


def test_devices(t: Task) -> None:
    inode = t.fs.root.inode
    null = t.files.install(NullFile(inode, O_RDWR), False)
    with pytest.raises(ENODEV):
        mmap(t, null)
    zero = t.files.install(ZeroFile(inode, O_RDWR), False)
    assert mmap(t, zero, flags=m.MAP_PRIVATE) == NO_REPLY
    assert support.host(t).mapped[-1][3:5] == (m.MAP_PRIVATE | m.MAP_ANONYMOUS, -1)
    assert mmap(t, zero, R | W) == NO_REPLY
    assert support.host(t).mapped[-1][4] >= 0
    assert isinstance(FullFile(inode, O_RDWR), ZeroFile)


def test_file_without_host_descriptor_is_copied_for_private_mappings_only(t: Task) -> None:
    seen: list[bytes] = []
    thread = support.host(t)

    def record(
        address: int, length: int, prot: int, flags: int, fd: int, offset: int, read_only: bool
    ) -> None:
        seen.append(os.pread(fd, length, offset))

    thread.map_file = record  # type: ignore[method-assign]
    template = t.files.get(open_file(t, O_RDWR, b"x" * 10000))
    data = bytes(range(250)) * 40
    fd = t.files.install(PlainFile(template, data), False)
    mmap(t, fd, flags=m.MAP_PRIVATE, length=1 << 20, offset=4096)
    assert seen[0] == data[4096:].ljust(8192, b"\0")
    with pytest.raises(ENODEV):
        mmap(t, fd, flags=m.MAP_SHARED)


def test_shared_anonymous_memory_is_a_memfd_that_is_not_kept(t: Task) -> None:
    before = len(own_descriptors())
    assert mmap(t, -1, R | W, m.MAP_SHARED | m.MAP_ANONYMOUS) == NO_REPLY
    assert support.host(t).mapped[-1][4] >= 0
    assert last_record(t).name == b"/dev/zero (deleted)"
    assert len(own_descriptors()) == before


def test_anonymous_shapes_the_filter_refused(t: Task) -> None:
    anonymous = m.MAP_PRIVATE | m.MAP_ANONYMOUS
    mmap(t, -1, R | W | 8, anonymous | m.MAP_GROWSDOWN | m.MAP_LOCKED, address=GUEST_TOP)
    assert support.host(t).mapped[-1] == (0, 4096, 3, anonymous, -1, 0)
    with pytest.raises(ENOMEM):
        mmap(t, -1, R, anonymous | m.MAP_HUGETLB)
    with pytest.raises(EINVAL):
        mmap(t, -1, R, m.MAP_SHARED_VALIDATE | m.MAP_ANONYMOUS)


def test_refused_calls_fail_like_linux(t: Task) -> None:
    with pytest.raises(EINVAL):
        memory.munmap(t, 0x10000, 0)
    with pytest.raises(EINVAL):
        memory.mprotect(t, 1, 4096, R)
    with pytest.raises(EINVAL):
        memory.mprotect(t, 0x10000, 4096, 1 << 40)
    with pytest.raises(ENOMEM):
        memory.mprotect(t, GUEST_TOP, 4096, R)
    assert memory.mprotect(t, GUEST_TOP, 0, R) == 0
    with pytest.raises(EINVAL):
        memory.mremap(t, 0x10000, 4096, 4096, 4, 0)
    with pytest.raises(EPERM):
        memory.madvise(t, 0x10000, 4096, 100)
    assert memory.madvise(t, 0x10000, 4096, memory.MADV_COLD) == 0


def test_mincore_and_msync_know_what_is_mapped(t: Task) -> None:
    address = support.memory(t).map(3 * 4096)
    vector = support.room(t, 8)
    assert memory.mincore(t, address, 2 * 4096 + 1, vector) == 0
    assert support.get(t, vector, 4) == b"\1\1\1\0"
    with pytest.raises(ENOMEM):
        memory.mincore(t, address, 4 * 4096, vector)
    assert memory.msync(t, address, 4096, memory.MS_SYNC) == 0
    with pytest.raises(ENOMEM):
        memory.msync(t, GUEST_TOP - 4096, 1 << 40, memory.MS_SYNC)
    with pytest.raises(EINVAL):
        memory.msync(t, address, 4096, memory.MS_SYNC | memory.MS_ASYNC)
    support.memory(t).mappings = [
        HostMapping(0x7000000, 0x7100000, "---p", 0, "00:00", 0, ""),
        HostMapping(0x7100000, 0x7200000, "rw-p", 0, "00:00", 0, ""),
    ]
    assert memory.msync(t, 0x7000000, 0x200000, memory.MS_SYNC) == 0
    with pytest.raises(ENOMEM):
        memory.msync(t, 0x7000000, 0x201000, memory.MS_SYNC)


def test_mlock_counts_against_its_limit(t: Task) -> None:
    user = support.make_task(parent=t, uid=1000)
    user.group.rlimits.set(RLIMIT_MEMLOCK, 8192, 8192)
    address = support.memory(user).map(4 * 4096)
    mapping = HostMapping(address, address + 4 * 4096, "rw-p", 0, "00:00", 0, "")
    support.memory(user).mappings = [mapping]
    assert memory.mlock(user, address + 1, 4096) == 0
    assert memory.mlock(user, address, 1) == 0
    with pytest.raises(ENOMEM):
        memory.mlock(user, address + 8192, 1)
    mapping.start += 4096  # the guest unmaps one of the two
    assert memory.mlock(user, address + 8192, 1) == 0
    memory.munlock(user, address, 8192)
    assert memory.mlock2(user, address, 1, 1) == 0
    with pytest.raises(EINVAL):
        memory.mlock2(user, address, 1, 2)
    user.group.rlimits.set(RLIMIT_MEMLOCK, 0, 0)
    with pytest.raises(EPERM):
        memory.mlock(user, address, 1)


# -- process_vm_* ----------------------------------------------------------------------------------
def iovec(t: Task, *ranges: tuple[int, int]) -> int:
    return support.put(
        t, b"".join([a.to_bytes(8, "little") + n.to_bytes(8, "little") for a, n in ranges])
    )


def test_bytes_move_between_processes(t: Task) -> None:
    child = support.fork(t)
    theirs = support.put(child, b"from the child")
    mine = support.room(t, 20)
    local, remote = iovec(t, (mine, 4), (mine + 10, 10)), iovec(t, (theirs, 5), (theirs + 9, 5))
    assert process_vm.process_vm_readv(t, child.tid, local, 2, remote, 2, 0) == 10
    assert support.get(t, mine, 20) == b"from" + bytes(6) + b" child" + bytes(4)
    local, remote = iovec(t, (mine, 4)), iovec(t, (theirs + 5, 100))
    assert process_vm.process_vm_writev(t, child.tid, local, 1, remote, 1, 0) == 4
    assert support.get(child, theirs, 14) == b"from from" + b"child"


def test_partial_transfer_ends_at_unmapped_memory(t: Task) -> None:
    child = support.fork(t)
    theirs = support.memory(child).map(4096)
    mine = support.room(t, 8192)
    local, remote = iovec(t, (mine, 8192)), iovec(t, (theirs + 4000, 8192))
    assert process_vm.process_vm_readv(t, child.tid, local, 1, remote, 1, 0) == 96
    bad = iovec(t, (8, 8))
    assert support.call(t, process_vm.process_vm_readv, child.tid, local, 1, bad, 1, 0) == -14


def test_process_vm_needs_permission_and_bounded_lists(t: Task) -> None:
    user = support.make_task(parent=t, uid=1000)
    local = iovec(user, (0x1000, 1))
    assert support.call(user, process_vm.process_vm_readv, t.tid, local, 1, local, 1, 0) == -1
    assert support.call(user, process_vm.process_vm_readv, 999, local, 1, local, 1, 0) == -3
    assert support.call(user, process_vm.process_vm_readv, user.tid, local, 1025, 0, 0, 0) == -22
    assert support.call(user, process_vm.process_vm_readv, user.tid, local, 1, local, 1, 1) == -22
    assert process_vm.process_vm_readv(user, user.tid, 0, 0, 0, 0, 0) == 0
