"""mount(2), umount2(2), pivot_root(2), chroot(2) and how the path walk crosses mounts."""

from __future__ import annotations

import errno
import os

import pytest

from support import call, fork, get, make_kernel, make_task, put, room
from wardian.sentry.fs.tmpfs import TmpFSType
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import attr, dir, file, mount, stat
from wardian.sentry.vfs.dentry import MS_NODEV, MS_NOEXEC, MS_RDONLY

AT_FDCWD = -100
MS_REMOUNT, MS_BIND, MS_MOVE, MS_REC = 32, 4096, 8192, 16384


@pytest.fixture
def task() -> Task:
    kernel = make_kernel()
    kernel.filesystems[b"tmpfs"] = TmpFSType()
    task = make_task(kernel)
    for path in (b"/a", b"/b", b"/b/c"):
        assert call(task, dir.mkdir, path, 0o755) == 0
    return task


def do_mount(
    task: Task,
    source: bytes,
    target: bytes,
    kind: bytes = b"tmpfs",
    flags: int = 0,
    data: bytes = b"",
) -> int:
    return call(
        task,
        mount.mount,
        put(task, source + b"\0"),
        target,
        put(task, kind + b"\0"),
        flags,
        put(task, data + b"\0"),
    )


def touch(task: Task, path: bytes) -> int:
    fd = call(task, file.openat, AT_FDCWD, path, os.O_CREAT | os.O_WRONLY, 0o644)
    if fd >= 0:
        call(task, file.close, fd)
    return min(fd, 0)


def exists(task: Task, path: bytes) -> bool:
    return call(task, stat.access, path, 0) == 0


def cwd(task: Task) -> bytes:
    address = room(task, 4096)
    n = call(task, dir.getcwd, address, 4096)
    return get(task, address, n - 1) if n > 0 else b"errno %d" % -n


def test_mounted_file_system_hides_what_was_there(task: Task) -> None:
    touch(task, b"/a/below")
    assert do_mount(task, b"x", b"/a") == 0
    assert not exists(task, b"/a/below")
    touch(task, b"/a/above")
    assert call(task, dir.chdir, b"/a") == 0
    assert cwd(task) == b"/a"
    assert exists(task, b"../a/above")
    assert exists(task, b"../b")
    assert call(task, mount.umount2, b"/a", 0) == -errno.EBUSY
    call(task, dir.chdir, b"/")
    assert call(task, mount.umount2, b"/a", 0) == 0
    assert exists(task, b"/a/below")


def test_mount_point_cannot_be_removed_or_renamed(task: Task) -> None:
    do_mount(task, b"x", b"/a")
    assert call(task, dir.rmdir, b"/a") == -errno.EBUSY
    assert call(task, dir.rename, b"/a", b"/z") == -errno.EBUSY
    assert call(task, dir.rename, b"/b", b"/a/b") == -errno.EXDEV


def test_stacked_mounts_come_off_one_by_one(task: Task) -> None:
    do_mount(task, b"1", b"/a")
    touch(task, b"/a/one")
    do_mount(task, b"2", b"/a")
    assert not exists(task, b"/a/one")
    assert call(task, mount.umount2, b"/a", 0) == 0
    assert exists(task, b"/a/one")


def test_bind_shows_a_subtree_and_rbind_what_is_mounted_in_it(task: Task) -> None:
    do_mount(task, b"x", b"/b/c")
    touch(task, b"/b/c/f")
    touch(task, b"/b/g")
    assert do_mount(task, b"/b", b"/a", flags=MS_BIND) == 0
    assert exists(task, b"/a/g") and not exists(task, b"/a/c/f")
    call(task, mount.umount2, b"/a", 0)
    assert do_mount(task, b"/b", b"/a", flags=MS_BIND | MS_REC) == 0
    assert exists(task, b"/a/c/f")
    assert call(task, mount.umount2, b"/a", 0) == -errno.EBUSY
    assert call(task, mount.umount2, b"/a", 2) == 0
    assert exists(task, b"/b/c/f")


def test_read_only_remount_refuses_changes(task: Task) -> None:
    do_mount(task, b"x", b"/a")
    touch(task, b"/a/f")
    assert do_mount(task, b"x", b"/a", flags=MS_REMOUNT | MS_RDONLY) == 0
    assert touch(task, b"/a/g") == -errno.EROFS
    assert touch(task, b"/a/f") == -errno.EROFS
    assert call(task, dir.unlink, b"/a/f") == -errno.EROFS
    assert call(task, dir.mkdir, b"/a/d", 0o755) == -errno.EROFS
    assert call(task, dir.mkdir, b"/a/f", 0o755) == -errno.EEXIST
    assert call(task, attr.chmod, b"/a/f", 0o600) == -errno.EROFS
    assert call(task, stat.access, b"/a/f", 2) == -errno.EROFS


def test_nodev_and_noexec(task: Task) -> None:
    do_mount(task, b"x", b"/a", flags=MS_NODEV | MS_NOEXEC)
    call(task, dir.mknod, b"/a/dev", 0o020666, 0x103)
    fd = call(task, file.openat, AT_FDCWD, b"/a/dev", 0, 0)
    assert fd == -errno.EACCES
    touch(task, b"/a/f")
    call(task, attr.chmod, b"/a/f", 0o755)
    assert call(task, stat.access, b"/a/f", 1) == -errno.EACCES


def test_locked_mounts_stay_as_the_host_gave_them(task: Task) -> None:
    do_mount(task, b"x", b"/a", flags=MS_RDONLY)
    at = task.kernel.mounts.mounts()[-1]
    at.hold()
    assert do_mount(task, b"x", b"/a", flags=MS_REMOUNT) == -errno.EPERM
    assert call(task, mount.umount2, b"/a", 0) == -errno.EINVAL
    assert call(task, mount.umount2, b"/a", 2) == -errno.EINVAL
    assert do_mount(task, b"/a", b"/b", flags=MS_MOVE) == -errno.EINVAL
    assert do_mount(task, b"/", b"/b", flags=MS_BIND) == -errno.EINVAL
    assert do_mount(task, b"/a", b"/b", flags=MS_BIND) == 0
    assert do_mount(task, b"x", b"/b", flags=MS_REMOUNT | MS_BIND) == -errno.EPERM
    assert call(task, mount.umount2, b"/b", 0) == 0
    assert do_mount(task, b"/", b"/b", flags=MS_BIND | MS_REC) == 0
    assert call(task, mount.umount2, b"/b/a", 0) == -errno.EINVAL


def test_propagation_is_taken_and_checked(task: Task) -> None:
    do_mount(task, b"x", b"/a")
    call(task, dir.mkdir, b"/a/sub", 0o755)
    for kind in (17, 18, 19, 20):
        assert do_mount(task, b"x", b"/a", flags=1 << kind | MS_REC) == 0
    assert do_mount(task, b"x", b"/a", flags=3 << 18) == -errno.EINVAL
    assert do_mount(task, b"x", b"/a", flags=1 << 18 | MS_RDONLY) == -errno.EINVAL
    assert do_mount(task, b"x", b"/a/sub", flags=1 << 18) == -errno.EINVAL


def test_move_and_its_loops(task: Task) -> None:
    do_mount(task, b"x", b"/a")
    touch(task, b"/a/f")
    call(task, dir.mkdir, b"/a/sub", 0o755)
    assert do_mount(task, b"/a", b"/a/sub", flags=MS_MOVE) == -errno.ELOOP
    assert do_mount(task, b"/a", b"/b/c", flags=MS_MOVE) == 0
    assert exists(task, b"/b/c/f") and not exists(task, b"/a/f")


def test_unprivileged_and_unknown(task: Task) -> None:
    assert do_mount(task, b"x", b"/a", b"ext9") == -errno.ENODEV
    assert call(task, mount.umount2, b"/a", 0) == -errno.EINVAL
    task.credentials = user_credentials(1000, 1000)
    assert do_mount(task, b"x", b"/a") == -errno.EPERM
    assert call(task, mount.chroot, b"/a") == -errno.EPERM


def test_size_option_bounds_the_file_system(task: Task) -> None:
    do_mount(task, b"x", b"/a", data=b"size=64k,nr_inodes=3,mode=0700")
    fd = call(task, file.openat, AT_FDCWD, b"/a/f", os.O_CREAT | os.O_RDWR, 0o644)
    data = b"x" * 100_000
    assert call(task, file.write, fd, data, len(data)) == 65536
    assert call(task, file.write, fd, data, len(data)) == -errno.ENOSPC
    call(task, file.ftruncate, fd, 0)
    assert call(task, file.write, fd, data[:10], 10) == 10
    assert touch(task, b"/a/g") == 0
    assert touch(task, b"/a/h") == -errno.ENOSPC
    call(task, dir.unlink, b"/a/g")
    assert touch(task, b"/a/h") == 0


def test_unlinked_open_files_keep_their_space_until_closed(task: Task) -> None:
    do_mount(task, b"x", b"/a", data=b"size=128k")
    fd = call(task, file.openat, AT_FDCWD, b"/a/f", os.O_CREAT | os.O_RDWR, 0o644)
    call(task, file.write, fd, bytes(131072), 131072)
    call(task, dir.unlink, b"/a/f")
    g = call(task, file.openat, AT_FDCWD, b"/a/g", os.O_CREAT | os.O_RDWR, 0o644)
    assert call(task, file.write, g, b"x", 1) == -errno.ENOSPC
    call(task, file.close, fd)
    assert call(task, file.write, g, b"x", 1) == 1


def test_chroot_holds_dotdot_and_hides_the_outside(task: Task) -> None:
    touch(task, b"/b/f")
    outside = call(task, file.openat, AT_FDCWD, b"/", os.O_DIRECTORY, 0)
    call(task, dir.chdir, b"/b/c")
    assert call(task, mount.chroot, b"/b") == 0
    assert cwd(task) == b"/c"
    assert exists(task, b"/f") and exists(task, b"../../../f") and not exists(task, b"/b")
    assert call(task, dir.fchdir, outside) == 0
    assert cwd(task) == b"(unreachable)/"


def test_pivot_root_moves_everybody(task: Task) -> None:
    other = fork(task)
    do_mount(task, b"x", b"/b")
    call(task, dir.mkdir, b"/b/old", 0o755)
    touch(task, b"/b/new")
    assert call(task, mount.pivot_root, b"/b", b"/a") == -errno.EINVAL
    assert call(task, mount.pivot_root, b"/b", b"/b/old") == 0
    for one in (task, other):
        assert exists(one, b"/new") and exists(one, b"/old/a")
    assert call(task, mount.umount2, b"/old", 2) == 0
    assert not exists(task, b"/old/a")
