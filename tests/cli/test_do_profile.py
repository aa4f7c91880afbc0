"""``wardian do --profile``: what it says, where, and that it changes nothing else."""

from __future__ import annotations

import json
import re
from typing import Any

from command import Wardian, as_nobody

HEAD = re.compile(r"^wardian profile: \d+\.\d{3} s, \d+ requests, .* in the Sentry$", re.MULTILINE)


def profile(wardian: Wardian, *arguments: str, status: int = 0) -> Any:
    """What a run with --profile=FILE.json has written."""
    outcome = wardian.do("--profile=profile.json", *arguments)
    assert (outcome.status, outcome.err) == (status, ""), outcome
    return json.loads((wardian.directory / "profile.json").read_text())


def row(found: Any, name: str) -> Any:
    return next(call for call in found["calls"] if call["name"] == name)


def test_a_table_goes_to_standard_error_after_the_program(wardian: Wardian) -> None:
    outcome = wardian.do("--profile", "sh", "-c", "echo hello; echo last >&2; cat /no/such/file")
    assert (outcome.status, outcome.out) == (1, "hello\n")
    own, _, rest = outcome.err.partition("wardian profile: ")
    assert own.endswith("last\ncat: /no/such/file: No such file or directory\n")
    assert HEAD.search("wardian profile: " + rest)
    openat = re.search(r"^openat +\d+ +\d+ ", rest, re.MULTILINE)
    assert openat, rest
    assert re.search(r"^asleep +\d+ +\d+\.\d +\d+\.\d %$", rest, re.MULTILINE), rest


def test_a_table_goes_to_a_file(wardian: Wardian) -> None:
    (wardian.directory / "profile").write_text("old " * 10000)
    outcome = wardian.do("--profile=profile", "true")
    assert (outcome.status, outcome.out, outcome.err) == (0, "", "")
    text = (wardian.directory / "profile").read_text()
    assert HEAD.match(text)
    assert "old" not in text
    assert re.search(r"^exit_group +1 ", text, re.MULTILINE)


def test_json_has_every_call_and_every_moment(wardian: Wardian) -> None:
    script = "import os\nfor i in range(300): os.getpriority(0, 0)\nfor i in range(7):\n try: os.stat('/no')\n except OSError: pass"
    found = profile(wardian, "/usr/bin/python3", "-c", script)
    assert found["command"] == ["/usr/bin/python3", "-c", script]
    assert row(found, "getpriority")["count"] == 300
    failed = row(found, "newfstatat")["errors"]["ENOENT"]
    assert failed >= 7
    for call in found["calls"]:
        assert 0 < call["p50_ns"] <= call["p99_ns"] <= call["max_ns"] <= call["total_ns"], call
        assert call["count"] * call["mean_ns"] <= call["total_ns"]
    totals = [call["total_ns"] for call in found["calls"]]
    assert totals == sorted(totals, reverse=True)
    assert found["time_ns"]["handlers"] == sum(totals)
    assert sum(found["time_ns"].values()) == found["wall_ns"]
    assert found["requests"] >= sum(call["count"] for call in found["calls"])
    assert found["patched_sites"] >= 1


def test_waiting_is_parked_and_not_the_handlers(wardian: Wardian) -> None:
    found = profile(wardian, "sleep", "0.3")
    sleep = row(found, "clock_nanosleep")
    assert sleep["parked_ns"] >= 290_000_000
    assert sleep["total_ns"] < 100_000_000
    assert found["time_ns"]["asleep"] >= 200_000_000
    assert found["time_ns"]["timers"] > 0


def test_processes_signals_and_threads_are_in_it(wardian: Wardian) -> None:
    script = (
        "import os, signal, threading, time\n"
        "pid = os.fork()\n"
        "if pid == 0: signal.pause()\n"
        "t = threading.Thread(target=time.sleep, args=(0.05,)); t.start(); t.join()\n"
        "os.kill(pid, 9); os.waitpid(pid, 0)\n"
        "os.execv('/bin/true', ['true'])"
    )
    found = profile(wardian, "/usr/bin/python3", "-c", script)
    assert row(found, "execve")["count"] == 1
    assert row(found, "pause")["count"] == 1
    assert row(found, "kill")["count"] == 1
    assert sum(call["count"] for call in found["calls"] if call["name"].startswith("clone")) == 2
    assert found["time_ns"]["processes"] > 0
    assert found["time_ns"]["messages"] > 0


def test_the_status_of_a_program_that_a_signal_ends(wardian: Wardian) -> None:
    found = profile(wardian, "sh", "-c", "kill -SEGV $$", status=139)
    assert row(found, "kill")["count"] == 1
    outcome = wardian.do("--profile", "sh", "-c", "kill -9 $$")
    assert outcome.status == 137
    assert HEAD.search(outcome.err)


def test_a_timeout_leaves_a_profile(wardian: Wardian) -> None:
    found = profile(wardian, "--timeout", "1", "sleep", "60", status=124)
    assert row(found, "clock_nanosleep")["count"] == 1


def test_a_profile_nobody_can_write_costs_a_line_and_no_status(wardian: Wardian) -> None:
    outcome = wardian.do("--profile=/dev/full", "sh", "-c", "exit 7")
    assert outcome.status == 7
    assert outcome.err.startswith("wardian: cannot write the profile /dev/full: ")
    assert outcome.err.count("\n") == 1
    closed = wardian.shell("$WARDIAN do --profile sh -c 'exit 7' 2>&-; echo $?")
    assert (closed.out, closed.err) == ("7\n", "")


def test_an_ordinary_user_gets_one_too(wardian: Wardian) -> None:
    as_nobody(wardian)
    assert row(profile(wardian, "cat", "/etc/hostname"), "write")["count"] == 1
