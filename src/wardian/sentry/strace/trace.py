"""One system call being traced: when its arguments are rendered, and from where they are read.

A :class:`Trace` is made when a call arrives. What the caller passed in is rendered at once; what
the call writes is rendered when it has finished, from guest memory, so a traced call's results are
written there before its reply (see ``Task.copy_out``). Reading never fails: what cannot be read is
printed as its address. How an argument is printed is ``arguments.render``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from wardian.platform.interface import HEAD_SIZE
from wardian.sentry.errno import LinuxError
from wardian.sentry.strace import structs, text
from wardian.sentry.strace.arguments import render
from wardian.sentry.strace.specs import SPECS
from wardian.sentry.strace.structs import KIND_STRUCTS, SIZES
from wardian.sentry.syscalls import decode
from wardian.sentry.syscalls.strace_gen import CALLS

if TYPE_CHECKING:
    from wardian.platform.interface import Request
    from wardian.sentry.kernel.task import Task


class Param:
    """An argument's name, kind and decoder word."""

    def __init__(self, name: str, kind: str, word: str) -> None:
        self.name = name
        self.kind = kind
        self.out = word.startswith(">")
        decoder, _, parameter = word.lstrip(">").partition(":")
        self.decoder = decoder
        self.parameter = parameter


class Form:
    """How one system call is printed."""

    def __init__(self, nr: int) -> None:
        name, arguments, flags = CALLS[nr]
        self.name = name
        self.flags = flags
        words = SPECS.get(name, "").split()
        self.params: list[Param] = []
        for i, argument in enumerate(arguments.split()):
            param, _, kind = argument.partition(":")
            word = words[i] if i < len(words) else "."
            self.params.append(Param(param, kind.rstrip("?"), word))


class Trace:
    """A call on its way through the kernel."""

    def __init__(self, t: Task, r: Request, form: Form) -> None:
        self.t = t
        self.r = r
        self.args = r.args
        self.form = form
        self.result = 0
        self.finished = False
        self.at = HEAD_SIZE  # the record in r.raw of the next in-argument
        self.lengths: dict[int, int] = {}  # value-result lengths as they were passed
        self.parts: list[str] = []
        for i, param in enumerate(form.params):
            self.parts.append("" if param.out else render(self, i))
            if param.decoder == "len" or (param.decoder == "msghdr" and param.out):
                self.note_length(i, param.decoder == "msghdr")

    def finish(self, result: int) -> str:
        """The arguments as text, now that the call has a result."""
        self.result = result
        self.finished = True
        for i, param in enumerate(self.form.params):
            if param.out:
                self.parts[i] = render(self, i)
        return self.joined()

    def note_length(self, i: int, message: bool) -> None:
        """Remember what a value-result length was before the call."""
        data = self.read(self.args[i] + (8 if message else 0), 4)
        if len(data) == 4:
            self.lengths[i] = int.from_bytes(data, "little")

    def unfinished(self) -> str:
        """The arguments of a call that never returns."""
        for i, param in enumerate(self.form.params):
            if param.out:
                self.parts[i] = text.pointer(self.args[i])
        return self.joined()

    def joined(self) -> str:
        """The parts that strace does not leave out."""
        return ", ".join(part for part in self.parts if part != text.OMIT)

    def read(self, address: int, count: int) -> bytes:
        """Up to ``count`` bytes of guest memory; maybe none."""
        if address <= 0 or count <= 0 or address >> 47:
            return b""
        return self.t.memory.process.read_some(address, count)

    def string(self, address: int, limit: int = 4096) -> bytes | None:
        """A string of guest memory."""
        try:
            return self.t.copy_in_string(address, limit)
        except LinuxError:
            return None

    def struct(self, kind: str, address: int) -> str:
        """A structure of ``structs``, or its address."""
        data = self.read(address, SIZES[kind])
        return structs.text_of(kind, data) if len(data) == SIZES[kind] else text.pointer(address)

    def words(self, address: int, limit: int) -> list[int]:
        """Pointers up to a null one."""
        found: list[int] = []
        while len(found) < limit:
            data = self.read(address + 8 * len(found), 8)
            if len(data) < 8 or data == bytes(8):
                break
            found.append(int.from_bytes(data, "little"))
        return found

    def number(self, i: int) -> int:
        """Argument ``i`` with the sign of its kind."""
        value = self.args[i]
        kind = self.form.params[i].kind
        if kind in ("FD", "Pid", "Int", "Signo", "ClockId"):
            return decode.s32(value)
        if kind in ("Long", "Offset"):
            return decode.s64(value)
        if kind in ("UInt", "Uid", "Gid", "Mode", "Flags"):
            return decode.u32(value)
        return value

    def sent(self, i: int) -> bytes | None:
        """What the kernel was given for an in-argument; moves on to the next record."""
        kind = self.form.params[i].kind
        raw = self.r.raw
        at = self.at
        address = self.args[i]
        try:
            if kind in ("UserPath", "UserString"):
                found = decode.string_or_none(self.t, raw, at, address)
            elif kind == "InBuf":
                length = min(self.number(i + 1), 65536)
                found = self.buffer(raw, at, address, self.number(i + 1), length)
            else:
                size = SIZES[KIND_STRUCTS[kind]]
                found = decode.struct_or_none(self.t, raw, at, address, size)
        except LinuxError:
            found = None
        try:
            self.at = decode.skip(raw, at)
        except LinuxError:
            self.at = at
        return found

    def buffer(self, raw: bytes, at: int, address: int, length: int, limit: int) -> bytes | None:
        """An InBuf as it was sent along, or its beginning from guest memory."""
        if len(raw) > HEAD_SIZE and decode.record(raw, at) == length:
            return decode.buf(self.t, raw, at, address, length, length)
        found = self.read(address, limit)
        return found if len(found) == limit else None
