"""How strace(1) writes values: quoted bytes, flag words, octal modes, addresses."""

from __future__ import annotations

from typing import Final

from wardian.sentry.strace.constants import GROUPS

STRING_LIMIT: Final = 32
ITEMS: Final = 32  # of a list, before dots
OMIT: Final = "\0"  # in place of an argument that strace leaves out

ESCAPES: Final[dict[int, str]] = {
    9: "\\t", 10: "\\n", 11: "\\v", 12: "\\f", 13: "\\r", 34: '\\"', 92: "\\\\",
}  # fmt: skip


def escaped(data: bytes) -> str:
    """C escapes; octal as short as the next character allows."""
    out: list[str] = []
    for i in range(len(data)):
        byte = data[i]
        if byte in ESCAPES:
            out.append(ESCAPES[byte])
        elif 32 <= byte < 127:
            out.append(chr(byte))
        else:
            digit_follows = i + 1 < len(data) and 0x30 <= data[i + 1] <= 0x39
            out.append(f"\\{byte:03o}" if digit_follows else f"\\{byte:o}")
    return "".join(out)


def hex_quoted(data: bytes, limit: int = STRING_LIMIT) -> str:
    """Random bytes: all in hexadecimal."""
    shown = "".join(f"\\x{byte:02x}" for byte in data[:limit])
    return f'"{shown}"' + ("..." if len(data) > limit else "")


def quoted(data: bytes, limit: int = STRING_LIMIT) -> str:
    """``data`` in quotes, cut after ``limit`` bytes with dots; a negative limit never cuts."""
    if limit < 0 or len(data) <= limit:
        return f'"{escaped(data)}"'
    return f'"{escaped(data[:limit])}"...'


def listed(items: list[str], more: bool = False) -> str:
    """``[a, b]``, with dots when there are more."""
    return "[" + ", ".join([*items, "..."] if more else items) + "]"


def hexadecimal(value: int) -> str:
    """A number."""
    return hex(value) if value else "0"


def pointer(value: int) -> str:
    """An address."""
    return "NULL" if value == 0 else hex(value)


def one_of(group: str, value: int, unknown: str = "") -> str:
    """The name of ``value`` in a group of alternatives."""
    for name, number in GROUPS[group].items():
        if number == value:
            return name
    if not unknown:
        return f"{value:#x}" if value > 9 else str(value)
    return f"{value:#x} /* {unknown} */"


def flag_words(names: dict[str, int], value: int, zero: str = "0") -> str:
    """``value`` as names joined by ``|``, the rest in hexadecimal."""
    if value == 0:
        return zero
    words: list[str] = []
    rest = value
    for name, bits in names.items():
        if bits != 0 and rest & bits == bits:
            words.append(name)
            rest &= ~bits
    if rest:
        words.append(hex(rest))
    return "|".join(words)


def flags(group: str, value: int) -> str:
    """``value`` as the flags of a group."""
    return flag_words(GROUPS[group], value)


def row_flags(declared: str, value: int) -> str:
    """``value`` by the flag names of a row; a name like ``O_...`` or ``O_*`` is a whole group."""
    names: dict[str, int] = {}
    for word in declared.replace(",", " ").replace("|", " ").split():
        prefix = word.rstrip(".*").rstrip("_")
        if prefix in GROUPS and prefix != word:
            names.update(GROUPS[prefix])
        else:
            names.update(lookup(word))
    return flag_words(names, value) if names else (hex(value) if value else "0")


def lookup(name: str) -> dict[str, int]:
    """The value of one constant, if any group has it."""
    for group in GROUPS.values():
        if name in group:
            return {name: group[name]}
    return {}


def open_flags(value: int) -> str:
    """open(2) flags: an access mode and more."""
    access = ("O_RDONLY", "O_WRONLY", "O_RDWR", "O_ACCMODE")[value & 3]
    rest = value & ~3
    return f"{access}|{flags('O', rest)}" if rest else access


def mode(value: int) -> str:
    """Permission bits in octal, at least three digits as in strace."""
    return f"{value:#o}".replace("0o", "0") if value > 0o77 else f"0{value:02o}"


def file_mode(value: int) -> str:
    """st_mode with its type."""
    kind = value & 0o170000
    rest = value & 0o7777
    words = [one_of("S", kind)] if kind else []
    for bit, name in ((0o4000, "S_ISUID"), (0o2000, "S_ISGID"), (0o1000, "S_ISVTX")):
        if rest & bit:
            words.append(name)
    words.append(mode(rest & 0o777))
    return "|".join(words)


def signal_name(number: int) -> str:
    """SIGINT, SIGRT_3, or the number."""
    for name, value in GROUPS["SIG"].items():
        if value == number:
            return name
    if number == 32:
        return "SIGRTMIN"
    return f"SIGRT_{number - 32}" if 32 < number <= 64 else str(number)


def signal_set(mask: int) -> str:
    """[INT TERM], ~[] for all, ~[KILL STOP] when most are in it."""
    members = [n for n in range(1, 65) if mask >> (n - 1) & 1]
    if len(members) < 40:
        return "[" + " ".join(short_signal(n) for n in members) + "]"
    absent = [n for n in range(1, 65) if not mask >> (n - 1) & 1]
    return "~[" + " ".join(short_signal(n) for n in absent) + "]"


def short_signal(number: int) -> str:
    """A signal's name as in a set."""
    name = signal_name(number)
    return name[3:] if name.startswith("SIG") else name


def wait_status(status: int) -> str:
    """What wait4(2) stored."""
    signo = status & 0x7F
    if signo == 0x7F:
        if status == 0xFFFF:
            return "{WIFCONTINUED(s)}"
        stop = status >> 8 & 0xFF
        return f"{{WIFSTOPPED(s) && WSTOPSIG(s) == {signal_name(stop)}}}"
    if signo == 0:
        return f"{{WIFEXITED(s) && WEXITSTATUS(s) == {status >> 8 & 0xFF}}}"
    core = " && WCOREDUMP(s)" if status & 0x80 else ""
    return f"{{WIFSIGNALED(s) && WTERMSIG(s) == {signal_name(signo)}{core}}}"


def descriptor(value: int) -> str:
    """A descriptor or AT_FDCWD."""
    return "AT_FDCWD" if value == -100 else str(value)


def limit(value: int) -> str:
    """An rlimit value: RLIM64_INFINITY, a product of 1024, or the number."""
    if value == 0xFFFFFFFFFFFFFFFF:
        return "RLIM64_INFINITY"
    if value > 1024 and value % 1024 == 0:
        return f"{value // 1024}*1024"
    return str(value)


def device(value: int) -> str:
    """makedev() of a device number."""
    major = (value >> 8 & 0xFFF) | (value >> 32 & ~0xFFF)
    minor = (value & 0xFF) | (value >> 12 & ~0xFF)
    return f"makedev({pointer(major) if major else '0'}, {pointer(minor) if minor else '0'})"
