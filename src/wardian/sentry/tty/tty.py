"""Terminals as programs see them: reading, writing, job control and ioctls (tty_ioctl(4), credentials(7)).

:class:`Terminal` joins a line discipline, a session and its foreground group to whatever shows the output
(``pty.Pty`` is the only kind). A background process that reads gets SIGTTIN, one that changes settings (or writes,
under TOSTOP) SIGTTOU; its call is then parked until just now, so that it runs again once continued.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import (
    EBUSY,
    EINVAL,
    EIO,
    ENOTTY,
    ENXIO,
    EPERM,
    ESRCH,
    WOULD_BLOCK,
)
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN
from wardian.sentry.kernel.exit import disassociate
from wardian.sentry.kernel.process_group import ControllingTerminal, ProcessGroup
from wardian.sentry.kernel.signals import (
    SIG_DFL,
    SIG_IGN,
    SIGCONT,
    SIGHUP,
    SIGTTIN,
    SIGTTOU,
    SIGWINCH,
    SigInfo,
    bit,
    send_to_group,
    send_to_process_group,
)
from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.tty.ldisc import LineDiscipline
from wardian.sentry.tty.termios import TOSTOP, VMIN, VTIME, parse_termios
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    O_NOCTTY,
    POLLERR,
    POLLHUP,
    POLLIN,
    POLLOUT,
    POLLRDNORM,
    POLLWRNORM,
    File,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

TCGETS: Final = 0x5401
TCSETS: Final = 0x5402
TCSETSW: Final = 0x5403
TCSETSF: Final = 0x5404
TCSBRK: Final = 0x5409
TCXONC: Final = 0x540A
TCFLSH: Final = 0x540B
TIOCEXCL: Final = 0x540C
TIOCNXCL: Final = 0x540D
TIOCSCTTY: Final = 0x540E
TIOCGPGRP: Final = 0x540F
TIOCSPGRP: Final = 0x5410
TIOCOUTQ: Final = 0x5411
TIOCSTI: Final = 0x5412
TIOCGWINSZ: Final = 0x5413
TIOCSWINSZ: Final = 0x5414
FIONREAD: Final = 0x541B
TIOCNOTTY: Final = 0x5422
TIOCSETD: Final = 0x5423
TIOCGETD: Final = 0x5424
TCSBRKP: Final = 0x5425
TIOCSBRK: Final = 0x5427
TIOCCBRK: Final = 0x5428
TIOCGSID: Final = 0x5429
TCGETS2: Final = 0x802C542A
TCSETS2: Final = 0x402C542B
TCSETSW2: Final = 0x402C542C
TCSETSF2: Final = 0x402C542D
TIOCVHANGUP: Final = 0x5437
TIOCGDEV: Final = 0x80045432
TIOCGEXCL: Final = 0x80045440

TERMIOS_SIZE: Final = 36
TERMIOS2_SIZE: Final = 44
TENTH: Final = 100_000_000
INT: Final = struct.Struct("<i")

READ_EVENTS: Final = POLLIN | POLLRDNORM
WRITE_EVENTS: Final = POLLOUT | POLLWRNORM
HUNG_UP_EVENTS: Final = READ_EVENTS | WRITE_EVENTS | POLLERR | POLLHUP


class Terminal(ControllingTerminal):
    """One terminal: the program's side. Subclasses say where output goes."""

    def __init__(self, kernel: Kernel, index: int) -> None:
        super().__init__()
        self.kernel = kernel
        self.index = index
        self.ldisc = LineDiscipline()
        self.window = bytes(8)  # struct winsize
        self.files: list[TtyFile] = []  # open files of the program's side
        self.queue = WaitQueue()
        self.exclusive = False  # TIOCEXCL
        self.last_input_ns = 0  # for VTIME between characters

    # -- what a kind of terminal adds ----------------------------------------------------------------
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

    # -- input from the user's side --------------------------------------------------------------------
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

    # -- open files ------------------------------------------------------------------------------------
    def open(self, task: Task | None, inode: Inode | None, flags: int) -> TtyFile:
        """A new open file; it becomes the controlling terminal of a session leader that has none."""
        if self.exclusive and task is not None and not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EBUSY("opened exclusively")
        file = TtyFile(self, inode, flags)
        self.files.append(file)
        if task is not None and not flags & O_NOCTTY and file.readable:
            group = task.group
            session = group.session
            if session.leader is group and session.tty is None and self.session is None:
                self.control(task)
        return file

    def closed(self, file: TtyFile) -> None:
        """An open file is gone. With the last one the terminal also leaves its session."""
        if file in self.files:
            self.files.remove(file)
        if not self.files:
            self.leave_session()
            self.exclusive = False
            self.last_closed()

    def hang_up(self) -> None:
        """The line is dead (vhangup(2)): open files read end of file and fail to write; the session's
        leader gets SIGHUP and SIGCONT."""
        session = self.session
        self.leave_session()
        self.cut_files()
        if session is not None and session.leader is not None:
            send_to_group(session.leader, SigInfo(SIGHUP))
            send_to_group(session.leader, SigInfo(SIGCONT))

    def cut_files(self) -> None:
        """Make every open file a dead one."""
        for file in self.files:
            file.hung_up = True
        self.queue.wake(HUNG_UP_EVENTS)

    def leader_exited(self) -> None:
        self.cut_files()

    # -- sessions --------------------------------------------------------------------------------------
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

    # -- ioctls ------------------------------------------------------------------------------------------
    def ioctl(self, task: Task, command: int, argument: int, program_side: bool) -> int:
        """The ioctls of both sides of a terminal; ENOTTY for others."""
        if command in (TCGETS, TCGETS2):
            termios = self.ldisc.termios
            task.copy_out(argument, termios.pack() if command == TCGETS else termios.pack2())
            return 0
        if command in (TCSETS, TCSETSW, TCSETSF, TCSETS2, TCSETSW2, TCSETSF2):
            return self.set_termios(task, command, argument)
        if command == TIOCGWINSZ:
            task.copy_out(argument, self.window)
            return 0
        if command == TIOCSWINSZ:
            self.set_window(task.copy_in(argument, 8))
            return 0
        if command in (TIOCGPGRP, TIOCSPGRP, TIOCGSID, TIOCSCTTY, TIOCNOTTY):
            return self.job_ioctl(task, command, argument, program_side)
        if command in (TCSBRK, TCSBRKP, TIOCSBRK, TIOCCBRK):
            return 0 if self.may_proceed(task, SIGTTOU) else task.park_until(0)
        if command == TCXONC:
            return self.flow_ioctl(task, argument)
        if command == TCFLSH:
            return self.flush_ioctl(task, argument)
        return self.small_ioctl(task, command, argument)

    def small_ioctl(self, task: Task, command: int, argument: int) -> int:
        """Those that only read or set a number."""
        if command == FIONREAD:
            task.copy_out(argument, INT.pack(self.ldisc.pending()))
        elif command == TIOCOUTQ:
            task.copy_out(argument, INT.pack(self.untransmitted()))
        elif command == TIOCGETD:
            task.copy_out(argument, INT.pack(0))
        elif command == TIOCSETD:
            if task.copy_in(argument, 4) != bytes(4):
                raise EINVAL("only N_TTY")
        elif command == TIOCEXCL:
            self.exclusive = True
        elif command == TIOCNXCL:
            self.exclusive = False
        elif command == TIOCGEXCL:
            task.copy_out(argument, INT.pack(int(self.exclusive)))
        elif command == TIOCSTI:
            raise EIO("typing for others is not allowed")  # dev.tty.legacy_tiocsti=0
        elif command == TIOCVHANGUP:
            if not task.credentials.has_cap(CAP_SYS_ADMIN):
                raise EPERM("needs CAP_SYS_ADMIN")
            self.hang_up()
        else:
            raise ENOTTY("no such terminal ioctl")
        return 0

    def set_termios(self, task: Task, command: int, argument: int) -> int:
        """TCSETS and its kin. Output is never pending in hardware, so TCSETSW need not wait."""
        if not self.may_proceed(task, SIGTTOU):
            return task.park_until(0)
        size = TERMIOS2_SIZE if command in (TCSETS2, TCSETSW2, TCSETSF2) else TERMIOS_SIZE
        new = parse_termios(task.copy_in(argument, size), self.ldisc.termios)
        if command in (TCSETSF, TCSETSF2):
            self.ldisc.flush_input()
            self.input_taken()
        was_stopped = self.ldisc.stopped
        self.ldisc.set_termios(new)
        if was_stopped and not self.ldisc.stopped:
            self.flow(False)
        self.settings_changed()
        self.queue.wake(0)
        return 0

    def set_window(self, window: bytes) -> None:
        """A new size: SIGWINCH for the foreground group."""
        if window != self.window:
            self.window = window
            self.signal_foreground(SIGWINCH)

    def flow_ioctl(self, task: Task, action: int) -> int:
        """TCXONC: TCOOFF, TCOON; TCIOFF and TCION have nobody to tell."""
        if not self.may_proceed(task, SIGTTOU):
            return task.park_until(0)
        if action > 3:
            raise EINVAL("no such flow control")
        if action < 2 and self.ldisc.stopped != (action == 0):
            self.flow(action == 0)
        return 0

    def flush_ioctl(self, task: Task, which: int) -> int:
        """TCFLSH: TCIFLUSH, TCOFLUSH, TCIOFLUSH."""
        if not self.may_proceed(task, SIGTTOU):
            return task.park_until(0)
        if which > 2:
            raise EINVAL("no such queue")
        if which != 1:
            self.ldisc.flush_input()
            self.input_taken()
        if which != 0:
            self.drop_output()
        return 0

    def job_ioctl(self, task: Task, command: int, argument: int, program_side: bool) -> int:
        """Sessions and process groups."""
        if command == TIOCSPGRP:
            return self.set_foreground(task, argument)
        if command == TIOCSCTTY:
            return self.set_controlling(task, argument)
        if command == TIOCNOTTY:
            if not self.controls(task):
                raise ENOTTY("not the controlling terminal")
            session = task.group.session
            if session.leader is task.group:
                disassociate(session)
            return 0
        if program_side and not self.controls(task):
            raise ENOTTY("not the controlling terminal")
        if command == TIOCGPGRP:
            group = self.foreground
            task.copy_out(argument, INT.pack(group.pgid if group is not None else 0))
            return 0
        if self.session is None:
            raise ENOTTY("no session")
        task.copy_out(argument, INT.pack(self.session.sid))
        return 0

    def set_foreground(self, task: Task, argument: int) -> int:
        """TIOCSPGRP, tcsetpgrp(3)."""
        try:
            if not self.may_proceed(task, SIGTTOU):
                return task.park_until(0)
        except EIO:
            raise ENOTTY("orphaned background process") from None
        if not self.controls(task):
            raise ENOTTY("not the controlling terminal")
        pgid = INT.unpack(task.copy_in(argument, 4))[0]
        if pgid < 0:
            raise EINVAL("negative process group")
        group = task.kernel.pids.process_group(pgid)
        if group is None:
            raise ESRCH("no such process group")
        if group.session is not self.session:
            raise EPERM("process group of another session")
        self.foreground = group
        self.queue.wake(0)  # readers parked in the background look again
        return 0

    def set_controlling(self, task: Task, force: int) -> int:
        """TIOCSCTTY."""
        group = task.group
        session = group.session
        if session.leader is group and self.session is session:
            return 0
        if session.leader is not group or session.tty is not None:
            raise EPERM("not a session leader without a terminal")
        if self.session is not None:
            if force != 1 or not task.credentials.has_cap(CAP_SYS_ADMIN):
                raise EPERM("controls another session")
            self.leave_session()
        self.control(task)
        return 0


def ignores(task: Task, signo: int) -> bool:
    """True when a job-control signal would not stop the task: blocked, ignored, or init's."""
    if task.signals.blocked & bit(signo):
        return True
    handler = task.group.actions.get(signo).handler
    return handler == SIG_IGN or (task.group.unkillable and handler == SIG_DFL)


class TtyFile(File):
    """An open file of the program's side."""

    def __init__(self, tty: Terminal, inode: Inode | None, flags: int) -> None:
        super().__init__(inode, flags)
        self.tty = tty
        self.queue = tty.queue
        self.hung_up = False

    def release(self) -> None:
        self.tty.closed(self)

    def writes_all(self) -> bool:
        return True

    def retry_when_continued(self, task: Task | None) -> int:
        """The task's group was sent a stop signal: its handler runs again after it."""
        if task is not None and not self.nonblocking:
            task.park_until(0)
        return WOULD_BLOCK

    def read(self, sink: Sink, offset: int) -> int:
        tty = self.tty
        if self.hung_up or sink.left == 0:
            return 0
        task = tty.kernel.current
        if not tty.may_proceed(task, SIGTTIN):
            return self.retry_when_continued(task)
        ldisc = tty.ldisc
        if not ldisc.termios.canonical and not self.enough(task, sink.left):
            return WOULD_BLOCK
        data = ldisc.read(sink.left)
        if data is None:
            return WOULD_BLOCK if ldisc.termios.canonical else 0
        if data:
            sink.put(data)
        tty.input_taken()
        return len(data)

    def enough(self, task: Task | None, limit: int) -> bool:
        """Non-canonical mode: does the read end now? (termios(3), the four cases of MIN and TIME)"""
        ldisc = self.tty.ldisc
        least, tenths = ldisc.termios.cc[VMIN], ldisc.termios.cc[VTIME]
        have = ldisc.ready_size
        if have >= max(1, min(least, limit)):
            return True
        if least == 0 and tenths == 0:
            return True
        if tenths == 0 or task is None or task.call is None or self.nonblocking:
            return have > 0 and self.nonblocking
        if least == 0:
            deadline = task.deadline(tenths * TENTH)
        elif have == 0:
            return False
        else:
            deadline = self.tty.last_input_ns + tenths * TENTH
        if deadline <= self.tty.kernel.clock.monotonic_ns():
            return True
        task.park_until(deadline)
        return False

    def write(self, source: Source, offset: int) -> int:
        tty = self.tty
        if self.hung_up:
            raise EIO("hung up")
        if source.left == 0:
            return 0
        if tty.ldisc.termios.lflag & TOSTOP:
            task = tty.kernel.current
            if not tty.may_proceed(task, SIGTTOU):
                return self.retry_when_continued(task)
        room = tty.transmit_room()
        if tty.ldisc.stopped or room <= 0:
            return WOULD_BLOCK
        data = source.take(min(room, source.left))
        tty.transmit(tty.ldisc.output(data))
        return len(data)

    def poll(self) -> int:
        if self.hung_up:
            return HUNG_UP_EVENTS
        tty = self.tty
        events = READ_EVENTS if tty.ldisc.readable() else 0
        if not tty.ldisc.stopped and tty.transmit_room() > 0:
            events |= WRITE_EVENTS
        return events

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        if self.hung_up:
            if command == TIOCSPGRP:
                raise ENOTTY("hung up")
            raise EIO("hung up")
        return self.tty.ioctl(task, command, argument, True)

    def describe(self) -> str:
        return self.tty.name()


def open_controlling(task: Task, inode: Inode | None, flags: int) -> TtyFile:
    """open(2) of /dev/tty: the session's controlling terminal; ENXIO without one."""
    tty = task.group.session.tty
    if not isinstance(tty, Terminal):
        raise ENXIO("no controlling terminal")
    return tty.open(task, inode, flags | O_NOCTTY)
