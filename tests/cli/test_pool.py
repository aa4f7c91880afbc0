"""``wardian pool``, and commands that are forked from it."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import stat
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from command import NOBODY, Wardian, descendants, finish, wait_until

from wardian.host import syscalls


class Pool:
    """A server of ours."""

    def __init__(self, wardian: Wardian, **how: Any) -> None:
        self.path = wardian.directory / "run" / "socket"
        self.path.parent.mkdir(mode=0o700)
        self.process = wardian.start("pool", "--socket", str(self.path), **how)
        assert wait_until(self.path.exists)
        wardian.env["WARDIAN_POOL"] = str(self.path)

    def children(self) -> list[int]:
        """The launchers that it has forked."""
        pid = self.process.pid
        return [int(n) for n in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
def pool(wardian: Wardian) -> Iterator[Pool]:
    """A server, and commands that know of it."""
    server = Pool(wardian)
    yield server
    server.process.terminate()
    outcome = finish(server.process)
    assert (outcome.status, outcome.out) == (0, ""), outcome
    assert not server.path.exists()


def test_a_command_has_all_that_is_the_callers(wardian: Wardian, pool: Pool) -> None:
    wardian.env["COLOUR"] = "blue"
    script = "echo $COLOUR $0; pwd; umask; cat; echo oops >&2; exit 7"
    process = wardian.start("do", "sh", "-c", script, "x y", preexec_fn=lambda: os.umask(0o027))
    outcome = finish(process, "input\n")
    assert outcome.status == 7
    assert outcome.out.splitlines() == ["blue x y", str(wardian.directory), "0027", "input"]
    assert outcome.err == "oops\n"


def test_it_is_a_fork_of_the_server(wardian: Wardian, pool: Pool) -> None:
    process = wardian.start("do", "sh", "-c", "echo up; cat")
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "up\n"
    assert len(pool.children()) == 1
    assert not descendants(process.pid)
    process.stdin.close()
    assert process.wait(20) == 0
    assert wait_until(lambda: not pool.children())


def test_options_and_errors_are_as_without_it(wardian: Wardian, pool: Pool) -> None:
    assert wardian.do("--hostname=there", "uname", "-n").out == "there\n"
    assert wardian.do("--help").out.startswith("usage: wardian do")
    wardian.fails(125, "unrecognized", "do", "--nonesuch", "true")
    wardian.fails(127, "no-such-program", "do", "no-such-program")
    (wardian.directory / "shared").mkdir()
    assert wardian.do("-v", "shared:/mnt", "sh", "-c", "echo x > /mnt/y").status == 0
    assert (wardian.directory / "shared/y").read_text() == "x\n"
    assert wardian.do("sh", "-c", "kill -9 $$").status == 137
    assert "write(1" in wardian.do("--strace", "echo", "x").err


def test_signals_are_passed_on(wardian: Wardian, pool: Pool) -> None:
    script = "trap 'echo term; exit 3' TERM; echo up; while :; do sleep 0.1; done"
    process = wardian.start("do", "sh", "-c", script)
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    process.terminate()
    assert process.stdout.readline() == "term\n"
    assert process.wait(20) == 3


@pytest.mark.parametrize("number", [signal.SIGHUP, 32, 33, 64])  # 32 and 33 are glibc's own
def test_what_the_caller_ignores_is_ignored(wardian: Wardian, pool: Pool, number: int) -> None:
    script = f"kill -{number:d} $$; echo alive"
    for ignored, status in ((True, 0), (False, 128 + number)):
        outcome = wardian.do("sh", "-c", script, preexec_fn=partial(ignore, number, ignored))
        assert (outcome.status, outcome.out) == (status, "alive\n" if ignored else "")


def test_what_the_server_ignores_is_not(wardian: Wardian) -> None:
    pool = Pool(wardian, preexec_fn=lambda: ignore(signal.SIGHUP))
    script = "kill -HUP $$; echo alive"
    outcome = wardian.do("sh", "-c", script, preexec_fn=lambda: ignore(signal.SIGHUP, False))
    assert outcome.status == 128 + signal.SIGHUP
    pool.process.terminate()
    assert finish(pool.process).status == 0


def ignore(number: int, ignored: bool = True) -> None:
    """Ignore any signal from now on, or no longer. The tests' own parent may ignore some."""
    syscalls.ignore_signal(number, ignored)


def test_a_killed_caller_takes_its_sandbox_along(wardian: Wardian, pool: Pool) -> None:
    process = wardian.start("do", "sh", "-c", "trap '' TERM HUP; echo up; sleep 1000")
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    family = descendants(pool.process.pid)
    process.kill()
    process.wait(20)
    assert wait_until(lambda: not pool.children())
    assert wait_until(lambda: not [pid for pid in family if os.path.exists(f"/proc/{pid}/exe")][1:])
    assert wardian.do("echo", "next").out == "next\n"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_sandboxes_end_with_the_server(wardian: Wardian, number: int) -> None:
    pool = Pool(wardian)
    process = wardian.start("do", "sh", "-c", "trap '' TERM HUP; echo up; sleep 1000")
    assert process.stdout is not None and process.stderr is not None
    assert process.stdout.readline() == "up\n"
    os.kill(pool.process.pid, number)
    pool.process.wait(20)
    assert process.wait(20) in (125, 137)
    assert wardian.do("echo", "without").out == "without\n"  # no server: a process of its own


def test_only_its_owner_is_served(wardian: Wardian, pool: Pool) -> None:
    assert stat.S_IMODE(pool.path.stat().st_mode) == 0o600
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    pool.path.parent.chmod(0o755)
    pool.path.chmod(0o666)  # even then
    code = f"import socket; s = socket.socket(1); s.connect({str(pool.path)!r}); print(s.recv(1))"
    other = ["setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups"]
    wardian.directory.parent.chmod(0o755)
    for directory in pool.path.parents[1:4]:
        directory.chmod(directory.stat().st_mode | 0o011)
    said = subprocess.run([*other, "/usr/bin/python3", "-c", code], capture_output=True, timeout=20)
    assert said.stdout in (b"b''\n", b"") and not pool.children(), said


def test_nonsense_leaves_no_descriptor_behind(wardian: Wardian, pool: Pool) -> None:
    descriptors = Path(f"/proc/{pool.process.pid}/fd")
    before = len(list(descriptors.iterdir()))
    for _ in range(3):
        with socket.socket(socket.AF_UNIX) as caller:
            caller.connect(str(pool.path))
            socket.send_fds(caller, [b"nonsense"], [0, 1])
            assert caller.recv(1) == b""  # turned away
    assert wait_until(lambda: len(list(descriptors.iterdir())) == before)


def test_a_server_of_another_user_is_not_used(wardian: Wardian) -> None:
    if os.getuid() != 0:
        pytest.skip("only root can be somebody else")
    path = str(wardian.directory / "trap")
    with socket.socket(socket.AF_UNIX) as listener:
        os.seteuid(NOBODY)
        try:
            os.seteuid(0)
            listener.bind(path)
            os.seteuid(NOBODY)
            listener.listen()
        finally:
            os.seteuid(0)
        wardian.env["WARDIAN_POOL"] = path
        assert wardian.do("echo", "own").out == "own\n"
        connection, _ = listener.accept()
        with connection:
            assert connection.recv(100) == b""  # it was told nothing


def test_a_socket_where_others_can_write_is_refused(wardian: Wardian) -> None:
    open_to_all = wardian.directory / "open"
    open_to_all.mkdir()
    open_to_all.chmod(0o777)
    wardian.fails(125, "others can write", "pool", "--socket", str(open_to_all / "socket"))
    wardian.fails(125, "XDG_RUNTIME_DIR", "pool")


def test_an_abandoned_socket_is_taken_over_and_a_live_one_is_not(
    wardian: Wardian, pool: Pool
) -> None:
    wardian.fails(125, "in use", "pool", "--socket", str(pool.path))
    left = pool.path.with_name("left")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(left))
    abandoned = left.stat().st_ino
    process = wardian.start("pool", "--socket", str(left))
    assert wait_until(lambda: left.exists() and left.stat().st_ino != abandoned)
    wardian.env["WARDIAN_POOL"] = str(left)
    assert wardian.do("echo", "x").out == "x\n"
    process.terminate()
    assert process.wait(20) == 0


def links_of(pid: int) -> set[str]:
    """What a process has open; it may be closing some (a process for programs to come is made), or
    have ended (one that another was made for)."""
    links: set[str] = set()
    with contextlib.suppress(FileNotFoundError):
        for path in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                links.add(os.readlink(path))
    return links


def test_nothing_of_the_server_is_in_the_sandbox(wardian: Wardian, pool: Pool) -> None:
    process = wardian.start("do", "sh", "-c", "echo up; cat")
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "up\n"
    [launcher] = pool.children()
    held = {os.readlink(path) for path in Path(f"/proc/{pool.process.pid}/fd").iterdir()}
    held -= {os.readlink(f"/proc/{pool.process.pid}/fd/{fd}") for fd in (0, 1, 2)}
    held = {name for name in held if name.startswith(("socket:", "pipe:"))}
    assert held
    links = {pid: links_of(pid) for pid in [*descendants(launcher), launcher]}
    assert len([pid for pid in links if links[pid]]) >= 3, "launcher, Sentry, zygote at least"
    for pid in links:
        assert not links[pid] & held
    process.stdin.close()
    assert process.wait(20) == 0
