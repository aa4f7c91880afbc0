"""The copy-up overlay, over a real host directory and over tmpfs."""

from __future__ import annotations

import os
import random
import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from fake_host import FakeClock
from wardian.sentry.errno import ENOENT, ENOSPC, ENOTEMPTY, LinuxError
from wardian.sentry.fs.host import HostSuperBlock, grant
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.fs.overlay import UPPER_INO, OverlayDir, OverlayFS
from wardian.sentry.fs.overlay_node import OverlayNode
from wardian.sentry.fs.tmpfs import TmpFS
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_RDONLY, O_RDWR, O_WRONLY, File
from wardian.sentry.vfs.inode import AttributeChange, Inode, SuperBlock

NO_TASK: Any = None
DEV = 0x33


class Tree:
    """A lower tree made from a description, and the overlay over it."""

    def __init__(self, lower: SuperBlock, size: int = 0) -> None:
        self.fs = OverlayFS(DEV, FakeClock(), lower, size)
        self.root = self.fs.root()

    def at(self, path: str) -> Inode:
        inode = self.root
        for name in path.split("/"):
            found = inode.lookup(name.encode())
            assert found is not None, path
            inode = found
        return inode

    def parent(self, path: str) -> tuple[Inode, bytes]:
        above, _, name = path.rpartition("/")
        return (self.at(above) if above else self.root), name.encode()

    def exists(self, path: str) -> bool:
        above, name = self.parent(path)
        return above.lookup(name) is not None

    def open(self, path: str, flags: int = O_RDONLY) -> File:
        return self.at(path).open(NO_TASK, flags).hold()

    def read(self, path: str) -> bytes:
        file = self.open(path)
        data = contents(file)
        file.drop()
        return data

    def write(self, path: str, data: bytes, offset: int = 0) -> None:
        file = self.open(path, O_WRONLY)
        source = BytesSource(data)
        while source.left:
            file.write(source, offset + len(data) - source.left)
        file.drop()

    def create(self, path: str, data: bytes = b"") -> Inode:
        above, name = self.parent(path)
        inode = above.create(name, 0o644, 0, 0)
        self.write(path, data)
        return inode

    def mkdir(self, path: str) -> Inode:
        above, name = self.parent(path)
        return above.mkdir(name, 0o755, 0, 0)

    def unlink(self, path: str) -> None:
        above, name = self.parent(path)
        above.unlink(name, self.at(path))

    def rmdir(self, path: str) -> None:
        above, name = self.parent(path)
        above.rmdir(name, self.at(path))

    def rename(self, old: str, new: str, exchange: bool = False) -> None:
        source, name = self.parent(old)
        target, target_name = self.parent(new)
        source.rename(name, self.at(old), target, target_name, target.lookup(target_name), exchange)

    def list(self, path: str = "") -> list[str]:
        file = (self.at(path) if path else self.root).open(NO_TASK, O_RDONLY).hold()
        found = names(file)
        file.drop()
        assert found[:2] == [".", ".."] or sorted(found)[:2] == [".", ".."]
        return sorted(set(found) - {".", ".."})

    def chmod(self, path: str, mode: int) -> None:
        change = AttributeChange()
        change.mode = mode
        self.at(path).setattr(change)

    def truncate(self, path: str, size: int) -> None:
        change = AttributeChange()
        change.size = size
        self.at(path).setattr(change)


def contents(file: File) -> bytes:
    sink = BytesSink(1 << 40)
    file.read(sink, 0)
    return sink.data


def names(file: File) -> list[str]:
    found: list[str] = []
    position = 0
    while entries := file.readdir(position):
        found += [entry.name.decode() for entry in entries]
        position = entries[-1].position
    assert len(found) == len(set(found))
    return found


Files = dict[str, bytes | None]
Maker = Callable[..., Tree]


def host_tree(directory: Path, files: Files, size: int = 0) -> Tree:
    for path, data in files.items():
        if data is None:
            (directory / path).mkdir(parents=True)
        else:
            (directory / path).parent.mkdir(parents=True, exist_ok=True)
            (directory / path).write_bytes(data)
    fd, _ = grant(os.fsencode(directory))
    clock = FakeClock()
    lower = HostSuperBlock(HostFS(), fd, DEV + 1, clock, shared=False, read_only=True)
    return Tree(lower, size)


def tmpfs_tree(files: Files, size: int = 0) -> Tree:
    lower = TmpFS(DEV + 2, FakeClock())
    for path, data in files.items():
        *above, name = path.split("/") if data is not None else [*path.split("/"), ""]
        inode = lower.root()
        for step in above:
            found = inode.lookup(step.encode())
            inode = found if found is not None else inode.mkdir(step.encode(), 0o755, 0, 0)
        if data is not None:
            new = inode.create(name.encode(), 0o644, 0, 0)
            new.open(NO_TASK, O_WRONLY).write(BytesSource(data), 0)
    return Tree(lower, size)


@pytest.fixture(params=["host", "tmpfs"])
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Maker:
    def of_host(files: Files, size: int = 0) -> Tree:
        return host_tree(tmp_path, files, size)

    return of_host if request.param == "host" else tmpfs_tree


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


# -- reading directories ---------------------------------------------------------------------------
def test_merged_directory_lists_each_name_once(make: Maker) -> None:
    tree = make({f"d/f{i}": b"" for i in range(700)})
    for i in range(0, 700, 2):
        tree.unlink(f"d/f{i}")
    for i in range(0, 700, 4):
        tree.create(f"d/f{i}", b"")
    for i in range(500):
        tree.create(f"d/new{i}", b"")
    tree.chmod("d/f1", 0o600)
    expected = {f"f{i}" for i in range(700) if i % 2 or i % 4 == 0}
    expected |= {f"new{i}" for i in range(500)}
    assert tree.list("d") == sorted(expected)


@pytest.mark.parametrize("touched_first", [False, True])
def test_copy_up_while_reading_shows_nothing_twice(make: Maker, touched_first: bool) -> None:
    tree = make({f"f{i:04}": b"" for i in range(1000)})
    if touched_first:
        tree.create("extra")
    file = tree.root.open(NO_TASK, O_RDONLY).hold()
    seen: list[str] = []
    position = 0
    while entries := file.readdir(position):
        for entry in entries:
            seen.append(entry.name.decode())
            if entry.name.startswith(b"f"):
                tree.chmod(entry.name.decode(), 0o600)
        position = entries[-1].position
    assert len(seen) == len(set(seen))
    assert {f"f{i:04}" for i in range(1000)} <= set(seen)
    file.drop()


def test_removing_while_reading_reaches_every_name(make: Maker) -> None:
    tree = make({f"d/f{i}": b"" for i in range(1000)})
    file = tree.at("d").open(NO_TASK, O_RDONLY).hold()
    position, removed = 0, 0
    while entries := file.readdir(position):
        for entry in entries:
            if entry.name not in (b".", b".."):
                tree.unlink("d/" + entry.name.decode())
                removed += 1
        position = entries[-1].position
    assert removed == 1000
    tree.rmdir("d")
    file.drop()


def test_positions_continue_exactly(make: Maker) -> None:
    tree = make({f"f{i}": b"" for i in range(50)})
    for i in range(50):
        tree.create(f"n{i}")
    file = tree.root.open(NO_TASK, O_RDONLY).hold()
    everything = names(file)
    position, one_by_one = 0, []
    while entries := file.readdir(position):
        one_by_one.append(entries[0].name.decode())
        position = entries[0].position
    assert one_by_one == everything
    file.drop()


def test_entry_numbers_agree_with_stat(make: Maker) -> None:
    tree = make({"low": b"", "changed": b"", "dir/x": b""})
    tree.chmod("changed", 0o600)
    tree.create("up")
    file = tree.root.open(NO_TASK, O_RDONLY).hold()
    for entry in file.readdir(0):
        if entry.name not in (b".", b".."):
            inode = tree.at(entry.name.decode())
            assert (entry.ino, entry.kind) == (inode.getattr().ino, inode.kind)
    file.drop()


# -- bounds and everything at once -----------------------------------------------------------------
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


def test_random_operations_agree_with_a_real_directory(tmp_path: Path) -> None:
    """A few thousand operations done to the overlay and to a plain copy of the lower tree."""
    files: Files = {}
    for i in range(12):
        files[f"d{i % 3}/s{i % 2}/f{i}"] = b"%d" % i
        files[f"d{i % 3}/g{i}"] = b"g%d" % i
    (tmp_path / "lower").mkdir()
    (tmp_path / "real").mkdir()
    host_tree(tmp_path / "real", files)
    tree = host_tree(tmp_path / "lower", files)
    rng = random.Random(7)
    for step in range(3000):
        compare_one(tree, tmp_path / "real", rng, step)
        if step % 300 == 0:
            assert walk_overlay(tree.root, "") == walk_real(tmp_path / "real", "")
    assert walk_overlay(tree.root, "") == walk_real(tmp_path / "real", "")


def compare_one(tree: Tree, real: Path, rng: random.Random, step: int) -> None:
    paths = sorted(walk_real(real, ""))
    path = rng.choice(paths) if paths else "top"
    other = rng.choice(paths) if paths and rng.random() < 0.5 else f"n{rng.randrange(30)}"
    if rng.random() < 0.5 and (real / path).is_dir():
        other = f"{path}/n{rng.randrange(10)}"
    action = rng.choice(["create", "write", "unlink", "rmdir", "mkdir", "rename", "rename", "link"])
    mine = attempt(lambda: overlay_action(tree, action, path, other, step))
    theirs = attempt(lambda: real_action(real, action, path, other, step))
    assert mine == theirs, (step, action, path, other, mine, theirs)


def attempt(action: Callable[[], None]) -> bool:
    try:
        action()
    except (OSError, LinuxError, AssertionError, ValueError):
        return False
    return True


def require(condition: bool) -> None:
    """What the VFS checks before it calls an inode."""
    if not condition:
        raise ValueError


def overlay_action(tree: Tree, action: str, path: str, other: str, step: int) -> None:
    above, name = tree.parent(other)
    require(above.is_dir)
    if action == "create":
        require(above.lookup(name) is None)
        tree.create(other, b"%d" % step)
    elif action == "mkdir":
        require(above.lookup(name) is None)
        tree.mkdir(other)
    elif action == "write":
        require(not tree.at(path).is_dir)
        tree.write(path, b"%d" % step)
    elif action == "unlink":
        require(not tree.at(path).is_dir)
        tree.unlink(path)
    elif action == "rmdir":
        require(tree.at(path).is_dir)
        tree.rmdir(path)
    elif action == "link":
        require(above.lookup(name) is None and not tree.at(path).is_dir)
        above.link(name, tree.at(path))
    else:
        replaced = above.lookup(name)
        require(not f"{other}/".startswith(f"{path}/") and not f"{path}/".startswith(f"{other}/"))
        require(replaced is None or replaced.is_dir == tree.at(path).is_dir)
        tree.rename(path, other)


def real_action(real: Path, action: str, path: str, other: str, step: int) -> None:
    if action == "create":
        with open(real / other, "xb") as f:
            f.write(b"%d" % step)
    elif action == "mkdir":
        os.mkdir(real / other)
    elif action == "write":
        fd = os.open(real / path, os.O_WRONLY)
        os.write(fd, b"%d" % step)
        os.close(fd)
    elif action == "unlink":
        os.unlink(real / path)
    elif action == "rmdir":
        os.rmdir(real / path)
    elif action == "link":
        os.link(real / path, real / other)
    else:
        require(path != other)
        os.rename(real / path, real / other)


def walk_overlay(inode: Inode, prefix: str) -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    file = inode.open(NO_TASK, O_RDONLY).hold()
    for name in names(file):
        if name in (".", ".."):
            continue
        child = inode.lookup(name.encode())
        assert child is not None
        if isinstance(child, OverlayDir):
            found[prefix + name] = (b"", 0)
            found |= walk_overlay(child, f"{prefix}{name}/")
        else:
            handle = child.open(NO_TASK, O_RDONLY).hold()
            found[prefix + name] = (contents(handle), child.getattr().nlink)
            handle.drop()
    file.drop()
    return found


def walk_real(directory: Path, prefix: str) -> dict[str, tuple[bytes, int]]:
    found: dict[str, tuple[bytes, int]] = {}
    for entry in os.scandir(directory):
        if entry.is_dir():
            found[prefix + entry.name] = (b"", 0)
            found |= walk_real(directory / entry.name, f"{prefix}{entry.name}/")
        else:
            data = (directory / entry.name).read_bytes()
            found[prefix + entry.name] = (data, os.stat(entry.path).st_nlink)
    return found
