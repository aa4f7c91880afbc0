"""Runs programs twice, on the host and in ``wardian do``, and lets the host decide what is right.

The sandboxed run goes first: its writes stay in the overlay, so the native run finds the same directory, under
the same path. What the host's directory holds after the first run is checked too: a sandbox must not have
touched it.
"""

from __future__ import annotations

import difflib
import os
import re
import shlex
import shutil
import signal
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from under_test import kept_environment, python_path, wardian_command

PROBES = Path(__file__).parent / "probes"
TIMEOUT = 60.0
SEPARATOR = "@@ "

Filter = Callable[[str], str]


@dataclass
class Result:
    """What a command left behind."""

    status: int
    stdout: str
    stderr: str


def needs(*tools: str) -> None:
    """Skip without these programs; in CI they must be there."""
    missing = [tool for tool in tools if shutil.which(tool) is None]
    if missing and os.environ.get("CI") == "true":
        pytest.fail(f"CI lacks {', '.join(missing)}: tools/test.sh installs them")
    if missing:
        pytest.skip(f"needs {', '.join(missing)}")


def run(
    command: Sequence[str], directory: Path, env: dict[str, str], stdin: str, timeout: float
) -> Result:
    """Run ``command`` in a session of its own, which is ended whole when it takes too long."""
    process = subprocess.Popen(
        command,
        cwd=directory,
        env=env,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        out, err = process.communicate(stdin, timeout=timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        pytest.fail(
            f"no end after {timeout} s: {shlex.join(command)}\n{out[-4000:]}\n{err[-4000:]}"
        )
    return Result(process.returncode, out, err)


def listing(directory: Path) -> dict[str, tuple[int, int, int]]:
    """What the host's directory holds: name -> mode, size, time of change."""
    found = {}
    for root, directories, files in os.walk(directory):
        for name in [*directories, *files]:
            info = os.lstat(os.path.join(root, name))
            found[os.path.relpath(os.path.join(root, name), directory)] = (
                info.st_mode,
                info.st_size,
                info.st_mtime_ns,
            )
    return found


def difference(native: str, inside: str) -> str:
    """The lines that differ, as diff -u shows them."""
    return "\n".join(
        difflib.unified_diff(
            native.splitlines(), inside.splitlines(), "native", "inside", lineterm="", n=2
        )
    )


def unchanged(text: str) -> str:
    """No filter."""
    return text


class Differential:
    """One test's directory and its two ways to run a program."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        home = Path.home()
        self.env = {
            "PATH": "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin",
            **kept_environment(),
            "HOME": str(directory),
            "LANG": "C.UTF-8",
            "TERM": "dumb",
            "TZ": "UTC",
            "SHELL": "/bin/sh",
            "RUSTUP_HOME": os.environ.get("RUSTUP_HOME", str(home / ".rustup")),
            "CARGO_HOME": os.environ.get("CARGO_HOME", str(home / ".cargo")),
        }

    def write(self, name: str, text: str, mode: int = 0o644) -> Path:
        """A file of the test's directory."""
        path = self.directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        path.chmod(mode)
        return path

    def sandboxed(self, command: Sequence[str], options: Sequence[str] = ()) -> list[str]:
        """The command line that runs ``command`` inside."""
        return [*wardian_command(), "do", *options, "--", *command]

    def inside(
        self,
        command: Sequence[str],
        options: Sequence[str] = (),
        stdin: str = "",
        timeout: float = TIMEOUT,
    ) -> Result:
        """Run in a sandbox."""
        env = {**self.env, **python_path()}
        if "PYTHONPATH" not in self.env:
            options = [*options, "--env", "PYTHONPATH="]
        return run(self.sandboxed(command, options), self.directory, env, stdin, timeout)

    def native(self, command: Sequence[str], stdin: str = "", timeout: float = TIMEOUT) -> Result:
        """Run on the host."""
        result = run(command, self.directory, {**self.env, "PYTHONPATH": ""}, stdin, timeout)
        if result.status < 0:
            result.status = 128 - result.status
        return result

    def __call__(
        self,
        command: Sequence[str] | str,
        *,
        stdin: str = "",
        stderr: bool = True,
        change: Filter = unchanged,
        options: Sequence[str] = (),
        timeout: float = TIMEOUT,
        status: int | None = 0,
        expect: str = "",
    ) -> Result:
        """Run both ways and compare; ``status`` None allows any, as long as both are the same.

        A string is a shell script. ``change`` takes out of the output what may differ; ``stderr`` False leaves
        standard error uncompared. ``expect`` must be in the output, so that two failures do not pass as equal.
        """
        words = ["/bin/sh", "-c", command] if isinstance(command, str) else list(command)
        before = listing(self.directory)
        inside = self.inside(words, options, stdin, timeout)
        assert listing(self.directory) == before, "the sandbox wrote to the host's directory"
        native = self.native(words, stdin, timeout)
        report = difference(change(native.stdout), change(inside.stdout))
        if stderr or inside.status != native.status:
            report += difference(change(native.stderr), change(inside.stderr))
        assert not report or (
            not stderr
            and inside.status == native.status
            and change(native.stdout) == change(inside.stdout)
        ), report
        assert inside.status == native.status, (
            f"exit status {inside.status}, native {native.status}: {inside.stderr}"
        )
        assert expect in native.stdout, (
            f"the test itself is wrong here: {native.stdout}{native.stderr}"
        )
        if status is not None:
            assert native.status == status, f"the test itself is wrong here: {native.stderr}"
        return inside

    def snippets(
        self,
        shell: Sequence[str],
        scripts: Sequence[str],
        change: Filter = unchanged,
        timeout: float = TIMEOUT,
    ) -> None:
        """Run many short scripts in one sandbox, each in a shell and a directory of its own; compare each."""
        words = [
            *shell,
            "-c",
            "\n".join(wrapped(n, shell, script) for n, script in enumerate(scripts)),
        ]
        inside = split(change(self.inside(words, timeout=timeout).stdout))
        native = split(change(self.native(words, timeout=timeout).stdout))
        assert len(native) == len(scripts), "the test itself is wrong here"
        wrong = [
            f"{script}\n{difference(native[n], inside.get(n, '(did not run)'))}"
            for n, script in enumerate(scripts)
            if native[n] != inside.get(n)
        ]
        assert not wrong, "\n\n".join(wrong)


def wrapped(number: int, shell: Sequence[str], script: str) -> str:
    """One script between marks, with its exit status."""
    command = shlex.join([*shell, "-c", script])
    return (
        f"echo '{SEPARATOR}{number}'; mkdir s{number}; cd s{number}\n{command} </dev/null 2>&1\n"
        f'echo "status $?"; cd ..'
    )


def split(output: str) -> dict[int, str]:
    """Number of the script -> what it printed."""
    parts = re.split(rf"^{SEPARATOR}(\d+)\n", output, flags=re.MULTILINE)
    return {int(parts[at]): parts[at + 1] for at in range(1, len(parts) - 1, 2)}
