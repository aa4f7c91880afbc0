"""The sets of poll(2), select(2) and epoll_wait(2): what was asked, and what came back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.strace import structs, text
from wardian.sentry.syscalls import decode

if TYPE_CHECKING:
    from wardian.sentry.strace.trace import Trace


WORDS: Final = ("poll", "fdset", "epoll_events", "sigpair")


def argument(trace: Trace, i: int, word: str) -> str:
    """poll, select and epoll sets."""
    address = trace.args[i]
    if word == "poll":
        return poll_set(trace, address, trace.args[i + 1])
    if word == "fdset":
        return fd_set(trace, address, decode.s32(trace.args[0]))
    if word == "epoll_events":
        return epoll_events(trace, address, trace.result)
    return signal_mask(trace, address)


def signal_mask(trace: Trace, address: int) -> str:
    """pselect6(2)'s pair of a mask's address and size."""
    pair = trace.read(address, 16)
    mask = trace.read(int.from_bytes(pair[:8], "little"), 8) if len(pair) == 16 else b""
    if len(mask) < 8:
        return text.pointer(address)
    return f"{{sigmask={structs.text_of('sigset', mask)}, sigsetsize=8}}"


def epoll_events(trace: Trace, address: int, count: int) -> str:
    """What epoll_wait(2) returned."""
    shown: list[str] = []
    for k in range(min(count, text.ITEMS)):
        entry = trace.read(address + 12 * k, 12)
        if len(entry) == 12:
            shown.append(structs.text_of("epoll_event", entry))
    return text.listed(shown, count > text.ITEMS)


def poll_set(trace: Trace, address: int, count: int) -> str:
    """What poll(2) was asked."""
    shown: list[str] = []
    for k in range(min(count, text.ITEMS)):
        entry = trace.read(address + 8 * k, 8)
        if len(entry) == 8:
            shown.append(structs.poll_entry(entry, 0, False))
    return text.listed(shown, count > text.ITEMS)


def fd_set(trace: Trace, address: int, count: int) -> str:
    """Members of an fd_set."""
    if address == 0:
        return "NULL"
    count = min(max(count, 0), 1024)
    bits = int.from_bytes(trace.read(address, (count + 7) // 8), "little")
    return "[" + " ".join(str(fd) for fd in range(count) if bits >> fd & 1) + "]"


def returned_events(trace: Trace) -> str:
    """The pollfds that have something to report."""
    shown: list[str] = []
    for k in range(min(trace.args[1], text.ITEMS)):
        entry = trace.read(trace.args[0] + 8 * k, 8)
        words = structs.poll_entry(entry, 0, True) if len(entry) == 8 else ""
        if words:
            shown.append(words)
    return f" ({text.listed(shown)})"


def returned_sets(trace: Trace) -> str:
    """The sets that select(2) left non-empty."""
    shown: list[str] = []
    for k, name in ((1, "in"), (2, "out"), (3, "exc")):
        members = fd_set(trace, trace.args[k], decode.s32(trace.args[0]))
        if members not in ("NULL", "[]"):
            shown.append(f"{name} {members}")
    left = trace.read(trace.args[4], 16)
    if len(left) == 16:
        kind = "timeval" if trace.form.name == "select" else "timespec"
        shown.append(f"left {structs.text_of(kind, left)}")
    return " (" + ", ".join(shown) + ")"
