"""The initial stack, read back as a C library would."""

import struct

import pytest

from wardian.sentry.errno import E2BIG
from wardian.sentry.mm import stack

TOP = 0x6FFF_FFFF_F000


def build(argv: list[bytes], envp: list[bytes]) -> stack.InitialStack:
    vector = stack.Vector()
    vector.add(stack.AT_PAGESZ, 4096)
    return stack.build_stack(TOP, argv, envp, b"/bin/x", b"x86_64", bytes(range(18)), vector)


def read(initial: stack.InitialStack, address: int) -> bytes:
    data = initial.data[address - initial.pointer :]
    return data[: data.index(b"\0")]


def test_vectors_lead_to_the_strings() -> None:
    initial = build([b"x", b"", b"--long=1"], [b"A=1", b"B="])
    words = struct.unpack_from(f"<{len(initial.data) // 8}Q", initial.data)
    assert initial.pointer % 16 == 0 and initial.pointer + len(initial.data) == TOP
    assert words[0] == 3 and words[4] == 0 and words[7] == 0
    assert [read(initial, a) for a in words[1:4]] == [b"x", b"", b"--long=1"]
    assert [read(initial, a) for a in words[5:7]] == [b"A=1", b"B="]
    pairs = dict(zip(words[8:20:2], words[9:20:2], strict=False))
    assert pairs[stack.AT_PAGESZ] == 4096
    assert read(initial, pairs[stack.AT_EXECFN]) == b"/bin/x"
    assert read(initial, pairs[stack.AT_PLATFORM]) == b"x86_64"
    at = pairs[stack.AT_RANDOM] - initial.pointer
    assert initial.data[at : at + 16] == bytes(range(16))


def test_argument_and_environment_areas_are_contiguous() -> None:
    initial = build([b"one", b"two"], [b"A=1"])
    start = initial.arg_start - initial.pointer
    end = initial.env_end - initial.pointer
    assert initial.data[start:end] == b"one\0two\0A=1\0"
    assert initial.arg_end == initial.env_start


def test_one_string_may_have_128_kib() -> None:
    fits = b"x" * (stack.MAX_ARG_STRLEN - 1)
    stack.check_arguments([fits], [], b"x", 8 << 20)
    with pytest.raises(E2BIG):
        stack.check_arguments([fits + b"x"], [], b"x", 8 << 20)


def test_all_strings_fit_a_quarter_of_the_stack() -> None:
    text = b"x" * 1023
    stack.check_arguments([text] * 2000, [], b"x", 8 << 20)
    with pytest.raises(E2BIG):
        stack.check_arguments([text] * 2048, [], b"x", 8 << 20)
    with pytest.raises(E2BIG):
        stack.check_arguments([b""] * 300_000, [], b"x", 8 << 20)


def test_small_stacks_still_allow_128_kib() -> None:
    stack.check_arguments([b"x" * 100_000], [], b"x", 0)
    with pytest.raises(E2BIG):
        stack.check_arguments([b"x" * 100_000] * 2, [], b"x", 0)
