"""Seccomp filters as data: rules in, classic BPF out, and an evaluator to check the result with.

A policy is a list of :class:`Rule`: a call, conditions on its arguments and on where it was made
from, and what happens then. The first rule of a call that fits decides; a call that none fits gets
the default action. :func:`compile_rules` turns the list into one program (seccomp(2));
:func:`evaluate` runs a program the way the host kernel would, for tests and for ``wardian
doctor``.

The policies are in ``guest_policy`` and ``sentry_policy``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

# What a filter can answer (linux/seccomp.h).
KILL_PROCESS = 0x8000_0000
KILL_THREAD = 0x0000_0000
TRAP = 0x0003_0000
ERRNO = 0x0005_0000
USER_NOTIF = 0x7FC0_0000
TRACE = 0x7FF0_0000
LOG = 0x7FFC_0000
ALLOW = 0x7FFF_0000

ACTION_NAMES = {
    KILL_PROCESS: "kill",
    KILL_THREAD: "kill thread",
    TRAP: "trap",
    ERRNO: "errno",
    USER_NOTIF: "notify",
    TRACE: "trace",
    LOG: "log",
    ALLOW: "allow",
}

AUDIT_ARCH_X86_64 = 0xC000_003E
AUDIT_ARCH_I386 = 0x4000_0003
X32_BIT = 0x4000_0000

# Offsets in struct seccomp_data.
_NR = 0
_ARCH = 4
_IP = 8
_ARGS = 16
SECCOMP_DATA = struct.Struct("<IIQ6Q")

# The part of classic BPF that seccomp takes (linux/filter.h).
LD_ABS = 0x20
LD_IMM = 0x00
ALU_AND = 0x54
ALU_LSH_X = 0x6C
JMP_JA = 0x05
JMP_JEQ = 0x15
JMP_JGT = 0x25
JMP_JGE = 0x35
JMP_JSET = 0x45
RET_K = 0x06
MISC_TAX = 0x07

MAX_INSTRUCTIONS = 4096  # BPF_MAXINSNS
_FILTER = struct.Struct("<HBBI")
_LOW = 0xFFFF_FFFF


class Instruction:
    """One instruction. A jump names labels until :func:`assemble` has placed them; None falls
    through."""

    def __init__(
        self, code: int, k: int = 0, yes: str | None = None, no: str | None = None
    ) -> None:
        self.code = code
        self.k = k
        self.yes = yes
        self.no = no


class Label:
    """A place to jump to."""

    def __init__(self, name: str) -> None:
        self.name = name


Code = list[Instruction | Label]


# -- conditions ------------------------------------------------------------------------------------


class Condition:
    """Something a call's arguments must satisfy."""

    def code(self, fail: str) -> Code:
        """Fall through when it holds, jump to ``fail`` when not."""
        raise NotImplementedError

    def text(self) -> str:
        """For the documentation."""
        raise NotImplementedError


def _word(index: int, high: bool) -> Instruction:
    return Instruction(LD_ABS, _ARGS + 8 * index + (4 if high else 0))


class Below(Condition):
    """A 64-bit argument less than ``limit``, which must be a multiple of 2^32 (one comparison)."""

    def __init__(self, name: str, index: int, limit: int) -> None:
        assert limit & _LOW == 0 and limit > 0
        self.name = name
        self.index = index
        self.limit = limit

    def code(self, fail: str) -> Code:
        return [_word(self.index, True), Instruction(JMP_JGE, self.limit >> 32, yes=fail)]

    def text(self) -> str:
        return f"{self.name} < {self.limit:#x}"


class Equal(Condition):
    """A 64-bit argument with exactly this value."""

    def __init__(self, name: str, index: int, value: int) -> None:
        self.name = name
        self.index = index
        self.value = value

    def code(self, fail: str) -> Code:
        return [
            _word(self.index, False),
            Instruction(JMP_JEQ, self.value & _LOW, no=fail),
            _word(self.index, True),
            Instruction(JMP_JEQ, self.value >> 32, no=fail),
        ]

    def text(self) -> str:
        return f"{self.name} = {self.value:#x}"


class Bits(Condition):
    """A 64-bit argument with no bit outside ``optional``, but for ``required``, which must all be
    set."""

    def __init__(self, name: str, index: int, optional: int, required: int = 0) -> None:
        assert optional & required == 0 and (optional | required) <= _LOW
        self.name = name
        self.index = index
        self.optional = optional
        self.required = required

    def code(self, fail: str) -> Code:
        return [
            _word(self.index, True),
            Instruction(JMP_JEQ, 0, no=fail),
            _word(self.index, False),
            Instruction(ALU_AND, _LOW & ~self.optional),
            Instruction(JMP_JEQ, self.required, no=fail),
        ]

    def text(self) -> str:
        if self.required:
            return f"{self.name} & ~{self.optional:#x} = {self.required:#x}"
        return f"{self.name} & ~{self.optional:#x} = 0"


class IntClear(Condition):
    """A 32-bit argument with none of these bits (the host ignores its upper half)."""

    def __init__(self, name: str, index: int, bits: int) -> None:
        self.name = name
        self.index = index
        self.bits = bits

    def code(self, fail: str) -> Code:
        return [_word(self.index, False), Instruction(JMP_JSET, self.bits, yes=fail)]

    def text(self) -> str:
        return f"{self.name} & {self.bits:#x} = 0"


class IntIn(Condition):
    """A 32-bit argument, some bits apart, among these values."""

    def __init__(self, name: str, index: int, values: Sequence[int], ignored: int = 0) -> None:
        assert values
        self.name = name
        self.index = index
        self.values = tuple(values)
        self.ignored = ignored

    def code(self, fail: str) -> Code:
        code: Code = [_word(self.index, False)]
        if self.ignored:
            code.append(Instruction(ALU_AND, _LOW & ~self.ignored))
        if len(self.values) > 4 and max(self.values) < 32:
            mask = sum(1 << value for value in self.values)
            code.append(Instruction(JMP_JGE, 32, yes=fail))
            code.append(Instruction(MISC_TAX))
            code.append(Instruction(LD_IMM, 1))
            code.append(Instruction(ALU_LSH_X))
            code.append(Instruction(JMP_JSET, mask, no=fail))
            return code
        done = "listed"
        for value in self.values[:-1]:
            code.append(Instruction(JMP_JEQ, value & _LOW, yes=done))
        code.append(Instruction(JMP_JEQ, self.values[-1] & _LOW, no=fail))
        code.append(Label(done))
        return code

    def text(self) -> str:
        masked = f" & ~{self.ignored:#x}" if self.ignored else ""
        if len(self.values) == 1:
            return f"{self.name}{masked} = {self.values[0]:#x}"
        return f"{self.name}{masked} in {{{', '.join(hex(value) for value in self.values)}}}"


class IntRange(Condition):
    """A 32-bit argument, taken as unsigned, with low <= value < high."""

    def __init__(self, name: str, index: int, low: int, high: int) -> None:
        assert 0 <= low < high <= _LOW
        self.name = name
        self.index = index
        self.low = low
        self.high = high

    def code(self, fail: str) -> Code:
        return [
            _word(self.index, False),
            Instruction(JMP_JGE, self.low, no=fail),
            Instruction(JMP_JGE, self.high, yes=fail),
        ]

    def text(self) -> str:
        return f"{self.low} <= {self.name} < {self.high}"


class MadeFrom(Condition):
    """The instruction after the ``syscall`` lies in [start, end), which is inside one 4 GiB
    block."""

    def __init__(self, name: str, start: int, end: int) -> None:
        assert start >> 32 == end >> 32 and start < end
        self.name = name
        self.start = start
        self.end = end

    def code(self, fail: str) -> Code:
        return [
            Instruction(LD_ABS, _IP + 4),
            Instruction(JMP_JEQ, self.start >> 32, no=fail),
            Instruction(LD_ABS, _IP),
            Instruction(JMP_JGE, self.start & _LOW, no=fail),
            Instruction(JMP_JGE, self.end & _LOW, yes=fail),
        ]

    def text(self) -> str:
        return f"from {self.name}"


# -- rules -----------------------------------------------------------------------------------------


class Rule:
    """One row of a policy; ``group`` is its class in the design, ``reason`` is for people."""

    def __init__(
        self,
        call: str,
        number: int,
        action: int,
        conditions: Sequence[Condition],
        group: str,
        reason: str,
    ) -> None:
        assert reason, f"{call} needs a reason"
        self.call = call
        self.number = number
        self.action = action
        self.conditions = tuple(conditions)
        self.group = group
        self.reason = reason


def compile_rules(rules: Iterable[Rule], default: int, foreign: int) -> bytes:
    """The filter for ``rules``: other architectures and x32 numbers get ``foreign``, calls that no
    rule fits get ``default``."""
    by_number: dict[int, list[Rule]] = {}
    for rule in rules:
        by_number.setdefault(rule.number, []).append(rule)
    blocks = {number: _block(of_call, default) for number, of_call in sorted(by_number.items())}
    # Calls treated alike share the code of the highest number among them (jumps only go forward).
    owner = {_key(block): number for number, block in blocks.items()}
    targets = {number: owner[_key(block)] for number, block in blocks.items()}
    code: Code = [
        Instruction(LD_ABS, _ARCH),
        Instruction(JMP_JEQ, AUDIT_ARCH_X86_64, no="foreign"),
        Instruction(LD_ABS, _NR),
        Instruction(JMP_JGE, X32_BIT, yes="foreign"),
    ]
    code += _search(sorted(targets), targets, blocks, default)
    code += [Label("foreign"), Instruction(RET_K, foreign)]
    return assemble(code)


def _key(code: Code) -> tuple[object, ...]:
    """Equal for equal code."""
    return tuple(
        item.name if isinstance(item, Label) else (item.code, item.k, item.yes, item.no)
        for item in code
    )


def _block(rules: list[Rule], default: int) -> Code:
    """The rules of one call, in order."""
    code: Code = []
    for rule in rules:
        for condition in rule.conditions:
            code += condition.code("next rule")
        code += [Instruction(RET_K, rule.action), Label("next rule")]
        if not rule.conditions:
            return code
    return [*code, Instruction(RET_K, default)]


def _search(
    numbers: list[int], targets: dict[int, int], blocks: dict[int, Code], default: int
) -> Code:
    """Binary search for the number in A: every call costs about log2(len(numbers)) comparisons."""
    if not numbers:
        return [Instruction(RET_K, default)]
    if len(numbers) > 1:
        middle = len(numbers) // 2
        right = f"from {numbers[middle]}"
        return [
            Instruction(JMP_JGE, numbers[middle], yes=right),
            *_search(numbers[:middle], targets, blocks, default),
            Label(right),
            *_search(numbers[middle:], targets, blocks, default),
        ]
    (number,) = numbers
    label = f"call {targets[number]}"
    miss = [Instruction(JMP_JEQ, number, yes=label), Instruction(RET_K, default)]
    return [*miss, Label(label), *blocks[number]] if number == targets[number] else [*miss]


def assemble(code: Code) -> bytes:
    """Place labels and encode. All jumps go forward, to the nearest label of that name; one too
    far for 8 bits goes by way of a long jump."""
    placed: list[bytes] = []  # last instruction first
    labels: dict[str, int] = {}  # label -> instructions from it to the end
    for item in reversed(code):
        if isinstance(item, Label):
            labels[item.name] = len(placed)
        elif item.code in (JMP_JEQ, JMP_JGT, JMP_JGE, JMP_JSET):
            _place_jump(item, placed, labels)
        else:
            placed.append(_FILTER.pack(item.code, 0, 0, item.k))
    assert len(placed) <= MAX_INSTRUCTIONS
    return b"".join(reversed(placed))


def _place_jump(item: Instruction, placed: list[bytes], labels: dict[str, int]) -> None:
    here = len(placed)
    yes = 0 if item.yes is None else here - labels[item.yes]
    no = 0 if item.no is None else here - labels[item.no]
    if yes > 255:
        assert no == 0
        placed.append(_FILTER.pack(JMP_JA, 0, 0, yes))
        yes, no = 0, 1
    elif no > 255:
        assert yes == 0
        placed.append(_FILTER.pack(JMP_JA, 0, 0, no))
        yes, no = 1, 0
    placed.append(_FILTER.pack(item.code, yes, no, item.k))


# -- evaluation ------------------------------------------------------------------------------------


def decode(program: bytes) -> list[tuple[int, int, int, int]]:
    """(code, jt, jf, k) of every instruction."""
    return list(_FILTER.iter_unpack(program))


def evaluate(
    decoded: Sequence[tuple[int, int, int, int]],
    number: int,
    args: Sequence[int] = (0, 0, 0, 0, 0, 0),
    ip: int = 0,
    arch: int = AUDIT_ARCH_X86_64,
) -> int:
    """What a decoded filter answers to this call; independent of how it was compiled."""
    data = SECCOMP_DATA.pack(number & _LOW, arch, ip, *args)
    accumulator = index = 0
    at = 0
    for _ in range(len(decoded)):  # all jumps go forward
        code, jt, jf, k = decoded[at]
        at += 1
        if code == RET_K:
            return k
        if code == LD_ABS:
            accumulator = int.from_bytes(data[k : k + 4], "little")
        elif code == LD_IMM:
            accumulator = k
        elif code == ALU_AND:
            accumulator &= k
        elif code == ALU_LSH_X:
            accumulator = (accumulator << index) & _LOW if index < 32 else 0
        elif code == MISC_TAX:
            index = accumulator
        elif code == JMP_JA:
            at += k
        else:
            at += jt if _test(code, accumulator, k) else jf
    raise ValueError("filter does not end in a return")


def _test(code: int, accumulator: int, k: int) -> bool:
    if code == JMP_JEQ:
        return accumulator == k
    if code == JMP_JGE:
        return accumulator >= k
    if code == JMP_JGT:
        return accumulator > k
    if code == JMP_JSET:
        return accumulator & k != 0
    raise ValueError(f"instruction {code:#x} is not allowed in a filter")


def strictest(actions: Iterable[int]) -> int:
    """The answer of several filters together: seccomp(2) compares the action part as a signed
    number."""
    return min(actions, key=_as_signed)


def _as_signed(action: int) -> int:
    whole = action & 0xFFFF_0000
    return whole - (1 << 32) if whole & 0x8000_0000 else whole
