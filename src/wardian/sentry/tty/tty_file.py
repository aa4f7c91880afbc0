"""Open terminals, the program's side: read(2), write(2), poll(2)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EIO, ENOTTY, ENXIO, WOULD_BLOCK
from wardian.sentry.kernel.signal_numbers import SIGTTIN, SIGTTOU
from wardian.sentry.tty.termios import TOSTOP, VMIN, VTIME
from wardian.sentry.tty.tty import HUNG_UP_EVENTS, READ_EVENTS, WRITE_EVENTS, Terminal
from wardian.sentry.tty.tty_ioctl import TIOCSPGRP, ioctl
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import O_NOCTTY, File

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.vfs.inode import Inode

TENTH: Final = 100_000_000  # the unit of VTIME


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
        """Non-canonical mode: does the read end now? (termios(3), MIN and TIME)"""
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
        return ioctl(self.tty, task, command, argument, True)

    def describe(self) -> str:
        return self.tty.name()


def open_terminal(tty: Terminal, task: Task | None, inode: Inode | None, flags: int) -> TtyFile:
    """open(2); it becomes the controlling terminal of a session leader that has none."""
    tty.check_open(task)
    file = TtyFile(tty, inode, flags)
    tty.opened(file)
    if task is not None and not flags & O_NOCTTY and file.readable:
        group = task.group
        session = group.session
        if session.leader is group and session.tty is None and tty.session is None:
            tty.control(task)
    return file


def open_controlling(task: Task, inode: Inode | None, flags: int) -> TtyFile:
    """open(2) of /dev/tty: the session's controlling terminal; ENXIO without one."""
    tty = task.group.session.tty
    if not isinstance(tty, Terminal):
        raise ENXIO("no controlling terminal")
    return open_terminal(tty, task, inode, flags | O_NOCTTY)
