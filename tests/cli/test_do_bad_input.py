"""Whatever is wrong with the command line or the program: one line, the documented status, nothing left."""

from __future__ import annotations

import os
import resource
import struct
import subprocess
from pathlib import Path

import pytest
from command import Wardian, assert_one_line, finish

BAD_OPTIONS = [
    (["--no-such-option", "true"], "--no-such-option"),
    (["--mem", "1g", "true"], "--mem"),  # no abbreviations
    (["--memory", "lots", "true"], "lots"),
    (["--memory", "-1", "true"], "-1"),
    (["--memory", "0", "true"], "memory"),
    (["--memory", "1k", "true"], "memory"),
    (["--memory"], "--memory"),
    (["--cpus", "many", "true"], "many"),
    (["--cpus", "-1", "true"], "cpus"),
    (["--cpus", "0", "true"], "cpus"),
    (["--cpus", "nan", "true"], "cpus"),
    (["--cpus", "inf", "true"], "cpus"),
    (["--pids", "few", "true"], "few"),
    (["--pids", "-3", "true"], "pids"),
    (["--pids", "0", "true"], "pids"),
    (["--timeout", "soon", "true"], "soon"),
    (["--timeout", "-1", "true"], "-1"),
    (["--timeout", "0", "true"], "timeout"),
    (["--user", "nobody-of-that-name", "true"], "nobody-of-that-name"),
    (["--user", "-1", "true"], "-1"),
    (["--user", "4294967296", "true"], "4294967296"),
    (["--user", "4294967295", "true"], "4294967295"),
    (["--user", "1:", "true"], "1:"),
    (["--user", "1:x", "true"], "1:x"),
    (["--network", "wifi", "true"], "wifi"),
    (["--memory-mode", "magic", "true"], "magic"),
    (["--env", "=x", "true"], "=x"),
    (["--env", "", "true"], "variable"),
    (["--volume", "/usr", "true"], "/usr"),
    (["--volume", ":/mnt", "true"], ":/mnt"),
    (["--volume", "/usr:", "true"], "/usr:"),
    (["--volume", "/usr:relative", "true"], "relative"),
    (["--volume", "/usr:/mnt:rx", "true"], "rx"),
    (["--volume", "/usr:/mnt:ro:z", "true"], "/usr:/mnt:ro:z"),
    (["--volume", "/no/such/directory:/mnt", "true"], "/no/such/directory"),
    (["--volume", "/usr:/", "true"], "/"),
    (["--volume", "/usr:/etc/passwd", "true"], "/etc/passwd"),
    (["--volume", "/etc/passwd:/usr", "true"], "/usr"),
    (["--volume", "/usr:/etc/passwd/x", "true"], "/etc/passwd/x"),
    (["--tmpfs", "relative", "true"], "relative"),
    (["--tmpfs", "", "true"], "mount point"),
    (["--tmpfs", "/", "true"], "/"),
    (["--tmpfs", "/etc/passwd", "true"], "/etc/passwd"),
    (["--read-only", "--tmpfs", "/no/such/place", "true"], "/no/such/place"),
    (["--read-only", "--volume", "/usr:/no/such/place", "true"], "/no/such/place"),
    (["--read-only", "--volume", "/etc/passwd:/no/such/place", "true"], "/no/such/place"),
    (["--workdir", "/no/such/directory", "true"], "/no/such/directory"),
    (["--workdir", "/etc/passwd", "true"], "/etc/passwd"),
    (["--workdir", "", "true"], "workdir"),
    (["--workdir", "relative", "true"], "relative"),
    (["--hostname", "", "true"], "host name"),
    (["--hostname", "x" * 65, "true"], "host name"),
    (["--rootfs", "/no/such/rootfs", "true"], "/no/such/rootfs"),
    (["--rootfs", "/etc/passwd", "true"], "/etc/passwd"),
    (["--rootfs", "", "true"], "rootfs"),
    (["--log", "/no/such/directory/log", "true"], "/no/such/directory/log"),
    (["--strace=no_such_call", "true"], "no_such_call"),
    (["--profile=/no/such/directory/profile", "true"], "/no/such/directory/profile"),
    (["--profile", "--strace", "true"], "only one at a time"),
    ([], "no command"),
    (["--"], "no command"),
    (["--read-only=yes", "true"], "--read-only"),
]


@pytest.mark.parametrize("arguments, says", BAD_OPTIONS, ids=lambda value: " ".join(value)[:50])
def test_bad_options_are_refused_with_125(
    wardian: Wardian, arguments: list[str], says: str
) -> None:
    outcome = wardian.fails(125, says, "do", *arguments)
    assert outcome.out == ""


@pytest.mark.parametrize(
    "arguments", [["frobnicate"], ["--frobnicate"], ["doctor", "--frobnicate"]]
)
def test_unknown_commands_are_refused_with_125(wardian: Wardian, arguments: list[str]) -> None:
    wardian.fails(125, "frobnicate", *arguments)


@pytest.mark.parametrize(
    "name", ["no-such-program", "/no/such/program", "./no-such-program", "/etc/passwd/x", ""]
)
def test_missing_program_gives_127(wardian: Wardian, name: str) -> None:
    wardian.fails(127, "no such program", "do", name)


def test_program_in_a_missing_path_entry_is_found_further_on(wardian: Wardian) -> None:
    wardian.env["PATH"] = f"/no/such/directory:{wardian.directory}::/usr/bin:/bin"
    outcome = wardian.do("sh", "-c", "echo found")
    assert outcome == type(outcome)(0, "found\n", "")


def file(directory: Path, name: str, contents: bytes, mode: int = 0o755) -> str:
    path = directory / name
    path.write_bytes(contents)
    path.chmod(mode)
    return str(path)


def test_file_without_execute_permission_gives_126(wardian: Wardian) -> None:
    wardian.fails(
        126, "permission denied", "do", file(wardian.directory, "plain", b"#!/bin/sh\n", 0o644)
    )


def test_directory_gives_126(wardian: Wardian) -> None:
    wardian.fails(126, "directory", "do", "/usr")


def elf_header(machine: int = 62, kind: int = 2, phnum: int = 1, bits: int = 2) -> bytes:
    ident = b"\x7fELF" + bytes([bits, 1, 1]) + bytes(9)
    return ident + struct.pack(
        "<HHIQQQIHHHHHH", kind, machine, 1, 0x401000, 64, 0, 0, 64, 56, phnum, 64, 0, 0
    )


def interpreter_segment(text: bytes) -> bytes:
    """A program with one PT_INTERP and one PT_LOAD."""
    header = elf_header(phnum=2)
    at = len(header) + 2 * 56
    interp = struct.pack("<IIQQQQQQ", 3, 4, at, at, at, len(text), len(text), 1)
    load = struct.pack(
        "<IIQQQQQQ", 1, 5, 0, 0x400000, 0x400000, at + len(text), at + len(text), 4096
    )
    return header + interp + load + text


NOT_PROGRAMS = {
    "text": (b"hello\n", "not a program"),
    "empty": (b"", "not a program"),
    "one-byte": (b"\x7f", "not a program"),
    "truncated-header": (elf_header()[:40], "not a program"),
    "header-only": (elf_header(), "not a program"),
    "no-segments": (elf_header(phnum=0), "not a program"),
    "object-file": (elf_header(kind=1), "not a program"),
    "arm": (elf_header(machine=183), "aarch64"),
    "i386": (elf_header(machine=3, bits=1), "i386"),
    "riscv": (elf_header(machine=243), "riscv"),
    "unknown-machine": (elf_header(machine=4242), "machine 4242"),
    "no-interpreter": (
        interpreter_segment(b"/lib/no-such-loader.so.9\0"),
        "/lib/no-such-loader.so.9",
    ),
    "directory-as-interpreter": (interpreter_segment(b"/usr\0"), "/usr"),
    "text-as-interpreter": (interpreter_segment(b"/etc/passwd\0"), "/etc/passwd"),
    "script-without-interpreter": (b"#!/no/such/shell -x\n", "/no/such/shell"),
    "script-with-nothing": (b"#!\n", "not a program"),
    "script-with-directory": (b"#!/usr\n", "/usr"),
    "script-with-plain-file": (b"#!/etc/passwd\n", "/etc/passwd"),
}


@pytest.mark.parametrize("name", NOT_PROGRAMS)
def test_what_is_not_a_program_gives_126(wardian: Wardian, name: str) -> None:
    contents, says = NOT_PROGRAMS[name]
    wardian.fails(126, says, "do", file(wardian.directory, name, contents))


def test_truncated_program_gives_126(wardian: Wardian) -> None:
    path = file(wardian.directory, "truncated", Path("/bin/sh").read_bytes()[:9000])
    native = subprocess.run([path], check=False).returncode
    outcome = wardian.do(path)
    assert native == -11  # found after the point of no return; we find it before
    assert outcome.status == 126, outcome
    assert "past the end of the file" in outcome.err
    assert_one_line(outcome.err)


def test_interpreter_loop_ends(wardian: Wardian) -> None:
    path = wardian.directory / "loop"
    wardian.fails(
        126, "nested too deep", "do", file(wardian.directory, "loop", b"#!%s\n" % os.fsencode(path))
    )


def large_stack() -> None:
    """The host lets arguments be as long as a quarter of the stack."""
    resource.setrlimit(
        resource.RLIMIT_STACK, (64 << 20, resource.getrlimit(resource.RLIMIT_STACK)[1])
    )


def test_argument_list_too_long(wardian: Wardian) -> None:
    wardian.env = {f"V{n}": "x" * 100_000 for n in range(30)} | wardian.env
    wardian.fails(126, "too long", "do", "/bin/true", preexec_fn=large_stack)


def test_option_words_after_the_command_belong_to_it(wardian: Wardian) -> None:
    assert wardian.do("echo", "--memory", "-x").out == "--memory -x\n"
    assert wardian.do("--", "echo", "--", "x").out == "-- x\n"


def test_help_says_all_statuses(wardian: Wardian) -> None:
    outcome = wardian.do("--help")
    assert outcome.status == 0
    for number in ("124", "125", "126", "127", "128+N"):
        assert number in outcome.out


def test_a_missing_current_directory_is_not_an_error(wardian: Wardian) -> None:
    gone = wardian.directory / "gone"
    gone.mkdir()
    process = wardian.start("do", "pwd", cwd=gone, preexec_fn=lambda: os.rmdir(gone))
    outcome = finish(process)
    assert (outcome.status, outcome.out) == (0, "/\n"), outcome


def test_error_line_survives_closed_standard_error(wardian: Wardian) -> None:
    assert wardian.shell("$WARDIAN do no-such-program 2>&-; echo $?").out == "127\n"
    assert wardian.shell("$WARDIAN do --bogus 2>&-; echo $?").out == "125\n"


def test_strange_bytes_in_arguments_and_names_arrive(wardian: Wardian) -> None:
    outcome = wardian.shell(
        r"""$WARDIAN do printf %s $'a\xffb' | od -An -tx1; $WARDIAN do $'no\xffsuch'; echo $?""",
        errors="replace",
    )
    assert outcome.out == " 61 ff 62\n127\n", outcome
    assert_one_line(outcome.err)


def test_too_few_descriptors_are_refused(wardian: Wardian) -> None:
    outcome = wardian.shell("ulimit -n 100; $WARDIAN do true; echo $?")
    assert outcome.out == "125\n"
    assert "ulimit" in outcome.err
    assert_one_line(outcome.err)


def test_names_cannot_break_the_line_or_talk_to_the_terminal(wardian: Wardian) -> None:
    for name in ("two\nlines", "\x1b[2Jgone", "bell\a"):
        outcome = wardian.fails(127, "no such program", "do", name)
        assert outcome.err.rstrip("\n").isprintable()
    hostile = file(wardian.directory, "hostile", interpreter_segment(b"/\x1b[31mred\0"))
    assert wardian.fails(126, "does not exist", "do", hostile).err.rstrip("\n").isprintable()
    wardian.fails(125, "unrecognized", "do", "--x\ny", "true")
