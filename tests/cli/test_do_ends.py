"""How a sandbox ends: by itself, by signals, by time, or because somebody killed a part of it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from command import Wardian, assert_one_line, descendants, finish, wait_until

GUEST = "wardian-guest"


def started(process: subprocess.Popen[str]) -> str:
    """The line the guest prints once it runs."""
    assert process.stdout is not None
    return process.stdout.readline()


def test_exit_status_is_passed_on(wardian: Wardian) -> None:
    for status in (0, 1, 2, 77, 124, 255):
        assert wardian.do("sh", "-c", f"exit {status}").status == status


@pytest.mark.parametrize("number", [1, 2, 3, 6, 9, 11, 15, 31, 34, 64])
def test_death_by_a_signal_gives_128_more(wardian: Wardian, number: int) -> None:
    outcome = wardian.do("sh", "-c", f"kill -{number} $$")
    assert outcome.status == 128 + number
    assert outcome.err == ""


@pytest.mark.parametrize(
    "number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGQUIT, signal.SIGUSR1]
)
def test_a_signal_ends_the_command(wardian: Wardian, number: signal.Signals) -> None:
    process = wardian.start("do", "sh", "-c", "echo up; sleep 60 & exec sleep 60")
    assert started(process) == "up\n"
    process.send_signal(number)
    outcome = finish(process)
    assert outcome.status == 128 + number
    assert outcome.err == ""


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR2])
def test_a_signal_reaches_the_handler_of_the_command_once(
    wardian: Wardian, number: signal.Signals
) -> None:
    name = number.name.removeprefix("SIG")
    script = f"trap 'echo {name}' {name}; echo up; n=0; while [ $n -lt 10 ]; do sleep 0.05; n=$((n+1)); done; exit 9"
    process = wardian.start("do", "sh", "-c", script)
    assert started(process) == "up\n"
    os.killpg(process.pid, number)  # the launcher and the Sentry both get it, as from a terminal
    outcome = finish(process)
    assert (outcome.status, outcome.out, outcome.err) == (9, f"{name}\n", "")


def test_a_signal_during_the_start_is_not_lost(wardian: Wardian) -> None:
    for delay in (0.0, 0.05, 0.1, 0.15, 0.2, 0.25):
        process = wardian.start("do", "sleep", "60")
        time.sleep(delay)
        process.terminate()
        assert finish(process).status in (128 + signal.SIGTERM, -signal.SIGTERM)


def test_signals_ignored_by_the_caller_stay_ignored(wardian: Wardian) -> None:
    outcome = wardian.shell(
        "trap '' HUP; $WARDIAN do sh -c 'echo up; sleep 1; exit 4' & sleep 0.7; kill -HUP $!; wait $!; echo $?"
    )
    assert outcome.out == "up\n4\n"


def test_timeout_gives_124(wardian: Wardian) -> None:
    before = time.monotonic()
    outcome = wardian.do("--timeout", "0.5", "sh", "-c", "trap '' TERM; sleep 60 & sleep 60")
    assert outcome.status == 124
    assert outcome.err == "" or outcome.err.count("\n") == 1
    assert time.monotonic() - before < 10


def test_timeout_of_a_busy_loop(wardian: Wardian) -> None:
    assert wardian.do("--timeout", "500ms", "sh", "-c", "while :; do :; done").status == 124


def test_background_processes_end_with_the_command(wardian: Wardian) -> None:
    assert (
        wardian.do(
            "sh", "-c", "sleep 60 & setsid sleep 60 & nohup sleep 60 >/dev/null 2>&1 & exit 5"
        ).status
        == 5
    )


def parts(process: subprocess.Popen[str]) -> dict[str, list[int]]:
    """Host pids of the Sentry, the zygote and the guests."""
    below = descendants(process.pid)
    sentry = min(below)
    guests = [pid for pid, name in below.items() if pid != sentry]
    return {
        "launcher": [process.pid],
        "sentry": [sentry],
        "zygote": [min(guests)],
        "guests": sorted(guests)[1:],
    }


def running(wardian: Wardian) -> tuple[subprocess.Popen[str], dict[str, list[int]]]:
    process = wardian.start("do", "sh", "-c", "echo up; sleep 61 & sleep 60; echo end $?")
    assert started(process) == "up\n"
    assert wait_until(lambda: len(descendants(process.pid)) >= 6)
    return process, parts(process)


def all_gone(pids: list[int]) -> Callable[[], bool]:
    return lambda: not any(os.path.exists(f"/proc/{pid}") and not zombie(pid) for pid in pids)


def zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def test_sentry_killed(wardian: Wardian) -> None:
    process, part = running(wardian)
    everything = list(descendants(process.pid))
    os.kill(part["sentry"][0], signal.SIGKILL)
    outcome = finish(process)
    assert outcome.status == 137
    assert "killed" in outcome.err
    assert_one_line(outcome.err)
    assert wait_until(all_gone(everything))


def test_launcher_killed(wardian: Wardian) -> None:
    process, _ = running(wardian)
    everything = list(descendants(process.pid))
    process.kill()
    finish(process)
    assert wait_until(all_gone(everything))


def test_zygote_killed(wardian: Wardian) -> None:
    process, part = running(wardian)
    everything = list(descendants(process.pid))
    os.kill(part["zygote"][0], signal.SIGKILL)
    outcome = finish(process)
    assert outcome.status == 137
    assert_one_line(outcome.err)
    assert wait_until(all_gone(everything))


def test_every_guest_killed_from_outside(wardian: Wardian) -> None:
    process, part = running(wardian)
    for pid in part["guests"]:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            pass
    assert finish(process).status == 137


def test_one_guest_killed_from_outside_is_just_a_dead_child(wardian: Wardian) -> None:
    script = "echo up; sleep 60; echo status $?; sleep 0.1; echo again"
    process = wardian.start("do", "sh", "-c", script)
    started(process)
    assert wait_until(lambda: guest_pid(process, b"sleep") > 0)
    os.kill(guest_pid(process, b"sleep"), signal.SIGKILL)
    outcome = finish(process)
    assert (outcome.status, outcome.out) == (0, "status 137\nagain\n")


def guest_pid(process: subprocess.Popen[str], program: bytes) -> int:
    """The guest whose memory has ``program`` mapped."""
    for pid in descendants(process.pid):
        try:
            with open(f"/proc/{pid}/maps", "rb") as file:
                if any(line.rstrip().endswith(b"/" + program) for line in file):
                    return pid
        except OSError:
            continue
    return 0


@pytest.mark.parametrize(
    "number",
    [signal.SIGSEGV, signal.SIGTERM, signal.SIGABRT, signal.SIGSYS, signal.SIGURG, signal.SIGUSR1],
)
def test_host_signals_to_a_guest_from_outside_do_not_hang_the_sandbox(
    wardian: Wardian, number: signal.Signals
) -> None:
    process = wardian.start("do", "sh", "-c", "echo up; sleep 1; echo end")
    started(process)
    everything = descendants(process.pid)
    for pid in everything:
        if pid != min(everything):
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                pass
    outcome = finish(process)
    assert outcome.status in (0, 128 + signal.SIGKILL, 128 + number), outcome
    assert "Traceback" not in outcome.err


def test_a_guests_parent_that_was_stopped_from_outside_is_ended(wardian: Wardian) -> None:
    process = wardian.start("do", "sh", "-c", "echo up; sleep 1; echo end")
    started(process)
    for pid in sorted(descendants(process.pid)):
        if Path(f"/proc/{pid}/comm").read_text() == "stub\n":
            os.kill(pid, signal.SIGSTOP)  # the zygote, which was there first
            break
    assert finish(process).out == "end\n"


def test_stop_and_continue_of_the_launcher(wardian: Wardian) -> None:
    process = wardian.start(
        "do",
        "sh",
        "-c",
        "echo up; i=0; while [ $i -lt 20 ]; do i=$((i+1)); sleep 0.05; done; echo end",
    )
    started(process)
    process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    process.send_signal(signal.SIGCONT)
    assert finish(process).out == "end\n"


def test_twenty_sandboxes_at_once(wardian: Wardian) -> None:
    many = [
        wardian.start("do", "--memory", "256m", "sh", "-c", f"cat; echo {n} $(id -u); exit {n}")
        for n in range(20)
    ]
    for n, process in enumerate(many):
        outcome = finish(process, f"in {n}\n", 60)
        assert (outcome.status, outcome.out, outcome.err) == (n, f"in {n}\n{n} {os.getuid()}\n", "")


FORKS = """
import os, time
made = []
try:
    while len(made) < 2000:
        made.append(os.fork())
        if made[-1] == 0:
            time.sleep(20)
except OSError as error:
    print(error.strerror)
for pid in made:
    os.kill(pid, 9)
    os.waitpid(pid, 0)
"""


def test_without_descriptors_left_fork_fails_and_nothing_else(wardian: Wardian) -> None:
    script = "ulimit -n 512; $WARDIAN do sh -c \"python3 -c '$FORKS'; ls -d /; echo \\$?\""
    wardian.env["FORKS"] = FORKS
    assert wardian.shell(script).out == "Resource temporarily unavailable\n/\n0\n"


def test_what_our_parent_ignores_the_command_ignores(wardian: Wardian) -> None:
    """As execve(2) passes it on; nohup(1) is made of this."""
    script = "trap '' HUP USR2; $WARDIAN do sh -c 'kill -HUP $$; kill -USR2 $$; echo alive'"
    assert wardian.shell(script).out == "alive\n"
    show = "grep SigIgn /proc/self/status"
    first, second = wardian.shell(f"trap '' HUP; {show}; $WARDIAN do {show}").out.splitlines()
    assert first == second
