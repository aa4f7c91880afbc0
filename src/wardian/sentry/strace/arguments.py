"""How one argument is printed, by its kind and its decoder word (``specs``)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.strace import events, operations, sockets, structs, text
from wardian.sentry.strace.structs import KIND_STRUCTS
from wardian.sentry.syscalls import decode

if TYPE_CHECKING:
    from wardian.sentry.strace.trace import Param, Trace

PLAIN: Final = (
    "fd", "pid", "msec", "addr", "hex", "mode", "oflags", "cmode", "filemode", "dev", "signo",
    "access", "mapflags", "socktype", "protocol",
)  # fmt: skip


def render(trace: Trace, i: int) -> str:
    """Argument ``i`` as text."""
    param = trace.form.params[i]
    if param.kind in ("UserPath", "UserString", "InBuf") or param.kind in KIND_STRUCTS:
        return render_sent(trace, i, param)
    if param.decoder == "len":
        return sockets.changed_length(trace, i)
    if param.out and trace.result < 0 and not shown_on_failure(trace, param):
        return text.pointer(trace.args[i])
    if param.decoder == ".":
        return by_kind(trace, i, param)
    if param.decoder in ("struct", "left"):
        return struct_at(trace, i, param)
    if param.decoder in ("flags", "one"):
        return constant(trace, i, param)
    return by_decoder(trace, i, param)


def shown_on_failure(trace: Trace, param: Param) -> bool:
    """True for what a failed call was given, or wrote all the same."""
    if param.decoder == "ioctl":
        return operations.gives(trace)
    return param.decoder == "left"


def render_sent(trace: Trace, i: int, param: Param) -> str:
    """An argument whose bytes came with the request."""
    data = trace.sent(i)
    if data is None or trace.args[i] == 0:
        return text.pointer(trace.args[i])
    if param.kind in KIND_STRUCTS:
        return structs.text_of(KIND_STRUCTS[param.kind], data)
    if param.decoder == "sockaddr":
        return structs.address(data)
    if param.decoder == "optval":
        return sockets.option_value(data)
    if param.kind == "InBuf":
        cut = "" if len(data) >= trace.number(i + 1) else "..."
        shown = text.quoted(data)
        return shown if shown.endswith("...") else shown + cut
    return text.quoted(data, -1)


def by_kind(trace: Trace, i: int, param: Param) -> str:
    """What the signature alone says."""
    kind = param.kind
    value = trace.number(i)
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
        return text.row_flags(trace.form.flags, value)
    return str(value)


def constant(trace: Trace, i: int, param: Param) -> str:
    """A value of a named group."""
    value = trace.number(i)
    if param.decoder == "flags":
        return text.flags(param.parameter, value & 0xFFFFFFFFFFFFFFFF)
    return text.one_of(param.parameter, value)


def struct_at(trace: Trace, i: int, param: Param) -> str:
    """A structure in guest memory."""
    address = trace.args[i]
    if param.decoder == "left" and trace.result != -4:
        return text.pointer(address)
    if param.parameter == "wstatus":
        data = trace.read(address, 4)
        if len(data) < 4 or trace.result == 0:
            return text.pointer(address)
        return "[" + text.wait_status(int.from_bytes(data, "little")) + "]"
    return trace.struct(param.parameter, address)


def by_decoder(trace: Trace, i: int, param: Param) -> str:
    """A decoder word of specs.py."""
    word = param.decoder
    if word == "-":
        return text.OMIT
    if word in PLAIN:
        return plain(trace, i, word)
    if word in ("argv", "env"):
        return vector(trace, i, word)
    if word in ("buf", "path", "str"):
        return bytes_at(trace, i, param)
    if word == "iov":
        return sockets.iovec(trace, trace.args[i], trace.args[i + 1], param.parameter == "in")
    if word in sockets.WORDS:
        return sockets.argument(trace, i, word)
    if word in events.WORDS:
        return events.argument(trace, i, word)
    if word in operations.WORDS:
        return operations.argument(trace, i, word)
    return array(trace, trace.args[i], word)


def plain(trace: Trace, i: int, word: str) -> str:
    """Numbers with names, no memory."""
    value = trace.number(i)
    if word == "fd":
        return text.descriptor(decode.s32(value))
    if word in ("pid", "msec"):
        return str(decode.s32(value))
    if word == "addr":
        return text.pointer(value)
    if word == "hex":
        return text.hexadecimal(value)
    if word == "mode":
        return text.mode(value)
    if word == "oflags":
        return text.open_flags(value)
    if word == "cmode":
        wanted = trace.args[i - 1] & (0x40 | 0x400000)
        return text.mode(value) if wanted else text.OMIT
    if word == "filemode":
        return text.file_mode(value)
    if word == "dev":
        return text.device(value)
    if word == "signo":
        return text.signal_name(value)
    return plain_flags(trace, value, word)


def plain_flags(trace: Trace, value: int, word: str) -> str:
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
        inet = trace.number(0) in (2, 10)
        return text.one_of("IPPROTO", value) if inet else str(value)
    return str(value)


def bytes_at(trace: Trace, i: int, param: Param) -> str:
    """A buffer or string in guest memory; a buffer is as long as result or argument says."""
    address = trace.args[i]
    if param.decoder in ("path", "str"):
        found = trace.string(address) if address else None
        return text.pointer(address) if found is None else text.quoted(found, -1)
    length = trace.args[int(param.parameter)] if param.parameter else trace.result
    if param.parameter == "" and i + 1 < len(trace.form.params):
        length = min(length, trace.args[i + 1])
    if trace.form.name == "getcwd":
        length -= 1  # the result counts the NUL
    data = trace.read(address, min(length, text.STRING_LIMIT + 1))
    if len(data) < min(length, text.STRING_LIMIT + 1):
        return text.pointer(address)
    return text.quoted(data)


def vector(trace: Trace, i: int, word: str) -> str:
    """argv or, counted only, the environment of execve(2)."""
    address = trace.args[i]
    if address == 0:
        return "NULL"
    pointers = trace.words(address, 4096)
    if word == "env":
        plural = "var" if len(pointers) == 1 else "vars"
        return f"{address:#x} /* {len(pointers)} {plural} */"
    shown: list[str] = []
    for pointer in pointers[: text.ITEMS]:
        found = trace.string(pointer)
        shown.append(text.pointer(pointer) if found is None else text.quoted(found))
    return text.listed(shown, len(pointers) > text.ITEMS)


def array(trace: Trace, address: int, word: str) -> str:
    """What a call wrote or was given one after the other."""
    if word == "random":
        return text.hex_quoted(trace.read(address, min(trace.result, text.STRING_LIMIT + 1)))
    if word == "entries":
        return f"{address:#x} /* {entries(trace, address)} entries */"
    if word == "cpus":
        size = trace.result if trace.finished else min(trace.args[1], 128)
        mask = int.from_bytes(trace.read(address, min(size, 128)), "little")
        return "[" + " ".join(str(n) for n in range(1024) if mask >> n & 1) + "]"
    if word == "gids":
        count = trace.result if trace.finished else trace.number(0)
        return number_list(trace, address, min(count, text.ITEMS))
    return text.pointer(address)


def entries(trace: Trace, address: int) -> int:
    """How many directory entries a getdents64(2) wrote."""
    count = 0
    offset = 0
    while offset < trace.result and count < 4096:
        length = int.from_bytes(trace.read(address + offset + 16, 2), "little")
        if length == 0:
            break
        offset += length
        count += 1
    return count


def number_list(trace: Trace, address: int, count: int) -> str:
    """An array of 32-bit numbers."""
    if address == 0:
        return "NULL"
    data = trace.read(address, 4 * max(count, 0))
    values = [int.from_bytes(data[k : k + 4], "little") for k in range(0, len(data), 4)]
    return text.listed([str(value) for value in values])
