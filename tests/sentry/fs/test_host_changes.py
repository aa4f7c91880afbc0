"""The host changes files behind a guest that looks at them: what it must see, and when.

A volume shows every change at once, the root (an overlay over a cached tree) after ``TRUST_NS``,
unless ``--file-access=shared``.
The clock of these tests stands still unless told otherwise.
"""

from __future__ import annotations

import os
import shutil
import struct
from pathlib import Path

import pytest

from support import FakeClock, call, get, make_kernel, make_task, room
from wardian.sentry.fs.host import TRUST_NS, HostSuperBlock, grant
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.overlay import OverlayFS
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import dir as dirs
from wardian.sentry.syscalls import file as files
from wardian.sentry.syscalls import stat as stats
from wardian.sentry.vfs.inode import SuperBlock
from wardian.sentry.vfs.mount_tree import MountNamespace

AT_FDCWD = -100
ENOENT = -2
STAT = struct.Struct("<QQQIII4xQQQQ")
INO, NLINK, MODE, SIZE = 1, 2, 3, 7


class Case:
    """A guest task whose root shows ``host``."""

    def __init__(self, kind: str, host: Path) -> None:
        self.kind = kind
        self.host = host
        self.clock = FakeClock()
        self.superblocks: list[HostSuperBlock] = []
        kernel = make_kernel()
        kernel.mounts = MountNamespace(self.superblock(), kind)
        self.task: Task = make_task(kernel, uid=os.getuid(), gid=os.getgid())

    def superblock(self) -> SuperBlock:
        fd, _ = grant(os.fsencode(self.host))
        shared = self.kind in ("volume", "shared overlay")
        exclusive = self.kind == "exclusive"
        sb = HostSuperBlock(
            HostFS(),
            fd,
            0x30,
            self.clock,
            shared=shared,
            read_only=self.kind != "volume",
            exclusive=exclusive,
        )
        self.superblocks.append(sb)
        return sb if self.kind == "volume" else OverlayFS(0x30, self.clock, sb)

    def wait(self) -> None:
        """As long as the guest may be shown what was."""
        if self.kind == "overlay":
            self.clock.advance(TRUST_NS)

    def stat(self, path: bytes) -> tuple[int, ...]:
        where = room(self.task, 144)
        result = call(self.task, stats.stat, path, where)
        return STAT.unpack(get(self.task, where, STAT.size)) if result == 0 else (result,)

    def fstat(self, fd: int) -> tuple[int, ...]:
        where = room(self.task, 144)
        assert call(self.task, stats.fstat, fd, where) == 0
        return STAT.unpack(get(self.task, where, STAT.size))

    def open(self, path: bytes, flags: int = os.O_RDONLY) -> int:
        return call(self.task, files.openat, AT_FDCWD, path, flags, 0o644)

    def read_fd(self, fd: int) -> bytes:
        where = room(self.task, 4096)
        return get(self.task, where, call(self.task, files.pread64, fd, where, 4096, 0))

    def read(self, path: bytes) -> bytes:
        fd = self.open(path)
        assert fd >= 0, fd
        data = self.read_fd(fd)
        call(self.task, files.close, fd)
        return data

    def names(self, path: bytes) -> set[bytes]:
        fd = self.open(path, os.O_RDONLY | os.O_DIRECTORY)
        where = room(self.task, 4096)
        found: set[bytes] = set()
        while (count := call(self.task, dirs.getdents64, fd, where, 4096)) > 0:
            data, at = get(self.task, where, count), 0
            while at < count:
                length = int.from_bytes(data[at + 16 : at + 18], "little")
                name, _, padding = data[at + 19 : at + length].partition(b"\0")
                assert not padding.strip(b"\0"), "memory of the Sentry"
                found.add(name)
                at += length
        call(self.task, files.close, fd)
        return found - {b".", b".."}


@pytest.fixture(params=["overlay", "volume", "shared overlay"])
def case(request: pytest.FixtureRequest, tmp_path: Path) -> Case:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"old")
    return Case(str(request.param), tmp_path)


def test_a_file_made_by_the_host_appears(case: Case) -> None:
    assert case.stat(b"/d/new") == (ENOENT,)
    assert case.open(b"/d/new") == ENOENT
    (case.host / "d/new").write_bytes(b"here")
    case.wait()
    assert case.stat(b"/d/new")[SIZE] == 4
    assert case.read(b"/d/new") == b"here"
    assert case.names(b"/d") == {b"f", b"new"}


def test_a_file_removed_by_the_host_disappears(case: Case) -> None:
    assert case.read(b"/d/f") == b"old"
    fd = case.open(b"/d/f")
    (case.host / "d/f").unlink()
    case.wait()
    assert case.stat(b"/d/f") == (ENOENT,)
    assert case.open(b"/d/f") == ENOENT
    assert case.names(b"/d") == set()
    assert case.read_fd(fd) == b"old"
    assert case.fstat(fd)[NLINK] == 0


def test_a_file_replaced_by_the_host_is_the_new_one(case: Case) -> None:
    before = case.stat(b"/d/f")
    fd = case.open(b"/d/f")
    (case.host / "d/f.tmp").write_bytes(b"newer")
    os.rename(case.host / "d/f.tmp", case.host / "d/f")
    case.wait()
    after = case.stat(b"/d/f")
    assert after[INO] != before[INO]
    assert after[SIZE] == 5
    assert case.read(b"/d/f") == b"newer"
    assert case.read_fd(fd) == b"old"
    assert (case.fstat(fd)[INO], case.fstat(fd)[NLINK]) == (before[INO], 0)


def test_a_file_removed_and_made_again_under_its_old_number(case: Case) -> None:
    assert case.read(b"/d/f") == b"old"
    (case.host / "d/f").unlink()
    (case.host / "d/f").write_bytes(b"again")
    case.wait()
    assert case.stat(b"/d/f")[SIZE] == 5
    assert case.read(b"/d/f") == b"again"


def test_growing_and_chmod_show_by_name_and_by_descriptor(case: Case) -> None:
    fd = case.open(b"/d/f")
    assert case.fstat(fd)[SIZE] == 3
    with (case.host / "d/f").open("ab") as file:
        file.write(b" and more")
    os.chmod(case.host / "d/f", 0o640)
    case.wait()
    for attributes in (case.stat(b"/d/f"), case.fstat(fd)):
        assert attributes[SIZE] == 12
        assert attributes[MODE] & 0o777 == 0o640
    assert case.read_fd(fd) == b"old and more"


def test_contents_are_never_old(case: Case) -> None:
    """Whatever is believed about names: a read reads the host's file."""
    fd = case.open(b"/d/f")
    assert case.read_fd(fd) == b"old"
    with (case.host / "d/f").open("r+b") as file:
        file.write(b"new")
    assert case.read_fd(fd) == b"new"


def test_a_directory_renamed_by_the_host_takes_its_files_along(case: Case) -> None:
    assert case.read(b"/d/f") == b"old"
    os.rename(case.host / "d", case.host / "e")
    case.wait()
    assert case.stat(b"/d/f") == (ENOENT,)
    assert case.stat(b"/d") == (ENOENT,)
    assert case.read(b"/e/f") == b"old"
    assert case.names(b"/e") == {b"f"}


def test_a_directory_replaced_by_the_host(case: Case) -> None:
    assert case.read(b"/d/f") == b"old"
    call(case.task, dirs.chdir, b"/d")
    os.rename(case.host / "d", case.host / "e")
    (case.host / "d").mkdir()
    (case.host / "d/f").write_bytes(b"other")
    case.wait()
    assert case.read(b"/d/f") == b"other"
    assert case.open(b"f") == ENOENT  # who stands in the old one stands in a directory that is gone


def test_a_directory_removed_by_the_host(case: Case) -> None:
    assert case.stat(b"/d/f")[SIZE] == 3
    assert case.stat(b"/d/nothing") == (ENOENT,)
    shutil.rmtree(case.host / "d")
    case.wait()
    assert case.stat(b"/d/f") == (ENOENT,)
    assert case.stat(b"/d/nothing") == (ENOENT,)
    assert case.names(b"/") == set()


def test_a_file_becomes_a_directory_and_a_link(case: Case) -> None:
    assert case.read(b"/d/f") == b"old"
    (case.host / "d/f").unlink()
    (case.host / "d/f").mkdir()
    (case.host / "d/f/below").write_bytes(b"deep")
    case.wait()
    assert case.read(b"/d/f/below") == b"deep"
    shutil.rmtree(case.host / "d/f")
    (case.host / "target").write_bytes(b"aim")
    os.symlink("../target", case.host / "d/f")
    case.wait()
    assert case.read(b"/d/f") == b"aim"


def test_a_link_turned_elsewhere_by_the_host(case: Case) -> None:
    (case.host / "one").write_bytes(b"1")
    (case.host / "two").write_bytes(b"2")
    os.symlink("one", case.host / "link")
    assert case.read(b"/link") == b"1"
    os.symlink("two", case.host / "link.tmp")
    os.rename(case.host / "link.tmp", case.host / "link")
    case.wait()
    assert case.read(b"/link") == b"2"


def test_a_link_out_of_the_tree_stays_the_guests_own_business(case: Case, tmp_path: Path) -> None:
    """The host swaps a directory for a link that would lead out: the guest resolves it, inside."""
    assert case.read(b"/d/f") == b"old"
    os.rename(case.host / "d", case.host / "real")
    os.symlink("/etc", case.host / "d")
    case.wait()
    assert case.stat(b"/d/passwd") == (ENOENT,)


def test_hard_links_of_the_host_stay_one_file(case: Case) -> None:
    os.link(case.host / "d/f", case.host / "d/g")
    assert case.stat(b"/d/f")[INO] == case.stat(b"/d/g")[INO]
    with (case.host / "d/g").open("ab") as file:
        file.write(b"er")
    case.wait()
    assert case.stat(b"/d/f")[SIZE] == case.stat(b"/d/g")[SIZE] == 5
    (case.host / "d/f").unlink()
    case.wait()
    assert case.stat(b"/d/g")[NLINK] == 1
    assert case.read(b"/d/g") == b"older"


def test_numbers_of_untouched_files_stay(case: Case) -> None:
    before = case.stat(b"/d/f")
    for _ in range(3):
        case.wait()
        (case.host / "d/other").touch()
        assert case.stat(b"/d/f")[INO] == before[INO]


# -- the overlay: what the guest changed is its own ------------------------------------------------
def test_what_the_guest_wrote_hides_what_the_host_does(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"host")
    case = Case("overlay", tmp_path)
    fd = case.open(b"/f", os.O_WRONLY | os.O_TRUNC)
    assert call(case.task, files.write, fd, b"guest", 5) == 5
    call(case.task, files.close, fd)
    (tmp_path / "f").write_bytes(b"host again")
    case.wait()
    assert case.read(b"/f") == b"guest"
    (tmp_path / "f").unlink()
    case.wait()
    assert case.read(b"/f") == b"guest"


def test_what_the_guest_removed_stays_removed(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"host")
    case = Case("overlay", tmp_path)
    assert call(case.task, dirs.unlink, b"/f") == 0
    (tmp_path / "f").write_bytes(b"host again")
    case.wait()
    assert case.stat(b"/f") == (ENOENT,)


# -- how long --------------------------------------------------------------------------------------
def test_a_cached_tree_is_asked_once_per_window(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    case = Case("overlay", tmp_path)
    case.wait()
    assert case.stat(b"/f")[SIZE] == 1
    assert case.stat(b"/g") == (ENOENT,)
    (tmp_path / "f").write_bytes(b"22")
    (tmp_path / "g").write_bytes(b"22")
    assert case.stat(b"/f")[SIZE] == 1
    assert case.stat(b"/g") == (ENOENT,)
    case.clock.advance(TRUST_NS - 1)
    assert case.stat(b"/f")[SIZE] == 1
    case.clock.advance(1)
    assert case.stat(b"/f")[SIZE] == 2
    assert case.stat(b"/g")[SIZE] == 2


def test_an_open_that_finds_another_file_looks_again(tmp_path: Path) -> None:
    """Replaced within the window: the walk believes the old one, the open notices."""
    (tmp_path / "f").write_bytes(b"old")
    case = Case("overlay", tmp_path)
    case.wait()
    assert case.stat(b"/f")[SIZE] == 3
    (tmp_path / "f.tmp").write_bytes(b"newer")
    os.rename(tmp_path / "f.tmp", tmp_path / "f")
    assert case.read(b"/f") == b"newer"
    assert case.stat(b"/f")[SIZE] == 5


def test_opening_to_create_looks_again_too(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    case = Case("overlay", tmp_path)
    case.wait()
    assert case.stat(b"/f")[SIZE] == 3
    (tmp_path / "f.tmp").write_bytes(b"newer")
    os.rename(tmp_path / "f.tmp", tmp_path / "f")
    fd = case.open(b"/f", os.O_RDONLY | os.O_CREAT)
    assert case.read_fd(fd) == b"newer"


def test_a_directory_replaced_within_the_window_is_found_by_names_below(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"old")
    case = Case("overlay", tmp_path)
    case.wait()
    assert case.stat(b"/d/f")[SIZE] == 3

    for directory in case.superblocks[0].open_directories:
        directory.close()

    os.rename(tmp_path / "d", tmp_path / "e")
    (tmp_path / "d").mkdir()
    (tmp_path / "d/g").write_bytes(b"12345")
    assert case.stat(b"/d/g")[SIZE] == 5
    assert case.stat(b"/d/f") == (ENOENT,)


def test_an_exclusive_tree_is_asked_once(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    case = Case("exclusive", tmp_path)
    assert case.stat(b"/f")[SIZE] == 1
    assert case.stat(b"/g") == (ENOENT,)
    (tmp_path / "f").write_bytes(b"22")
    (tmp_path / "g").write_bytes(b"22")
    case.clock.advance(10**15)
    assert case.stat(b"/f")[SIZE] == 1
    assert case.stat(b"/g") == (ENOENT,)
