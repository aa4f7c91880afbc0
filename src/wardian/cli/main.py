"""``wardian COMMAND``: finds the command's module and leaves the rest to it.

Imports late, to start fast.
"""

from __future__ import annotations

import _signal as signal
import gc
import os
import sys

from wardian._typing import stand_in
from wardian.host.messages import OWN_STATUS, complain

COMMANDS = {
    "do": "run a command in a sandbox over this machine's own files",
    "doctor": "say which layers of confinement this host gives, and how to get the missing ones",
    "pool": "serve `wardian do` from a warm process, for faster starts",
    "version": "print the version",
}


def usage() -> str:
    """The text of ``wardian --help``."""
    lines = [
        "usage: wardian COMMAND [options]",
        "",
        "Runs programs on a Linux kernel of their own.",
        "",
    ]
    lines += [f"  {name:<10} {text}" for name, text in COMMANDS.items()]
    return "\n".join([*lines, "", "`wardian COMMAND --help` says more about one of them.", ""])


def main(arguments: list[str] | None = None) -> int:
    """The entry point; answers the exit status, or ends the process if that is ours."""
    if arguments is None:
        os._exit(main_of_process())  # the interpreter would take apart every module first
    return run_command(arguments, [0, 1, 2])


def main_of_process() -> int:
    """As :func:`main`, when this process is ours: Ctrl-C ends it quietly, closed descriptors are no
    trap, and output that cannot be written is an error."""
    gc.disable()  # until host.sandbox.keep_what_there_is
    stand_in()
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    streams = fill_closed_streams()
    try:
        try:
            status = run_command(sys.argv[1:], streams)
        except SystemExit as e:  # argparse
            status = e.code if isinstance(e.code, int) else 0
        sys.stdout.flush()
        return status
    except OSError as e:
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)  # so that the interpreter's own flush has nothing to complain of
        complain(f"cannot write the output: {e.strerror}")
        return OWN_STATUS


def fill_closed_streams() -> list[int]:
    """0, 1 and 2 as a command shall have them, -1 for a closed one. Whatever is opened next would
    otherwise land there, and be handed to the command."""
    streams = [0, 1, 2]
    for number in streams:
        try:
            os.fstat(number)
        except OSError:
            assert os.open(os.devnull, os.O_RDWR) == number
            streams[number] = -1
    if streams[1] < 0:
        sys.stdout = os.fdopen(1, "w")
    if streams[2] < 0:
        sys.stderr = os.fdopen(2, "w")
    return streams


def version() -> str:
    """Of the installed package, if it is installed."""
    from importlib import metadata

    try:
        return metadata.version("wardian")
    except metadata.PackageNotFoundError:
        return "(not installed)"


def run_command(words: list[str], streams: list[int]) -> int:
    """Find the command and leave the rest to it."""
    if not words or words[0] in ("-h", "--help", "help"):
        sys.stdout.write(usage())
        return 0 if words else OWN_STATUS
    command, rest = words[0], words[1:]
    if command == "do":
        if os.environ.get("WARDIAN_POOL") and streams == [0, 1, 2]:
            from wardian.cli.pooled import run_pooled

            status = run_pooled(os.environ["WARDIAN_POOL"], rest)
            if status is not None:
                return status
        from wardian.cli.do import main as do_main

        return do_main(rest, streams)
    if command == "pool":
        from wardian.cli.pool import main as pool_main

        return pool_main(rest)
    if command == "doctor":
        from wardian.cli.doctor import main as doctor_main

        return doctor_main(rest)
    if command in ("version", "--version"):
        print(f"wardian {version()}")
        return 0
    complain(f"unknown command {command!r}: `wardian --help` lists them")
    return OWN_STATUS


if __name__ == "__main__":
    sys.exit(main())
