"""struct stat, struct statx and struct linux_dirent64 as the man pages lay them out."""

from __future__ import annotations

import os
import struct

import pytest
from librt.strings import BytesWriter

from wardian.sentry.syscalls.dir import RECORD_MORE, pack_entry
from wardian.sentry.syscalls.stat import pack_stat, pack_statx
from wardian.sentry.vfs.inode import S_IFDIR, S_IFREG, Attributes, DirEntry

STAT = struct.Struct("<QQQIIIIQqqqqqqqqq24x")
STATX = struct.Struct("<IIQIIIHxxQQQQqIxxxxqIxxxxqIxxxxqIxxxxIIIIQ104x")
SECOND = 10**9


def attributes(**fields: int) -> Attributes:
    """Every field another number."""
    a = Attributes()
    values = {
        "dev": 0x12_0034,
        "ino": (1 << 62) + 5,
        "mode": S_IFREG | 0o4755,
        "nlink": 3,
        "uid": 0xFFFF_FFFE,
        "gid": 0x8000_0000,
        "rdev": 0x501,
        "size": (1 << 63) - 1,
        "blocksize": 4096,
        "blocks": 77,
        "atime_ns": 5 * SECOND + 1,
        "mtime_ns": 1_700_000_000 * SECOND + 999_999_999,
        "ctime_ns": 0,
        "btime_ns": 7 * SECOND + 2,
    }
    for name, value in (values | fields).items():
        setattr(a, name, value)
    return a


def test_struct_stat() -> None:
    a = attributes()
    assert STAT.unpack(pack_stat(a)) == (
        *(a.dev, a.ino, a.nlink, a.mode, a.uid, a.gid, 0, a.rdev, a.size, 4096, 77),
        *(5, 1, 1_700_000_000, 999_999_999, 0, 0),
    )
    assert len(pack_stat(a)) == 144


def test_times_before_1970_have_positive_nanoseconds() -> None:
    a = attributes(atime_ns=-1, mtime_ns=-SECOND, ctime_ns=-(1 << 63))
    assert STAT.unpack(pack_stat(a))[11:] == (
        *(-1, 999_999_999),
        *(-1, 0),
        *divmod(-(1 << 63), SECOND),
    )


def test_struct_statx() -> None:
    a = attributes()
    packed = pack_statx(a, None, 0)
    assert len(packed) == 256
    assert STATX.unpack(packed) == (
        *(0xFFF, 4096, 0, 3, a.uid, a.gid, a.mode, a.ino, a.size, 77, 0x2000),
        *(5, 1, 7, 2, 0, 0, 1_700_000_000, 999_999_999),
        *(os.major(0x501), os.minor(0x501), os.major(a.dev), os.minor(a.dev), 0),
    )


@pytest.mark.parametrize("name", [b"a", b"1234", b"12345", b"x" * 255])
@pytest.mark.parametrize("wide", [True, False])
def test_directory_records(name: bytes, wide: bool) -> None:
    w = BytesWriter()
    length = (len(name) + RECORD_MORE) & ~7
    pack_entry(w, DirEntry(name, 9, S_IFDIR, (1 << 63) - 1), length, wide)
    packed = w.getvalue()
    assert len(packed) == length
    assert length % 8 == 0
    assert struct.unpack_from("<QqH", packed) == (9, (1 << 63) - 1, length)
    kind, rest = (packed[18], packed[19:]) if wide else (packed[-1], packed[18:-1])
    assert kind == S_IFDIR >> 12
    assert rest == name + bytes(len(rest) - len(name))
    assert len(rest) > len(name)
