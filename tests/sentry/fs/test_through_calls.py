"""Overlay and volume used by system calls, as a guest does; tmpfs beside them behaves the same."""

from __future__ import annotations

import os
import stat
import struct
from pathlib import Path

import pytest

from support import FakeClock, call, get, make_kernel, make_task, put, room
from wardian.sentry.fs.host import HostSuperBlock, grant
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.overlay import OverlayFS
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import dir as dirs
from wardian.sentry.syscalls import file as files
from wardian.sentry.syscalls import stat as stats
from wardian.sentry.vfs.inode import SuperBlock
from wardian.sentry.vfs.mount_tree import MountNamespace

AT_FDCWD = -100
STAT = struct.Struct("<QQQIII4xQQQQ")
ENOENT, EEXIST, EXDEV, ENOTEMPTY, EROFS = -2, -17, -18, -39, -30


def make_superblock(kind: str, directory: Path) -> SuperBlock:
    if kind == "tmpfs":
        return TmpFS(0x30, FakeClock())
    fd, _ = grant(os.fsencode(directory))
    if kind == "volume":
        return HostSuperBlock(HostFS(), fd, 0x30, FakeClock(), shared=True, read_only=False)
    lower = HostSuperBlock(HostFS(), fd, 0x30, FakeClock(), shared=False, read_only=True)
    return OverlayFS(0x30, FakeClock(), lower)


@pytest.fixture(params=["tmpfs", "overlay", "volume"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def task(kind: str, tmp_path: Path) -> Task:
    os.umask(0o022)
    kernel = make_kernel()
    kernel.mounts = MountNamespace(make_superblock(kind, tmp_path), kind)
    return make_task(kernel, uid=os.getuid(), gid=os.getgid())


def opened(task: Task, path: bytes, flags: int = os.O_RDONLY, mode: int = 0o644) -> int:
    return call(task, files.openat, AT_FDCWD, path, flags, mode)


def write(task: Task, path: bytes, data: bytes) -> None:
    fd = opened(task, path, os.O_CREAT | os.O_WRONLY | os.O_TRUNC)
    assert fd >= 0
    assert call(task, files.write, fd, data, len(data)) == len(data)
    assert call(task, files.close, fd) == 0


def read_fd(task: Task, fd: int) -> bytes:
    where = room(task, 4096)
    count = call(task, files.pread64, fd, where, 4096, 0)
    assert count >= 0
    return get(task, where, count)


def read(task: Task, path: bytes) -> bytes:
    fd = opened(task, path)
    assert fd >= 0, fd
    data = read_fd(task, fd)
    call(task, files.close, fd)
    return data


def fstat(task: Task, fd: int) -> tuple[int, ...]:
    where = room(task, 144)
    assert call(task, stats.fstat, fd, where) == 0
    return STAT.unpack(get(task, where, STAT.size))


def names(task: Task, path: bytes) -> list[bytes]:
    fd = opened(task, path, os.O_RDONLY | os.O_DIRECTORY)
    found: list[bytes] = []
    where = room(task, 200)
    while (count := call(task, dirs.getdents64, fd, where, 200)) > 0:
        data = get(task, where, count)
        at = 0
        while at < count:
            length = int.from_bytes(data[at + 16 : at + 18], "little")
            found.append(data[at + 19 : data.index(b"\0", at + 19)])
            at += length
    assert count == 0
    call(task, files.close, fd)
    return sorted(set(found) - {b".", b".."})


def test_create_write_append_truncate_read(task: Task) -> None:
    write(task, b"/f", b"hello")
    fd = opened(task, b"/f", os.O_WRONLY | os.O_APPEND)
    assert call(task, files.write, fd, b" world", 6) == 6
    assert read(task, b"/f") == b"hello world"
    assert call(task, files.ftruncate, fd, 4) == 0
    assert read(task, b"/f") == b"hell"
    assert fstat(task, fd)[6 + 1] == 4
    assert opened(task, b"/f", os.O_CREAT | os.O_EXCL | os.O_WRONLY) == EEXIST
    write(task, b"/f", b"")
    assert read(task, b"/f") == b""


def test_an_unlinked_open_file_lives_on(task: Task) -> None:
    write(task, b"/f", b"data")
    fd = opened(task, b"/f", os.O_RDWR)
    before = fstat(task, fd)
    assert call(task, dirs.unlink, b"/f") == 0
    after = fstat(task, fd)
    assert after[:2] == before[:2] and after[2] == 0
    assert read_fd(task, fd) == b"data"
    assert opened(task, b"/f") == ENOENT
    write(task, b"/f", b"another")
    assert read_fd(task, fd) == b"data"


def test_rename_of_trees_and_over_things(task: Task) -> None:
    for path in (b"/d", b"/d/e", b"/t"):
        assert call(task, dirs.mkdir, path, 0o755) == 0
    write(task, b"/d/e/f", b"1")
    write(task, b"/x", b"2")
    assert call(task, dirs.rename, b"/d", b"/t/d") == 0
    assert read(task, b"/t/d/e/f") == b"1"
    assert opened(task, b"/d/e/f") == ENOENT
    assert call(task, dirs.rename, b"/x", b"/t/d/e/f") == 0
    assert read(task, b"/t/d/e/f") == b"2"
    assert call(task, dirs.mkdir, b"/full", 0o755) == 0
    write(task, b"/full/g", b"")
    assert call(task, dirs.rename, b"/t", b"/full") == ENOTEMPTY
    assert call(task, dirs.rmdir, b"/full") == ENOTEMPTY
    assert names(task, b"/") == [b"full", b"t"]


def test_links_share_and_count(task: Task) -> None:
    write(task, b"/a", b"1")
    assert call(task, dirs.link, b"/a", b"/b") == 0
    fd = opened(task, b"/b", os.O_RDWR)
    assert fstat(task, fd)[2] == 2
    call(task, files.write, fd, b"2", 1)
    assert read(task, b"/a") == b"2"
    assert call(task, dirs.unlink, b"/a") == 0
    assert fstat(task, fd)[2] == 1
    assert call(task, dirs.symlink, b"b", b"/s") == 0
    assert read(task, b"/s") == b"2"


def test_many_names_are_listed_through_a_small_buffer(task: Task) -> None:
    call(task, dirs.mkdir, b"/d", 0o755)
    for i in range(60):
        write(task, b"/d/file-number-%03d" % i, b"")
    assert len(names(task, b"/d")) == 60
    for i in range(0, 60, 2):
        assert call(task, dirs.unlink, b"/d/file-number-%03d" % i) == 0
    assert len(names(task, b"/d")) == 30


def test_modes_and_umask_reach_the_inode(task: Task) -> None:
    fd = opened(task, b"/f", os.O_CREAT | os.O_WRONLY, 0o666)
    assert stat.S_IMODE(fstat(task, fd)[3]) == 0o644
    call(task, dirs.mkdir, b"/d", 0o777)
    assert stat.S_IMODE(fstat(task, opened(task, b"/d"))[3]) == 0o755


@pytest.mark.parametrize("kind", ["overlay"])
def test_the_lower_tree_never_changes(task: Task, tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d" / "f").write_bytes(b"lower")
    (tmp_path / "g").write_bytes(b"lower g")
    fd = opened(task, b"/d/f")
    before = fstat(task, fd)
    write(task, b"/d/f", b"upper")
    assert read_fd(task, fd) == b"upper"
    again = fstat(task, opened(task, b"/d/f"))
    assert again[:2] == before[:2]
    assert call(task, dirs.rename, b"/d", b"/e") == 0
    assert call(task, dirs.unlink, b"/g") == 0
    assert call(task, dirs.mkdir, b"/g", 0o700) == 0
    assert names(task, b"/") == [b"e", b"g"]
    assert (tmp_path / "d" / "f").read_bytes() == b"lower"
    assert (tmp_path / "g").read_bytes() == b"lower g"


@pytest.mark.parametrize("kind", ["volume"])
def test_a_volume_shows_what_the_host_does(task: Task, tmp_path: Path) -> None:
    assert opened(task, b"/new") == ENOENT
    (tmp_path / "new").write_bytes(b"from the host")
    assert read(task, b"/new") == b"from the host"
    (tmp_path / "new").unlink()
    assert opened(task, b"/new") == ENOENT
    write(task, b"/mine", b"from the guest")
    assert (tmp_path / "mine").read_bytes() == b"from the guest"
    put(task, b"x")


@pytest.mark.parametrize("kind", ["volume"])
def test_links_on_the_host_are_followed_in_the_guest(task: Task, tmp_path: Path) -> None:
    os.symlink("/etc/passwd", tmp_path / "out")
    os.symlink("../../../../../../etc/passwd", tmp_path / "up")
    assert opened(task, b"/out") == ENOENT
    assert opened(task, b"/up") == ENOENT
