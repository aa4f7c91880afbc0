"""Names in host directories: made, moved, removed, listed."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from host_trees import (
    NO_TASK,
    child,
    names,
    read_all,
    superblock,
)

from wardian.sentry.errno import (
    EEXIST,
    ENODATA,
    ENOTEMPTY,
    EPERM,
    LinuxError,
)
from wardian.sentry.vfs.file import O_RDONLY
from wardian.sentry.vfs.inode import S_IFCHR, S_IFIFO, AttributeChange


# -- names -----------------------------------------------------------------------------------------
def test_names_are_made_moved_and_removed(tmp_path: Path) -> None:
    root = superblock(tmp_path).root()
    uid, gid = os.getuid(), os.getgid()
    directory = root.mkdir(b"d", 0o755, uid, gid)
    with pytest.raises(EEXIST):
        root.mkdir(b"d", 0o755, uid, gid)
    file = root.create(b"f", 0o644, uid, gid)
    root.rename(b"f", file, directory, b"g", None, False)
    assert (tmp_path / "d" / "g").exists() and not (tmp_path / "f").exists()
    assert file.getattr().size == 0
    with pytest.raises(ENOTEMPTY):
        root.rmdir(b"d", directory)
    root.symlink(b"l", b"d/g", uid, gid)
    assert os.readlink(tmp_path / "l") == "d/g"
    root.link(b"h", file)
    assert file.getattr().nlink == 2
    root.mknod(b"p", S_IFIFO | 0o600, 0, uid, gid)
    assert stat.S_ISFIFO(os.stat(tmp_path / "p").st_mode)
    with pytest.raises(EPERM):
        root.mknod(b"null", S_IFCHR | 0o666, os.makedev(1, 3), uid, gid)
    directory.unlink(b"g", file)
    root.rmdir(b"d", directory)
    assert root.lookup(b"d") is None


def test_a_renamed_directory_still_reaches_its_children(tmp_path: Path) -> None:
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "a" / "b" / "f").write_bytes(b"x")
    (tmp_path / "t").mkdir()
    root = superblock(tmp_path).root()
    a, t = child(root, b"a"), child(root, b"t")
    file = child(child(a, b"b"), b"f")
    root.rename(b"a", a, t, b"z", None, False)
    assert read_all(file.open(NO_TASK, O_RDONLY)) == b"x"


def test_exchange_swaps_two_names(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"1")
    (tmp_path / "b").write_bytes(b"22")
    root = superblock(tmp_path).root()
    a, b = child(root, b"a"), child(root, b"b")
    root.rename(b"a", a, root, b"b", b, True)
    assert (tmp_path / "a").read_bytes() == b"22"
    assert read_all(a.open(NO_TASK, O_RDONLY)) == b"1"


def test_setattr_changes_mode_times_and_size(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"12345")
    inode = child(superblock(tmp_path).root(), b"f")
    change = AttributeChange()
    change.mode = 0o711
    change.size = 2
    change.mtime_ns = 1_000_000_001
    inode.setattr(change)
    real = os.stat(tmp_path / "f")
    assert (stat.S_IMODE(real.st_mode), real.st_size, real.st_mtime_ns) == (0o711, 2, 1_000_000_001)
    assert inode.mode & 0o777 == 0o711


def test_user_xattrs_pass_and_others_are_hidden(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"")
    try:
        os.setxattr(tmp_path / "f", "user.colour", b"green")
    except OSError:
        pytest.skip("no xattrs on this file system")
    inode = child(superblock(tmp_path).root(), b"f")
    assert inode.getxattr(b"user.colour") == b"green"
    assert inode.listxattr() == [b"user.colour"]
    inode.setxattr(b"user.b", b"2", 0)
    assert os.getxattr(tmp_path / "f", "user.b") == b"2"
    inode.removexattr(b"user.b")
    with pytest.raises(ENODATA):
        inode.getxattr(b"user.b")
    with pytest.raises(ENODATA):
        inode.getxattr(b"trusted.overlay.opaque")
    with pytest.raises(LinuxError):
        inode.setxattr(b"trusted.x", b"", 0)


# -- directories -----------------------------------------------------------------------------------
def test_readdir_continues_from_any_position(tmp_path: Path) -> None:
    for i in range(2000):
        (tmp_path / f"file-{i:05}").touch()
    root = superblock(tmp_path).root()
    file = root.open(NO_TASK, O_RDONLY).hold()
    everything = names(file)
    assert len(everything) == len(set(everything)) == 2002
    position, one_by_one = 0, []
    for _ in range(50):
        entry = file.readdir(position)[0]
        one_by_one.append(entry.name)
        position = entry.position
    assert one_by_one == everything[:50]
    assert names(file) == everything
    file.drop()


def test_dot_dot_of_the_root_is_the_root(tmp_path: Path) -> None:
    root = superblock(tmp_path).root()
    entries = {e.name: e.ino for e in root.open(NO_TASK, O_RDONLY).readdir(0)}
    assert entries[b".."] == entries[b"."] == root.ino
