"""What goes wrong with sandboxes: one typed error with one clear line, and never a hang."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from host_processes import descendants, gone, launcher, script, sentry, zygote

import wardian
from wardian.sdk import connection
from wardian.sdk.operations import answer_error
from wardian.sdk.wire import Message


# -- bad requests ----------------------------------------------------------------------------------
@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"rootfs": "/nowhere"}, "cannot use /nowhere: No such file or directory"),
        ({"rootfs": "/etc/passwd"}, "not a directory"),
        ({"mounts": [wardian.Mount("/nowhere", "/mnt")]}, "cannot use /nowhere"),
        ({"mounts": [wardian.Mount("/tmp", "mnt")]}, "bad mount point 'mnt'"),
        ({"mounts": ["/tmp:/mnt"]}, "write Mount"),
        ({"tmpfs": ["here"]}, "bad mount point 'here'"),
        ({"network": "wifi"}, "it must be none, loopback or host"),
        ({"memory": "lots"}, "bad size 'lots'"),
        ({"memory": 100}, "bad memory limit"),
        ({"cpus": -1}, "bad number of cpus"),
        ({"pids": 0}, "bad limit on pids"),
        ({"env": {"A=B": "c"}}, "bad variable 'A=B'"),
        ({"env": {"A": 1}}, "must be strings"),
        ({"cwd": "here"}, "bad working directory 'here'"),
        ({"user": "no such user"}, "bad user 'no such user'"),
        ({"hostname": ""}, "bad host name ''"),
        ({"timeout": 0}, "bad timeout 0"),
    ],
)
def test_bad_options(options: dict[str, Any], words: str) -> None:
    with pytest.raises(wardian.ConfigError) as caught:
        wardian.Sandbox(**options).close()
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("argv", "words"),
    [([], "no command"), ("ls -l", "list of words"), (["a\0b"], "without NUL"), ([1], "PathLike")],
)
def test_bad_commands(box: wardian.Sandbox, argv: Any, words: str) -> None:
    with pytest.raises((wardian.ConfigError, TypeError), match=words):
        box.run(argv)


def test_a_directory_that_is_not_there(box: wardian.Sandbox) -> None:
    with pytest.raises(wardian.ConfigError, match="cannot start in /nowhere: no such directory"):
        box.run(["true"], cwd="/nowhere")


def test_a_missing_program(box: wardian.Sandbox) -> None:
    with pytest.raises(wardian.CommandNotFound, match=r"^nonesuch: no such program in the"):
        box.run(["nonesuch"])


def test_a_file_that_is_no_program(box: wardian.Sandbox) -> None:
    with pytest.raises(wardian.CommandNotExecutable, match="permission denied"):
        box.run(["/etc/passwd"])
    box.write_file("/tmp/junk", b"junk", mode=0o755)
    with pytest.raises(wardian.CommandNotExecutable, match="not a program this machine can run"):
        box.run(["/tmp/junk"])


def test_a_failed_start_leaves_nothing_behind(box: wardian.Sandbox) -> None:
    gc.collect()  # of other tests
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(50):
        with pytest.raises(wardian.CommandNotFound):
            box.run(["nonesuch"])
    assert len(os.listdir("/proc/self/fd")) == before
    assert box.run(["true"]).returncode == 0


# -- memory ----------------------------------------------------------------------------------------
HOG = "x = bytearray(b'x' * (500 << 20))"


@pytest.fixture
def limited() -> wardian.Sandbox:
    """A sandbox whose memory limit the host keeps with a control group."""
    box = wardian.Sandbox(memory="128m")
    if "limits" in box.layers:
        box.close()
        pytest.skip(f"no memory control group here: {box.layers}")
    return box


def test_out_of_memory_names_the_command_and_spares_the_sandbox(limited: wardian.Sandbox) -> None:
    with limited:
        with pytest.raises(wardian.OutOfMemory, match=r"^python3 ran into .* limit") as caught:
            limited.run(["python3", "-c", HOG], timeout=120)
        assert caught.value.result is not None
        assert caught.value.result.returncode == -signal.SIGKILL
        assert caught.value.result.usage.oom_kills == 1
        assert limited.run(["echo", "alive"]).stdout == b"alive\n"


def test_out_of_memory_of_a_descendant(limited: wardian.Sandbox) -> None:
    with limited:
        script = f"python3 -c '{HOG.replace(chr(39), chr(34))}'; exit 3"
        with pytest.raises(wardian.OutOfMemory, match="ended with status 3"):
            limited.run(["sh", "-c", script], timeout=120)
        process = limited.spawn(["python3", "-c", HOG])
        with pytest.raises(wardian.OutOfMemory):
            process.wait(120)


# -- the end of a sandbox --------------------------------------------------------------------------
def test_time_of_the_whole_sandbox_runs_out() -> None:
    with wardian.Sandbox(timeout=1) as box:
        waiting = box.spawn(["sleep", "1000"])
        with pytest.raises(wardian.SandboxTimeout, match=r"^the sandbox was ended after its 1 s$"):
            box.run(["sleep", "1000"])
        with pytest.raises(wardian.SandboxTimeout):
            waiting.wait(30)
        with pytest.raises(wardian.SandboxTimeout):
            box.listdir("/")


@pytest.mark.parametrize(
    ("victim", "words"),
    [
        (launcher, "^the sandbox's launcher was killed by SIGKILL$"),
        (sentry, "^the sandbox was killed by SIGKILL$"),
        (zygote, "^the sandbox's processes were killed from outside$"),
    ],
)
def test_killed_from_outside(victim: Callable[[wardian.Sandbox], int], words: str) -> None:
    box = wardian.Sandbox()
    errors: list[BaseException] = []

    def wait(ask: Callable[[], object]) -> None:
        try:
            ask()
        except BaseException as e:
            errors.append(e)

    process = box.spawn(["sleep", "1000"])
    asks: list[Callable[[], object]] = [
        process.wait,
        process.wait,
        lambda: box.run(["sleep", "1000"]),
        lambda: box.spawn(["sleep", "1000"]).communicate(timeout=1000),
    ]
    threads = [threading.Thread(target=wait, args=(ask,), daemon=True) for ask in asks]
    for thread in threads:
        thread.start()
    time.sleep(0.5)
    family = descendants(launcher(box))
    os.kill(victim(box), signal.SIGKILL)
    for thread in threads:
        thread.join(60)
    assert len(errors) == len(asks)
    for error in errors:
        with pytest.raises(wardian.SandboxDied, match=words):
            raise error
    with pytest.raises(wardian.SandboxDied, match=words):
        box.run(["true"])
    box.close()
    assert gone(family)


def runs(pid: int, program: bytes) -> bool:
    """Whether a host process has a program's file mapped."""
    try:
        return program in Path(f"/proc/{pid}/maps").read_bytes()
    except OSError:
        return False


def test_a_killed_guest_process_is_a_killed_command() -> None:
    with wardian.Sandbox() as box:
        process = box.spawn(["sleep", "1000"])
        assert box.run(["true"]).returncode == 0
        [victim] = [pid for pid in descendants(launcher(box)) if runs(pid, b"/sleep")]
        os.kill(victim, signal.SIGKILL)
        assert process.wait(30) == -signal.SIGKILL
        assert box.run(["echo", "alive"]).stdout == b"alive\n"


def test_terminated_from_outside() -> None:
    with wardian.Sandbox() as box:
        process = box.spawn(["sleep", "1000"])
        os.kill(launcher(box), signal.SIGTERM)
        with pytest.raises(wardian.SandboxDied, match="ended from outside"):
            process.wait(30)


def test_a_sandbox_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "PATIENCE", 1.0)
    box = wardian.Sandbox()
    family = descendants(launcher(box))
    os.kill(sentry(box), signal.SIGSTOP)
    with pytest.raises(wardian.SandboxDied, match="does not answer"):
        box.run(["true"], timeout=1)
    with pytest.raises(wardian.SandboxDied, match="does not answer"):
        box.listdir("/")
    box.close()
    assert gone(family)


@pytest.mark.parametrize(
    "fields",
    [
        {"op": "nonesuch"},
        {},
        {"op": "spawn", "argv": 5, "env": {}, "cwd": None, "user": "", "streams": []},
        {"op": "spawn", "argv": ["true"], "env": {}, "cwd": None, "user": 5, "streams": []},
        {"op": "spawn", "argv": ["true"], "env": {}, "cwd": None, "user": "", "streams": [0, 1, 2]},
        {"op": "kill", "command": 1, "signal": "nine"},
        {"op": "open", "path": "relative", "mode": "r", "bits": None},
        {"op": "read", "handle": 99, "count": 1},
        {"op": "write", "handle": None},
    ],
)
def test_a_bad_message_is_answered(box: wardian.Sandbox, fields: dict[str, Any]) -> None:
    answer = box._connection.ask(Message(fields))
    assert answer_error(answer.fields) is not None
    assert box.run(["true"]).returncode == 0


def test_nonsense_on_the_socket_is_the_end() -> None:
    with wardian.Sandbox() as box:
        box._connection.socket.send(b"\xff" * 100)
        with pytest.raises(wardian.SandboxDied, match="message too large"):
            box.run(["true"])


def test_closing_ends_everything() -> None:
    box = wardian.Sandbox()
    box.spawn(["sleep", "1000"])
    box.spawn(["sh", "-c", "trap '' TERM HUP; setsid sleep 1000 & sleep 1000"])
    family = descendants(launcher(box))
    box.close()
    assert gone(family)
    box.close()
    with pytest.raises(wardian.SandboxError, match="closed"):
        box.run(["true"])


def test_closed_by_another_thread() -> None:
    box = wardian.Sandbox()
    threading.Timer(0.5, box.close).start()
    with pytest.raises(wardian.SandboxError, match="closed"):
        box.run(["sleep", "1000"])


def test_a_forgotten_sandbox_ends() -> None:
    box = wardian.Sandbox()
    family = descendants(launcher(box))
    process = box._connection.process
    del box
    gc.collect()
    process.wait(30)
    assert gone(family)


def test_it_ends_with_the_users_process() -> None:
    user = subprocess.Popen(
        script("""
            import time, wardian
            box = wardian.Sandbox()
            box.spawn(["sleep", "1000"])
            print(box._connection.process.pid, flush=True)
            time.sleep(1000)
            """),
        stdout=subprocess.PIPE,
    )
    assert user.stdout is not None
    family = descendants(int(user.stdout.readline()))
    assert len(family) > 2
    user.kill()
    user.wait(30)
    assert gone(family)


def test_a_forked_child_neither_uses_nor_keeps_it() -> None:
    result = subprocess.run(
        script("""
            import os, wardian
            box = wardian.Sandbox()
            child = os.fork()
            if child == 0:
                try:
                    box.run(["true"])
                except wardian.SandboxError as e:
                    print(e, flush=True)
                box.close()
                os._exit(0)
            os.waitpid(child, 0)
            print(box.run(["echo", "still there"], text=True).stdout, end="")
            """),
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert result.stderr == ""
    assert result.stdout.splitlines() == [
        "the sandbox belongs to the process that made it, not to a fork",
        "still there",
    ]


def test_interrupted_by_ctrl_c_the_command_ends() -> None:
    user = subprocess.Popen(
        script("""
            import wardian
            with wardian.Sandbox() as box:
                print("ready", flush=True)
                try:
                    box.run(["sleep", "1000"])
                except KeyboardInterrupt:
                    print(box.run(["ps", "axo", "args"], text=True).stdout)
            """),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert user.stdout is not None
    assert user.stdout.readline() == "ready\n"
    time.sleep(1)
    user.send_signal(signal.SIGINT)
    out, _ = user.communicate(timeout=60)
    assert "wardian-init" in out and "sleep" not in out


def test_many_sandboxes_leave_no_descriptors() -> None:
    wardian.run(["true"])
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        wardian.run(["true"])
    gc.collect()
    assert len(os.listdir("/proc/self/fd")) == before
