"""Terminals: input, output, sessions and job control (tty_ioctl(4), credentials(7)).

:class:`Terminal` joins a line discipline, a session and its foreground group to whatever shows the
output (``pty.Pty`` is the only kind). Programs hold a ``tty_file.TtyFile``; ioctls are in
``tty_ioctl``. A background process that reads gets SIGTTIN, one that changes settings (or writes,
under TOSTOP) SIGTTOU; its call is then parked until just now, so that it runs again once continued.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EBUSY, EIO
from wardian.sentry.fs.devices import make_dev
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN
from wardian.sentry.kernel.process_group import ControllingTerminal, ProcessGroup
from wardian.sentry.kernel.siginfo import SigInfo
from wardian.sentry.kernel.signal_numbers import (
    SIG_DFL,
    SIG_IGN,
    SIGCONT,
    SIGHUP,
    SIGTTIN,
    SIGWINCH,
    bit,
)
from wardian.sentry.kernel.signal_sending import send_to_group, send_to_process_group
from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.tty.ldisc import LineDiscipline
from wardian.sentry.vfs.file import POLLERR, POLLHUP, POLLIN, POLLOUT, POLLRDNORM, POLLWRNORM

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.tty.tty_file import TtyFile

READ_EVENTS: Final = POLLIN | POLLRDNORM
WRITE_EVENTS: Final = POLLOUT | POLLWRNORM
HUNG_UP_EVENTS: Final = READ_EVENTS | WRITE_EVENTS | POLLERR | POLLHUP


class Terminal(ControllingTerminal):
    """One terminal: the program's side. Subclasses say where output goes."""

    def __init__(self, kernel: Kernel, index: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.index = index
        self.rdev = make_dev(136, index)
        self.ldisc = LineDiscipline()
        self.window = bytes(8)  # struct winsize
        self.files: list[TtyFile] = []  # open files of the program's side
        self.queue = WaitQueue()
        self.exclusive = False  # TIOCEXCL
        self.last_input_ns = 0  # for VTIME between characters

    # -- what a kind of terminal adds --------------------------------------------------------------
    def transmit(self, data: bytes) -> None:
        """Show ``data``; may take more than :meth:`transmit_room` said."""
        raise NotImplementedError

    def transmit_room(self) -> int:
        """How many bytes of output fit now."""
        raise NotImplementedError

    def untransmitted(self) -> int:
        """TIOCOUTQ."""
        return 0

    def drop_output(self) -> None:
        """TCOFLUSH."""

    def input_taken(self) -> None:
        """A program read: there may be room for more input."""

    def flow_changed(self, stopped: bool) -> None:
        """Output was stopped or started."""

    def settings_changed(self) -> None:
        """TCSETS was done."""

    def last_closed(self) -> None:
        """No file of the program's side is open any more."""

    def name(self) -> str:
        """Its path below /dev, for TIOCGPTPEER descriptors."""
        return "/dev/tty"

    # -- input from the user's side ----------------------------------------------------------------
    def receive(self, data: bytes) -> int:
        """The user typed ``data``; how many bytes of it were taken."""
        ldisc = self.ldisc
        room = ldisc.room()
        if room < len(data):
            data = data[:room]
        if not data:
            return 0
        was_stopped = ldisc.stopped
        ldisc.receive(data)
        self.last_input_ns = self.kernel.clock.monotonic_ns()
        if ldisc.flushed:
            ldisc.flushed = False
            self.drop_output()
        if ldisc.signals:
            signals = ldisc.signals
            ldisc.signals = []
            for signo in signals:
                self.signal_foreground(signo)
        if ldisc.stopped != was_stopped:
            self.flow(ldisc.stopped)
        self.send_echo()
        if ldisc.readable():
            self.queue.wake(READ_EVENTS)
        return len(data)

    def send_echo(self) -> None:
        """Show what the line discipline echoed, unless output is stopped."""
        ldisc = self.ldisc
        if ldisc.echo and not ldisc.stopped:
            data = bytes(ldisc.echo)
            ldisc.echo.clear()
            self.transmit(data)

    def flow(self, stopped: bool) -> None:
        """Stop or start output (VSTOP, VSTART, TCXONC)."""
        self.ldisc.stopped = stopped
        self.flow_changed(stopped)
        if not stopped:
            self.send_echo()
            self.queue.wake(WRITE_EVENTS)

    def signal_foreground(self, signo: int) -> None:
        """Send to the foreground process group."""
        foreground = self.foreground
        if foreground is not None:
            send_to_process_group(foreground, SigInfo(signo))

    def set_window(self, window: bytes) -> None:
        """A new size: SIGWINCH for the foreground group."""
        if window != self.window:
            self.window = window
            self.signal_foreground(SIGWINCH)

    # -- open files --------------------------------------------------------------------------------
    def check_open(self, task: Task | None) -> None:
        """May it be opened now? EBUSY, EIO."""
        if self.exclusive and task is not None and not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EBUSY("opened exclusively")

    def opened(self, file: TtyFile) -> None:
        """A new file of the program's side."""
        self.files.append(file)

    def closed(self, file: TtyFile) -> None:
        """An open file is gone. With the last one the terminal also leaves its session."""
        if file in self.files:
            self.files.remove(file)
        if not self.files:
            self.leave_session()
            self.exclusive = False
            self.last_closed()

    def hang_up(self) -> None:
        """The line is dead (vhangup(2)): open files read end of file and fail to write; the
        session's leader gets SIGHUP and SIGCONT."""
        session = self.session
        self.leave_session()
        self.cut_files()
        leader = session.leader if session is not None else None  # the first signal may end it
        if leader is not None:
            send_to_group(leader, SigInfo(SIGHUP))
            send_to_group(leader, SigInfo(SIGCONT))

    def cut_files(self) -> None:
        """Make every open file a dead one."""
        for file in self.files:
            file.hung_up = True
        self.queue.wake(HUNG_UP_EVENTS)

    def leader_exited(self) -> None:
        self.cut_files()

    # -- sessions ----------------------------------------------------------------------------------
    def control(self, task: Task) -> None:
        """Become the controlling terminal of the task's session."""
        session = task.group.session
        session.tty = self
        self.session = session
        self.foreground = task.group.process_group

    def leave_session(self) -> None:
        """Be nobody's controlling terminal."""
        session = self.session
        if session is not None and session.tty is self:
            session.tty = None
        self.session = None
        self.foreground = None

    def controls(self, task: Task) -> bool:
        """True when this is the task's controlling terminal."""
        return self.session is not None and task.group.session is self.session

    def may_proceed(self, task: Task | None, signo: int) -> bool:
        """The job-control rule: False when ``signo`` (SIGTTIN, SIGTTOU) was sent to the task's
        background group instead, EIO where that would be pointless."""
        if task is None or not self.controls(task):
            return True
        mine: ProcessGroup = task.group.process_group
        if self.foreground is None or self.foreground is mine:
            return True
        if ignores(task, signo):
            if signo == SIGTTIN:
                raise EIO("a background process that ignores SIGTTIN reads")
            return True
        if mine.is_orphaned():
            raise EIO("background process of an orphaned group")
        send_to_process_group(mine, SigInfo(signo))
        return False


def ignores(task: Task, signo: int) -> bool:
    """True when a job-control signal would not stop the task: blocked, ignored, or init's."""
    if task.signals.blocked & bit(signo):
        return True
    handler = task.group.actions.get(signo).handler
    return handler == SIG_IGN or (task.group.unkillable and handler == SIG_DFL)
