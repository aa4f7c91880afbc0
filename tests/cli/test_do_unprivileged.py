"""An ordinary user, and an unprivileged container where no user namespace can be made: the same command, with the
layers that are left."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from command import NOBODY, Wardian, as_nobody, descendants, finish, wait_until

CONTAINER = ["bwrap", "--unshare-user", "--disable-userns", "--dev-bind", "/", "/", "--"]


@pytest.fixture(params=["user", "container"])
def nobody(request: pytest.FixtureRequest, wardian: Wardian) -> Wardian:
    """``wardian`` as an ordinary user, the second time where there are no namespaces to be had."""
    as_nobody(wardian)
    if request.param == "container":
        if shutil.which("bwrap") is None:
            pytest.skip("needs bwrap")
        wardian.prefix = [*wardian.prefix, *CONTAINER]
        if subprocess.run([*wardian.prefix, "true"], capture_output=True, check=False).returncode:
            pytest.skip("bwrap makes no user namespace here")
    return wardian


def confined_less(wardian: Wardian) -> bool:
    return "bwrap" in wardian.prefix


def test_programs_run(nobody: Wardian) -> None:
    script = "id -u; echo $((6*7)) | cat; (exit 3); echo $?; python3 -c 'print(sum(range(10)))'"
    outcome = nobody.do("bash", "-c", script)
    uid = NOBODY if os.getuid() == 0 else os.getuid()
    assert (outcome.status, outcome.out, outcome.err) == (0, f"{uid}\n42\n3\n45\n", "")


def test_writes_stay_inside(nobody: Wardian) -> None:
    (nobody.directory / "f").write_text("old\n")
    (nobody.directory / "f").chmod(0o666)
    outcome = nobody.do(
        "sh",
        "-c",
        "echo new > f; echo x > g; cat f g; cat /etc/shadow; echo $?; touch /usr/x; echo $?",
    )
    assert outcome.out == "new\nx\n1\n1\n"
    assert os.listdir(nobody.directory) == ["f"]


def test_volume_is_written_as_the_user(nobody: Wardian) -> None:
    outcome = nobody.do(
        "-v",
        f"{nobody.directory}:/mnt",
        "sh",
        "-c",
        "echo x > /mnt/f; mkdir /mnt/d; mv /mnt/f /mnt/d; cat /mnt/d/f",
    )
    assert (outcome.status, outcome.out) == (0, "x\n"), outcome
    assert (nobody.directory / "d/f").stat().st_uid == (NOBODY if os.getuid() == 0 else os.getuid())


def test_owners_of_host_files_are_named_as_outside(nobody: Wardian) -> None:
    (nobody.directory / "f").write_text("")
    os.chown(nobody.directory / "f", *((NOBODY, NOBODY) if os.getuid() == 0 else (-1, -1)))
    words = ["stat", "-c", "%n %U %G", "/etc/passwd", "/usr/bin", str(nobody.directory / "f")]
    native = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert nobody.do(*words).out == native


def test_root_inside_is_the_user_outside(nobody: Wardian) -> None:
    script = "id -u; echo x > /etc/x; cat /etc/x; cat /etc/shadow; touch /mnt/f; chown 77 /mnt/f"
    outcome = nobody.do("--user", "0", "-v", f"{nobody.directory}:/mnt", "sh", "-c", script)
    assert outcome.out == "0\nx\n"
    assert outcome.err.count("denied") == 1 and outcome.err.count("not permitted") == 1, outcome
    assert (nobody.directory / "f").stat().st_uid == (NOBODY if os.getuid() == 0 else os.getuid())


def test_errors_are_as_for_root(nobody: Wardian) -> None:
    nobody.fails(127, "no such program", "do", "no-such-program")
    nobody.fails(126, "permission denied", "do", "/etc/passwd")
    nobody.fails(125, "/no/such", "do", "--rootfs", "/no/such", "true")
    nobody.fails(125, "no such file", "do", "-w", "/no/such", "true")


def test_signals_and_timeout(nobody: Wardian) -> None:
    assert nobody.do("sh", "-c", "kill -TERM $$").status == 143
    assert nobody.do("--timeout", "0.5", "sleep", "60").status == 124


@pytest.mark.parametrize("victim", ["launcher", "sentry", "zygote"])
def test_nothing_is_left_when_a_part_is_killed(nobody: Wardian, victim: str) -> None:
    process = nobody.start("do", "sh", "-c", "echo up; sleep 61 & sleep 60")
    assert process.stdout is not None and process.stdout.readline() == "up\n"
    names = descendants(process.pid)
    guests = sorted(pid for pid, name in names.items() if name == "wardian-guest" or name == "stub")
    ours = sorted(
        pid for pid in [process.pid, *names] if pid < guests[0] and names.get(pid) != "bwrap"
    )
    sentry, launcher = ours[-1], ours[-2]
    if victim == "launcher" and launcher == process.pid and confined_less(nobody):
        launcher = ours[-2]
    os.kill({"launcher": launcher, "sentry": sentry, "zygote": guests[0]}[victim], 9)
    finish(process)
    assert wait_until(
        lambda: not any(os.path.exists(f"/proc/{pid}") and state(pid) != "Z" for pid in names)
    )


def state(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return "Z"


def test_memory_limit_is_kept_without_a_control_group(nobody: Wardian) -> None:
    eat = "x = []\nwhile True: x.append(bytes(1 << 20))"
    outcome = nobody.do(
        "--memory",
        "150m",
        "bash",
        "-c",
        f"sleep 30 & python3 -c '{eat}' 2>/dev/null; echo $?; kill $! && echo alive",
    )
    assert (outcome.status, outcome.out) == (0, "137\nalive\n"), outcome


def test_pids_limit_is_kept_without_a_control_group(nobody: Wardian) -> None:
    script = "import os, time\nn = 1\ntry:\n  while True:\n    if os.fork() == 0: time.sleep(9)\n    n += 1\nexcept BlockingIOError: print(n)"
    assert nobody.do("--pids", "12", "python3", "-c", script).out == "12\n"


def test_no_network_but_the_sandboxs_own(nobody: Wardian) -> None:
    script = (
        "import socket\nl = socket.create_server(('127.0.0.1', 8080))\nc = socket.create_connection(('127.0.0.1', 8080))\n"
        "print('own')\nsocket.create_connection(('192.0.2.1', 80), 3)"
    )
    outcome = nobody.do("python3", "-c", script)
    assert outcome.out == "own\n"
    assert outcome.status == 1


def test_debug_and_log_say_which_layers_are_missing(nobody: Wardian) -> None:
    for arguments in (["--debug"], ["--log", str(nobody.directory / "log")]):
        outcome = nobody.do(*arguments, "true")
        assert outcome.status == 0
        text = (
            outcome.err + (nobody.directory / "log").read_text()
            if "--log" in arguments
            else outcome.err
        )
        assert ("without user namespace" in text) == confined_less(nobody), text
    assert nobody.do("true").err == ""


def test_doctor_says_what_is_missing_and_how_to_get_it(nobody: Wardian) -> None:
    outcome = nobody("doctor")
    assert outcome.status == 0
    assert "Sandboxes can run here" in outcome.out
    assert ("missing  user namespace" in outcome.out) == confined_less(nobody)
    assert "to get it:" in outcome.out


def test_ten_at_once(nobody: Wardian) -> None:
    many = [nobody.start("do", "sh", "-c", f"cat; exit {n}") for n in range(10)]
    for n, process in enumerate(many):
        outcome = finish(process, f"{n}\n")
        assert (outcome.status, outcome.out, outcome.err) == (n, f"{n}\n", "")


def test_on_a_terminal_missing_layers_are_told_in_one_line(nobody: Wardian) -> None:
    command = " ".join(nobody.words(["do", "true"]))
    outcome = nobody.shell(f"script -qec '{command}' /dev/null < /dev/null")
    lines = [line for line in outcome.out.splitlines() if "wardian" in line]
    assert len(lines) == int(confined_less(nobody)), lines
    assert not lines or "wardian doctor" in lines[0]


def test_a_closed_directory_in_path_is_not_a_program(nobody: Wardian) -> None:
    closed = nobody.directory / "closed"
    closed.mkdir(mode=0)
    nobody.env["PATH"] = f"{closed}:{nobody.env['PATH']}"
    assert nobody.do("sh", "-c", "exit 3").status == 3
    nobody.fails(127, "no such program", "do", "no-such-program")
    nobody.fails(126, "may not be searched", "do", f"{closed}/x")
    closed.chmod(0o755)


def test_quick_enough_to_end(nobody: Wardian) -> None:
    """A hang at the end, such as waiting for processes that nobody reaps, would show here."""
    before = time.monotonic()
    nobody.do("true")
    assert time.monotonic() - before < 5
