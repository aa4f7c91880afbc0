"""Cases of test_core.py: the functions of wardian._core."""

from __future__ import annotations

import ctypes
import mmap
import os
import socket
import struct
import sys

from guest_half import WRONG_NUMBERS, WRONG_TYPES, refused, refuses_wrong_types

from wardian import _core
from wardian.platform.layout import GUEST_TOP


def case_guest_memory() -> None:
    me = os.getpid()
    mapped = mmap.mmap(-1, 4096)
    high = ctypes.addressof(ctypes.c_char.from_buffer(mapped))
    assert high > GUEST_TOP  # where no guest has memory of its own
    assert _core.vm_read(me, high, 5) == b"" and _core.vm_write(me, high, b"x") == 0
    at = anonymous(0x10000, 0x2000)
    assert _core.vm_write(me, at, b"0123456789") == 10
    assert _core.vm_read(me, at, 4) == b"0123"
    assert len(_core.vm_read(me, at + 0x1FF0, 0x1000)) == 16
    assert _core.vm_write(me, at + 0x1FF0, bytes(100)) == 16
    assert _core.vm_read(me, at + 0x2000, 1) == b"" and _core.vm_write(me, at + 0x2000, b"x") == 0
    for count in (0, -1, -sys.maxsize - 1):
        assert _core.vm_read(me, at, count) == b""
    for address in (GUEST_TOP - 1, GUEST_TOP, (1 << 64) - 1, (1 << 47) - 1):
        assert _core.vm_read(me, address, 100) == b""
        assert _core.vm_write(me, address, bytes(100)) == 0
    try:  # a MemoryError, or what is there
        assert len(_core.vm_read(me, at, sys.maxsize)) == 0x2000
    except MemoryError:
        pass
    refuses_wrong_types(_core.vm_read, me, at, 1)
    refuses_wrong_types(_core.vm_write, me, at, b"x")
    for pid in (-1, 0x7FFFFFFF, (1 << 32) | me, *WRONG_NUMBERS):
        refused(_core.vm_read, pid, at, 1)
        refused(_core.vm_write, pid, at, b"x")
    assert _core.vm_strings(0x7FFFFFFF, [at]) == [None]


def case_text_is_given_back() -> None:
    """What nobody wrote to goes, and comes back when it is needed; data stays."""
    before, data = resident_text(), bytearray(b"written")
    _core.release_text()
    assert resident_text() < before * 3 // 4
    assert data == b"written" and struct.pack("<I", 7) == b"\7\0\0\0"
    refused(_core.release_text, 1)


def resident_text() -> int:
    """KiB of programs and libraries that are mapped for execution and in our page tables."""
    with open("/proc/self/smaps") as file:
        lines = [line.split() for line in file]
    sizes, counted = 0, False
    for words in lines:
        if "-" in words[0] and not words[0].endswith(":"):
            counted = words[1] == "r-xp" and words[4] != "0"
        elif words[0] == "Rss:" and counted:
            sizes += int(words[1])
    return sizes


def case_strings_of_a_guest() -> None:
    me = os.getpid()
    at = anonymous(0x20000, 0x2000)
    _core.vm_write(me, at, b"one\0two\0" + b"x" * 255 + b"\0" + b"y" * 256 + b"\0")
    _core.vm_write(me, at + 0x1FFC, b"last")
    long_one = at + 8
    assert _core.vm_strings(me, [at, at + 4, at + 3, long_one]) == [b"one", b"two", b"", b"x" * 255]
    assert _core.vm_strings(me, [long_one + 256]) == [b"y" * 256]
    assert _core.vm_strings(me, [at + 0x1FFC, at]) == [None, b"one"]
    assert _core.vm_strings(me, [at, 0, at]) == [b"one", None, b"one"]
    assert _core.vm_strings(me, [0, at, at + 0x2000]) == [None] * 3  # it stopped at the bad one
    pages = anonymous(0x40000, 0x28000)
    for page in range(40):  # more than are read at once
        _core.vm_write(me, pages + page * 0x1000, b"on page %d\0" % page)
    found = _core.vm_strings(me, [pages + page * 0x1000 for page in range(40)])
    assert found == [b"on page %d" % page for page in range(32)] + [None] * 8
    assert _core.vm_strings(me, [at, GUEST_TOP, at + 4]) == [b"one", None, b"two"]
    assert _core.vm_strings(me, [(1 << 64) - 1] * 64) == [None] * 64
    assert _core.vm_strings(me, [at] * 64) == [b"one"] * 64
    assert _core.vm_strings(me, []) == []
    refused(_core.vm_strings, me, [at] * 65)
    for wrong in ([None], ["x"], [-1], [1 << 64], [1.5], [at, object()]):
        refused(_core.vm_strings, me, wrong)
    refuses_wrong_types(_core.vm_strings, me, [at])


def anonymous(address: int, size: int) -> int:
    """Memory where guests have theirs, and none after it."""
    flags = mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x100000  # MAP_FIXED_NOREPLACE
    return int(_core.host_syscall(9, 0x5E0000000000 + address, size, 3, flags, -1, 0))


def case_notifications_on_what_is_no_listener() -> None:
    read_end, _ = os.pipe()
    for fd in (-1, 9999, read_end):
        refused(_core.notify_receive, fd)
        refused(_core.notify_send, fd, 1, 0, 0, True)
        refused(_core.notify_add_fd, fd, 1, 0, 64)
    for fd in [*WRONG_NUMBERS, *WRONG_TYPES]:
        refused(_core.notify_receive, fd)
    refused(_core.notify_send, read_end, (1 << 64) - 1, -(1 << 63), -(2**31), False)
    refuses_wrong_types(_core.notify_send, read_end, 1, 0, 0)
    refuses_wrong_types(_core.notify_add_fd, read_end, 1, 0, 64)


def case_descriptors_sent() -> None:
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for count in (0, 1, 3, 64):
        assert _core.send_fds(ours.fileno(), b"F", [1] * count) is None
        data, fds, _, _ = socket.recv_fds(theirs, 10, 100)
        assert (data, len(fds)) == (b"F", count)
        for fd in fds:
            assert os.path.sameopenfile(fd, 1)
            os.close(fd)
    refused(_core.send_fds, ours.fileno(), b"F", [1] * 65)
    refused(_core.send_fds, ours.fileno(), b"F", [9999])
    refused(_core.send_fds, 9999, b"F", [1])
    for wrong in [*WRONG_NUMBERS, *WRONG_TYPES]:
        refused(_core.send_fds, wrong, b"F", [1])
        refused(_core.send_fds, ours.fileno(), b"F", [wrong])
    refuses_wrong_types(_core.send_fds, ours.fileno(), b"F", [1])
    theirs.close()
    refused(_core.send_fds, ours.fileno(), b"F", [1])  # and no SIGPIPE


def case_openat2() -> None:
    root = os.open("/", os.O_PATH)
    fd = _core.openat2(root, b"dev/null", os.O_RDONLY, 0, 8)  # RESOLVE_BENEATH
    assert os.read(fd, 1) == b""
    for path in (b"/etc", b"../etc", b"", b"x" * 5000, "no\0where", b"no\0where"):
        refused(_core.openat2, root, path, 0, 0, 8)
    for flags, mode, resolve in [
        (1 << 63, 0, 0),
        (0, 0o777, 0),
        (0, 0, 1 << 40),
        (0, 0, (1 << 64) - 1),
    ]:
        refused(_core.openat2, root, b"dev", flags, mode, resolve)
    refused(_core.openat2, 9999, b"dev", 0, 0, 0)
    for wrong in (1, None, [], object()):
        refused(_core.openat2, root, wrong, 0, 0, 0)
        refused(_core.openat2, root, b"dev", wrong if wrong != 1 else "1", 0, 0)
    refused(_core.openat2, root, b"dev")


def case_signals_and_clocks() -> None:
    me = os.getpid()
    _core.tgkill(me, me, 0)
    for pid, tid, signo in [
        (me, me, 65),
        (me, me, -1),
        (-1, me, 0),
        (me, -1, 0),
        (me, 0x7FFFFFFF, 0),
    ]:
        refused(_core.tgkill, pid, tid, signo)
    refuses_wrong_types(_core.tgkill, me, me, 0)
    assert _core.cpu_time(me, False) > 0 and _core.cpu_time(me, True) > 0
    for gone in (0x7FFFFFFF, -1, -(2**31)):
        assert _core.cpu_time(gone, False) >= -1
    refused(_core.cpu_time, 1 << 40, False)
    refused(_core.cpu_time, None, False)


def case_host_calls() -> None:
    getpid, read, write = 39, 0, 1
    assert _core.host_syscall(getpid) == os.getpid()
    read_end, write_end = os.pipe()
    assert _core.host_syscall(write, write_end, b"bytes", 5) == 5
    buffer = bytearray(5)
    assert _core.host_syscall(read, read_end, buffer, 5) == 5 and buffer == b"bytes"
    buffer.append(0)  # it is not held any more
    refused(_core.host_syscall)
    refused(_core.host_syscall, getpid, 1, 2, 3, 4, 5, 6, 7)
    refused(_core.host_syscall, 10**6)
    refused(_core.host_syscall, 1 << 70)
    for wrong in ("text", 1.5, [], object()):
        refused(_core.host_syscall, write, write_end, buffer, wrong)
        refused(_core.host_syscall, wrong)
    buffer.append(0)  # nor after a failure
    assert _core.host_syscall(getpid, -1, None, 1 << 200, b"", bytearray(), memoryview(b"x")) > 0
    assert ctypes.string_at(_core.address_of(buffer), 5) == b"bytes"
    for wrong in (b"x", memoryview(b"x"), 1, None):
        refused(_core.address_of, wrong)


def numbers(packed: bytes | None) -> tuple[int, ...]:
    """What host_stat packed."""
    assert packed is not None
    return struct.unpack("14q", packed)


def case_attributes_of_files() -> None:
    root = os.open("/", os.O_PATH)
    assert numbers(_core.host_stat(root, b"dev/null"))[0] == os.stat("/dev/null").st_ino
    assert numbers(_core.host_stat(root, b""))[0] == os.stat("/").st_ino
    assert (
        _core.host_stat(root, b"nowhere") is None and _core.host_stat(root, b"dev/null/x") is None
    )
    for name in (b"x" * 5000, b"a\0b", b"\0"):
        refused(_core.host_stat, root, name)
    refused(_core.host_stat, 9999, b"x")
    refused(_core.host_stat, 1 << 70, b"x")
    refuses_wrong_types(_core.host_stat, root, b"dev")
    refused(_core.host_stat, root, bytearray(b"dev"))


def case_directory_records() -> None:
    """What a guest is given: the host's records, and nothing between them."""
    fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY)
    found, size = set(), 300
    while (piece := _core.host_dirents(fd, size))[0]:
        records, position = piece
        assert len(records) <= size
        at, after = 0, 0
        while at < len(records):
            ino, after, length = struct.unpack_from("<QqH", records, at)
            name, _, padding = records[at + 19 : at + length].partition(b"\0")
            assert not padding.strip(b"\0") and ino < 1 << 63
            found.add(os.fsdecode(name))
            at += length
        assert after == position
    assert found == {".", "..", *os.listdir("/")}
    refused(_core.host_dirents, fd)
    refused(_core.host_dirents, 9999, size)
    refused(_core.host_dirents, 1 << 70, 1)
    refused(_core.host_dirents, fd, 1 << 70)
    os.lseek(fd, 0, os.SEEK_SET)
    refused(_core.host_dirents, fd, 1)
    assert len(_core.host_dirents(fd, 1 << 40)[0]) <= 32768


def case_times_beyond_64_bits_of_nanoseconds() -> None:
    """A file may carry a date that int64 nanoseconds cannot (tmpfs takes any)."""
    where = os.open("/dev/shm", os.O_PATH)
    name = f"wardian-native-{os.getpid()}"
    path = f"/dev/shm/{name}"
    open(path, "x").close()
    try:
        for seconds in (1 << 40, -(1 << 40), (1 << 62), -(1 << 62)):
            _core.host_syscall(
                280, -100, path.encode() + b"\0", struct.pack("4q", seconds, 5, seconds, 5), 0
            )
            mtime = numbers(_core.host_stat(where, name.encode()))[11]
            assert -(1 << 63) <= mtime < 1 << 63 and (mtime > 0) == (os.stat(path).st_mtime > 0)
    finally:
        os.unlink(path)


def case_directories() -> None:
    names: list[bytes] = []
    fd = os.open("/usr/bin", os.O_RDONLY | os.O_DIRECTORY)
    while piece := _core.host_getdents(fd):
        names += [name for name, _, _, _ in piece]
    assert sorted(names) == sorted([b".", b"..", *os.listdir(b"/usr/bin")])
    read_end, _ = os.pipe()
    for wrong in (-1, 9999, read_end, *WRONG_NUMBERS, *WRONG_TYPES):
        refused(_core.host_getdents, wrong)
