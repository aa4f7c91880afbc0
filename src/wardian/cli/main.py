"""``wardian COMMAND``: finds the command's module and leaves the rest to it. Imports late, to start fast."""

from __future__ import annotations

import sys

COMMANDS = {
    "do": "run a command in a sandbox over this machine's own files",
    "doctor": "say which layers of confinement this host gives, and how to get the missing ones",
    "version": "print the version",
}

USAGE_STATUS = 125
"""Wardian's own errors; 126 and 127 are the command's (as docker run, env(1))."""


def usage() -> str:
    """The text of ``wardian --help``."""
    lines = ["usage: wardian COMMAND [options]", "", "Runs programs on a Linux kernel of their own.", ""]
    lines += [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", "`wardian COMMAND --help` says more about one of them.", ""])


def main(arguments: list[str] | None = None) -> int:
    """The entry point; answers the exit status."""
    words = sys.argv[1:] if arguments is None else arguments
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0 if words else USAGE_STATUS
    command, rest = words[0], words[1:]
    if command == "do":
        from wardian.cli.do import main as do_main

        return do_main(rest)
    if command == "doctor":
        from wardian.cli.doctor import main as doctor_main

        return doctor_main(rest)
    if command in ("version", "--version"):
        from importlib.metadata import version

        print(f"wardian {version('wardian')}")
        return 0
    sys.stderr.write(f"wardian: unknown command {command!r}: `wardian --help` lists them\n")
    return USAGE_STATUS


if __name__ == "__main__":
    sys.exit(main())
