"""Arguments of socket calls: addresses, options, messages, and the iovecs that readv(2) has too."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.strace import structs, text
from wardian.sentry.syscalls import decode

if TYPE_CHECKING:
    from wardian.sentry.strace.trace import Trace


LEVELS: Final = {0: "IP", 1: "SO", 6: "TCP", 41: "IPV6"}
WORDS: Final = ("sockaddr", "msghdr", "sockopt", "optval")


def argument(trace: Trace, i: int, word: str) -> str:
    """Addresses, options and messages."""
    if word == "sockopt":
        group = LEVELS.get(decode.s32(trace.args[i - 1]))
        return text.one_of(group, trace.number(i)) if group else str(trace.number(i))
    address = trace.args[i]
    if word == "msghdr":
        return message(trace, i)
    length = length_after(trace, i)
    data = trace.read(address, min(length, 128))
    if not data:
        return text.pointer(address)
    return structs.address(data) if word == "sockaddr" else option_value(data)


def length_after(trace: Trace, i: int) -> int:
    """The length argument after an address: behind a pointer for results, else plain."""
    value = trace.args[i + 1]
    if not trace.form.params[i].out:
        return decode.u32(value)
    return int.from_bytes(trace.read(value, 4), "little")


def changed_length(trace: Trace, i: int) -> str:
    """A value-result length: ``[128 => 16]``."""
    before = trace.lengths.get(i)
    data = trace.read(trace.args[i], 4)
    if before is None or len(data) < 4:
        return text.pointer(trace.args[i])
    after = int.from_bytes(data, "little")
    return f"[{after}]" if after == before or trace.result < 0 else f"[{before} => {after}]"


def control(trace: Trace, address: int, length: int) -> str:
    """The control messages of a msghdr."""
    data = trace.read(address, min(length, 4096))
    shown: list[str] = []
    at = 0
    while at + 16 <= len(data) and len(shown) < text.ITEMS:
        size = int.from_bytes(data[at : at + 8], "little")
        if size < 16:
            break
        shown.append(structs.control_message(data[at : at + size]))
        at += (size + 7) & ~7
    return text.listed(shown) if shown else text.pointer(address)


def message(trace: Trace, i: int) -> str:
    """struct msghdr."""
    address = trace.args[i]
    data = trace.read(address, 56)
    if len(data) < 56:
        return text.pointer(address)
    field = [int.from_bytes(data[k : k + 8], "little") for k in range(0, 56, 8)]
    after = field[1] & 0xFFFFFFFF
    before = trace.lengths.get(i, after)
    namelen = str(after) if before == after else f"{before} => {after}"
    name = trace.read(field[0], min(after, 128)) if field[0] else b""
    who = structs.address(name) if name else text.pointer(field[0])
    iov = iovec(trace, field[2], field[3], trace.finished)
    ancillary = f", msg_control={control(trace, field[4], field[5])}" if field[5] else ""
    bits = text.flags("MSG", field[6] & 0xFFFFFFFF)
    return (
        f"{{msg_name={who}, msg_namelen={namelen}, msg_iov={iov}, msg_iovlen={field[3]}"
        f"{ancillary}, msg_controllen={field[5]}, msg_flags={bits}}}"
    )


def iovec(trace: Trace, address: int, count: int, filled: bool) -> str:
    """struct iovec array; ``filled``: by this call, so the result limits it."""
    left = trace.result if filled else 1 << 62
    shown: list[str] = []
    for k in range(min(count, text.ITEMS)):
        entry = trace.read(address + 16 * k, 16)
        if len(entry) < 16:
            return text.pointer(address)
        base = int.from_bytes(entry[:8], "little")
        length = int.from_bytes(entry[8:], "little")
        part = min(length, left)
        left -= part
        data = trace.read(base, min(part, text.STRING_LIMIT + 1))
        cut = min(part, text.STRING_LIMIT + 1)
        words = text.quoted(data) if len(data) == cut else text.pointer(base)
        shown.append(f"{{iov_base={words}, iov_len={length}}}")
    return text.listed(shown, count > text.ITEMS)


def option_value(data: bytes) -> str:
    """A socket option: ``[1]`` when it is an int."""
    if len(data) == 4:
        return structs.number(data, "int")
    if len(data) == 8:
        onoff, linger = int.from_bytes(data[:4], "little"), int.from_bytes(data[4:], "little")
        return f"{{l_onoff={onoff}, l_linger={linger}}}"
    return text.quoted(data)
