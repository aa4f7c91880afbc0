"""Host files below a granted directory: real directories, hostile links, bounded descriptors."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from fake_host import FakeClock
from support import make_task
from wardian.sentry.errno import (
    EEXIST,
    EINVAL,
    ENODATA,
    ENOENT,
    ENOTEMPTY,
    ENXIO,
    EPERM,
    EROFS,
    ESTALE,
    LinuxError,
)
from wardian.sentry.fs import host as host_module
from wardian.sentry.fs.devices import NullFile
from wardian.sentry.fs.host import HostDirectory, HostSuperBlock, grant
from wardian.sentry.fs.hostcalls import HostFS
from wardian.sentry.vfs.buffers import BytesSink, BytesSource
from wardian.sentry.vfs.file import O_APPEND, O_RDONLY, O_RDWR, O_WRONLY, File
from wardian.sentry.vfs.inode import S_IFCHR, S_IFIFO, AttributeChange, Attributes, Inode
from wardian.sentry.vfs.trust import NEVER

NO_TASK: Any = None
DEV = 0x2A


class CountingHost(HostFS):
    """Counts the calls that walk the host's tree."""

    def __init__(self) -> None:
        super().__init__()
        self.opens = 0
        self.stats = 0

    def openat2(self, dirfd: int, path: bytes, flags: int, mode: int = 0) -> int:
        self.opens += 1
        return super().openat2(dirfd, path, flags, mode)

    def stat(self, dirfd: int, name: bytes) -> Attributes | None:
        self.stats += 1
        return super().stat(dirfd, name)


def superblock(
    path: Path, *, shared: bool = True, read_only: bool = False, exclusive: bool = False
) -> HostSuperBlock:
    fd, only = grant(os.fsencode(path))
    return HostSuperBlock(
        CountingHost(),
        fd,
        DEV,
        FakeClock(),
        shared=shared,
        read_only=read_only or not shared,
        exclusive=exclusive,
        only=only,
    )


def child(inode: Inode, name: bytes) -> Inode:
    found = inode.lookup(name)
    assert found is not None
    return found


def read_all(file: File, count: int = 1 << 22) -> bytes:
    sink = BytesSink(count)
    file.read(sink, 0)
    return sink.data


def names(file: File) -> list[bytes]:
    found: list[bytes] = []
    position = 0
    while entries := file.readdir(position):
        found += [entry.name for entry in entries]
        position = entries[-1].position
    return found


def open_descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


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


# -- the two modes ---------------------------------------------------------------------------------
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
