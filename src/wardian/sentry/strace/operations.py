"""Arguments whose meaning hangs on an operation: clone(2), futex(2), fcntl(2), ioctl(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.strace import text
from wardian.sentry.syscalls import decode

if TYPE_CHECKING:
    from wardian.sentry.strace.trace import Trace


PR_SET_NAME: Final = 15
WORDS: Final = ("clone", "futex", "fcntl", "ioctl", "prctl")
# TCSETS*, TIOCSWINSZ, TIOCSPGRP, FIONBIO, FIOASYNC, TIOCSPTLCK, and those without an argument
GIVING_IOCTLS: Final = (
    0x5402, 0x5403, 0x5404, 0x5414, 0x5410, 0x5421, 0x5452, 0x40045431, 0x5450, 0x5451, 0x540E,
    0x5422, 0x540C, 0x540D,
)  # fmt: skip


def gives(trace: Trace) -> bool:
    """True for an ioctl(2) that is given its argument and does not write it."""
    return decode.u32(trace.args[1]) in GIVING_IOCTLS


def argument(trace: Trace, i: int, word: str) -> str:
    """An argument, or for clone and futex all of them."""
    value = trace.args[i]
    if word == "clone":
        return clone(trace, trace.number(i))
    if word == "futex":
        return futex(trace)
    if word == "fcntl":
        return fcntl(trace, value)
    if word == "ioctl":
        return ioctl(trace, value)
    name = trace.string(value, 16) if trace.number(0) == PR_SET_NAME else None
    return text.quoted(name) if name is not None else text.hexadecimal(value)


def clone(trace: Trace, value: int) -> str:
    """All of clone(2), named and in strace's order; what no flag asks for is left out."""
    signo = value & 0xFF
    bits = text.flags("CLONE", value & ~0xFF) if value & ~0xFF else ""
    names = "|".join(w for w in (bits, text.signal_name(signo) if signo else "") if w)
    stack, parent, child, tls = trace.args[1:5]
    words = [f"child_stack={text.pointer(stack)}", f"flags={names or '0'}"]
    if value & 0x00101000:  # CLONE_PARENT_SETTID, CLONE_PIDFD
        words.append(f"parent_tid={text.pointer(parent)}")
    if value & 0x00080000:  # CLONE_SETTLS
        words.append(f"tls={text.pointer(tls)}")
    if value & 0x01200000:  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID
        words.append(f"child_tidptr={text.pointer(child)}")
    return ", ".join(words)


def futex(trace: Trace) -> str:
    """All of futex(2), as far as its operation uses them."""
    address, value, third, fourth, other, last = trace.args
    op = value & 0x7F
    name = text.one_of("FUTEX", op) + ("_PRIVATE" if value & 128 else "")
    name += "|FUTEX_CLOCK_REALTIME" if value & 256 else ""
    words = [text.pointer(address), name]
    if op not in (6, 7, 8, 13):
        words.append(str(decode.u32(third)))
    if op in (0, 6, 9, 11, 13):
        words.append(trace.struct("timespec", fourth))
    if op in (3, 4, 5, 12):
        words += [str(decode.u32(fourth)), text.pointer(other)]
    if op in (9, 10):
        full = decode.u32(last) == 0xFFFFFFFF
        words.append("FUTEX_BITSET_MATCH_ANY" if full else hex(decode.u32(last)))
    if op in (4, 5, 12):
        words.append(hex(decode.u32(last)))
    return ", ".join(words)


def fcntl(trace: Trace, value: int) -> str:
    """fcntl(2)'s third argument, by command."""
    command = decode.u32(trace.args[1])
    if command in (1, 3, 9, 11, 1025, 1032, 1034):
        return text.OMIT
    if command in (5, 6, 7, 36, 37, 38):
        return trace.struct("flock", value)
    if command == 2:
        return text.flags("FD", value)
    if command == 4:
        return text.open_flags(value)
    if command == 1033:
        return text.flags("F_SEAL", value)
    return str(decode.s32(value))


def ioctl(trace: Trace, value: int) -> str:
    """ioctl(2)'s argument, for the common commands; else its address."""
    command = decode.u32(trace.args[1])
    if command in (0x5401, 0x5402, 0x5403, 0x5404):
        return trace.struct("termios", value)
    if command in (0x5413, 0x5414):
        return trace.struct("winsize", value)
    if command in (0x540F, 0x5410, 0x5421, 0x541B, 0x5429, 0x5452, 0x40045431, 0x80045430):
        return trace.struct("int", value)
    if command in (0x5450, 0x5451, 0x540E, 0x5422, 0x540C, 0x540D):
        return text.OMIT if value == 0 else hex(value)
    return text.hexadecimal(value)
