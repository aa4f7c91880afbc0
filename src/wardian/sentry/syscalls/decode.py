"""Decoding of system-call arguments: what ``dispatch_gen.py`` calls for each argument kind.

``raw`` is the whole message, which nobody takes apart: ``at`` is the offset of a record in it.
In-arguments follow the head, written by the stub as ``marshal_gen.py`` describes: per in-argument
one little-endian ``i64`` and then that many bytes, padded to 8. The guest owns the stub, so every
length is checked against what was received and against what the call needs; a record that does not
fit is EFAULT, never an overrun. A message without any means that nothing was sent: then the bytes
are fetched from guest memory here.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from librt.strings import read_i64_le
from mypy_extensions import i64

from wardian.platform.interface import HEAD_SIZE
from wardian.sentry.errno import EFAULT, ENAMETOOLONG

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

NULL_POINTER: Final = -1  # the argument is a null pointer
TOO_LARGE: Final = -2  # does not fit the stub's data area: fetch it
BAD_ADDRESS: Final = -14
TOO_LONG: Final = -36

PATH_MAX: Final = 4096  # with the NUL
SMALL_BUF_MAX: Final = 0x10000  # a buffer whose length is a 32-bit int (sockaddr, option values)


def s32(value: int) -> int:
    """The low half of a register as a signed number."""
    if 0 <= value <= 0x7FFFFFFF:
        return value
    low = value & 0xFFFFFFFF
    return low - 0x100000000 if low > 0x7FFFFFFF else low


def u32(value: int) -> int:
    """The low half of a register as an unsigned number."""
    return value & 0xFFFFFFFF


def s64(value: int) -> int:
    """A register as a signed number."""
    if value <= 0x3FFFFFFFFFFFFFFF:  # the common case, compared without a boxed number
        return value
    return value - 0x10000000000000000 if value > 0x7FFFFFFFFFFFFFFF else value


def skip(raw: bytes, at: i64) -> i64:
    """Where the record after the one at ``at`` begins."""
    end: i64 = len(raw)
    if end <= HEAD_SIZE:
        return HEAD_SIZE
    if at < HEAD_SIZE or at + 8 > end:
        raise EFAULT("malformed request")
    count: i64 = read_i64_le(raw, at)
    if count <= 0:
        return at + 8
    if count > end - at - 8:
        raise EFAULT("malformed request")
    return at + 8 + ((count + 7) & -8)


def string(t: Task, raw: bytes, at: i64, address: int) -> bytes:
    """A NUL-terminated string; null is EFAULT."""
    text = string_or_none(t, raw, at, address)
    if text is None:
        raise EFAULT("null string")
    return text


def string_or_none(t: Task, raw: bytes, at: i64, address: int) -> bytes | None:
    """A NUL-terminated string, None for a null pointer; EFAULT, ENAMETOOLONG."""
    if address == 0:
        return None
    if len(raw) <= HEAD_SIZE:
        return t.copy_in_string(address, PATH_MAX)
    count = record(raw, at)
    if count < 0:
        refuse(count)
        return t.copy_in_string(address, PATH_MAX)
    if count >= PATH_MAX:
        raise ENAMETOOLONG(f"string longer than {PATH_MAX} bytes")
    text = raw[at + 8 : at + 8 + count]
    # Only a tampered stub sends a NUL; Linux would have stopped there. (CPython looks for a number
    # at once; for b"\0" it raises and catches a TypeError first, which takes 0.4 us.)
    if 0 in text:
        return text[: text.index(0)]
    return text


def struct(t: Task, raw: bytes, at: i64, address: int, size: int) -> bytes:
    """Exactly ``size`` bytes; null is EFAULT."""
    found = struct_or_none(t, raw, at, address, size)
    if found is None:
        raise EFAULT("null pointer")
    return found


def struct_or_none(t: Task, raw: bytes, at: i64, address: int, size: int) -> bytes | None:
    """Exactly ``size`` bytes, None for a null pointer; EFAULT."""
    if address == 0:
        return None
    if len(raw) <= HEAD_SIZE:
        return t.copy_in(address, size)
    count = record(raw, at)
    if count == size:
        return raw[at + 8 : at + 8 + size]
    refuse(count)
    return t.copy_in(address, size)


def buf(
    t: Task, raw: bytes, at: i64, address: int, length: int, limit: int = SMALL_BUF_MAX
) -> bytes:
    """The bytes of an ``InBuf``, cut at ``limit``; null with a length is EFAULT."""
    if length <= 0:
        return b""
    wanted = length if length < limit else limit
    if len(raw) <= HEAD_SIZE:
        return t.copy_in(address, wanted)
    count = record(raw, at)
    if count == wanted:
        return raw[at + 8 : at + 8 + wanted]
    if count == NULL_POINTER:
        raise EFAULT("null buffer")
    refuse(count)
    return t.copy_in(address, wanted)


def sent(raw: bytes, at: i64, length: int) -> bytes:
    """The bytes of an ``InBuf`` with a ``size_t`` length, if all of them came along; otherwise
    none: the handler then takes them from guest memory piece by piece, and only as many as have
    somewhere to go."""
    if len(raw) <= HEAD_SIZE or length <= 0:
        return b""
    count = record(raw, at)
    if int(count) != length:  # as int: a guest's length need not fit an i64
        return b""
    return raw[at + 8 : at + 8 + count]


def buf_or_none(
    t: Task, raw: bytes, at: i64, address: int, length: int, limit: int = SMALL_BUF_MAX
) -> bytes | None:
    """Like :func:`buf`, but None for a null pointer."""
    if address == 0:
        return None
    return buf(t, raw, at, address, length, limit)


def record(raw: bytes, at: i64) -> i64:
    """The checked status or length of the record at ``at``."""
    end: i64 = len(raw)
    if at < HEAD_SIZE or at + 8 > end:
        raise EFAULT("malformed request")
    count: i64 = read_i64_le(raw, at)
    if count > end - at - 8:
        raise EFAULT("malformed request")
    return count


def refuse(status: int) -> None:
    """Raise for a record that says why nothing was sent; returns when the bytes must be fetched."""
    if status == BAD_ADDRESS:
        raise EFAULT("bad address")
    if status == TOO_LONG:
        raise ENAMETOOLONG(f"string longer than {PATH_MAX} bytes")
