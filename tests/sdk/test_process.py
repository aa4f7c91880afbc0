"""``Sandbox.spawn``: a command and its streams."""

from __future__ import annotations

import signal
import threading
import time
from pathlib import Path

import pytest

import wardian


def test_a_conversation(box: wardian.Sandbox) -> None:
    with box.spawn(["cat"], text=True) as process:
        assert process.stdin is not None and process.stdout is not None
        for line in ("one\n", "two\n"):
            process.stdin.write(line)
            process.stdin.flush()
            assert process.stdout.readline() == line
        process.stdin.close()
        assert process.wait(30) == 0
        assert process.stdout.read() == ""
        assert process.returncode == 0
        assert process.usage is not None and process.usage.wall_time > 0


def test_poll_before_and_after(box: wardian.Sandbox) -> None:
    process = box.spawn(["sleep", "1000"])
    assert process.poll() is None and process.returncode is None
    process.terminate()
    assert process.wait(30) == -signal.SIGTERM
    assert process.poll() == -signal.SIGTERM


def test_wait_runs_out_and_the_command_goes_on(box: wardian.Sandbox) -> None:
    with box.spawn(["sleep", "1000"]) as process:
        with pytest.raises(wardian.SandboxTimeout, match=r"sleep still runs after 0\.1 s"):
            process.wait(0.1)
        assert process.poll() is None


def test_leaving_the_block_ends_it(box: wardian.Sandbox) -> None:
    with box.spawn(["sleep", "1000"]) as process:
        pass
    assert process.returncode == -signal.SIGKILL


def test_a_signal_can_be_handled(box: wardian.Sandbox) -> None:
    script = "trap 'echo caught; exit 5' USR1; echo ready; while :; do sleep 0.05; done"
    with box.spawn(["sh", "-c", script], text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        process.kill(signal.SIGUSR1)
        assert process.wait(30) == 5
        assert process.stdout.read() == "caught\n"


def test_stop_and_continue(box: wardian.Sandbox) -> None:
    with box.spawn(["sleep", "0.3"]) as process:
        process.kill(signal.SIGSTOP)
        with pytest.raises(wardian.SandboxTimeout):
            process.wait(1)
        process.kill(signal.SIGCONT)
        assert process.wait(30) == 0


def test_a_signal_after_the_end_is_nothing(box: wardian.Sandbox) -> None:
    process = box.spawn(["true"])
    assert process.wait(30) == 0
    process.kill()
    process.kill(0)


def test_bad_signal_number(box: wardian.Sandbox) -> None:
    with box.spawn(["sleep", "1000"]) as process, pytest.raises(ValueError, match="bad signal 99"):
        process.kill(99)


def test_pid_is_the_one_inside(box: wardian.Sandbox) -> None:
    process = box.spawn(["sh", "-c", "echo $$"], text=True)
    out, _ = process.communicate(timeout=30)
    assert int(out) == process.pid


def test_communicate(box: wardian.Sandbox) -> None:
    process = box.spawn(["sh", "-c", "cat; echo err >&2; exit 3"])
    assert process.communicate(b"in" * 100_000, timeout=60) == (b"in" * 100_000, b"err\n")
    assert process.returncode == 3


def test_communicate_after_the_input_was_closed(box: wardian.Sandbox) -> None:
    process = box.spawn(["cat"])
    assert process.stdin is not None
    process.stdin.write(b"all")
    process.stdin.close()
    assert process.communicate(timeout=30) == (b"all", b"")


def test_communicate_runs_out_of_time(box: wardian.Sandbox) -> None:
    process = box.spawn(["sh", "-c", "echo some; sleep 1000"], text=True)
    with pytest.raises(wardian.SandboxTimeout) as caught:
        process.communicate(timeout=0.5)
    assert caught.value.stdout == "some\n"
    assert process.wait(30) == -signal.SIGKILL


def test_streams_to_files(box: wardian.Sandbox, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"from a file\n")
    with open(tmp_path / "in", "rb") as given, open(tmp_path / "out", "wb") as taken:
        process = box.spawn(["cat"], stdin=given, stdout=taken, stderr=wardian.DEVNULL)
        assert (process.stdin, process.stdout, process.stderr) == (None, None, None)
        assert process.wait(30) == 0
    assert (tmp_path / "out").read_bytes() == b"from a file\n"


def test_both_outputs_on_one_pipe(box: wardian.Sandbox) -> None:
    process = box.spawn(["sh", "-c", "echo 1; echo 2 >&2; echo 3"], stderr=wardian.STDOUT)
    assert process.communicate(timeout=30) == (b"1\n2\n3\n", b"")


def test_a_closed_output_is_a_broken_pipe_inside(box: wardian.Sandbox) -> None:
    process = box.spawn(["yes"])
    assert process.stdout is not None
    process.stdout.read(10)
    process.stdout.close()
    assert process.wait(30) == -signal.SIGPIPE


def test_two_commands_joined_by_a_pipe(box: wardian.Sandbox) -> None:
    first = box.spawn(["printf", "b\\na\\n"])
    second = box.spawn(["sort"], stdin=first.stdout, text=True)
    assert first.stdout is not None
    first.stdout.close()
    assert second.communicate(timeout=30)[0] == "a\nb\n"
    assert first.wait(30) == 0


def test_more_commands_than_waiting_host_processes(box: wardian.Sandbox) -> None:
    processes = [box.spawn(["sh", "-c", f"exit {n}"]) for n in range(25)]
    assert [process.wait(60) for process in processes] == list(range(25))


def test_killed_before_it_had_a_host_process(box: wardian.Sandbox) -> None:
    processes = [box.spawn(["sleep", "1000"]) for _ in range(20)]
    for process in processes:
        process.kill()
    assert {process.wait(60) for process in processes} == {-signal.SIGKILL}
    assert box.run(["true"]).returncode == 0


def test_killed_on_the_way_through_execve_leaves_no_host_process() -> None:
    with wardian.Sandbox() as box:
        box.run(["true"])
        for _ in range(3):
            shells = [box.spawn(["sh", "-c", "exec sleep 1000"]) for _ in range(12)]
            for shell in shells:
                shell.kill()
            assert {shell.wait(60) for shell in shells} == {-signal.SIGKILL}
        time.sleep(0.5)
        assert len(family(box._connection.process.pid)) <= 12  # with the zygote and the pool


def test_threads_share_a_sandbox(box: wardian.Sandbox) -> None:
    found: list[bytes] = []

    def work(number: int) -> None:
        for _ in range(3):
            found.append(box.run(["echo", str(number)], timeout=60).stdout)

    threads = [threading.Thread(target=work, args=(n,), daemon=True) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(120)
    assert sorted(found) == sorted(3 * [b"%d\n" % n for n in range(4)])


def test_several_threads_wait_for_one_command(box: wardian.Sandbox) -> None:
    process = box.spawn(["sleep", "0.3"])
    found: list[int] = []
    threads = [threading.Thread(target=lambda: found.append(process.wait(30))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert found == [0, 0, 0]


def test_an_idle_sandbox_uses_no_processor_time(box: wardian.Sandbox) -> None:
    server = box._connection.process.pid
    box.run(["true"])
    time.sleep(0.3)
    before = cpu_ticks(server)
    time.sleep(1)
    assert cpu_ticks(server) - before <= 5


def cpu_ticks(launcher: int) -> int:
    """Processor time of a launcher and its descendants."""
    total = 0
    for pid in family(launcher):
        fields = read(f"/proc/{pid}/stat").rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12]) if fields else 0
    return total


def family(pid: int) -> list[int]:
    """A process and its descendants."""
    found = [pid]
    for each in found:
        found += [int(word) for word in read(f"/proc/{each}/task/{each}/children").split()]
    return found


def read(path: str) -> str:
    """A file of a process that may be gone."""
    try:
        return Path(path).read_text()
    except OSError:
        return ""
