"""The copy-up overlay, over a real host directory and over tmpfs."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
from overlay_trees import DEV, Maker, contents, host_tree

from wardian.sentry.errno import ENOENT, ENOSPC, ENOTEMPTY
from wardian.sentry.fs.overlay import UPPER_INO
from wardian.sentry.fs.overlay_node import OverlayNode
from wardian.sentry.vfs.file import O_RDWR
from wardian.sentry.vfs.inode import AttributeChange


# -- reading and copying up ------------------------------------------------------------------------
def test_lower_files_are_read_without_copy_up(make: Maker) -> None:
    tree = make({"d/f": b"lower"})
    assert tree.read("d/f") == b"lower"
    assert tree.list() == ["d"]
    node = tree.at("d/f")
    assert isinstance(node, OverlayNode) and node.upper is None
    assert node.getattr().dev == DEV
    assert tree.fs.quota.inodes_used <= 1


def test_both_layers_have_one_device(make: Maker) -> None:
    tree = make({"d/f": b"", "g": b""})
    tree.create("new")
    devices = {tree.at(path).getattr().dev for path in ("d", "d/f", "g", "new")}
    assert devices == {DEV} == {tree.root.getattr().dev}


def test_writing_copies_up_and_leaves_the_lower_file(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"d/f": b"lower"})
    before = tree.at("d/f").getattr()
    tree.write("d/f", b"L")
    assert tree.read("d/f") == b"Lower"
    assert (tmp_path / "d/f").read_bytes() == b"lower"
    after = tree.at("d/f").getattr()
    assert (after.ino, after.dev, after.nlink) == (before.ino, before.dev, 1)
    assert after.mode == before.mode and after.uid == before.uid


def test_copy_up_keeps_the_mtime_of_the_directories_above(make: Maker) -> None:
    tree = make({"a/b/f": b""})
    times = [tree.at(p).getattr().mtime_ns for p in ("a", "a/b")]
    tree.write("a/b/f", b"x")
    assert [tree.at(p).getattr().mtime_ns for p in ("a", "a/b")] == times


def test_metadata_changes_do_not_copy_data(make: Maker) -> None:
    tree = make({"f": b"x" * 10_000})
    tree.chmod("f", 0o600)
    node = tree.at("f")
    assert isinstance(node, OverlayNode) and node.lower is not None
    attributes = node.getattr()
    assert (attributes.mode & 0o777, attributes.size, node.mode & 0o777) == (0o600, 10_000, 0o600)
    assert tree.read("f") == b"x" * 10_000
    assert tree.fs.quota.bytes_used == 0


def test_truncate_copies_only_what_stays(make: Maker) -> None:
    tree = make({"f": b"x" * 100_000})
    tree.truncate("f", 3)
    assert tree.read("f") == b"xxx"
    assert tree.fs.quota.bytes_used <= 4096


def test_large_and_sparse_files_are_copied_faithfully(tmp_path: Path) -> None:
    data = os.urandom(100) + bytes(5 << 20) + os.urandom(3 << 20)
    tree = host_tree(tmp_path, {"f": data})
    with open(tmp_path / "holes", "wb") as f:
        f.truncate(64 << 20)
        f.seek(32 << 20)
        f.write(b"middle")
    tree.write("f", b"")
    tree.write("holes", b"!", 5)
    assert tree.read("f") == data
    assert len(tree.read("holes")) == 64 << 20
    assert tree.at("holes").getattr().blocks < 1000


def test_a_reader_opened_before_sees_the_copied_up_data(make: Maker) -> None:
    tree = make({"f": b"old"})
    reader = tree.open("f")
    assert contents(reader) == b"old"
    tree.write("f", b"new!")
    assert contents(reader) == b"new!"
    assert reader.lseek(0, 2) == 4
    reader.drop()


def test_lower_files_map_by_host_descriptor(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"f": b"text"})
    file = tree.open("f")
    assert os.pread(file.map(False, False, 0, 4096).host_fd, 4, 0) == b"text"
    file.drop()


def test_no_room_for_copy_up_is_enospc_and_harmless(make: Maker) -> None:
    tree = make({"f": b"x" * 500_000}, size=100_000)
    with pytest.raises(ENOSPC):
        tree.open("f", O_RDWR)
    assert tree.read("f") == b"x" * 500_000
    assert tree.fs.quota.bytes_used < 100_000
    tree.create("small", b"fits")
    with pytest.raises(ENOSPC):
        tree.create("large", b"y" * 200_000)


def test_xattrs_are_copied_up(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"f": b""})
    try:
        os.setxattr(tmp_path / "f", "user.a", b"1")
    except OSError:
        pytest.skip("no xattrs here")
    node = tree.at("f")
    node.setxattr(b"user.b", b"2", 0)
    assert sorted(node.listxattr()) == [b"user.a", b"user.b"]
    assert node.getxattr(b"user.a") == b"1"
    assert os.listxattr(tmp_path / "f") == ["user.a"]


def test_symlinks_and_fifos_copy_up(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"d": None})
    os.symlink("target", tmp_path / "d" / "l")
    os.mkfifo(tmp_path / "d" / "p")
    assert tree.at("d/l").readlink() == b"target"
    tree.rename("d/l", "d/m")
    tree.rename("d/p", "q")
    assert tree.at("d/m").readlink() == b"target"
    assert stat.S_ISFIFO(tree.at("q").getattr().mode)
    assert tree.list("d") == ["m"]


# -- removing --------------------------------------------------------------------------------------
def test_unlinked_lower_names_stay_gone(make: Maker) -> None:
    tree = make({"a": b"1", "b": b"2"})
    open_before = tree.open("a")
    tree.unlink("a")
    assert not tree.exists("a") and tree.list() == ["b"]
    assert contents(open_before) == b"1"
    inode = open_before.inode
    assert inode is not None and inode.getattr().nlink == 0
    tree.create("a", b"again")
    assert tree.read("a") == b"again"
    assert tree.at("a").ino > UPPER_INO
    tree.unlink("a")
    assert not tree.exists("a")
    with pytest.raises(ENOENT):
        tree.root.unlink(b"a", inode)


def test_a_removed_and_remade_directory_is_opaque(make: Maker) -> None:
    tree = make({"d/f": b"1", "d/g": b"2"})
    with pytest.raises(ENOTEMPTY):
        tree.rmdir("d")
    tree.unlink("d/f")
    tree.unlink("d/g")
    old = tree.at("d")
    tree.rmdir("d")
    assert old.getattr().nlink == 0
    tree.mkdir("d")
    assert tree.list("d") == []
    assert not tree.exists("d/f")
    tree.create("d/f", b"new")
    assert tree.read("d/f") == b"new"


def test_directories_with_only_lower_contents_are_not_removable(make: Maker) -> None:
    tree = make({"d/f": b"", "e": None})
    with pytest.raises(ENOTEMPTY):
        tree.rmdir("d")
    tree.rmdir("e")
    assert tree.list() == ["d"]


def test_link_count_of_directories_follows(make: Maker) -> None:
    tree = make({"d/s": None})
    base = tree.at("d").getattr().nlink
    tree.mkdir("d/t")
    assert tree.at("d").getattr().nlink == base + 1
    tree.rename("d/t", "u")
    tree.rmdir("d/s")
    assert tree.at("d").getattr().nlink == base - 1


# -- moving ----------------------------------------------------------------------------------------
def test_renaming_a_lower_directory_moves_its_tree(make: Maker) -> None:
    tree = make({"d/sub/f": b"deep", "d/g": b"g", "t": None})
    moved = tree.at("d")
    tree.rename("d", "t/e")
    assert tree.at("t/e") is moved
    assert tree.read("t/e/sub/f") == b"deep"
    tree.write("t/e/sub/f", b"DEEP")
    assert tree.read("t/e/sub/f") == b"DEEP"
    assert not tree.exists("d") and tree.list("t/e") == ["g", "sub"]
    tree.mkdir("d")
    assert tree.list("d") == []
    tree.rename("t/e/sub", "d/sub")
    assert tree.read("d/sub/f") == b"DEEP" and tree.list("t/e") == ["g"]


def test_rename_replaces_lower_files_and_empty_directories(make: Maker) -> None:
    tree = make({"a": b"a", "b": b"b", "x/f": b"", "y": None, "z/f": b"z"})
    tree.rename("a", "b")
    assert tree.read("b") == b"a" and not tree.exists("a")
    tree.rename("x", "y")
    assert tree.list("y") == ["f"] and not tree.exists("x")
    with pytest.raises(ENOTEMPTY):
        tree.rename("y", "z")
    assert tree.list() == ["b", "y", "z"]


def test_exchange_of_lower_and_upper(make: Maker) -> None:
    tree = make({"d/f": b"f", "a": b"a"})
    tree.rename("d", "a", exchange=True)
    assert tree.read("a/f") == b"f" and tree.read("d") == b"a"
    tree.create("n", b"new")
    tree.rename("n", "d", exchange=True)
    assert tree.read("d") == b"new" and tree.read("n") == b"a"


def test_rename_does_not_copy_data(make: Maker) -> None:
    tree = make({"big": b"x" * 1_000_000}, size=10_000)
    tree.rename("big", "moved")
    assert tree.read("moved") == b"x" * 1_000_000


# -- hard links ------------------------------------------------------------------------------------
def test_hard_links_after_copy_up_are_one_file(make: Maker) -> None:
    tree = make({"f": b"one"})
    tree.root.link(b"g", tree.at("f"))
    tree.write("g", b"two")
    assert tree.read("f") == b"two"
    assert tree.at("f") is tree.at("g")
    assert tree.at("f").getattr().nlink == 2
    tree.unlink("f")
    assert tree.read("g") == b"two" and tree.at("g").getattr().nlink == 1


def test_lower_hard_links_stay_linked_through_copy_up(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"a": b"one", "d": None})
    os.link(tmp_path / "a", tmp_path / "d" / "b")
    assert tree.at("a").getattr().nlink == 2
    tree.write("a", b"TWO")
    assert tree.read("d/b") == b"TWO"
    assert tree.at("d/b").getattr().nlink == 2
    tree.unlink("a")
    assert tree.read("d/b") == b"TWO"
    assert tree.at("d/b").getattr().nlink == 1
    tree.rename("d/b", "c")
    assert tree.read("c") == b"TWO" and tree.list("d") == []
    tree.unlink("c")
    assert not tree.fs.kept


def test_one_of_two_lower_names_can_be_renamed(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"a": b"x"})
    os.link(tmp_path / "a", tmp_path / "b")
    a = tree.at("a")
    assert tree.at("b") is a
    tree.root.rename(b"a", a, tree.root, b"c", None, False)
    assert tree.list() == ["b", "c"]
    assert tree.at("b") is tree.at("c")
    assert tree.at("c").getattr().nlink == 2


def test_changing_a_file_does_not_bring_a_removed_name_back(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {"a": b"x"})
    os.link(tmp_path / "a", tmp_path / "b")
    node = tree.at("a")
    tree.unlink("a")
    change = AttributeChange()
    change.mode = 0o600
    node.setattr(change)
    assert tree.list() == ["b"]
    assert tree.at("b").getattr().mode & 0o777 == 0o600
    assert tree.at("b").getattr().nlink == 1


# -- bounds ----------------------------------------------------------------------------------------
def test_unused_wrappers_are_swept_and_changed_ones_kept(tmp_path: Path) -> None:
    tree = host_tree(tmp_path, {f"d{i}/f": b"" for i in range(300)})
    tree.fs.sweep_at = 100
    tree.chmod("d0/f", 0o600)
    for i in range(300):
        tree.at(f"d{i}/f")
        tree.fs.sweep_at = min(tree.fs.sweep_at, 100)
    assert len(tree.fs.lowers) < 220
    assert tree.at("d0/f").getattr().mode & 0o777 == 0o600


def test_removed_files_give_their_memory_back(make: Maker) -> None:
    tree = make({"f": b"x" * 5000, "d": None})
    used = tree.fs.quota.bytes_used, tree.fs.quota.inodes_used
    tree.write("f", b"y")
    tree.mkdir("d/e")
    tree.unlink("f")
    tree.rmdir("d/e")
    assert tree.fs.quota.bytes_used == used[0]
    assert tree.fs.quota.inodes_used <= used[1] + 2  # "d" itself was copied up
