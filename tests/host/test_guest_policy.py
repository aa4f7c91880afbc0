"""The guest's filter lets through exactly design D3's table, for every number and at every border.

``oracle`` is written from the design's words and the layout, not from the policy's code.
"""

from __future__ import annotations

import itertools
import random

import pytest

from wardian.host import guest_policy, seccomp_bpf
from wardian.host.seccomp_bpf import (
    ALLOW,
    AUDIT_ARCH_I386,
    AUDIT_ARCH_X86_64,
    ERRNO,
    TRAP,
    USER_NOTIF,
    X32_BIT,
    decode,
    evaluate,
    strictest,
)
from wardian.platform import layout
from wardian.platform.stub import memory_calls

Args = tuple[int, int, int, int, int, int]

FIRST = {False: decode(guest_policy.first_filter()), True: decode(guest_policy.first_filter(True))}
SECOND = decode(guest_policy.second_filter())

LOADER = range(layout.LOADER_TEXT, layout.LOADER_TEXT_END)
STUB = range(layout.STUB_TEXT, layout.STUB_TEXT_END)
IN_LOADER = layout.LOADER_TEXT + 0x800
IN_STUB = layout.STUB_TEXT + 0x800
GUEST_TOP = 0x7000_0000_0000
FENCE = 0x0E00_0000_0000
LOADER_CALLS = {0, 3, 9, 10, 11, 13, 14, 17, 25, 33, 46, 47, 131, 157, 158, 202, 231, 317, 436}
ZERO: Args = (0, 0, 0, 0, 0, 0)


def _own_memory(nr: int, a: Args) -> bool:
    if a[0] >= GUEST_TOP or a[1] >= FENCE:
        return False
    if nr == 9:
        wanted = a[3] & 0x22 == 0x22 and a[3] & 0x0F == 2
        known = (
            a[3] & ~(0x22 | 0x10 | 0x40 | 0x800 | 0x1000 | 0x4000 | 0x8000 | 0x30000 | 0x100000)
            == 0
        )
        return wanted and known and a[2] in range(8)
    if nr == 10:
        return a[2] in range(8)
    if nr == 28:
        advice = a[2] & 0xFFFFFFFF
        return advice in {0, 1, 2, 3, 4, 8, 10, 11, 14, 15, 16, 17, 18, 19, 22, 23}
    if nr == 25:
        if a[2] >= FENCE:
            return False
        return a[3] in (0, 1) or (a[3] in (3, 5, 7) and a[4] < GUEST_TOP)
    return nr == 11


def _own_time(nr: int, a: Args) -> bool:
    low = [value & 0xFFFFFFFF for value in a]
    if nr == 202:
        return low[1] & ~0x180 in (0, 1, 9)
    return nr == 24


def _from_stub(nr: int, a: Args, validated: bool) -> int:
    if nr == 324 and a[0] & 0xFFFFFFFF in (1 << 5, 1 << 6) and a[1] == 0:
        return ALLOW  # membarrier: PRIVATE_EXPEDITED_SYNC_CORE, and registering for it
    low = [value & 0xFFFFFFFF for value in a]
    if nr in (15, 60, 231):
        return ALLOW
    if nr == 98 and low[0] == 0:  # getrusage(RUSAGE_SELF)
        return ALLOW
    if nr == 157 and low[0] == 1 and a[1] == 9:
        return ALLOW
    if nr == 9 and a[:4] == (0x7E0010000000, 128 << 20, 3, 0x11) and low[4] == 4 and a[5] == 0:
        return ALLOW
    if nr == 1 and low[0] == 3 and a[2] == 8:
        return ALLOW
    if nr == 56 and low[0] in (0x1250F00, 0x12D0F00):  # a thread: VM|FS|FILES|SIGHAND|THREAD|...
        return ALLOW
    if nr == 56 and low[0] in (0x1008000, 0x1208100, 0x1288100):  # a fork, a vfork
        return ALLOW
    if (nr == 33 and low[1] in (4, 5)) or (nr == 436 and a[0] == 6):
        return ALLOW  # a forked child's own channel and socket
    in_bounds = a[0] < GUEST_TOP and a[1] < FENCE and a[2] in range(8)
    if nr == 9 and in_bounds and not a[3] & 0x20 and 6 <= low[4] < 64 and not validated:
        return ALLOW
    if nr == 3 or (nr == 47 and low[0] == 5):
        return ALLOW
    if nr == 9 and in_bounds and not a[3] & 0x20 and 64 <= low[4] < 64 + 4096:
        return USER_NOTIF
    if validated and nr in (9, 10, 11, 25, 28):
        return ERRNO | 4095  # the stub sends it to the Sentry as a message
    return TRAP


def oracle(nr: int, a: Args, ip: int, arch: int, validated: bool, sealed: bool) -> int:
    if arch != AUDIT_ARCH_X86_64 or nr >= X32_BIT:
        return TRAP
    if ip in LOADER:
        if sealed:
            return TRAP
        if nr in LOADER_CALLS or (nr == 56 and a[0] == 17):
            return ALLOW
        if nr == 62 and a[0] & 0xFFFFFFFF == 0 and a[1] & 0xFFFFFFFF == 9:
            return ALLOW
    if _own_memory(nr, a):
        if not validated:
            return ALLOW
        if ip in STUB:
            return USER_NOTIF
    if _own_time(nr, a):
        return ALLOW
    return _from_stub(nr, a, validated) if ip in STUB else TRAP


def answer(nr: int, a: Args, ip: int, arch: int, validated: bool, sealed: bool) -> int:
    first = evaluate(FIRST[validated], nr, a, ip, arch)
    if not sealed:
        return first
    return strictest([first, evaluate(SECOND, nr, a, ip, arch)])


def _around(*borders: int) -> list[int]:
    return [b + d for b in borders for d in (-1, 0, 1) if 0 <= b + d < 1 << 64]


IPS = [
    0,
    0x401000,
    0x6FFF_0000_0000,
    *_around(LOADER.start, LOADER.stop, STUB.stop),
    IN_LOADER,
    IN_STUB,
    IN_STUB + (1 << 32),  # right lower half, wrong upper half
    IN_STUB & 0xFFFFFFFF,
    IN_STUB | 0xFFFF << 48,
    0xFFFFFFFFFF600002,  # vsyscall page
]
VALUES = sorted(
    {
        *range(40),
        *_around(64, 64 + 4096, 4096, 1 << 16, 1 << 31, 1 << 32, FENCE, GUEST_TOP),
        *_around(0x7E0000000000, 0x7E0010000000, 1 << 47, 1 << 63),
        *(k << 32 for k in (1, 2, 3, 9, 0x0DFF, 0x0E01, 0x6FFF, 0x7001, 0x7E00)),
        *((k << 32) | low for k in (1, 0x0E00, 0xFFFFFFFF) for low in (1, 3, 4, 7, 8, 9, 64, 0x22)),
        128 << 20,
        0x57415244,
        0x1_5741_5244,
        0x7E0110000000,
        0xFFFFFFFF_FFFFFFFF,
        0x20,
        0x22,
        0x32,
        0x4022,
        0x20022,
        0x100022,
        0x40022,  # MAP_HUGETLB
        0x2022,  # MAP_LOCKED
        0x122,  # MAP_GROWSDOWN
        0x11,
        0x12,
        0x21,
        0x23,
        0x80,
        0x81,
        0x89,
        0x100,
        0x109,
        0x189,
        0x101000007,
        0x1000003,  # PROT_GROWSDOWN
    }
)
BASES: list[tuple[int, Args]] = [
    (9, (0, 4096, 3, 0x22, 0xFFFFFFFF, 0)),
    (9, (0x10000, 1 << 30, 5, 0x32, 0, 1 << 20)),
    (9, (0x7E0010000000, 128 << 20, 3, 0x11, 4, 0)),
    (9, (0x10000, 4096, 3, 0x12, 64, 0)),
    (9, (0x10000, 4096, 3, 0x01, 64 + 4095, 0)),
    (10, (0x10000, 4096, 1, 0, 0, 0)),
    (11, (0x10000, 4096, 0, 0, 0, 0)),
    (25, (0x10000, 4096, 8192, 1, 0, 0)),
    (25, (0x10000, 4096, 8192, 3, 0x20000, 0)),
    (25, (0x10000, 4096, 4096, 5, 0, 0)),
    (25, (0x10000, 4096, 4096, 7, 0x20000, 0)),
    (28, (0x10000, 4096, 4, 0, 0, 0)),
    (202, (0x10000, 0, 0, 0, 0, 0)),
    (202, (0x10000, 0x189, 0, 0, 0, 0)),
    (1, (3, 0x10000, 8, 0, 0, 0)),
    (157, (1, 9, 0, 0, 0, 0)),
    (98, (0, 0x10000, 0, 0, 0, 0)),
    (158, (0x57415244, 77, 0, 0, 0, 0)),
    (158, (0x1002, 0x10000, 0, 0, 0, 0)),
    (56, (0x11, 0, 0, 0, 0, 0)),
    (56, (0x1008000, 0, 0, 0, 0, 0)),
    (56, (0x1208100, 0, 0, 0, 0, 0)),
    (56, (0x1288100, 0, 0, 0, 0, 0)),
    (33, (9, 4, 0, 0, 0, 0)),
    (33, (9, 5, 0, 0, 0, 0)),
    (436, (6, 0xFFFFFFFF, 0, 0, 0, 0)),
    (56, (17, 0, 0, 0, 0, 0)),
    (56, (0x1250F00, 0, 0, 0, 0, 0)),
    (56, (0x12D0F00, 0, 0, 0, 0, 0)),
    (56, (0x1250F11, 0, 0, 0, 0, 0)),
    (62, (0, 9, 0, 0, 0, 0)),
    (317, (1, 0, 0, 0, 0, 0)),
]
VARIANTS = list(itertools.product((False, True), (False, True)))


def _check(nr: int, a: Args, ip: int, arch: int, validated: bool, sealed: bool) -> None:
    got = answer(nr, a, ip, arch, validated, sealed)
    wanted = oracle(nr, a, ip, arch, validated, sealed)
    assert got == wanted, (nr, [hex(x) for x in a], hex(ip), hex(arch), validated, sealed)


@pytest.mark.parametrize(("validated", "sealed"), VARIANTS)
def test_every_number_from_every_place(validated: bool, sealed: bool) -> None:
    for nr, ip in itertools.product(range(1024), IPS):
        _check(nr, ZERO, ip, AUDIT_ARCH_X86_64, validated, sealed)
        _check(nr, (0x10000, 4096, 3, 0x22, 0, 0), ip, AUDIT_ARCH_X86_64, validated, sealed)


@pytest.mark.parametrize("arch", [AUDIT_ARCH_I386, 0xC00000B7, 0, 0x3E, 0x8000003E])
def test_other_architectures_trap_whatever_the_number(arch: int) -> None:
    for nr, ip in itertools.product(range(1024), (0x401000, IN_LOADER, IN_STUB)):
        assert answer(nr, ZERO, ip, arch, False, False) == TRAP


def test_x32_numbers_trap() -> None:
    for nr, ip in itertools.product(range(1024), IPS):
        assert answer(nr | X32_BIT, ZERO, ip, AUDIT_ARCH_X86_64, False, False) == TRAP
    for nr in (0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFFFFFE):
        assert answer(nr, ZERO, IN_LOADER, AUDIT_ARCH_X86_64, False, False) == TRAP


@pytest.mark.parametrize(("validated", "sealed"), VARIANTS)
def test_each_argument_at_its_borders(validated: bool, sealed: bool) -> None:
    places = (0x401000, IN_LOADER, IN_STUB)
    for (nr, base), position, value in itertools.product(BASES, range(6), VALUES):
        changed = list(base)
        changed[position] = value
        for ip in places:
            a = (changed[0], changed[1], changed[2], changed[3], changed[4], changed[5])
            _check(nr, a, ip, AUDIT_ARCH_X86_64, validated, sealed)


def test_random_arguments_of_every_call_with_a_row() -> None:
    rng = random.Random(3)
    numbers = sorted({row.number for row in guest_policy.rows()})
    for _ in range(60_000):
        nr = rng.choice(numbers)
        base = list(rng.choice([b for n, b in BASES if n == nr] or [ZERO]))
        for _ in range(rng.randrange(4)):
            base[rng.randrange(6)] = rng.choice(VALUES)
        a = (base[0], base[1], base[2], base[3], base[4], base[5])
        validated, sealed = rng.choice(VARIANTS)
        _check(nr, a, rng.choice(IPS), AUDIT_ARCH_X86_64, validated, sealed)


def test_layout_has_what_the_filter_needs() -> None:
    """Texts lie apart, in one 4 GiB block, above every address a guest can map."""
    assert GUEST_TOP == layout.GUEST_TOP and FENCE == layout.TRUSTED_BASE - layout.GUEST_TOP
    assert layout.TRUSTED_BASE <= LOADER.start < LOADER.stop <= STUB.start < STUB.stop
    assert STUB.stop <= layout.CHANNEL_BASE
    assert (LOADER.start ^ STUB.stop) >> 32 == 0


def test_no_guest_mapping_can_reach_the_trusted_range() -> None:
    """The highest start and the longest length that pass still end below the stub."""
    highest, longest = GUEST_TOP - 1, FENCE - 1
    for nr in (9, 10, 11, 28):
        args: Args = (highest, longest, 3, 0x22, 0, 0)
        assert answer(nr, args, 0x401000, AUDIT_ARCH_X86_64, False, True) == ALLOW
    assert highest + longest < 0x7E00_0000_0000


def test_a_sealed_guest_gets_nothing_from_loader_text() -> None:
    for nr in range(1024):
        assert answer(nr, ZERO, IN_LOADER, AUDIT_ARCH_X86_64, False, True) == TRAP


def test_filters_are_short() -> None:
    assert len(FIRST[False]) < 450
    assert len(FIRST[True]) < 500
    assert len(SECOND) < 16


def test_ordinary_calls_are_decided_quickly() -> None:
    assert _steps(0, ZERO, 0x401000) <= 14  # read: a trap
    assert _steps(202, (0, 0x80, 0, 0, 0, 0), 0x401000) <= 18
    assert _steps(11, (0x10000, 4096, 0, 0, 0, 0), 0x401000) <= 18
    assert _steps(9, (0, 4096, 3, 0x22, 0, 0), 0x401000) <= 32


def _steps(nr: int, a: Args, ip: int) -> int:
    """Instructions executed: the program is cut shorter until its end is no longer reached."""
    counted = CountingProgram(FIRST[False])
    evaluate(counted, nr, a, ip)
    return counted.fetched


class CountingProgram(list[tuple[int, int, int, int]]):
    fetched = 0

    def __getitem__(self, index):  # type: ignore[no-untyped-def]
        self.fetched += 1
        return super().__getitem__(index)


def test_every_row_says_why() -> None:
    for row in guest_policy.rows():
        assert len(row.reason) > 15, row.call
        assert row.action in seccomp_bpf.ACTION_NAMES


@pytest.mark.parametrize("nr", memory_calls.MEMORY_CALLS)
def test_the_sentry_checks_notified_memory_calls_as_the_filter_does(nr: int) -> None:
    for base in [a for number, a in BASES if number == nr]:
        for index, value in itertools.product(range(6), VALUES):
            a = (*base[:index], value, *base[index + 1 :])
            notified = evaluate(FIRST[True], nr, a, IN_STUB, AUDIT_ARCH_X86_64) == USER_NOTIF
            granted = nr == 9 and not a[3] & 0x20
            fits = memory_calls.fits(nr, *a[:5])
            assert fits == (notified and not granted), [hex(x) for x in a]
