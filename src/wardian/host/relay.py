"""Signals that the host sends to the command line, passed on to the sandbox's first process.

The launcher keeps them blocked from before the fork and takes them one by one; each becomes a byte
in a pipe, which the Sentry reads among its other descriptors. The Sentry itself ignores them: a
terminal or ``kill -- -PGID`` sends them to both, and the command shall have them once. So nothing
is lost or acted on twice, and Python's own signal handlers, which run between byte codes, are not
needed. A terminal in raw mode sends no keys this way: the guest's line discipline makes Ctrl-C's
signal.

SIGTSTP stops the guests, gives the terminal back and stops the launcher, which is what the user's
shell looks at; SIGCONT undoes it.
"""

from __future__ import annotations

import _signal as signal
import os

from wardian.platform.terminal import in_foreground, restore_terminal, terminal_settings

FORWARDED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
)
WATCHED = (*FORWARDED, signal.SIGTSTP, signal.SIGCONT, signal.SIGWINCH)
FOREGROUND, BACKGROUND = 0x80, 0x81
"""Not signals: the launcher's process group has the terminal, or not."""
WHOLE_JOB = 0x40
"""Added to the number of a signal that a terminal made, for a process group."""
FROM_TERMINAL = (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP)
LOOK_SECONDS = 0.5
SI_KERNEL = 0x80
PYTHONS_OWN = (signal.SIGPIPE, signal.SIGXFSZ)
"""Ignored by the interpreter itself: what our own parent wished cannot be told any more."""


def ignored_signals() -> list[int]:
    """What our parent has us ignore, and execve(2) passes on. Asked of /proc: signal.getsignal()
    knows nothing of the signals that glibc keeps for itself."""
    try:
        with open("/proc/self/status", encoding="ascii", errors="replace") as file:
            masks = [line.split()[1] for line in file if line.startswith("SigIgn:")]
    except OSError:
        return []
    mask = int(masks[0], 16) if masks else 0
    return [n for n in range(1, 65) if mask >> (n - 1) & 1 and n not in PYTHONS_OWN]


class Relay:
    """The launcher's half, made before the fork. What is ignored when we start (nohup(1), ``&`` in
    a script) stays ignored, by us and by the command."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.ignored = ignored_signals()
        self.watched = [n for n in WATCHED if n not in self.ignored]
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        self.taken = {*self.watched, signal.SIGCHLD}
        signal.pthread_sigmask(signal.SIG_BLOCK, self.taken)
        self.terminal = next((fd for fd in (0, 1, 2) if terminal_settings(fd)), 0)
        self.settings = terminal_settings(self.terminal)
        self.foreground = in_foreground(self.terminal)

    def enter_sentry(self) -> None:
        """In the child."""
        os.close(self.writer)
        for number in (*self.watched, signal.SIGTTIN, signal.SIGTTOU):
            if number != signal.SIGCONT:
                signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, self.taken)

    def wait(self, pid: int) -> int:
        """The Sentry's exit status, negative for a signal; passes signals on meanwhile."""
        os.close(self.reader)
        while True:
            number = self.next_signal()
            if number == signal.SIGTSTP:
                self.suspend()
            elif number == signal.SIGCONT:
                self.tell(number)
                self.look_at_foreground()
            elif number != signal.SIGCHLD:
                self.tell(number)
            else:
                ended, status = os.waitpid(pid, os.WNOHANG)
                if ended:
                    return os.waitstatus_to_exitcode(status)

    def next_signal(self) -> int:
        """Wait for one. Nobody says when the user's shell gives us the terminal: while we lack it,
        look now and then."""
        info = None
        while info is None:
            if self.settings is None or self.foreground:
                info = signal.sigwaitinfo(self.taken)
            else:
                info = signal.sigtimedwait(self.taken, LOOK_SECONDS)
                if info is None:
                    self.look_at_foreground()
        from_terminal = info.si_code == SI_KERNEL and info.si_signo in FROM_TERMINAL
        return info.si_signo | (WHOLE_JOB if from_terminal else 0)

    def look_at_foreground(self) -> None:
        """Tell the Sentry whether the terminal is ours."""
        self.foreground = in_foreground(self.terminal)
        self.tell(FOREGROUND if self.foreground else BACKGROUND)

    def tell(self, number: int) -> None:
        """Pass one on; a Sentry that is ending does not listen any more."""
        try:
            os.write(self.writer, bytes([number]))
        except (BlockingIOError, BrokenPipeError):
            pass

    def suspend(self) -> None:
        """SIGTSTP: stop by the host's own rules, which spare an orphaned process group."""
        self.tell(signal.SIGTSTP)
        self.restore()
        os.kill(os.getpid(), signal.SIGTSTP)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGTSTP])
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTSTP])
        self.tell(signal.SIGCONT)
        self.look_at_foreground()

    def restore(self) -> None:
        """The terminal as we found it, unless it is somebody else's now."""
        if self.settings is not None and in_foreground(self.terminal):
            restore_terminal(self.terminal, self.settings)
