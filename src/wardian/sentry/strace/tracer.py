"""The tracer: which calls are wanted, and the lines.

``dispatcher.observer = Tracer(words, write)`` turns tracing on; ``write`` gets whole lines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from wardian.platform.interface import Request
from wardian.sentry.abi.numbers import NUMBERS, syscall_name
from wardian.sentry.strace import structs, text
from wardian.sentry.strace.results import hex_result, interrupted_result, note, result_text
from wardian.sentry.strace.specs import CLASSES
from wardian.sentry.strace.trace import Form, Trace
from wardian.sentry.syscalls.observe import CallObserver
from wardian.sentry.syscalls.strace_gen import CALLS

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Call, Task

RESULT_COLUMN: Final = 40  # strace -a
NO_RESULT: Final = ("exit", "exit_group", "rt_sigreturn")


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


class Tracer(CallObserver):
    """Writes one line per finished call of the selected numbers."""

    def __init__(self, words: str, write: Callable[[str], None]) -> None:
        self.selected = selection(words)
        self.write = write
        self.forms: dict[int, Form] = {}
        self.open: dict[int, Trace] = {}  # by tid: calls that have not finished
        self.statuses: dict[int, int] = {}  # by tid: what exit(2) was given

    def wants(self, nr: int) -> bool:
        """True when call ``nr`` is to be traced."""
        return nr in self.selected or nr not in NAMED

    def arrived(self, task: Task, call: Call) -> None:
        r = Request(call.raw)  # not the call, which holds the trace
        if r.nr in EXITS:
            self.statuses[task.tid] = (r.args[0] & 0xFF) << 8
        if not self.wants(r.nr) or r.nr not in CALLS:
            return
        form = self.forms.get(r.nr)
        if form is None:
            form = Form(r.nr)
            self.forms[r.nr] = form
        trace = Trace(task, r, form)
        call.trace = trace
        if form.name == "rt_sigreturn":
            self.line(task, *sigreturn_words(trace))
        elif form.name in NO_RESULT:
            self.line(task, f"{form.name}({trace.unfinished()})", "= ?")
        else:
            self.open[task.tid] = trace

    def finished(self, task: Task, request: Request, result: int | None) -> None:
        if result is None:
            return
        trace = self.open.pop(task.tid, None)
        if trace is not None:
            name = trace.form.name
            arguments = trace.finish(result)
            words = result_text(name, result, hex_result(trace)) + note(trace)
            self.line(task, f"{name}({arguments})", words)
        elif request.nr not in CALLS and self.wants(request.nr):
            words = ", ".join(hex(a) if a else "0" for a in request.args)
            self.line(task, f"{syscall_name(request.nr)}({words})", result_text("", result))

    def interrupted(self, task: Task, request: Request) -> None:
        self.finished(task, request, interrupted_result(request.nr))

    def signal(self, task: Task, signo: int, siginfo: bytes) -> None:
        words = structs.siginfo(siginfo) if len(siginfo) >= 36 else "{}"
        self.write(f"[pid {task.tid:5}] --- {text.signal_name(signo)} {words} ---\n")

    def ended(self, task: Task) -> None:
        trace = self.open.pop(task.tid, None)
        if trace is not None:
            self.line(task, f"{trace.form.name}({trace.unfinished()})", "= ?")
        group = task.group
        own = self.statuses.pop(task.tid, group.exit_code)
        status = group.exit_code if group.exiting else own
        words = f"exited with {status >> 8 & 0xFF}"
        if status & 0x7F:
            core = " (core dumped)" if status & 0x80 else ""
            words = f"killed by {text.signal_name(status & 0x7F)}{core}"
        self.write(f"[pid {task.tid:5}] +++ {words} +++\n")

    def line(self, task: Task, call: str, result: str) -> None:
        """One line, the result in strace's column."""
        start = f"[pid {task.tid:5}] {call}"
        self.write(f"{start.ljust(RESULT_COLUMN - 1)} {result}\n")


EXITS: Final = (NUMBERS["exit"], NUMBERS["exit_group"])


NAMED: Final = frozenset(NUMBERS.values())


def sigreturn_words(trace: Trace) -> tuple[str, str]:
    """rt_sigreturn(2): the mask and the register that the frame at the stack pointer restores."""
    host = trace.t.host
    context = trace.read(
        host.pointers()[1] if host else 0, 304
    )  # struct ucontext up to and with uc_sigmask
    if len(context) < 304:
        return "rt_sigreturn()", "= ?"
    mask = int.from_bytes(context[296:304], "little")
    rax = int.from_bytes(context[144:152], "little", signed=True)
    words = f"rt_sigreturn({{mask={text.signal_set(mask)}}})"
    return words, result_text("", rax, rax > 1 << 32)
