"""``wardian.run`` and ``Sandbox.run``: a command to its end."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

import wardian


def test_one_command_in_a_sandbox_of_its_own() -> None:
    result = wardian.run(["python3", "-c", "print(6*7)"], timeout=60)
    assert (result.stdout, result.stderr, result.returncode) == (b"42\n", b"", 0)


def test_it_runs_on_another_kernel() -> None:
    result = wardian.run(["uname", "-n"], hostname="elsewhere", text=True, timeout=60)
    assert result.stdout == "elsewhere\n"


def test_text_is_str(box: wardian.Sandbox) -> None:
    result = box.run(["printf", "caf\\303\\251 \\377"], text=True)
    assert result.stdout == "café \ufffd"


def test_streams_are_kept_apart(box: wardian.Sandbox) -> None:
    result = box.run(["sh", "-c", "echo out; echo err >&2"])
    assert (result.stdout, result.stderr) == (b"out\n", b"err\n")


def test_input_is_given_and_ends(box: wardian.Sandbox) -> None:
    data = os.urandom(1 << 20)
    assert box.run(["cat"], input=data, timeout=60).stdout == data


def test_text_input(box: wardian.Sandbox) -> None:
    assert box.run(["cat"], input="päm", text=True).stdout == "päm"


def test_no_input_is_an_empty_one(box: wardian.Sandbox) -> None:
    assert box.run(["wc", "-c"], text=True).stdout.strip() == "0"


def test_input_that_nobody_reads_is_dropped(box: wardian.Sandbox) -> None:
    assert box.run(["true"], input=b"x" * (1 << 20), timeout=60).returncode == 0


def test_status_of_a_failed_command(box: wardian.Sandbox) -> None:
    assert box.run(["sh", "-c", "exit 7"]).returncode == 7


def test_death_by_a_signal_is_a_negative_status(box: wardian.Sandbox) -> None:
    assert box.run(["sh", "-c", "kill -TERM $$"]).returncode == -15


def test_check_raises_with_the_result(box: wardian.Sandbox) -> None:
    with pytest.raises(wardian.CommandFailed, match=r"^sh ended with status 3$") as caught:
        box.run(["sh", "-c", "echo why >&2; exit 3"], check=True)
    assert caught.value.result is not None
    assert caught.value.result.stderr == b"why\n"


def test_usage_is_measured(box: wardian.Sandbox) -> None:
    code = "x = bytearray(b'x' * (40 << 20)); del x\nfor i in range(2000000): pass"
    usage = box.run(["python3", "-c", code], timeout=60).usage
    assert usage.user_time > 0.02
    assert 0 < usage.user_time <= usage.wall_time * (os.cpu_count() or 1) + 0.1
    assert usage.system_time > 0
    assert 40 << 20 < usage.max_rss < 400 << 20
    assert usage.oom_kills == 0


def test_environment_is_small_and_extended(
    box: wardian.Sandbox, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("API_TOKEN", "secret")
    with wardian.Sandbox(env={"FIRST": "1", "SECOND": "1"}) as own:
        text = own.run(["env"], env={"SECOND": "2"}, text=True).stdout
    lines = text.splitlines()
    assert "FIRST=1" in lines and "SECOND=2" in lines
    assert "API_TOKEN" not in text
    assert any(line.startswith("PATH=") for line in lines)


def test_working_directory_is_the_callers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert wardian.run(["pwd"], text=True, timeout=60).stdout == f"{tmp_path}\n"


def test_another_working_directory(box: wardian.Sandbox) -> None:
    assert box.run(["pwd"], cwd="/usr", text=True).stdout == "/usr\n"


@pytest.mark.parametrize(
    ("user", "expected"), [("12:34", "12 34"), (12, "12 "), ("nobody", "65534 65534")]
)
def test_another_user(box: wardian.Sandbox, user: str | int, expected: str) -> None:
    found = box.run(["sh", "-c", "echo $(id -u) $(id -g)"], user=user, text=True)
    assert found.stdout.startswith(expected)


def test_user_of_the_whole_sandbox() -> None:
    with wardian.Sandbox(user="12:34") as box:
        assert box.run(["sh", "-c", "echo $(id -u) $(id -g)"], text=True).stdout == "12 34\n"
        box.write_file("/tmp/mine", b"")
        assert box.run(["stat", "-c", "%u %g", "/tmp/mine"], text=True).stdout == "12 34\n"


def test_time_runs_out_and_ends_the_descendants_too(box: wardian.Sandbox) -> None:
    began = time.monotonic()
    with pytest.raises(wardian.SandboxTimeout, match=r"longer than 0\.5 s") as caught:
        box.run(["sh", "-c", "echo hi; setsid sleep 1001 & sleep 1002"], timeout=0.5, text=True)
    assert time.monotonic() - began < 30
    assert caught.value.stdout == "hi\n"
    assert "sleep 100" not in box.run(["ps", "ax"], text=True).stdout


def test_a_descendant_that_goes_on_is_not_waited_for(box: wardian.Sandbox) -> None:
    result = box.run(["sh", "-c", "sleep 1003 & echo started"], timeout=30)
    assert result.stdout == b"started\n"
    assert "sleep 1003" in box.run(["ps", "ax"], text=True).stdout
    box.run(["pkill", "sleep"])


def test_endless_output_is_ended(box: wardian.Sandbox) -> None:
    with pytest.raises(wardian.OutputTooLarge, match="more than max_output, 100000 bytes"):
        box.run(["yes"], max_output=100_000, timeout=60)


def test_much_output_comes_whole(box: wardian.Sandbox) -> None:
    result = box.run(["head", "-c", "5000000", "/dev/zero"], timeout=60)
    assert len(result.stdout) == 5_000_000


def test_orphans_are_reaped_by_pid_1(box: wardian.Sandbox) -> None:
    script = "(sh -c 'sleep 0.1' & exec true); for i in 1 2 3; do (true & exec true); done"
    box.run(["sh", "-c", script])
    time.sleep(0.5)
    listing = box.run(["ps", "axo", "pid,stat,args"], text=True).stdout
    assert "<defunct>" not in listing and " Z" not in listing
    assert "wardian-init" in listing.splitlines()[1]


def test_pid_1_cannot_be_killed(box: wardian.Sandbox) -> None:
    assert box.run(["sh", "-c", "kill -9 1; kill -0 1"], user="root").returncode == 0
    assert box.run(["true"]).returncode == 0


def test_nothing_is_written_to_the_host(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("before")
    with wardian.Sandbox(cwd=str(tmp_path)) as box:
        box.run(["sh", "-c", "echo after > file; echo new > other"], check=True)
        assert box.read_file(tmp_path / "file") == b"after\n"
    assert (tmp_path / "file").read_text() == "before"
    assert not (tmp_path / "other").exists()
