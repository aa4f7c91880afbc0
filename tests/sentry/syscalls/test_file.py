"""open(2), read(2), write(2) and descriptors, as the guest calls them."""

from __future__ import annotations

import errno
import os
import struct

import pytest

from support import (
    PARKED,
    call,
    fork,
    get,
    host,
    make_kernel,
    make_task,
    memory,
    put,
    room,
    run,
)
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.rlimits import RLIM_INFINITY, RLIMIT_FSIZE
from wardian.sentry.kernel.signal_numbers import SIGPIPE, SIGXFSZ
from wardian.sentry.kernel.signals import pending_mask
from wardian.sentry.kernel.task import Task
from wardian.sentry.mm.usercopy import UserSource
from wardian.sentry.syscalls import attr, descriptors, dir, file, iov, pipe, stat
from wardian.sentry.vfs import io

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
TMPFILE = os.O_RDWR | 0o20200000


@pytest.fixture
def task() -> Task:
    return make_task(make_kernel())


def opened(task: Task, path: bytes, flags: int = os.O_RDWR | os.O_CREAT, mode: int = 0o644) -> int:
    return call(task, file.openat, AT_FDCWD, path, flags, mode)


def write(task: Task, fd: int, data: bytes) -> int:
    return call(task, file.write, fd, data, len(data))


def read(task: Task, fd: int, count: int) -> bytes:
    address = room(task, count)
    n = call(task, file.read, fd, address, count)
    assert n >= 0, errno.errorcode[-n]
    return get(task, address, n)


def make_pipe(task: Task) -> tuple[int, int]:
    address = room(task, 8)
    assert call(task, pipe.pipe2, address, 0) == 0
    return struct.unpack("<ii", get(task, address, 8))


# -- descriptors -----------------------------------------------------------------------------------
def test_lowest_free_descriptor_is_given(task: Task) -> None:
    assert [opened(task, b"/f") for _ in range(4)] == [0, 1, 2, 3]
    call(task, file.close, 1)
    assert call(task, descriptors.dup, 3) == 1
    assert call(task, descriptors.fcntl, 0, descriptors.F_DUPFD, 10) == 10
    assert call(task, descriptors.dup2, 0, 5) == 5
    assert call(task, descriptors.dup, 0) == 4


def test_full_table_is_emfile_and_creates_nothing(task: Task) -> None:
    task.files.limit = 2
    opened(task, b"/f")
    opened(task, b"/f")
    assert opened(task, b"/new") == -errno.EMFILE
    assert call(task, stat.access, b"/new", 0) == -errno.ENOENT


def test_exec_closes_marked_descriptors(task: Task) -> None:
    opened(task, b"/f", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC)
    opened(task, b"/f")
    assert call(task, descriptors.fcntl, 0, descriptors.F_GETFD, 0) == 1
    task.files.exec_close()
    assert task.files.fds() == [1]


def test_close_range_closes_or_marks(task: Task) -> None:
    for _ in range(6):
        opened(task, b"/f")
    assert call(task, descriptors.close_range, 1, 2, 0) == 0
    assert call(task, descriptors.close_range, 4, 0xFFFFFFFF, 4) == 0
    assert task.files.fds() == [0, 3, 4, 5]
    assert task.files.cloexec == {4, 5}
    assert call(task, descriptors.close_range, 3, 2, 0) == -errno.EINVAL


def test_dup_shares_the_offset_and_open_does_not(task: Task) -> None:
    a = opened(task, b"/f")
    write(task, a, b"0123456789")
    b, c = call(task, descriptors.dup, a), opened(task, b"/f")
    assert call(task, file.lseek, b, 0, 1) == 10
    assert call(task, file.lseek, c, 0, 1) == 0


# -- reading and writing ---------------------------------------------------------------------------
def test_append_always_writes_at_the_end(task: Task) -> None:
    a = opened(task, b"/f", os.O_RDWR | os.O_CREAT | os.O_APPEND)
    write(task, a, b"one")
    call(task, file.lseek, a, 0, 0)
    write(task, a, b"two")
    assert call(task, file.pwrite64, a, b"!", 1, 0) == 1
    call(task, file.lseek, a, 0, 0)
    assert read(task, a, 100) == b"onetwo!"


def test_huge_counts_cost_nothing(task: Task) -> None:
    a = opened(task, b"/f")
    write(task, a, b"abc")
    address = room(task, 16)
    assert call(task, file.pread64, a, address, 1 << 40, 0) == 3
    for count in (1 << 47, 1 << 62, (1 << 64) - 1):  # ends beyond every address
        assert call(task, file.pread64, a, address, count, 0) == -errno.EFAULT


def test_vectors_scatter_and_gather(task: Task) -> None:
    a = opened(task, b"/f")
    parts = [b"ab", b"", b"cdefg"]
    out = put(task, b"".join(struct.pack("<QQ", put(task, p), len(p)) for p in parts))
    assert call(task, iov.writev, a, out, 3) == 7
    x, y = room(task, 3), room(task, 10)
    into = put(task, struct.pack("<QQQQ", x, 3, y, 10))
    assert call(task, iov.preadv, a, into, 2, 0, 0) == 7
    assert get(task, x, 3) + get(task, y, 4) == b"abcdefg"
    assert call(task, iov.readv, a, into, 1025) == -errno.EINVAL
    bad = put(task, struct.pack("<QQ", x, 1 << 63))
    assert call(task, iov.readv, a, bad, 1) == -errno.EINVAL


def test_reading_a_directory_is_eisdir(task: Task) -> None:
    fd = opened(task, b"/", os.O_RDONLY)
    assert call(task, file.read, fd, room(task, 8), 8) == -errno.EISDIR


def test_o_path_reads_nothing_but_stats(task: Task) -> None:
    opened(task, b"/f")
    fd = opened(task, b"/f", os.O_PATH)
    assert call(task, file.read, fd, room(task, 8), 8) == -errno.EBADF
    assert call(task, stat.fstat, fd, room(task, 144)) == 0
    assert call(task, attr.fchmod, fd, 0o600) == -errno.EBADF


def test_write_beyond_rlimit_fsize_is_sigxfsz(task: Task) -> None:
    fd = opened(task, b"/f")
    task.group.rlimits.set(RLIMIT_FSIZE, 4, RLIM_INFINITY)
    task.signals.blocked |= 1 << (SIGXFSZ - 1)
    assert write(task, fd, b"123456") == 4
    assert write(task, fd, b"5") == -errno.EFBIG
    assert pending_mask(task) & 1 << (SIGXFSZ - 1)


def test_write_takes_setuid_away(task: Task) -> None:
    call(task, file.openat, AT_FDCWD, b"/f", os.O_CREAT, 0o777)
    call(task, attr.chmod, b"/f", 0o6777)
    task.credentials = user_credentials(1000, 1000)
    fd = opened(task, b"/f", os.O_WRONLY)
    write(task, fd, b"x")
    inode = task.files.get(fd).inode
    assert inode is not None and inode.mode & 0o7777 == 0o777


# -- streams ---------------------------------------------------------------------------------------
def test_blocking_write_goes_on_until_all_is_taken(task: Task) -> None:
    kernel = task.kernel
    r, w = make_pipe(task)
    reader = fork(task)
    data = bytes(range(256)) * 1024
    assert write(task, w, data) == PARKED
    got = b""
    while len(got) < len(data):
        address = room(reader, 50_000)
        n = call(reader, file.read, r, address, 50_000)
        assert n > 0
        got += get(reader, address, n)
        run(kernel)
    assert got == data
    assert host(task).results[-1] == len(data)


def test_broken_pipe_sends_sigpipe(task: Task) -> None:
    r, w = make_pipe(task)
    call(task, file.close, r)
    task.signals.blocked |= 1 << (SIGPIPE - 1)
    assert write(task, w, b"x") == -errno.EPIPE
    assert pending_mask(task) & 1 << (SIGPIPE - 1)


def test_closing_the_descriptor_does_not_disturb_a_parked_read(task: Task) -> None:
    r, w = make_pipe(task)
    other = fork(task)
    address = room(task, 8)
    assert call(task, file.read, r, address, 8) == PARKED
    task.files.close(r)
    write(other, w, b"late")
    run(task.kernel)
    assert host(task).results[-1] == 4
    assert get(task, address, 4) == b"late"


def test_fifo_open_waits_for_the_other_end(task: Task) -> None:
    call(task, dir.mknod, b"/p", 0o010644, 0)
    other = fork(task)
    assert opened(task, b"/p", os.O_RDONLY) == PARKED
    fd = opened(other, b"/p", os.O_WRONLY)
    assert fd >= 0
    run(task.kernel)
    assert host(task).results[-1] >= 0


# -- O_TMPFILE, openat2 ----------------------------------------------------------------------------
def test_tmpfile_gets_a_name_by_linkat(task: Task) -> None:
    fd = opened(task, b"/", TMPFILE, 0o600)
    assert fd >= 0
    write(task, fd, b"hello")
    assert call(task, dir.linkat, fd, b"", AT_FDCWD, b"/named", AT_EMPTY_PATH) == 0
    assert read(task, opened(task, b"/named", 0), 10) == b"hello"


def test_exclusive_tmpfile_never_gets_a_name(task: Task) -> None:
    fd = opened(task, b"/", TMPFILE | os.O_EXCL, 0o600)
    assert call(task, dir.linkat, fd, b"", AT_FDCWD, b"/x", AT_EMPTY_PATH) == -errno.ENOENT
    assert opened(task, b"/", 0o20200000) == -errno.EINVAL


def how(task: Task, flags: int, resolve: int, mode: int = 0) -> int:
    return put(task, struct.pack("<QQQ", flags, mode, resolve))


@pytest.mark.parametrize(
    ("path", "resolve", "expected"),
    [
        (b"sub/../f", 0x08, 0),
        (b"../f", 0x08, -errno.EXDEV),
        (b"/f", 0x08, -errno.EXDEV),
        (b"abs", 0x08, -errno.EXDEV),
        (b"../../f", 0x10, 0),
        (b"/f", 0x10, 0),
        (b"abs", 0x10, 0),
        (b"link", 0x04, -errno.ELOOP),
        (b"link", 0x08, 0),
        (b"f", 0x18, -errno.EINVAL),
        (b"f", 0x40, -errno.EINVAL),
    ],
)
def test_openat2_resolve_flags(task: Task, path: bytes, resolve: int, expected: int) -> None:
    call(task, dir.mkdir, b"/d", 0o755)
    call(task, dir.mkdir, b"/d/sub", 0o755)
    opened(task, b"/d/f")
    call(task, dir.symlink, b"f", b"/d/link")
    call(task, dir.symlink, b"/f", b"/d/abs")
    d = opened(task, b"/d", os.O_DIRECTORY)
    result = call(task, file.openat2, d, path, how(task, 0, resolve), 24)
    assert min(result, 0) == expected


def test_openat2_checks_its_struct(task: Task) -> None:
    assert call(task, file.openat2, AT_FDCWD, b"/", how(task, 0, 0), 16) == -errno.EINVAL
    longer = put(task, bytes(32))
    assert call(task, file.openat2, AT_FDCWD, b"/", longer, 32) >= 0
    newer = put(task, bytes(31) + b"\1")
    assert call(task, file.openat2, AT_FDCWD, b"/", newer, 32) == -errno.E2BIG
    assert call(task, file.openat2, AT_FDCWD, b"/", how(task, 0, 0, 0o644), 24) == -errno.EINVAL


# -- copies ----------------------------------------------------------------------------------------
def test_sendfile_fills_a_pipe_once_and_waits_for_room(task: Task) -> None:
    """splice_file_to_pipe() in fs/splice.c: some bytes are enough."""
    data = os.urandom(200_000)
    source = opened(task, b"/f")
    write(task, source, data)
    call(task, file.lseek, source, 0, 0)
    r, w = make_pipe(task)
    reader = fork(task)
    assert call(task, iov.sendfile, w, source, 0, len(data)) == 65536
    assert call(task, iov.sendfile, w, source, 0, len(data)) == PARKED
    assert read(reader, r, 65536) == data[:65536]
    run(task.kernel)
    assert host(task).results[-1] == 65536
    assert read(reader, r, 65536) == data[65536:131072]
    assert call(task, file.lseek, source, 0, 1) == 131072


def test_write_that_ends_half_way_leaves_nothing_behind(task: Task) -> None:
    fd = opened(task, b"/f")
    write(task, fd, b"0123456789")
    edge = memory(task).map(4096) + 4096
    memory(task).write(edge - 3, b"abc")
    assert io.write(task, task.files.get(fd), UserSource(task, edge - 3, 300), 8) == 3
    assert call(task, file.lseek, fd, 0, 2) == 11
    assert call(task, file.ftruncate, fd, 300) == 0
    buffer = room(task, 300)
    assert call(task, file.pread64, fd, buffer, 300, 0) == 300
    assert get(task, buffer, 300) == b"01234567abc" + bytes(289)


def test_statx_gives_mount_id_and_birth_time(task: Task) -> None:
    opened(task, b"/f")
    buffer = room(task, 256)
    assert call(task, stat.statx, AT_FDCWD, b"/f", 0, 0xFFF, buffer) == 0
    data = get(task, buffer, 256)
    (mask,) = struct.unpack_from("<I", data)
    assert mask & 0x1FFF == 0x1FFF
    assert struct.unpack_from("<Q", data, 0x90)[0] == task.kernel.mounts.root.mount_id
    assert struct.unpack_from("<q", data, 0x50)[0] == task.kernel.clock.realtime_ns() // 10**9
