"""The tracer: which calls are wanted, and the lines.

The dispatcher owns one Tracer when tracing is on, and none otherwise:

    if tracer is not None and tracer.wants(r.nr):
        call.trace = tracer.enter(t, r)     # before the handler runs for the first time
    ...
        tracer.leave(t, call.trace, result) # once it has a result (or was cut short: RESTARTS)

plus :meth:`Tracer.signal` when a signal is delivered and :meth:`Tracer.ended` when a task is gone.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from errno import errorcode
from typing import TYPE_CHECKING, Final

from wardian.sentry.abi.numbers import NUMBERS, syscall_name
from wardian.sentry.strace import structs, text
from wardian.sentry.strace.arguments import Form, Trace
from wardian.sentry.strace.specs import CLASSES
from wardian.sentry.syscalls.strace_gen import CALLS

if TYPE_CHECKING:
    from wardian.platform.interface import Request
    from wardian.sentry.kernel.task import Task

RESULT_COLUMN: Final = 40  # strace -a
NO_RESULT: Final = ("exit", "exit_group", "rt_sigreturn")
OCTAL_RESULTS: Final = ("umask",)
RESTARTS: Final[dict[int, str]] = {
    512: "ERESTARTSYS (To be restarted if SA_RESTART is set)",
    513: "ERESTARTNOINTR (To be restarted)",
    514: "ERESTARTNOHAND (To be restarted if no handler)",
    516: "ERESTART_RESTARTBLOCK (Interrupted by signal)",
}


class UnknownCall(ValueError):
    """A --strace selection names a call or class that does not exist."""


def selection(words: str) -> set[int]:
    """The numbers that ``--strace=`` names: calls, ``%classes``, ``!`` to invert; "" is all."""
    everything = set(NUMBERS.values())
    words = words.strip().removeprefix("trace=")
    if words in ("", "all"):
        return everything
    inverted = words.startswith("!")
    found: set[int] = set()
    for word in words.removeprefix("!").replace(",", " ").split():
        found |= calls_of(word)
    return everything - found if inverted else found


def calls_of(word: str) -> set[int]:
    """The numbers of one name or class."""
    if word in NUMBERS:
        return {NUMBERS[word]}
    name = word.removeprefix("%")
    if name in CLASSES:
        return {NUMBERS[call] for call in CLASSES[name].split()}
    if name == "file":
        return calls_with(("UserPath",))
    if name == "desc":
        return calls_with(("FD",))
    raise UnknownCall(f"no system call or class is named {word}")


def calls_with(kinds: tuple[str, ...]) -> set[int]:
    """The numbers of the calls that have an argument of one of ``kinds``."""
    found: set[int] = set()
    for nr, (_, arguments, _) in CALLS.items():
        for argument in arguments.split():
            if argument.partition(":")[2].rstrip("?") in kinds:
                found.add(nr)
    return found


class Tracer:
    """Writes one line per finished call of the selected numbers."""

    def __init__(self, words: str, write: Callable[[str], None]) -> None:
        self.selected = selection(words)
        self.write = write
        self.forms: dict[int, Form] = {}

    def wants(self, nr: int) -> bool:
        """True when call ``nr`` is to be traced."""
        return nr in self.selected or nr not in NAMED

    def enter(self, t: Task, r: Request) -> Trace | None:
        """A call has arrived: keep what it was given. None for one that the table does not have."""
        if r.nr not in CALLS:
            return None
        form = self.forms.get(r.nr)
        if form is None:
            form = Form(r.nr)
            self.forms[r.nr] = form
        trace = Trace(t, r, form)
        if form.name == "rt_sigreturn":
            self.line(t, *sigreturn_words(trace))
        elif form.name in NO_RESULT:
            self.line(t, f"{form.name}({trace.unfinished()})", "= ?")
        return trace

    def leave(self, t: Task, trace: Trace | None, r: Request, result: int) -> None:
        """A call has its result: a value, or a negative errno (512 and up: interrupted)."""
        if trace is None:
            words = ", ".join(hex(a) if a else "0" for a in r.args)
            self.line(t, f"{syscall_name(r.nr)}({words})", result_text("", result))
            return
        name = trace.form.name
        if name in NO_RESULT:
            return
        arguments = trace.finish(result)
        words = result_text(name, result, trace.hex_result()) + trace.note()
        self.line(t, f"{name}({arguments})", words)

    def line(self, t: Task, call: str, result: str) -> None:
        """One line, the result in strace's column."""
        start = f"[pid {t.tid:5}] {call}"
        self.write(f"{start.ljust(RESULT_COLUMN - 1)} {result}\n")

    def signal(self, t: Task, signo: int, siginfo: bytes) -> None:
        """A signal is delivered to ``t``."""
        words = structs.siginfo(siginfo) if len(siginfo) >= 36 else "{}"
        self.write(f"[pid {t.tid:5}] --- {text.signal_name(signo)} {words} ---\n")

    def ended(self, t: Task, wait_status: int) -> None:
        """A task is gone."""
        signo = wait_status & 0x7F
        if signo:
            core = " (core dumped)" if wait_status & 0x80 else ""
            self.write(f"[pid {t.tid:5}] +++ killed by {text.signal_name(signo)}{core} +++\n")
        else:
            self.write(f"[pid {t.tid:5}] +++ exited with {wait_status >> 8 & 0xFF} +++\n")


NAMED: Final = frozenset(NUMBERS.values())


def sigreturn_words(trace: Trace) -> tuple[str, str]:
    """rt_sigreturn(2): the mask and the register that the frame at the stack pointer restores."""
    context = trace.read(trace.r.sp, 304)  # struct ucontext up to and with uc_sigmask
    if len(context) < 304:
        return "rt_sigreturn()", "= ?"
    mask = int.from_bytes(context[296:304], "little")
    rax = int.from_bytes(context[144:152], "little", signed=True)
    words = f"rt_sigreturn({{mask={text.signal_set(mask)}}})"
    return words, result_text("", rax, rax > 1 << 32)


def result_text(name: str, result: int, in_hex: bool = False) -> str:
    """``= 3``, ``= -1 ENOENT (No such file or directory)``, ``= ?``."""
    if result in (-512, -513, -514, -516):
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
