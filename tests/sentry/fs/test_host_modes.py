"""Host trees that others change, and those that they do not: what is believed, and for how long."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from host_trees import (
    NO_TASK,
    CountingHost,
    child,
    open_descriptors,
    read_all,
    superblock,
)

from fake_host import FakeClock
from wardian.sentry.errno import (
    EROFS,
    ESTALE,
)
from wardian.sentry.fs import host as host_module
from wardian.sentry.fs.host import HostDirectory, HostSuperBlock
from wardian.sentry.vfs.file import O_RDONLY, O_RDWR
from wardian.sentry.vfs.inode import AttributeChange
from wardian.sentry.vfs.trust import NEVER


def test_shared_lookups_see_changes_behind_us(tmp_path: Path) -> None:
    sb = superblock(tmp_path)
    assert sb.trust is not None and sb.trust.floor() == NEVER
    (tmp_path / "f").write_bytes(b"1")
    inode = child(sb.root(), b"f")
    (tmp_path / "f").write_bytes(b"12")
    assert inode.getattr().size == 2
    os.rename(tmp_path / "f", tmp_path / "g")
    assert sb.root().lookup(b"f") is None
    assert sb.root().lookup(b"g") is inode


def test_hard_links_are_one_inode_in_shared_mode(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"")
    os.link(tmp_path / "a", tmp_path / "b")
    root = superblock(tmp_path).root()
    assert root.lookup(b"a") is root.lookup(b"b")


def wait(sb: HostSuperBlock, ns: int) -> None:
    """Let time pass; the next one who looks something up reads the clock first."""
    assert isinstance(sb.clock, FakeClock) and sb.trust is not None
    sb.clock.advance(ns)
    sb.trust.floor()


def test_attributes_of_a_cached_tree_are_believed_for_a_while(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    sb = superblock(tmp_path, shared=False)
    wait(sb, 1)
    inode = child(sb.root(), b"f")
    (tmp_path / "f").write_bytes(b"12")
    assert inode.getattr().size == 1
    wait(sb, host_module.TRUST_NS)
    assert inode.getattr().size == 2


def test_exclusive_opens_share_one_descriptor_and_no_host_call(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    sb = superblock(tmp_path, shared=False)
    host = sb.host
    assert isinstance(host, CountingHost)
    inode = child(sb.root(), b"f")
    inode.open(NO_TASK, O_RDONLY).hold().drop()
    before = host.opens, host.stats
    file = inode.open(NO_TASK, O_RDONLY).hold()
    assert read_all(file) == b"data"
    assert (host.opens, host.stats) == before
    file.drop()


def test_an_exclusive_tree_is_believed_for_ever(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    sb = superblock(tmp_path, shared=False, exclusive=True)
    assert sb.trust is None
    inode = child(sb.root(), b"f")
    (tmp_path / "f").write_bytes(b"12")
    assert isinstance(sb.clock, FakeClock)
    sb.clock.advance(10**15)
    assert inode.getattr().size == 1


def test_still_knows_the_same_file_and_reads_its_attributes_anew(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"1")
    root = superblock(tmp_path, shared=False).root()
    inode = child(root, b"f")
    (tmp_path / "f").write_bytes(b"123")
    os.chmod(tmp_path / "f", 0o600)
    assert root.still(b"f", inode)
    assert inode.seen_attributes().size == 3
    assert inode.mode & 0o777 == 0o600
    assert root.still(b"nothing", None)
    assert not root.still(b"f", None)
    assert not root.still(b"nothing", inode)


def test_a_file_removed_and_made_again_is_another_one(tmp_path: Path) -> None:
    """Most file systems give the new one the number that has just become free."""
    (tmp_path / "f").write_bytes(b"old")
    root = superblock(tmp_path, shared=False).root()
    inode = child(root, b"f")
    old = inode.open(NO_TASK, O_RDONLY).hold()
    old.drop()  # its descriptor stays open for the next
    os.unlink(tmp_path / "f")
    (tmp_path / "f").write_bytes(b"new")
    assert not root.still(b"f", inode)
    again = child(root, b"f")
    assert not again.same_file(inode)
    new = again.open(NO_TASK, O_RDONLY).hold()
    assert read_all(new) == b"new"
    new.drop()


def test_a_changed_file_gets_a_new_descriptor_and_open_ones_stay(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"data")
    sb = superblock(tmp_path, shared=False)
    root = sb.root()
    inode = child(root, b"f")
    old = inode.open(NO_TASK, O_RDONLY).hold()
    os.chmod(tmp_path / "f", 0o600)
    assert root.still(b"f", inode)
    host = sb.host
    assert isinstance(host, CountingHost)
    before = host.opens
    new = inode.open(NO_TASK, O_RDONLY).hold()
    assert host.opens == before + 1
    count = open_descriptors()
    old.drop()
    assert open_descriptors() == count - 1
    new.drop()


def test_a_directory_replaced_behind_a_closed_descriptor_is_stale(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/f").write_bytes(b"")
    directory = child(superblock(tmp_path, shared=False).root(), b"d")
    assert isinstance(directory, HostDirectory)
    assert directory.lookup(b"f") is not None
    directory.close()
    os.rename(tmp_path / "d", tmp_path / "old")
    (tmp_path / "d").mkdir()
    count = open_descriptors()
    with pytest.raises(ESTALE):
        directory.lookup(b"f")
    assert open_descriptors() == count


def test_an_open_of_a_replaced_name_is_stale_and_closes_what_it_opened(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    inode = child(superblock(tmp_path, shared=False).root(), b"f")
    (tmp_path / "f.new").write_bytes(b"newer")
    os.rename(tmp_path / "f.new", tmp_path / "f")
    count = open_descriptors()
    with pytest.raises(ESTALE):
        inode.open(NO_TASK, O_RDONLY)
    assert open_descriptors() == count


def test_open_files_of_a_replaced_name_keep_their_contents(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"old")
    sb = superblock(tmp_path, shared=False)
    inode = child(sb.root(), b"f")
    old = inode.open(NO_TASK, O_RDONLY).hold()
    (tmp_path / "f.new").write_bytes(b"newer")
    os.rename(tmp_path / "f.new", tmp_path / "f")
    wait(sb, host_module.TRUST_NS)
    new = child(sb.root(), b"f").open(NO_TASK, O_RDONLY).hold()
    assert (read_all(old), read_all(new)) == (b"old", b"newer")
    assert inode.getattr().size == 3
    assert inode.getattr().nlink == 0
    old.drop()
    new.drop()


def test_read_only_grants_refuse_every_change(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    root = superblock(tmp_path, read_only=True).root()
    inode = child(root, b"f")
    with pytest.raises(EROFS):
        root.create(b"g", 0o600, 0, 0)
    with pytest.raises(EROFS):
        inode.setattr(AttributeChange())
    with pytest.raises(EROFS):
        inode.open(NO_TASK, O_RDWR)
    with pytest.raises(EROFS):
        root.unlink(b"f", inode)
    assert (tmp_path / "f").read_bytes() == b"x"
