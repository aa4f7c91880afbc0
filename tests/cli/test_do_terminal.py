"""``wardian do`` on a terminal: job control, keys, window size, and the terminal afterwards."""

from __future__ import annotations

import contextlib
import os
import signal
import termios
import time
from collections.abc import Iterator

import pytest
from command import Wardian, descendants, wait_until

pexpect = pytest.importorskip("pexpect")

TIMEOUT = 15


class Terminal:
    """A bash on a terminal of its own, as a user has; ``wardian`` runs in it."""

    def __init__(self, wardian: Wardian) -> None:
        self.env = {
            **wardian.env,
            "PS1": "host> ",
            "TERM": "dumb",
            "W": " ".join(wardian.words(["do"])),
        }
        self.shell = pexpect.spawn(
            "bash",
            ["--norc", "--noprofile", "--noediting", "-i"],
            env=self.env,
            encoding="utf-8",
            cwd=str(wardian.directory),
            timeout=TIMEOUT,
            dimensions=(24, 80),
            echo=True,
        )
        self.shell.expect_exact("host> ")
        self.line("stty -echo")
        self.shell.expect_exact("host> ")

    def line(self, text: str) -> None:
        self.shell.sendline(text)

    def says(self, pattern: str) -> str:
        self.shell.expect(pattern)
        return str(self.shell.match.group(0))

    def prompt(self) -> None:
        self.shell.expect_exact("host> ")

    def settings(self) -> list[object]:
        return termios.tcgetattr(self.shell.child_fd)

    def launcher(self) -> int:
        return min(pid for pid in descendants(self.shell.pid))


@pytest.fixture
def terminal(wardian: Wardian) -> Iterator[Terminal]:
    terminal = Terminal(wardian)
    yield terminal
    terminal.shell.close(force=True)
    with contextlib.suppress(ChildProcessError):
        os.waitpid(terminal.shell.pid, 0)


def test_programs_have_a_terminal_with_our_size(terminal: Terminal) -> None:
    terminal.line("$W sh -c 'tty; stty size; test -t 0 && test -t 1 && test -t 2 && echo all'")
    terminal.says("/dev/pts/0\r\n24 80\r\nall\r\n")
    terminal.prompt()


SHOW_SIZE = """
import os, signal, time
# No print: the signal may come before the first one has returned.
signal.signal(signal.SIGWINCH, lambda *_: os.write(1, b"%d %d\\n" % (*os.get_terminal_size(),)))
signal.signal(signal.SIGINT, signal.SIG_DFL)
os.write(1, b"up\\n")
time.sleep(60)
"""


def test_window_size_changes_are_passed_on(wardian: Wardian, terminal: Terminal) -> None:
    (wardian.directory / "size.py").write_text(SHOW_SIZE)
    terminal.line("$W python3 size.py")
    terminal.says("up\r\n")
    terminal.shell.setwinsize(40, 100)
    terminal.says("100 40\r\n")
    terminal.shell.sendintr()
    terminal.prompt()


def test_interrupt_key_ends_the_command(terminal: Terminal) -> None:
    before = terminal.settings()
    terminal.line("$W sh -c 'echo up; exec sleep 60'; echo status $?")
    terminal.says("up\r\n")
    terminal.shell.sendintr()
    terminal.says("status 130\r\n")
    terminal.prompt()
    assert terminal.settings() == before


def test_quit_key_ends_the_command(terminal: Terminal) -> None:
    terminal.line("$W sh -c 'echo up; exec sleep 60'; echo status $?")
    terminal.says("up\r\n")
    terminal.shell.send("\x1c")
    terminal.says("status 131\r\n")


def test_end_of_file_key(terminal: Terminal) -> None:
    terminal.line("$W sh -c 'echo up; cat'; echo status $?")
    terminal.says("up\r\n")
    terminal.line("typed")
    terminal.says("typed\r\n")
    terminal.shell.sendeof()
    terminal.says("status 0\r\n")


def test_job_control_of_an_interactive_shell_inside(terminal: Terminal) -> None:
    before = terminal.settings()
    terminal.line("$W --env PS1='inside> ' bash --norc --noprofile -i")
    terminal.says("inside> ")
    terminal.line("sleep 50")
    time.sleep(0.3)
    terminal.shell.send("\x1a")
    terminal.says(r"Stopped +sleep 50")
    terminal.says("inside> ")
    terminal.line("jobs")
    terminal.says(r"\[1\]\+ +Stopped +sleep 50")
    terminal.line("bg; sleep 0.1; jobs")
    terminal.says("Running +sleep 50")
    terminal.line("fg")
    terminal.says("sleep 50\r\n")
    time.sleep(0.3)
    terminal.shell.sendintr()
    terminal.says("inside> ")
    terminal.line("echo st$?atus")
    terminal.says("st130atus")
    terminal.line("exit 5")
    terminal.prompt()
    terminal.line("echo left $?")
    terminal.says("left 5\r\n")
    assert terminal.settings() == before


def test_suspend_key_does_not_suspend_the_launcher(terminal: Terminal) -> None:
    terminal.line("$W bash -c 'echo up; read line; echo got $line'")
    terminal.says("up\r\n")
    terminal.shell.send("\x1a")
    time.sleep(0.3)
    terminal.line("on")
    terminal.says("got on\r\n")
    terminal.prompt()


def test_suspended_by_a_signal_the_terminal_is_the_shells_and_fg_resumes(
    terminal: Terminal,
) -> None:
    before = terminal.settings()
    terminal.line("$W sh -c 'echo up; read line; echo got $line'")
    terminal.says("up\r\n")
    os.kill(terminal.launcher(), signal.SIGTSTP)
    terminal.says("Stopped")
    terminal.prompt()
    assert terminal.settings() == before
    terminal.line("echo at the host; fg")
    terminal.says("at the host\r\n")
    time.sleep(0.5)
    terminal.line("again")
    terminal.says("got again\r\n")
    terminal.prompt()
    assert terminal.settings() == before


def test_in_the_background_it_leaves_the_terminal_alone(terminal: Terminal) -> None:
    before = terminal.settings()
    terminal.line("$W sh -c 'echo up; sleep 1; echo over' &")
    terminal.says("up")
    terminal.line("echo ready")
    terminal.says("ready\r\n")
    terminal.prompt()
    assert terminal.settings() == before
    terminal.line("echo mine")
    terminal.says("mine\r\n")
    terminal.says("over")
    time.sleep(0.3)
    assert terminal.settings() == before


def test_from_the_background_to_the_foreground(terminal: Terminal) -> None:
    terminal.line("$W sh -c 'echo up; read line; echo got $line' &")
    terminal.says("up")
    terminal.line("echo ready")
    terminal.says("ready\r\n")
    terminal.prompt()
    terminal.line("fg")
    time.sleep(1.0)
    terminal.line("text")
    terminal.says("got text\r\n")
    terminal.prompt()


@pytest.mark.parametrize("victim", ["sentry", "zygote", "guest"])
def test_terminal_is_restored_when_a_part_is_killed(terminal: Terminal, victim: str) -> None:
    before = terminal.settings()
    terminal.line("$W sh -c 'echo up; exec sleep 60'; echo status $?")
    terminal.says("up\r\n")
    assert terminal.settings() != before
    launcher = terminal.launcher()
    assert wait_until(lambda: len(descendants(launcher)) >= 3)
    below = sorted(descendants(launcher))
    os.kill({"sentry": below[0], "zygote": below[1], "guest": below[-1]}[victim], signal.SIGKILL)
    if victim == "guest":  # perhaps one of the pool
        terminal.shell.sendintr()
    terminal.says(r"status 1\d\d\r\n")
    terminal.prompt()
    assert terminal.settings() == before


def test_terminal_goes_away(wardian: Wardian, terminal: Terminal) -> None:
    terminal.line("$W sh -c 'echo up; exec sleep 60'")
    terminal.says("up\r\n")
    launcher = terminal.launcher()
    everything = descendants(launcher)
    terminal.shell.close(force=False)
    assert wait_until(lambda: not any(os.path.exists(f"/proc/{pid}") for pid in everything), 10)


def test_only_standard_output_is_a_terminal(terminal: Terminal) -> None:
    before = terminal.settings()
    terminal.line("echo piped | $W sh -c 'cat; test -t 1 && echo tty' ; echo status $?")
    terminal.says("piped\r\ntty\r\nstatus 0\r\n")
    terminal.prompt()
    assert terminal.settings() == before


def test_interrupt_key_with_piped_input(terminal: Terminal) -> None:
    """The host's terminal makes this signal, for the whole job: all processes inside get it."""
    terminal.line("sleep 60 | $W sh -c 'echo up; exec sleep 50'")
    terminal.says("up\r\n")
    terminal.shell.sendintr()
    terminal.prompt()
    terminal.line("echo status $?")
    terminal.says("status 130\r\n")
