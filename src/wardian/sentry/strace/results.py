"""What strace(1) prints behind the equals sign."""

from __future__ import annotations

import os
from errno import errorcode
from typing import TYPE_CHECKING, Final

from wardian.sentry.abi.numbers import NUMBERS
from wardian.sentry.strace import events, text
from wardian.sentry.syscalls import decode
from wardian.sentry.syscalls.dispatch_gen import RESTART_NEVER, RESTART_NOHAND
from wardian.sentry.syscalls.dispatch_gen import RESTARTS as CALL_RESTARTS

if TYPE_CHECKING:
    from wardian.sentry.strace.trace import Trace

OCTAL_RESULTS: Final = ("umask",)
RESTARTS: Final[dict[int, str]] = {
    512: "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    513: "ERESTARTNOINTR (To be restarted)",
    514: "ERESTARTNOHAND (To be restarted if no handler)",
    516: "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}


def result_text(name: str, result: int, in_hex: bool = False) -> str:
    """``= 3``, ``= -1 ENOENT (No such file or directory)``, ``= ?``."""
    if -result in RESTARTS:
        return f"= ? {RESTARTS[-result]}"
    if -4096 < result < 0:
        return f"= -1 {error_name(-result)} ({os.strerror(-result)})"
    if in_hex and result:
        return f"= {result:#x}"
    if name in OCTAL_RESULTS:
        return f"= {text.mode(result)}"
    return f"= {result}"


def error_name(number: int) -> str:
    """EINVAL and its like."""
    return errorcode.get(number, f"ERRNO_{number}")


def interrupted_result(nr: int) -> int:
    """The kernel's own code for an interrupted call, by its kind of restart."""
    if nr in (NUMBERS["nanosleep"], NUMBERS["clock_nanosleep"], NUMBERS["poll"]):
        return -516
    if nr < 0 or nr >= len(CALL_RESTARTS) or CALL_RESTARTS[nr] == RESTART_NEVER:
        return -4
    return -514 if CALL_RESTARTS[nr] == RESTART_NOHAND else -512


def hex_result(trace: Trace) -> bool:
    """True when strace prints the result in hexadecimal."""
    if trace.form.name in ("mmap", "brk", "mremap", "shmat"):
        return True
    return trace.form.name == "fcntl" and decode.u32(trace.args[1]) in (1, 3, 1034)


def note(trace: Trace) -> str:
    """What strace adds in brackets after the result."""
    name = trace.form.name
    if trace.result == 0 and name in ("poll", "ppoll", "select", "pselect6"):
        return " (Timeout)"
    if trace.result > 0 and name in ("poll", "ppoll"):
        return events.returned_events(trace)
    if trace.result > 0 and name in ("select", "pselect6"):
        return events.returned_sets(trace)
    if trace.result >= 0 and name == "fcntl":
        return fcntl_note(trace)
    return ""


def fcntl_note(trace: Trace) -> str:
    """Flags that fcntl(2) returned."""
    command = decode.u32(trace.args[1])
    if command == 1 and trace.result:
        return f" (flags {text.flags('FD', trace.result)})"
    if command == 3:
        return f" (flags {text.open_flags(trace.result)})"
    return ""
