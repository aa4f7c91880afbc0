"""Random sequences of file system calls, made natively on a tmpfs and on ours: same results, same
errno."""

from __future__ import annotations

import ctypes
import os
import random
import shutil
import stat as stat_module
import struct
import tempfile
from pathlib import Path
from typing import Any

import pytest

from support import call, get, make_kernel, make_task, put, room
from wardian.sentry.kernel.credentials import user_credentials
from wardian.sentry.kernel.task import Task
from wardian.sentry.syscalls import attr, descriptors, dir, file, iov, stat

SHM = Path("/dev/shm")
AT_FDCWD = -100
NAMES = [b"a", b"b", b"c", b"d1", b"d2", b"l1", b"l2"]

WIDE = ("read", "write", "pread", "pwrite", "lseek", "readlink", "copy_file_range")

libc = ctypes.CDLL(None, use_errno=True)

pytestmark = pytest.mark.skipif(not os.access(SHM, os.W_OK), reason="needs a native tmpfs")


def native(name: str, *args: Any) -> int:
    """A call of the C library: result or -errno."""
    function = getattr(libc, name)
    function.restype = ctypes.c_long if name in WIDE else ctypes.c_int
    result = int(function(*args))
    return -ctypes.get_errno() if result == -1 else result


class Pair:
    """The two worlds: a directory of the host's tmpfs, and our root."""

    def __init__(self, top: bytes) -> None:
        self.top = top
        self.task: Task = make_task(make_kernel())
        self.fds: list[tuple[int, int]] = []
        protected = self.task.kernel.protected
        for name in ("symlinks", "hardlinks", "fifos", "regular"):
            setting = Path(f"/proc/sys/fs/protected_{name}")
            setattr(protected, name, int(setting.read_text()) if setting.exists() else 0)

    def path(self, random: random.Random) -> bytes:
        parts = [random.choice(NAMES) for _ in range(random.choice((1, 1, 1, 2, 2, 3)))]
        if random.random() < 0.15:
            parts.insert(random.randrange(len(parts) + 1), random.choice((b".", b"..")))
        text = b"/".join(parts)
        if random.random() < 0.1:
            text += b"/"
        # ".." must not leave the native directory: ours stops at the root there
        return b"x/y/z/" + text

    def both(self, words: str, theirs: int, ours: int) -> None:
        assert ours == theirs, f"{words}: Linux {theirs}, Wardian {ours}"


ROOT = user_credentials(0, 0)
USER = user_credentials(1000, 1000)


def step_as_somebody(pair: Pair, r: random.Random) -> None:
    """One step as root or, half the time, as an ordinary user."""
    if r.random() < 0.5:
        step(pair, r)
        return
    os.setegid(1000)
    os.seteuid(1000)
    pair.task.credentials = USER
    try:
        step(pair, r)
    finally:
        os.seteuid(0)
        os.setegid(0)
        pair.task.credentials = ROOT


def step(pair: Pair, r: random.Random) -> None:
    task, top = pair.task, pair.top
    one, two = pair.path(r), pair.path(r)
    n1, n2 = top + b"/" + one, top + b"/" + two
    o1, o2 = b"/" + one, b"/" + two
    kind = r.choice(
        [
            "open",
            "open",
            "mkdir",
            "rmdir",
            "unlink",
            "rename",
            "rename",
            "link",
            "symlink",
            "readlink",
            "stat",
            "lstat",
            "truncate",
            "access",
            "getdents",
            "mkfifo",
            "file",
            "file",
            "file",
            "chmod",
            "chmod",
            "chown",
        ]
    )
    if kind == "open":
        flags = r.choice((0, 1, 2)) | sum(
            r.choice((0, 0, f))
            for f in (os.O_CREAT, os.O_EXCL, os.O_TRUNC, os.O_NOFOLLOW, os.O_APPEND)
        )
        flags |= r.choice((0, 0, 0, os.O_DIRECTORY, os.O_PATH)) | os.O_NONBLOCK
        theirs = native("open", n1, flags, 0o644)
        ours = call(task, file.openat, AT_FDCWD, o1, flags, 0o644)
        pair.both(f"open {one!r} {flags:#x}", min(theirs, 0), min(ours, 0))
        if ours >= 0:
            pair.fds.append((theirs, ours))
            if len(pair.fds) > 6:
                a, b = pair.fds.pop(r.randrange(len(pair.fds)))
                pair.both("close", native("close", a), call(task, file.close, b))
    elif kind == "mkdir":
        pair.both(f"mkdir {one!r}", native("mkdir", n1, 0o755), call(task, dir.mkdir, o1, 0o755))
    elif kind == "rmdir":
        pair.both(f"rmdir {one!r}", native("rmdir", n1), call(task, dir.rmdir, o1))
    elif kind == "unlink":
        pair.both(f"unlink {one!r}", native("unlink", n1), call(task, dir.unlink, o1))
    elif kind == "rename":
        flags = r.choice((0, 0, 1, 2))
        theirs = native("renameat2", AT_FDCWD, n1, AT_FDCWD, n2, flags)
        ours = call(task, dir.renameat2, AT_FDCWD, o1, AT_FDCWD, o2, flags)
        pair.both(f"rename {one!r} {two!r} {flags}", theirs, ours)
    elif kind == "link":
        flags = r.choice((0, 0x400))
        theirs = native("linkat", AT_FDCWD, n1, AT_FDCWD, n2, flags)
        ours = call(task, dir.linkat, AT_FDCWD, o1, AT_FDCWD, o2, flags)
        pair.both(f"link {one!r} {two!r} {flags}", theirs, ours)
    elif kind == "symlink":
        target = r.choice([b"a", b"../a", b"d1", b"d1/", b"l1", b"l2", b"d2/b", b".", b"nowhere"])
        theirs = native("symlink", target, n1)
        pair.both(f"symlink {target!r} {one!r}", theirs, call(task, dir.symlink, target, o1))
    elif kind == "readlink":
        buffer = ctypes.create_string_buffer(64)
        theirs = native("readlink", n1, buffer, 64)
        address = room(task, 64)
        ours = call(task, dir.readlink, o1, address, 64)
        pair.both(f"readlink {one!r}", theirs, ours)
        if ours > 0:
            assert get(task, address, ours) == buffer.raw[:ours]
    elif kind in ("stat", "lstat"):
        compare_stat(pair, kind, n1, o1)
    elif kind == "truncate":
        size = r.choice((0, 10, 5000, 100_000))
        theirs = native("truncate", n1, ctypes.c_long(size))
        pair.both(f"truncate {one!r}", theirs, call(task, file.truncate, o1, size))
    elif kind == "chown":
        uid, gid = r.choice((0, 1000, -1)), r.choice((0, 1000, -1))
        theirs = native("lchown", n1, uid, gid)
        ours = call(task, attr.lchown, o1, uid & 0xFFFFFFFF, gid & 0xFFFFFFFF)
        pair.both(f"chown {one!r} {uid} {gid}", theirs, ours)
    elif kind == "access" and task.credentials is ROOT:
        mode = r.randrange(8)
        theirs = native("access", n1, mode)
        pair.both(f"access {one!r} {mode}", theirs, call(task, stat.access, o1, mode))
    elif kind == "getdents":
        try:
            theirs_names = sorted(os.listdir(n1))
        except OSError as e:
            theirs_names = [-(e.errno or 0)]  # type: ignore[list-item]
        assert list_ours(task, o1) == theirs_names, f"ls {one!r}"
    elif kind == "mkfifo":
        theirs = native("mkfifo", n1, 0o600)
        pair.both(f"mkfifo {one!r}", theirs, call(task, dir.mknod, o1, 0o010600, 0))
    elif kind == "chmod":
        mode = r.choice((0o644, 0o600, 0o777, 0o1777, 0o2775, 0o6755, 0o711, 0o4700, 0o2070))
        theirs = native("chmod", n1, mode)
        pair.both(f"chmod {one!r}", theirs, call(task, attr.chmod, o1, mode))
    elif pair.fds:
        file_step(pair, r)


def file_step(pair: Pair, r: random.Random) -> None:
    """One operation on an open descriptor."""
    task = pair.task
    a, b = r.choice(pair.fds)
    if stat_module.S_ISFIFO(os.fstat(a).st_mode):
        return  # Linux loses room to partly filled pages; tests of pipes are elsewhere
    kind = r.choice(
        [
            "read",
            "write",
            "write",
            "lseek",
            "ftruncate",
            "pread",
            "pwrite",
            "fallocate",
            "dup",
            "getfl",
            "copy",
            "lock",
        ]
    )
    if kind in ("read", "pread"):
        count = r.choice((0, 10, 5000, 80_000))
        buffer, address = ctypes.create_string_buffer(count + 1), room(task, count)
        if kind == "read":
            theirs = native("read", a, buffer, count)
            ours = call(task, file.read, b, address, count)
        else:
            at = r.choice((-1, 0, 100, 70_000))
            theirs = native("pread", a, buffer, count, ctypes.c_long(at))
            ours = call(task, file.pread64, b, address, count, at)
        pair.both(kind, theirs, ours)
        if ours > 0:
            assert get(task, address, ours) == buffer.raw[:ours]
    elif kind in ("write", "pwrite"):
        data = bytes([r.randrange(1, 256)]) * r.choice((0, 1, 100, 5000, 70_000))
        if kind == "write":
            theirs = native("write", a, data, len(data))
            ours = call(task, file.write, b, data, len(data))
        else:
            at = r.choice((-1, 0, 100, 70_000))
            theirs = native("pwrite", a, data, len(data), ctypes.c_long(at))
            ours = call(task, file.pwrite64, b, data, len(data), at)
        pair.both(kind, theirs, ours)
    elif kind == "lseek":
        offset, whence = r.choice((-5, 0, 3, 5000)), r.randrange(6)
        theirs = native("lseek", a, ctypes.c_long(offset), whence)
        ours = call(task, file.lseek, b, offset, whence)
        if whence in (3, 4):  # where holes are is up to the file system
            if theirs >= 0 or whence == 4:
                pair.both(f"lseek {offset} {whence}", min(theirs, 0), min(ours, 0))
            back = native("lseek", a, ctypes.c_long(0), 0)
            pair.both("lseek", back, call(task, file.lseek, b, 0, 0))
        else:
            pair.both(f"lseek {offset} {whence}", theirs, ours)
    elif kind == "ftruncate":
        size = r.choice((0, 10, 5000, 100_000))
        theirs = native("ftruncate", a, ctypes.c_long(size))
        pair.both("ftruncate", theirs, call(task, file.ftruncate, b, size))
    elif kind == "fallocate":
        mode = r.choice((0, 1, 3, 2))
        offset, length = r.choice((0, 50, 8192)), r.choice((0, 10, 9000))
        theirs = native("fallocate", a, mode, ctypes.c_long(offset), ctypes.c_long(length))
        ours = call(task, file.fallocate, b, mode, offset, length)
        pair.both(f"fallocate {mode} {offset} {length}", theirs, ours)
    elif kind == "dup":
        theirs, ours = native("dup", a), call(task, descriptors.dup, b)
        pair.both("dup", min(theirs, 0), min(ours, 0))
        if ours >= 0:
            pair.fds.append((theirs, ours))
    elif kind == "getfl":
        theirs, ours = native("fcntl", a, 3), call(task, descriptors.fcntl, b, 3, 0)
        pair.both(f"F_GETFL {theirs:#x} {ours:#x}", theirs, ours)
    elif kind == "lock":
        flock = struct.pack(
            "<hhxxxxqqixxxx",
            r.randrange(4),
            r.randrange(3),
            r.choice((-3, 0, 9)),
            r.choice((-4, 0, 10)),
            0,
        )
        theirs = native("fcntl", a, 6, ctypes.create_string_buffer(flock, 32))
        pair.both("F_SETLK", theirs, call(task, descriptors.fcntl, b, 6, put(task, flock)))
    else:
        c, d = r.choice(pair.fds)
        count = r.choice((0, 100, 9000))
        theirs = native("copy_file_range", a, None, c, None, count, 0)
        ours = call(task, iov.copy_file_range, b, 0, d, 0, count, 0)
        pair.both("copy_file_range", theirs, ours)


def compare_stat(pair: Pair, kind: str, theirs: bytes, ours: bytes) -> None:
    """Mode, links and size must agree; directories differ in how they count their size."""
    address = room(pair.task, 144)
    result = call(pair.task, getattr(stat, kind), ours, address)
    try:
        st = os.stat(theirs) if kind == "stat" else os.lstat(theirs)
    except OSError as e:
        pair.both(f"{kind} {ours!r}", -(e.errno or 0), result)
        return
    pair.both(f"{kind} {ours!r}", 0, result)
    fields = struct.unpack("<QQQIIIIQqqqqqqqqqqqq", get(pair.task, address, 144))
    assert fields[2:6] == (st.st_nlink, st.st_mode, st.st_uid, st.st_gid)
    if not fields[3] & 0o040000 or fields[3] & 0o100000:
        assert fields[8] == st.st_size


def list_ours(task: Task, path: bytes) -> list[Any]:
    """Sorted names of a directory without the dots, or [-errno]."""
    fd = call(task, file.openat, AT_FDCWD, path, os.O_DIRECTORY, 0)
    if fd < 0:
        return [fd]
    names: list[bytes] = []
    address = room(task, 200)
    while (n := call(task, dir.getdents64, fd, address, 200)) > 0:
        data = get(task, address, n)
        while data:
            length = struct.unpack_from("<H", data, 16)[0]
            names.append(data[19:length].split(b"\0")[0])
            data = data[length:]
    assert n == 0
    call(task, file.close, fd)
    return sorted(n for n in names if n not in (b".", b".."))


@pytest.mark.parametrize("seed", range(int(os.environ.get("VFS_SEEDS", "20"))))
def test_random_calls_agree_with_linux(seed: int) -> None:
    top = tempfile.mkdtemp(dir=SHM).encode()
    old = os.umask(0o022)
    pair = Pair(top)
    try:
        for path in (b"x", b"x/y", b"x/y/z", b"x/y/z/d1", b"x/y/z/d2"):
            assert native("mkdir", top + b"/" + path, 0o755) == 0
            assert call(pair.task, dir.mkdir, b"/" + path, 0o755) == 0
        os.chmod(top, 0o755)
        pair.task.credentials = ROOT
        one = step_as_somebody if os.getuid() == 0 and seed % 2 else step
        r = random.Random(seed)
        for _ in range(400):
            one(pair, r)
    finally:
        os.umask(old)
        for theirs, _ in pair.fds:
            os.close(theirs)
        shutil.rmtree(top)
