"""Reading directories of an overlay."""

from __future__ import annotations

import pytest
from overlay_trees import NO_TASK, Maker, names

from wardian.sentry.vfs.file import O_RDONLY


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
