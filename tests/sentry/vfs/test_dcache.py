"""The dentry cache stays small and never forgets what is in use."""

from __future__ import annotations

import errno
import os

from support import call, make_kernel, make_task
from wardian.sentry.syscalls import dir, file, stat
from wardian.sentry.vfs import dcache
from wardian.sentry.vfs.namei import path_text, resolve

AT_FDCWD = -100


def test_missing_names_do_not_pile_up() -> None:
    task = make_task(make_kernel())
    for n in range(5000):
        assert call(task, stat.access, b"/no%d" % n, 0) == -errno.ENOENT
    assert len(task.fs.root.dentry.children) <= dcache.NEGATIVES_MAX + 1


def test_shrinking_drops_unused_names_and_keeps_used_ones() -> None:
    task = make_task(make_kernel())
    for n in range(50):
        call(task, dir.mkdir, b"/d%d" % n, 0o755)
        call(task, dir.mkdir, b"/d%d/e" % n, 0o755)
    call(task, dir.chdir, b"/d7/e")
    fd = call(task, file.openat, AT_FDCWD, b"/d9/f", os.O_CREAT | os.O_RDWR, 0o644)
    root = task.fs.root.dentry
    sb = task.fs.root.mount.sb
    assert sb.dentries > 100
    dcache.shrink(sb)
    assert sorted(root.children) == [b"d7", b"d9"]
    assert sb.dentries == 4
    path = task.files.get(fd).path
    assert path is not None and resolve(task, AT_FDCWD, b"/d9/f").same(path)
    assert path_text(task.fs.cwd, task.fs.root) == b"/d7/e"
    assert call(task, stat.access, b"/d3/e", 0) == 0


def test_forty_links_are_followed_and_no_more() -> None:
    task = make_task(make_kernel())
    call(task, dir.mkdir, b"/l0", 0o755)
    for n in range(1, 42):
        call(task, dir.symlink, b"l%d" % (n - 1), b"/l%d" % n)
    assert call(task, stat.access, b"/l40", 0) == 0
    assert call(task, stat.access, b"/l41", 0) == -errno.ELOOP
    call(task, dir.symlink, b"loop", b"/loop")
    assert call(task, stat.access, b"/loop", 0) == -errno.ELOOP


def test_long_names_and_paths() -> None:
    task = make_task(make_kernel())
    assert call(task, dir.mkdir, b"/" + b"n" * 255, 0o755) == 0
    assert call(task, dir.mkdir, b"/" + b"n" * 256, 0o755) == -errno.ENAMETOOLONG
    assert call(task, stat.access, b"/" * 4095, 0) == 0
    assert call(task, stat.access, b"/" * 4096, 0) == -errno.ENAMETOOLONG
    assert call(task, stat.access, b"", 0) == -errno.ENOENT
