"""Host files below a granted directory: real directories, hostile links, bounded descriptors."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
from host_trees import (
    DEV,
    NO_TASK,
    child,
    names,
    open_descriptors,
    read_all,
    superblock,
)

from support import make_task
from wardian.sentry.errno import (
    EINVAL,
    ENOENT,
    ENXIO,
    LinuxError,
)
from wardian.sentry.fs import host as host_module
from wardian.sentry.fs.devices import NullFile
from wardian.sentry.fs.host import HostDirectory
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_APPEND, O_RDONLY, O_RDWR, O_WRONLY
from wardian.sentry.vfs.inode import S_IFCHR, AttributeChange, Inode


# -- looking ---------------------------------------------------------------------------------------
def test_lookup_shows_the_hosts_attributes_with_our_device(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"hello")
    os.chmod(tmp_path / "a", 0o640)
    inode = child(superblock(tmp_path).root(), b"a")
    attributes = inode.getattr()
    real = os.stat(tmp_path / "a")
    assert (attributes.dev, attributes.ino) == (DEV, real.st_ino)
    assert attributes.mode == real.st_mode == stat.S_IFREG | 0o640
    assert (attributes.size, attributes.nlink) == (5, 1)
    assert (attributes.uid, attributes.gid) == (real.st_uid, real.st_gid)
    assert attributes.mtime_ns == real.st_mtime_ns


def test_missing_name_is_none(tmp_path: Path) -> None:
    assert superblock(tmp_path).root().lookup(b"nope") is None


def test_symbolic_links_are_shown_and_never_followed(tmp_path: Path) -> None:
    os.symlink("/etc", tmp_path / "out")
    link = child(superblock(tmp_path).root(), b"out")
    assert link.is_symlink
    assert link.readlink() == b"/etc"


def test_a_directory_swapped_for_a_link_leads_nowhere(tmp_path: Path) -> None:
    (tmp_path / "inside" / "deep").mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside" / "secret").write_bytes(b"s")
    (tmp_path / "granted").mkdir()
    os.rename(tmp_path / "inside", tmp_path / "granted" / "d")
    directory = child(superblock(tmp_path / "granted").root(), b"d")
    os.rename(tmp_path / "granted" / "d", tmp_path / "elsewhere")
    os.symlink("../outside", tmp_path / "granted" / "d")
    with pytest.raises(LinuxError):
        directory.lookup(b"secret")


def test_a_file_swapped_for_a_link_is_not_opened(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    inode = child(superblock(tmp_path).root(), b"f")
    os.remove(tmp_path / "f")
    os.symlink("/etc/passwd", tmp_path / "f")
    with pytest.raises(LinuxError):
        inode.open(NO_TASK, O_RDONLY)


def test_a_file_swapped_for_a_fifo_neither_hangs_nor_opens(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"x")
    inode = child(superblock(tmp_path).root(), b"f")
    os.remove(tmp_path / "f")
    os.mkfifo(tmp_path / "f")
    with pytest.raises(LinuxError):
        inode.open(NO_TASK, O_RDONLY)


def test_kernel_file_systems_of_the_host_show_empty() -> None:
    sb = superblock(Path("/"), shared=False)
    proc = child(sb.root(), b"proc")
    assert proc.is_dir
    assert proc.lookup(b"self") is None
    file = proc.open(NO_TASK, O_RDONLY)
    assert names(file) == [b".", b".."]
    assert proc.getattr().nlink == 2


def test_other_host_devices_do_not_share_inode_numbers() -> None:
    sb = superblock(Path("/"), shared=False)
    if os.stat("/dev/shm").st_dev == os.stat("/").st_dev:
        pytest.skip("one device only")
    shm = child(child(sb.root(), b"dev"), b"shm")
    assert shm.ino >> host_module.FOREIGN_SHIFT > 0
    assert shm.getattr().ino == shm.ino


def test_devices_are_the_guests_and_sockets_are_shown_only(tmp_path: Path) -> None:
    root = superblock(Path("/dev"), shared=False).root()
    null = child(root, b"null")
    assert null.kind == S_IFCHR
    assert null.getattr().rdev == os.makedev(1, 3)
    assert isinstance(null.open(make_task(), O_RDONLY), NullFile)
    with socket.socket(socket.AF_UNIX) as s:
        s.bind(str(tmp_path / "s"))
    with pytest.raises(ENXIO):
        child(superblock(tmp_path).root(), b"s").open(NO_TASK, O_RDONLY)


def test_a_granted_file_is_its_own_root(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"content")
    (tmp_path / "g").write_bytes(b"not granted")
    root = superblock(tmp_path / "f").root()
    assert not root.is_dir
    assert read_all(root.open(NO_TASK, O_RDONLY)) == b"content"


# -- contents --------------------------------------------------------------------------------------
def test_read_at_offsets_and_past_the_end(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"0123456789")
    file = child(superblock(tmp_path).root(), b"f").open(NO_TASK, O_RDONLY).hold()
    sink = BytesSink(4)
    assert file.read(sink, 8) == 2 and sink.data == b"89"
    assert file.read(BytesSink(4), 100) == 0
    assert file.lseek(-3, 2) == 7
    with pytest.raises(EINVAL):
        file.lseek(-1, 0)
    file.drop()


def test_a_huge_read_is_done_in_pieces(tmp_path: Path) -> None:
    data = os.urandom(1 << 20) * 3 + b"tail"
    (tmp_path / "f").write_bytes(data)
    file = child(superblock(tmp_path).root(), b"f").open(NO_TASK, O_RDONLY)
    assert read_all(file, 1 << 62) == data


def test_write_append_and_truncate_reach_the_host(tmp_path: Path) -> None:
    root = superblock(tmp_path).root()
    inode = root.create(b"new", 0o604, os.getuid(), os.getgid())
    assert stat.S_IMODE(os.stat(tmp_path / "new").st_mode) == 0o604
    file = inode.open(NO_TASK, O_WRONLY).hold()
    assert file.write(BytesSource(b"hello"), 2) == 5
    assert (tmp_path / "new").read_bytes() == b"\0\0hello"
    assert inode.getattr().size == 7
    file.set_flags(O_APPEND)
    (tmp_path / "new").write_bytes(b"another writer")
    file.write(BytesSource(b"!"), 0)
    assert (tmp_path / "new").read_bytes() == b"another writer!"
    file.truncate(3)
    assert (tmp_path / "new").read_bytes() == b"ano"
    file.drop()


def test_map_gives_the_host_descriptor(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"mapped")
    file = child(superblock(tmp_path).root(), b"f").open(NO_TASK, O_RDONLY).hold()
    source = file.map(False, False, 4096, 4096)
    assert os.pread(source.host_fd, 6, 0) == b"mapped"
    assert source.host_offset == 4096
    file.drop()


def test_an_unlinked_open_file_keeps_its_attributes(tmp_path: Path) -> None:
    root = superblock(tmp_path).root()
    inode = root.create(b"f", 0o600, os.getuid(), os.getgid())
    file = inode.open(NO_TASK, O_RDWR).hold()
    root.unlink(b"f", inode)
    file.write(BytesSource(b"still"), 0)
    assert (inode.getattr().size, inode.getattr().nlink) == (5, 0)
    change = AttributeChange()
    change.mode = 0o400
    inode.setattr(change)
    assert inode.getattr().mode == stat.S_IFREG | 0o400
    file.drop()


# -- bounds ----------------------------------------------------------------------------------------
def test_walking_many_directories_keeps_few_descriptors(tmp_path: Path) -> None:
    for i in range(600):
        (tmp_path / f"d{i}").mkdir()
        (tmp_path / f"d{i}" / "f").touch()
    root = superblock(tmp_path, shared=False).root()
    before = open_descriptors()
    directories = [child(root, b"d%d" % i) for i in range(600)]
    files = [child(directory, b"f") for directory in directories]
    assert open_descriptors() - before <= host_module.DIRECTORY_DESCRIPTORS + 1
    assert all(file.getattr().size == 0 for file in files)
    assert directories[0].lookup(b"f") is not None


def test_idle_handles_are_bounded(tmp_path: Path) -> None:
    for i in range(300):
        (tmp_path / f"f{i}").touch()
    root = superblock(tmp_path, shared=False).root()
    before = open_descriptors()
    for i in range(300):
        child(root, b"f%d" % i).open(NO_TASK, O_RDONLY).hold().drop()
    assert open_descriptors() - before <= host_module.IDLE_HANDLES


def test_a_path_longer_than_path_max_is_walked_in_steps(tmp_path: Path) -> None:
    depth, name = 60, b"n" * 200
    fd = os.open(tmp_path, os.O_RDONLY)
    for _ in range(depth):
        os.mkdir(name, dir_fd=fd)
        below = os.open(name, os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    inode = superblock(tmp_path).root()
    for _ in range(depth):
        inode = child(inode, name)
    at: Inode | None = inode
    while isinstance(at, HostDirectory) and at.parent is not None:
        at.close()
        at = at.parent
    assert isinstance(inode, HostDirectory)
    assert inode.fd() >= 0


def test_unused_inodes_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for i in range(200):
        (tmp_path / f"f{i}").touch()
    sb = superblock(tmp_path)
    sb.sweep_at = 50
    monkeypatch.setattr(host_module, "SWEEP_FROM", 50)
    kept = child(sb.root(), b"f0")
    for i in range(200):
        child(sb.root(), b"f%d" % i)
    assert len(sb.inodes) < 60
    assert sb.root().lookup(b"f0") is kept


def test_a_vanished_file_says_so(tmp_path: Path) -> None:
    (tmp_path / "f").touch()
    inode = child(superblock(tmp_path).root(), b"f")
    os.remove(tmp_path / "f")
    with pytest.raises(ENOENT):
        inode.getattr()
    with pytest.raises(ENOENT):
        inode.open(NO_TASK, O_RDONLY)
