"""One system call being traced, and the decoders of its arguments.

A :class:`Trace` is made when a call arrives. What the caller passed in is rendered at once; what
the call writes is rendered when it has finished, from guest memory, so a traced call's results are
written there before its reply (see ``Task.copy_out``). Reading never fails: what cannot be read is
printed as its address.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.platform.interface import HEAD_SIZE
from wardian.sentry.errno import LinuxError
from wardian.sentry.strace import structs, text
from wardian.sentry.strace.constants import GROUPS
from wardian.sentry.strace.specs import SPECS
from wardian.sentry.strace.structs import KIND_STRUCTS, SIZES
from wardian.sentry.syscalls import decode
from wardian.sentry.syscalls.strace_gen import CALLS

if TYPE_CHECKING:
    from wardian.platform.interface import Request
    from wardian.sentry.kernel.task import Task

OMIT: Final = "\0"  # a decoder's answer for an argument that strace leaves out
ITEMS: Final = 32  # of a list, before dots
VALUES: Final = "FD Pid Int Uid Gid Long Offset ClockId Signo"
IN_KINDS: Final = "UserPath UserString InBuf"


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
        self.form = form
        self.result = 0
        self.finished = False
        self.at = HEAD_SIZE  # the record in r.raw of the next in-argument
        self.lengths: dict[int, int] = {}  # value-result lengths as they were passed
        self.parts: list[str] = []
        for i, param in enumerate(form.params):
            self.parts.append("" if param.out else self.render(i))
            if param.decoder == "len" or (param.decoder == "msghdr" and param.out):
                self.note_length(i, param.decoder == "msghdr")

    def finish(self, result: int) -> str:
        """The arguments as text, now that the call has a result."""
        self.result = result
        self.finished = True
        for i, param in enumerate(self.form.params):
            if param.out:
                self.parts[i] = self.render(i)
        return ", ".join(part for part in self.parts if part != OMIT)

    def note_length(self, i: int, message: bool) -> None:
        """Remember what a value-result length was before the call."""
        data = self.read(self.r.args[i] + (8 if message else 0), 4)
        if len(data) == 4:
            self.lengths[i] = int.from_bytes(data, "little")

    def unfinished(self) -> str:
        """The arguments of a call that never returns."""
        for i, param in enumerate(self.form.params):
            if param.out:
                self.parts[i] = text.pointer(self.r.args[i])
        return ", ".join(part for part in self.parts if part != OMIT)

    # -- reading -----------------------------------------------------------------------------------
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
        value = self.r.args[i]
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
        address = self.r.args[i]
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

    # -- rendering ---------------------------------------------------------------------------------
    def render(self, i: int) -> str:
        """Argument ``i`` as text."""
        param = self.form.params[i]
        if param.kind in ("UserPath", "UserString", "InBuf") or param.kind in KIND_STRUCTS:
            return self.render_sent(i, param)
        if param.decoder == "len":
            return self.changed_length(i)
        if param.out and self.result < 0 and not self.shown_on_failure(param):
            return text.pointer(self.r.args[i])
        if param.decoder == ".":
            return self.by_kind(i, param)
        if param.decoder in ("struct", "left"):
            return self.struct_at(i, param)
        if param.decoder in ("flags", "one"):
            return self.constant(i, param)
        return self.by_decoder(i, param)

    def shown_on_failure(self, param: Param) -> bool:
        """True for what a failed call was given, or wrote all the same."""
        if param.decoder == "ioctl":
            return decode.u32(self.r.args[1]) in GIVING_IOCTLS
        return param.decoder == "left"

    def render_sent(self, i: int, param: Param) -> str:
        """An argument whose bytes came with the request."""
        data = self.sent(i)
        if data is None or self.r.args[i] == 0:
            return text.pointer(self.r.args[i])
        if param.kind in KIND_STRUCTS:
            return structs.text_of(KIND_STRUCTS[param.kind], data)
        if param.decoder == "sockaddr":
            return structs.address(data)
        if param.decoder == "optval":
            return option_value(data)
        if param.kind == "InBuf":
            cut = "" if len(data) >= self.number(i + 1) else "..."
            shown = text.quoted(data)
            return shown if shown.endswith("...") else shown + cut
        return text.quoted(data, -1)

    def by_kind(self, i: int, param: Param) -> str:
        """What the signature alone says."""
        kind = param.kind
        value = self.number(i)
        if kind in ("Addr", "OutBuf", "InIovec", "OutIovec"):
            return text.pointer(value)
        if kind == "FD":
            return text.descriptor(value)
        if kind in ("Uid", "Gid"):
            return "-1" if value == 0xFFFFFFFF else str(value)
        if kind == "Mode":
            return text.mode(value)
        if kind == "Signo":
            return text.signal_name(value)
        if kind == "ClockId":
            return text.one_of("CLOCK", value)
        if kind in ("Flags", "LongFlags"):
            return text.row_flags(self.form.flags, value)
        return str(value)

    def constant(self, i: int, param: Param) -> str:
        """A value of a named group."""
        value = self.number(i)
        if param.decoder == "flags":
            return text.flags(param.parameter, value & 0xFFFFFFFFFFFFFFFF)
        return text.one_of(param.parameter, value)

    def struct_at(self, i: int, param: Param) -> str:
        """A structure in guest memory."""
        address = self.r.args[i]
        if param.decoder == "left" and self.result != -4:
            return text.pointer(address)
        if param.parameter == "wstatus":
            data = self.read(address, 4)
            if len(data) < 4 or self.result == 0:
                return text.pointer(address)
            return "[" + text.wait_status(int.from_bytes(data, "little")) + "]"
        size = SIZES[param.parameter]
        data = self.read(address, size)
        return (
            structs.text_of(param.parameter, data) if len(data) == size else text.pointer(address)
        )

    def by_decoder(self, i: int, param: Param) -> str:
        """A decoder word of specs.py."""
        word = param.decoder
        if word == "-":
            return OMIT
        if word in PLAIN:
            return self.plain(i, word)
        if word in ("argv", "env"):
            return self.vector(i, word)
        if word in ("buf", "path", "str"):
            return self.bytes_at(i, param)
        if word == "iov":
            return self.iovec(self.r.args[i], self.r.args[i + 1], param.parameter == "in")
        if word in ("sockaddr", "msghdr", "sockopt", "optval"):
            return self.socket_argument(i, word)
        if word in ("poll", "fdset", "epoll_events", "sigpair"):
            return self.event_argument(i, word)
        return self.special(i, word)

    def plain(self, i: int, word: str) -> str:
        """Numbers with names, no memory."""
        value = self.number(i)
        if word == "fd":
            return text.descriptor(decode.s32(value))
        if word in ("pid", "msec"):
            return str(decode.s32(value))
        if word == "addr":
            return text.pointer(value)
        if word == "hex":
            return hex(value) if value else "0"
        if word == "mode":
            return text.mode(value)
        if word == "oflags":
            return text.open_flags(value)
        if word == "cmode":
            wanted = self.r.args[i - 1] & (0x40 | 0x400000)
            return text.mode(value) if wanted else OMIT
        if word == "filemode":
            return text.file_mode(value)
        if word == "dev":
            return text.device(value)
        if word == "signo":
            return text.signal_name(value)
        return self.plain_flags(value, word)

    def plain_flags(self, value: int, word: str) -> str:
        """Numbers that mix alternatives and flags."""
        if word == "access":
            return "F_OK" if value == 0 else text.flags("ACCESS", value)
        if word == "mapflags":
            kind, rest = text.one_of("MAP_TYPE", value & 3), value & ~3
            return f"{kind}|{text.flags('MAP', rest)}" if rest else kind
        if word == "socktype":
            kind, rest = text.one_of("SOCK", value & 0xF), value & ~0xF
            return f"{kind}|{text.flags('SOCK_F', rest)}" if rest else kind
        if word == "protocol":
            inet = self.number(0) in (2, 10)
            return text.one_of("IPPROTO", value) if inet else str(value)
        if word == "clone":
            return self.clone_arguments(value)
        return str(value)

    def clone_arguments(self, value: int) -> str:
        """All of clone(2), named and in strace's order; what no flag asks for is left out."""
        signo = value & 0xFF
        bits = text.flags("CLONE", value & ~0xFF) if value & ~0xFF else ""
        names = "|".join(w for w in (bits, text.signal_name(signo) if signo else "") if w)
        stack, parent, child, tls = self.r.args[1:5]
        words = [f"child_stack={text.pointer(stack)}", f"flags={names or '0'}"]
        if value & 0x00101000:  # CLONE_PARENT_SETTID, CLONE_PIDFD
            words.append(f"parent_tid={text.pointer(parent)}")
        if value & 0x00080000:  # CLONE_SETTLS
            words.append(f"tls={text.pointer(tls)}")
        if value & 0x01200000:  # CLONE_CHILD_SETTID, CLONE_CHILD_CLEARTID
            words.append(f"child_tidptr={text.pointer(child)}")
        return ", ".join(words)

    def futex_arguments(self) -> str:
        """All of futex(2), as far as its operation uses them."""
        address, value, third, fourth, other, last = self.r.args
        op = value & 0x7F
        name = text.one_of("FUTEX", op) + ("_PRIVATE" if value & 128 else "")
        name += "|FUTEX_CLOCK_REALTIME" if value & 256 else ""
        words = [text.pointer(address), name]
        if op not in (6, 7, 8, 13):
            words.append(str(decode.u32(third)))
        if op in (0, 6, 9, 11, 13):
            data = self.read(fourth, 16)
            known = len(data) == 16
            words.append(structs.text_of("timespec", data) if known else text.pointer(fourth))
        if op in (3, 4, 5, 12):
            words += [str(decode.u32(fourth)), text.pointer(other)]
        if op in (9, 10):
            full = decode.u32(last) == 0xFFFFFFFF
            words.append("FUTEX_BITSET_MATCH_ANY" if full else hex(decode.u32(last)))
        if op in (4, 5, 12):
            words.append(hex(decode.u32(last)))
        return ", ".join(words)

    def bytes_at(self, i: int, param: Param) -> str:
        """A buffer or string in guest memory; a buffer is as long as result or argument says."""
        address = self.r.args[i]
        if param.decoder in ("path", "str"):
            found = self.string(address) if address else None
            return text.pointer(address) if found is None else text.quoted(found, -1)
        length = self.r.args[int(param.parameter)] if param.parameter else self.result
        if param.parameter == "" and i + 1 < len(self.form.params):
            length = min(length, self.r.args[i + 1])
        if self.form.name == "getcwd":
            length -= 1  # the result counts the NUL
        data = self.read(address, min(length, text.STRING_LIMIT + 1))
        if len(data) < min(length, text.STRING_LIMIT + 1):
            return text.pointer(address)
        return text.quoted(data)

    def vector(self, i: int, word: str) -> str:
        """argv or, counted only, the environment of execve(2)."""
        address = self.r.args[i]
        if address == 0:
            return "NULL"
        pointers = self.words(address, 4096)
        if word == "env":
            plural = "var" if len(pointers) == 1 else "vars"
            return f"{address:#x} /* {len(pointers)} {plural} */"
        shown: list[str] = []
        for pointer in pointers[:ITEMS]:
            found = self.string(pointer)
            shown.append(text.pointer(pointer) if found is None else text.quoted(found))
        if len(pointers) > ITEMS:
            shown.append("...")
        return "[" + ", ".join(shown) + "]"

    def iovec(self, address: int, count: int, filled: bool) -> str:
        """struct iovec array; ``filled``: by this call, so the result limits it."""
        left = self.result if filled else 1 << 62
        shown: list[str] = []
        for k in range(min(count, ITEMS)):
            entry = self.read(address + 16 * k, 16)
            if len(entry) < 16:
                return text.pointer(address)
            base = int.from_bytes(entry[:8], "little")
            length = int.from_bytes(entry[8:], "little")
            part = min(length, left)
            left -= part
            data = self.read(base, min(part, text.STRING_LIMIT + 1))
            cut = min(part, text.STRING_LIMIT + 1)
            words = text.quoted(data) if len(data) == cut else text.pointer(base)
            shown.append(f"{{iov_base={words}, iov_len={length}}}")
        if count > ITEMS:
            shown.append("...")
        return "[" + ", ".join(shown) + "]"

    def socket_argument(self, i: int, word: str) -> str:
        """Addresses, options and messages."""
        if word == "sockopt":
            level = decode.s32(self.r.args[i - 1])
            groups = {1: "SO", 6: "TCP", 0: "IP", 41: "IPV6"}
            group = groups.get(level)
            return text.one_of(group, self.number(i)) if group else str(self.number(i))
        address = self.r.args[i]
        if word == "msghdr":
            return self.message(i)
        length = self.length_after(i)
        data = self.read(address, min(length, 128))
        if not data:
            return text.pointer(address)
        return structs.address(data) if word == "sockaddr" else option_value(data)

    def length_after(self, i: int) -> int:
        """The length argument after an address: behind a pointer for results, else plain."""
        value = self.r.args[i + 1]
        if not self.form.params[i].out:
            return decode.u32(value)
        return int.from_bytes(self.read(value, 4), "little")

    def changed_length(self, i: int) -> str:
        """A value-result length: ``[128 => 16]``."""
        before = self.lengths.get(i)
        data = self.read(self.r.args[i], 4)
        if before is None or len(data) < 4:
            return text.pointer(self.r.args[i])
        after = int.from_bytes(data, "little")
        return f"[{after}]" if after == before or self.result < 0 else f"[{before} => {after}]"

    def control(self, address: int, length: int) -> str:
        """The control messages of a msghdr."""
        data = self.read(address, min(length, 4096))
        shown: list[str] = []
        at = 0
        while at + 16 <= len(data) and len(shown) < ITEMS:
            size = int.from_bytes(data[at : at + 8], "little")
            if size < 16:
                break
            shown.append(structs.control_message(data[at : at + size]))
            at += (size + 7) & ~7
        return "[" + ", ".join(shown) + "]" if shown else text.pointer(address)

    def message(self, i: int) -> str:
        """struct msghdr."""
        address = self.r.args[i]
        data = self.read(address, 56)
        if len(data) < 56:
            return text.pointer(address)
        field = [int.from_bytes(data[k : k + 8], "little") for k in range(0, 56, 8)]
        after = field[1] & 0xFFFFFFFF
        before = self.lengths.get(i, after)
        namelen = str(after) if before == after else f"{before} => {after}"
        name = self.read(field[0], min(after, 128)) if field[0] else b""
        who = structs.address(name) if name else text.pointer(field[0])
        iov = self.iovec(field[2], field[3], self.finished)
        control = f", msg_control={self.control(field[4], field[5])}" if field[5] else ""
        bits = text.flags("MSG", field[6] & 0xFFFFFFFF)
        return (
            f"{{msg_name={who}, msg_namelen={namelen}, msg_iov={iov}, msg_iovlen={field[3]}"
            f"{control}, msg_controllen={field[5]}, msg_flags={bits}}}"
        )

    def event_argument(self, i: int, word: str) -> str:
        """poll, select and epoll sets."""
        address = self.r.args[i]
        if word == "poll":
            return self.poll_set(address, self.r.args[i + 1])
        if word == "fdset":
            return self.fd_set(address, decode.s32(self.r.args[0]))
        if word == "epoll_events":
            shown: list[str] = []
            for k in range(min(self.result, ITEMS)):
                entry = self.read(address + 12 * k, 12)
                if len(entry) == 12:
                    shown.append(structs.text_of("epoll_event", entry))
            return "[" + ", ".join(shown) + (", ..." if self.result > ITEMS else "") + "]"
        pair = self.read(address, 16)
        mask = self.read(int.from_bytes(pair[:8], "little"), 8) if len(pair) == 16 else b""
        if len(mask) < 8:
            return text.pointer(address)
        return f"{{sigmask={structs.text_of('sigset', mask)}, sigsetsize=8}}"

    def poll_set(self, address: int, count: int) -> str:
        """What poll(2) was asked."""
        shown: list[str] = []
        for k in range(min(count, ITEMS)):
            entry = self.read(address + 8 * k, 8)
            if len(entry) == 8:
                shown.append(structs.poll_entry(entry, 0, False))
        return "[" + ", ".join(shown) + (", ..." if count > ITEMS else "") + "]"

    def fd_set(self, address: int, count: int) -> str:
        """Members of an fd_set."""
        if address == 0:
            return "NULL"
        count = min(max(count, 0), 1024)
        bits = int.from_bytes(self.read(address, (count + 7) // 8), "little")
        return "[" + " ".join(str(fd) for fd in range(count) if bits >> fd & 1) + "]"

    def special(self, i: int, word: str) -> str:
        """Arguments whose meaning hangs on another argument."""
        value = self.r.args[i]
        if word == "fcntl":
            return self.fcntl_argument(value)
        if word == "ioctl":
            return self.ioctl_argument(value)
        if word == "prctl":
            found = self.string(value, 16) if self.number(0) == 15 else None
            return text.quoted(found) if found is not None else (hex(value) if value else "0")
        if word == "futex":
            return self.futex_arguments()
        if word == "random":
            data = self.read(value, min(self.result, text.STRING_LIMIT + 1))
            return text.hex_quoted(data)
        if word == "entries":
            return f"{value:#x} /* {self.entries(value)} entries */"
        if word == "cpus":
            size = self.result if self.finished else min(self.r.args[1], 128)
            mask = int.from_bytes(self.read(value, min(size, 128)), "little")
            return "[" + " ".join(str(n) for n in range(1024) if mask >> n & 1) + "]"
        if word == "gids":
            count = self.result if self.finished else self.number(0)
            return self.number_list(value, min(count, ITEMS))
        return text.pointer(value)

    def fcntl_argument(self, value: int) -> str:
        """fcntl(2)'s third argument, by command."""
        command = decode.u32(self.r.args[1])
        if command in (1, 3, 9, 11, 1025, 1032, 1034):
            return OMIT
        if command in (5, 6, 7, 36, 37, 38):
            data = self.read(value, 32)
            return structs.text_of("flock", data) if len(data) == 32 else text.pointer(value)
        if command == 2:
            return text.flags("FD", value)
        if command == 4:
            return text.open_flags(value)
        if command == 1033:
            return text.flags("F_SEAL", value)
        return str(decode.s32(value))

    def ioctl_argument(self, value: int) -> str:
        """ioctl(2)'s argument, for the common commands; else its address."""
        command = decode.u32(self.r.args[1])
        if command in (0x5401, 0x5402, 0x5403, 0x5404):
            data = self.read(value, 36)
            return structs.termios(data) if len(data) == 36 else text.pointer(value)
        if command in (0x5413, 0x5414):
            data = self.read(value, 8)
            return structs.text_of("winsize", data) if len(data) == 8 else text.pointer(value)
        if command in (0x540F, 0x5410, 0x5421, 0x541B, 0x5429, 0x5452, 0x40045431, 0x80045430):
            data = self.read(value, 4)
            return structs.number(data, "int") if len(data) == 4 else text.pointer(value)
        if command in (0x5450, 0x5451, 0x540E, 0x5422, 0x540C, 0x540D):
            return OMIT if value == 0 else hex(value)
        return hex(value) if value else "0"

    def entries(self, address: int) -> int:
        """How many directory entries a getdents64(2) wrote."""
        count = 0
        offset = 0
        while offset < self.result and count < 4096:
            length = int.from_bytes(self.read(address + offset + 16, 2), "little")
            if length == 0:
                break
            offset += length
            count += 1
        return count

    def number_list(self, address: int, count: int) -> str:
        """An array of 32-bit numbers."""
        if address == 0:
            return "NULL"
        data = self.read(address, 4 * max(count, 0))
        values = [int.from_bytes(data[k : k + 4], "little") for k in range(0, len(data), 4)]
        return "[" + ", ".join(str(v) for v in values) + "]"

    def hex_result(self) -> bool:
        """True when strace prints the result in hexadecimal."""
        if self.form.name in ("mmap", "brk", "mremap", "shmat"):
            return True
        return self.form.name == "fcntl" and decode.u32(self.r.args[1]) in (1, 3, 1034)

    def note(self) -> str:
        """What strace adds in brackets after the result."""
        name = self.form.name
        if self.result == 0 and name in ("poll", "ppoll", "select", "pselect6"):
            return " (Timeout)"
        if self.result > 0 and name in ("poll", "ppoll"):
            return self.returned_events()
        if self.result > 0 and name in ("select", "pselect6"):
            return self.returned_sets()
        if self.result >= 0 and name == "fcntl":
            return self.fcntl_note()
        return ""

    def returned_events(self) -> str:
        """The pollfds that have something to report."""
        shown: list[str] = []
        for k in range(min(self.r.args[1], ITEMS)):
            entry = self.read(self.r.args[0] + 8 * k, 8)
            words = structs.poll_entry(entry, 0, True) if len(entry) == 8 else ""
            if words:
                shown.append(words)
        return " ([" + ", ".join(shown) + "])"

    def returned_sets(self) -> str:
        """The sets that select(2) left non-empty."""
        shown: list[str] = []
        for k, name in ((1, "in"), (2, "out"), (3, "exc")):
            members = self.fd_set(self.r.args[k], decode.s32(self.r.args[0]))
            if members not in ("NULL", "[]"):
                shown.append(f"{name} {members}")
        left = self.read(self.r.args[4], 16)
        if len(left) == 16:
            kind = "timeval" if self.form.name == "select" else "timespec"
            shown.append(f"left {structs.text_of(kind, left)}")
        return " (" + ", ".join(shown) + ")"

    def fcntl_note(self) -> str:
        """Flags that fcntl(2) returned."""
        command = decode.u32(self.r.args[1])
        if command == 1 and self.result:
            return f" (flags {text.flags('FD', self.result)})"
        if command == 3:
            return f" (flags {text.open_flags(self.result)})"
        return ""


PLAIN: Final = (
    "fd", "pid", "msec", "addr", "hex", "mode", "oflags", "cmode", "filemode", "dev", "signo",
    "access", "mapflags", "socktype", "protocol", "clone",
)  # fmt: skip


# TCSETS*, TIOCSWINSZ, TIOCSPGRP, FIONBIO, FIOASYNC, TIOCSPTLCK, and those without an argument
GIVING_IOCTLS: Final = (
    0x5402, 0x5403, 0x5404, 0x5414, 0x5410, 0x5421, 0x5452, 0x40045431, 0x5450, 0x5451, 0x540E,
    0x5422, 0x540C, 0x540D,
)  # fmt: skip


def option_value(data: bytes) -> str:
    """A socket option: ``[1]`` when it is an int."""
    if len(data) == 4:
        return structs.number(data, "int")
    if len(data) == 8:
        onoff, linger = data[:4], data[4:]
        first, second = int.from_bytes(onoff, "little"), int.from_bytes(linger, "little")
        return f"{{l_onoff={first}, l_linger={second}}}"
    return text.quoted(data)


def known(name: str) -> bool:
    """True for a group name of the constants (used by tests over specs.py)."""
    return name in GROUPS or name in SIZES
