"""The #! line, by the rules of execve(2)."""

import pytest

from wardian.sentry.errno import ENOEXEC
from wardian.sentry.mm.script import PEEK_SIZE, parse_script


@pytest.mark.parametrize(
    ("text", "name", "argument"),
    [
        (b"#!/bin/sh\necho", b"/bin/sh", b""),
        (b"#!/bin/sh", b"/bin/sh", b""),
        (b"#! \t/bin/sh \t\n", b"/bin/sh", b""),
        (b"#!/usr/bin/env python3 -u \n", b"/usr/bin/env", b"python3 -u"),
        (b"#!/bin/sh\0-x\n", b"/bin/sh", b""),
        (b"#!/bin/sh -x\0y\n", b"/bin/sh", b"-x"),
        (b"#!sh\r\n", b"sh\r", b""),
    ],
)
def test_line_is_split_once(text: bytes, name: bytes, argument: bytes) -> None:
    line = parse_script(text)
    assert line is not None
    assert (line.interpreter, line.argument) == (name, argument)


def test_other_files_are_not_scripts() -> None:
    assert parse_script(b"\x7fELF") is None
    assert parse_script(b"#") is None
    assert parse_script(b"") is None


@pytest.mark.parametrize("text", [b"#!\n", b"#!  \t\n", b"#!", b"#!\0\n"])
def test_no_interpreter_is_enoexec(text: bytes) -> None:
    with pytest.raises(ENOEXEC):
        parse_script(text)


def test_name_that_is_cut_is_enoexec_but_an_argument_may_be_cut() -> None:
    with pytest.raises(ENOEXEC):
        parse_script(b"#!/" + b"x" * PEEK_SIZE)
    line = parse_script((b"#!/bin/sh " + b"y" * PEEK_SIZE)[:PEEK_SIZE])
    assert line is not None and line.argument == b"y" * (PEEK_SIZE - 10)
