"""Interactive programs under a pseudo-terminal: job control, line editing, window size."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Differential, needs

from under_test import python_path

pexpect = pytest.importorskip("pexpect")

PROMPT = "ready[$] "


class Shell:
    """``bash -i`` on a terminal of its own, native or inside."""

    def __init__(self, command: list[str], directory: Path, env: dict[str, str]) -> None:
        self.child = pexpect.spawn(
            command[0],
            command[1:],
            cwd=str(directory),
            timeout=15,
            echo=True,
            encoding="utf-8",
            dimensions=(24, 80),
            env=env,
        )
        self.child.delaybeforesend = 0.02
        self.child.expect(PROMPT)

    def run(self, line: str) -> str:
        """What a command printed up to the next prompt, without the echo of the line itself."""
        self.child.sendline(line)
        return self.to_prompt().removeprefix(line + "\r\n")

    def to_prompt(self) -> str:
        self.child.expect(PROMPT)
        return str(self.child.before)

    def start(self, line: str, sign: str) -> None:
        """Start something that goes on, and wait until it has printed ``sign``."""
        self.child.sendline(line)
        self.child.expect(sign + "\r\n")

    def end(self) -> int:
        self.child.sendline("exit 5")
        self.child.expect(pexpect.EOF)
        self.child.wait()
        return int(
            self.child.exitstatus if self.child.exitstatus is not None else -self.child.signalstatus
        )


@pytest.fixture(params=["native", "inside"])
def shell(request: pytest.FixtureRequest, differential: Differential) -> Iterator[Shell]:
    needs("bash")
    differential.write(
        "rc",
        "PS1='ready$ '; PS2='> '; unset PROMPT_COMMAND; bind 'set enable-bracketed-paste off'\n",
    )
    command = ["bash", "--noprofile", "--rcfile", "rc", "-i"]
    if request.param == "inside":
        command = differential.sandboxed(command, ["--env", "PYTHONPATH="])
    env = {**differential.env, **python_path(), "TERM": "xterm"}
    shell = Shell(command, differential.directory, env)
    yield shell
    shell.child.close(force=True)


def test_commands_and_status(shell: Shell) -> None:
    assert shell.run("echo hello") == "hello\r\n"
    assert shell.run("false; echo $?") == "1\r\n"
    assert (
        shell.run("tty | sed 's/[0-9]*$//'; test -t 0 && echo terminal")
        == "/dev/pts/\r\nterminal\r\n"
    )
    assert shell.run("echo $- | grep -o m") == "m\r\n"
    assert shell.end() == 5


def test_ctrl_c_ends_the_foreground_job_alone(shell: Shell) -> None:
    # exec: in a vfork child on its way to exec, dash's own handler would take the signal
    shell.start("sh -c 'echo started; exec sleep 30'", "started")
    shell.child.sendintr()
    assert "^C" in shell.to_prompt()
    assert shell.run("echo $?") == "130\r\n"
    shell.start(
        "sleep 30 | cat & (trap 'echo caught; exit 3' INT; echo st; while :; do sleep 0.1; done)",
        "st",
    )
    shell.child.sendintr()
    assert "caught" in shell.to_prompt()
    assert shell.run("echo $?; jobs | grep -c Running") == "3\r\n1\r\n"
    assert "Terminated" in shell.run("kill %1; wait %1; true")
    shell.child.send("some half line")
    shell.child.expect("some half line")
    time.sleep(0.1)  # readline may miss a signal while it shows what was typed
    shell.child.sendintr()
    shell.to_prompt()
    assert shell.run("echo fine") == "fine\r\n"


def test_ctrl_z_fg_and_bg(shell: Shell) -> None:
    shell.start("sh -c 'echo going; sleep 1; echo done'", "going")
    time.sleep(0.3)  # a vfork child that is stopped keeps dash from stopping
    shell.child.sendcontrol("z")
    assert "Stopped" in shell.to_prompt()
    assert shell.run("echo $?") == "148\r\n"
    assert "Stopped" in shell.run("jobs")
    assert shell.run("fg").splitlines()[-1] == "done"
    shell.start("sh -c 'echo going; read x; echo got $x'", "going")
    shell.child.sendcontrol("z")
    assert "Stopped" in shell.to_prompt()
    shell.run("bg")  # it reads from the terminal in the background: SIGTTIN stops it again
    shell.child.sendline("sleep 0.3; jobs")
    assert "Stopped" in shell.to_prompt() + shell.run("jobs")
    shell.start("fg", "sh -c .*")
    assert shell.run("typed").endswith("got typed\r\n")


def test_ctrl_backslash_and_ctrl_d(shell: Shell) -> None:
    shell.start("sh -c 'echo started; exec sleep 30'", "started")
    shell.child.sendcontrol("\\")
    assert "Quit" in shell.to_prompt()
    assert shell.run("echo $?") == "131\r\n"
    shell.child.sendline("cat")
    shell.child.sendline("line")
    shell.child.expect("line\r\nline\r\n")
    shell.child.sendeof()
    shell.to_prompt()
    shell.child.sendeof()
    shell.child.expect(pexpect.EOF)


def test_line_editing_and_history(shell: Shell) -> None:
    shell.child.send("echo abX\x7fc\n")
    assert shell.to_prompt().endswith("abc\r\n")
    shell.child.send("\x1b[A\n")
    assert shell.to_prompt().endswith("abc\r\n")
    shell.child.send("echo one two\x17three\n")
    assert shell.to_prompt().endswith("one three\r\n")
    shell.child.send("ec\tfrom completion\n")
    assert shell.to_prompt().endswith("from completion\r\n")
    assert shell.run("stty -a | grep -o ' icanon'; stty -echo; stty echo") == " icanon\r\n"


def test_window_size_and_its_signal(shell: Shell) -> None:
    assert shell.run("stty size") == "24 80\r\n"
    shell.start(
        "(trap 'echo changed; stty size; exit' WINCH; echo st; while :; do sleep 0.1; done)", "st"
    )
    shell.child.setwinsize(30, 100)
    assert "changed\r\n30 100\r\n" in shell.to_prompt()


def test_cooked_reads_and_stty(shell: Shell) -> None:
    shell.child.sendline("read -s x; echo; echo got $x")
    shell.child.send("secr\x7fret\n")
    assert "secret" not in shell.to_prompt().replace("got secret", "")
    shell.start(
        "stty -icanon -echo min 1; echo st; dd bs=1 count=2 2>/dev/null | od -An -c; stty sane",
        "st",
    )
    shell.child.send("ab")
    assert "a   b" in shell.to_prompt()


def test_a_terminal_inside_the_terminal(shell: Shell) -> None:
    assert shell.run("script -qc 'test -t 1 && echo inner tty' /dev/null").strip() == "inner tty"
    code = "import pty,os; p=pty.spawn(['sh','-c','stty size; echo $((6*7))']); print(p)"
    assert shell.run(f'{sys.executable} -c "{code}"').endswith("42\r\n0\r\n")


def test_hangup_ends_the_sandbox(shell: Shell) -> None:
    shell.start("sh -c 'echo started; sleep 300'", "started")
    shell.child.close(force=False)
    assert not shell.child.isalive()


def test_background_output_and_wait(shell: Shell) -> None:
    shell.run("(sleep 0.2; echo late) &")
    assert "late" in shell.run("wait; echo")
    assert shell.run("for i in 1 2 3; do (exit $i) & done; wait; echo $?").splitlines()[-1] == "0"
    assert os.path.basename(shell.run("set +m; pwd").strip()) != ""
