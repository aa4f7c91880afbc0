"""Runs ``wardian`` as a user would, and looks for what it leaves behind on the host."""

from __future__ import annotations

import glob
import os
import shlex
import signal
import subprocess
import sysconfig
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from under_test import SOURCE, kept_environment, python_path, wardian_command

TIMEOUT = 30.0
GRACE = 5.0
NOBODY = 12345
"""Not 65534: in a user namespace that is who all unknown users look like."""
LEFT_BEHIND = (
    "/sys/fs/cgroup/wardian-{pid}-*",
    "/sys/fs/cgroup/*/wardian-{pid}-*",
    "/sys/fs/cgroup/**/wardian-{pid}-*",
    "/tmp/wardian-{pid}-*",
)


@dataclass
class Outcome:
    """How a command ended."""

    status: int
    out: str
    err: str


def as_nobody(wardian: Wardian) -> None:
    """From now on the command runs as an ordinary user, with a Python that this user may read."""
    if os.getuid() == 0:
        # env: setpriv still has root's rights when it executes the next program
        wardian.prefix = [
            "setpriv",
            f"--reuid={NOBODY}",
            f"--regid={NOBODY}",
            "--clear-groups",
            "env",
        ]
    wardian.env |= {
        "HOME": "/tmp",
        "PYTHONDONTWRITEBYTECODE": "1",
        "PATH": "/usr/local/bin:/usr/bin:/bin",
    }
    # Not below pytest's directories: every other pytest that starts here closes them again.
    wardian.directory = Path(tempfile.mkdtemp(prefix="pytest-wardian-"))
    wardian.directory.chmod(0o777)
    wardian.temporary.append(wardian.directory)
    if answers(wardian):
        return
    packages = [str(SOURCE), sysconfig.get_path("platlib")]
    if os.environ.get("WARDIAN"):
        packages.reverse()  # the installed one
    wardian.command = ["/usr/bin/python3", "-m", "wardian"]
    wardian.env["PYTHONPATH"] = ":".join(packages)
    if not answers(wardian):
        pytest.skip(
            "an ordinary user cannot read this Python, and /usr/bin/python3 is another version"
        )


def answers(wardian: Wardian) -> bool:
    """Whether the command can be started at all."""
    code = (
        "import wardian._core"
        if wardian.command[-1] == "wardian" and "-m" in wardian.command
        else ""
    )
    check = (
        [*wardian.prefix, *wardian.command[:1], "-c", code] if code else wardian.words(["version"])
    )
    return (
        subprocess.run(check, env=wardian.env, cwd="/", capture_output=True, check=False).returncode
        == 0
    )


def environment(**changes: str) -> dict[str, str]:
    """What the command sees: little, and the source tree for the interpreted build."""
    return {"HOME": "/", "LANG": "C.UTF-8", **python_path(), **kept_environment(), **changes}


class Wardian:
    """The command line in one directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.command = wardian_command()
        self.prefix: list[str] = []  # words before ours, such as setpriv
        self.env = environment()
        self.launchers: list[int] = []
        self.mounts = mount_points()
        self.temporary: list[Path] = []

    def words(self, arguments: Sequence[str]) -> list[str]:
        """The whole command line."""
        return [*self.prefix, *self.command, *arguments]

    def start(self, *arguments: str, **how: Any) -> subprocess.Popen[str]:
        """Start it in a session of its own; pipes unless ``how`` says otherwise."""
        streams = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
        process = subprocess.Popen(
            self.words(arguments),
            text=True,
            errors="replace",
            **{"start_new_session": True, "cwd": self.directory, "env": self.env, **streams, **how},
        )
        self.launchers.append(process.pid)
        return process

    def __call__(
        self, *arguments: str, stdin: str = "", timeout: float = TIMEOUT, **how: Any
    ) -> Outcome:
        """Run to the end."""
        process = self.start(*arguments, **how)
        return finish(process, stdin, timeout)

    def do(self, *arguments: str, **how: Any) -> Outcome:
        """``wardian do``."""
        return self("do", *arguments, **how)

    def shell(self, script: str, **how: Any) -> Outcome:
        """A host shell script in which ``$WARDIAN`` is the command."""
        env = {**self.env, "WARDIAN": shlex.join(self.words([]))}
        process = subprocess.Popen(
            ["bash", "-c", script],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            cwd=self.directory,
            env=env,
            start_new_session=True,
            **how,
        )
        return finish(process, "", TIMEOUT)

    def fails(self, status: int, says: str, *arguments: str, **how: Any) -> Outcome:
        """It must end with this status and one clear line that says this."""
        outcome = self(*arguments, **how)
        assert outcome.status == status, outcome
        assert says in outcome.err, outcome
        assert_one_line(outcome.err)
        return outcome

    def check_nothing_left(self) -> None:
        """No process, mount, control group or temporary file."""
        assert wait_until(lambda: not our_children()), f"processes left: {our_children()}"
        for pid in self.launchers:
            left = [path for pattern in LEFT_BEHIND for path in glob.glob(pattern.format(pid=pid))]
            assert not left, f"left behind: {left}"
        assert mount_points() <= self.mounts, f"mounts left: {mount_points() - self.mounts}"


def finish(process: subprocess.Popen[str], stdin: str = "", timeout: float = TIMEOUT) -> Outcome:
    """Wait for the end; a hang is a failure and is ended."""
    try:
        out, err = process.communicate(stdin, timeout)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        out, err = process.communicate()
        raise AssertionError(f"no end after {timeout} s: {process.args}\n{out}\n{err}") from None
    return Outcome(process.returncode, out or "", err or "")


def assert_one_line(text: str) -> None:
    """One message of ours, and no traceback."""
    lines = text.splitlines()
    assert len(lines) == 1, text
    assert lines[0].startswith("wardian"), text


def mount_points() -> set[str]:
    """What is mounted on the host."""
    with open("/proc/self/mountinfo") as file:
        return {line.split()[4] for line in file}


def our_children() -> list[str]:
    """Descendants of this process, the orphans among them too; zombies are buried on the way."""
    found = []
    for pid, name, state, parent in processes():
        if parent != os.getpid():
            continue
        if state == "Z":
            try:
                os.waitpid(pid, os.WNOHANG)
            except ChildProcessError:
                pass
        else:
            found.append(f"{pid} {name}")
    return found


def processes() -> list[tuple[int, str, str, int]]:
    """Pid, name, state and parent of every process."""
    found = []
    for directory in glob.glob("/proc/[0-9]*"):
        try:
            text = Path(directory, "stat").read_text()
        except OSError:
            continue
        name, rest = (
            text[text.index("(") + 1 : text.rindex(")")],
            text[text.rindex(")") + 2 :].split(),
        )
        found.append((int(os.path.basename(directory)), name, rest[0], int(rest[1])))
    return found


def descendants(pid: int) -> dict[int, str]:
    """Host pid -> name of everything below ``pid``."""
    below = {pid}
    found: dict[int, str] = {}
    for child, name, state, parent in sorted(processes()):
        if parent in below and state != "Z":
            below.add(child)
            found[child] = name
    return found


def wait_until(condition: Callable[[], bool], seconds: float = GRACE) -> bool:
    """Whether it came true in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.02)
    return True
