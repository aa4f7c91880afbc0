"""Every layer applied for real, as root and as an ordinary user, and what it then forbids."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import struct
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

SOURCE = Path(__file__).resolve().parents[2] / "src"
CHILD = Path(__file__).with_name("confined_child.py")
SIGSYS = 31


def tiny_program() -> bytes:
    """A static program that does nothing but pause(2), for ever: stands in for the stub."""
    code = bytes.fromhex("b8220000000f05ebf7")  # again: mov $34,%eax; syscall; jmp again
    start = 0x400000
    header = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH",
        b"\x7fELF",
        2,
        1,
        1,
        2,
        62,
        1,
        start + 120,
        64,
        0,
        0,
        64,
        56,
        1,
        0,
        0,
        0,
    )
    size = 120 + len(code)
    return header + struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, size, size, 4096) + code


@pytest.fixture(scope="module")
def place() -> Iterator[Path]:
    """A directory that ordinary users may read, with the code, a stub and two directories to
    grant."""
    directory = Path(tempfile.mkdtemp(prefix="wardian-test-"))
    directory.chmod(0o755)
    shutil.copytree(SOURCE, directory / "src", ignore=shutil.ignore_patterns("*.so", "__pycache__"))
    shutil.copy(CHILD, directory)
    (directory / "stub").write_bytes(tiny_program())
    (directory / "stub").chmod(0o755)
    (directory / "read").mkdir()
    (directory / "read" / "file").write_text("contents\n")
    yield directory
    shutil.rmtree(directory)


USERS = ["me", "nobody"] if os.geteuid() == 0 else ["me"]


def run(place: Path, user: str, **settings: object) -> tuple[dict[str, Any], int]:
    """What the Sentry printed, and the signal that ended it."""
    write = Path(tempfile.mkdtemp(prefix="write-", dir=place))
    everything = {
        "stub": str(place / "stub"),
        "read": str(place / "read"),
        "write": str(write),
        "outside": os.getpid(),
        **settings,
    }
    identity: dict[str, Any] = {}
    if user != "me":
        entry = pwd.getpwnam(user)
        os.chown(write, entry.pw_uid, entry.pw_gid)
        identity = {"user": entry.pw_uid, "group": entry.pw_gid, "extra_groups": []}
    done = subprocess.run(
        ["/usr/bin/python3", str(place / CHILD.name), json.dumps(everything)],
        env={"PYTHONPATH": str(place / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=30,
        **identity,
    )
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    assert lines, done.stderr
    assert lines[-1]["left"] == [] and lines[-1]["launcher sees"]
    said = lines[0] if len(lines) > 1 else {}
    assert "error" not in said, (said, done.stderr)
    return said, lines[-1]["signal"]


def user_namespaces() -> bool:
    return Path("/proc/sys/user/max_user_namespaces").read_text().strip() != "0"


@pytest.mark.parametrize("user", USERS)
def test_all_layers_together(place: Path, user: str) -> None:
    said, signal = run(place, user)
    assert signal == 0
    layers, found = said["layers"], said["entered"]
    assert said["unexplained"] == []
    if layers["mount namespace"] == "applied":
        assert layers["root"] == layers["grants"] == "applied"
        assert found["root"] == "dev proc stub"
        assert found["write to /dev/null"] == "ok 1"
        assert found["own maps"] == "ok None"
        assert found["open a file by path"] == "No such file or directory"
        assert found["write below a read-only grant"] == "Read-only file system"
    assert found["read a granted file"] == "ok b'contents\\n'"
    assert found["write below a writable grant"] == "ok True"
    assert found["leave a grant by .."] in ("No such file or directory", "Permission denied")
    assert not found["write a file by path"].startswith("ok")
    assert found["mount"] == "Operation not permitted"
    assert found["write own code"] == "Permission denied"
    assert not found["signal a stranger"].startswith("ok")
    assert not found["read a stranger"].startswith("ok")
    assert found["read a guest"] == "ok 7f454c46"
    assert not found["connect to an abstract socket"].startswith("ok")
    assert found["guest capabilities"] == "0000000000000000"
    assert found["guest oom score"] == "1000\n"
    if layers["pid namespace"] == "applied":
        assert said["pid"] == 1
    if user == "nobody":
        assert found["own capabilities"] == "0000000000000000"
    assert layers["seccomp"] == "applied"
    assert said["attempt"] == "ok alive"


@pytest.mark.parametrize("user", USERS)
def test_without_any_namespace_landlock_keeps_the_sentry_in(place: Path, user: str) -> None:
    none = ["user", "mount", "pid", "net", "ipc", "uts", "cgroup"]
    said, _ = run(place, user, without=none)
    layers, found = said["layers"], said["entered"]
    if layers["landlock"] != "applied":
        pytest.skip("no Landlock here")
    assert layers["grants"] == "missing"
    assert layers["root"] == ("partly" if user == "me" and os.geteuid() == 0 else "missing")
    assert found["read a granted file"] == "ok b'contents\\n'"
    assert found["write below a writable grant"] == "ok True"
    assert found["write below a read-only grant"] == "Permission denied"
    assert found["leave a grant by .."] in ("No such file or directory", "Permission denied")
    assert found["open a file by path"] in ("No such file or directory", "Permission denied")
    assert not found["write a file by path"].startswith("ok")
    assert found["read a stranger"] in ("Operation not permitted", "No such process")
    assert found["signal a stranger"] == "Operation not permitted"
    assert not found["connect to an abstract socket"].startswith("ok")
    assert found["read a guest"] == "ok 7f454c46"


def test_the_sentry_is_in_the_group_and_sees_no_other(place: Path) -> None:
    said, _ = run(place, "me", memory=256 << 20)
    if said["layers"]["limits"] != "applied":
        pytest.skip(said["details"]["limits"])
    memory = [x for x in said["entered"]["own group"].splitlines() if "memory" in x or x[0] == "0"]
    assert memory and all(line.endswith(":/") for line in memory)


@pytest.mark.parametrize("user", USERS)
def test_with_a_mount_but_no_pid_namespace(place: Path, user: str) -> None:
    said, _ = run(place, user, without=["pid"])
    assert said["layers"]["proc"] == "missing"
    found = said["entered"]
    assert found["read a guest"] == "ok 7f454c46"
    assert found["own maps"] == "ok None"
    assert not found["read a stranger"].startswith("ok")
    assert not found["signal a stranger"].startswith("ok")


def test_a_removed_root_leaves_nothing_behind(place: Path) -> None:
    before = {name for name in os.listdir("/tmp") if name.startswith("wardian-")}
    run(place, "me", without=["user", "mount"])
    assert {name for name in os.listdir("/tmp") if name.startswith("wardian-")} <= before


@pytest.mark.parametrize(
    "attempt",
    [
        *("socket", "unix socket", "fork", "exec", "code", "ptrace", "mount", "unshare"),
        *("type into the terminal", "kill all", "bpf", "io_uring", "unlink", "handle"),
    ],
)
def test_a_sealed_sentry_dies_of_a_forbidden_call(place: Path, attempt: str) -> None:
    _, signal = run(place, "me", attempt=attempt)
    assert signal == SIGSYS


@pytest.mark.parametrize(
    ("attempt", "result"),
    [
        ("read", "ok b''"),
        ("thread lock", "ok True"),
        ("open", "Permission denied"),
        ("terminal size", "Inappropriate ioctl for device"),
        ("raise a limit", "ok None"),
    ],
)
def test_a_sealed_sentry_can_do_its_work(place: Path, attempt: str, result: str) -> None:
    said, signal = run(place, "me", attempt=attempt)
    assert (signal, said["attempt"]) == (0, result)


def test_while_debugging_a_forbidden_call_fails_instead(place: Path) -> None:
    said, signal = run(place, "me", attempt="socket", debug=1)
    assert (signal, said["attempt"]) == (0, "Operation not permitted")


@pytest.mark.skipif(os.geteuid() != 0, reason="looks into other users' processes")
def test_root_keeps_only_what_files_of_others_need(place: Path) -> None:
    said, _ = run(place, "me")
    kept = int(said["entered"]["own capabilities"], 16)
    assert (
        kept == 0b11111
    )  # chown, dac_override, dac_read_search, fowner, fsetid: a grant is writable
    assert int(said["entered"]["guest bounding"], 16) == kept


def test_nothing_survives_a_killed_launcher(place: Path) -> None:
    """The Sentry dies with its launcher, and guests with the Sentry."""
    write = tempfile.mkdtemp(prefix="write-", dir=place)
    settings = {
        "stub": str(place / "stub"),
        "read": str(place / "read"),
        "write": write,
        "outside": os.getpid(),
        "attempt": "wait",
    }
    launcher = subprocess.Popen(
        ["/usr/bin/python3", str(place / CHILD.name), json.dumps(settings)],
        env={"PYTHONPATH": str(place / "src"), "PYTHONDONTWRITEBYTECODE": "1"},
        stdout=subprocess.PIPE,
    )
    assert launcher.stdout is not None
    assert launcher.stdout.readline() == b"waiting\n"
    launcher.kill()
    launcher.wait()
    assert launcher.stdout.read() == b""  # end of file: all who had it are gone
    launcher.stdout.close()
