"""Pseudoterminals (pty(7)): a terminal whose user is whoever holds the master.

The master is a :class:`MasterFile` of a guest (a terminal emulator, ``script``, sshd), or the
Sentry itself: ``fs.hosttty`` joins the user's terminal to a :class:`Pty` with
:meth:`Pty.write_from_host`, :meth:`Pty.take_output`, ``set_window`` and :meth:`Pty.hang_up_master`,
and listens on ``Pty.master_queue``.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, EIO, WOULD_BLOCK
from wardian.sentry.fs.anon import install_new
from wardian.sentry.kernel.waitqueue import WaitQueue
from wardian.sentry.tty.termios import EXTPROC, VSTART, VSTOP
from wardian.sentry.tty.tty import READ_EVENTS, WRITE_EVENTS, Terminal
from wardian.sentry.tty.tty_file import TtyFile, open_terminal
from wardian.sentry.tty.tty_ioctl import FIONREAD, INT, TIOCGDEV, TIOCNOTTY, TIOCSCTTY, ioctl
from wardian.sentry.vfs.buffers import Sink, Source
from wardian.sentry.vfs.file import (
    O_ACCMODE,
    O_CLOEXEC,
    O_NOCTTY,
    O_NONBLOCK,
    POLLHUP,
    POLLPRI,
    File,
)

if TYPE_CHECKING:
    from wardian.sentry.kernel.kernel import Kernel
    from wardian.sentry.kernel.task import Task
    from wardian.sentry.tty.devpts import DevPts
    from wardian.sentry.vfs.inode import Inode

TIOCPKT: Final = 0x5420
TIOCGPKT: Final = 0x80045438
TIOCGPTN: Final = 0x80045430
TIOCSPTLCK: Final = 0x40045431
TIOCGPTLCK: Final = 0x80045439
TIOCGPTPEER: Final = 0x5441
TIOCSIG: Final = 0x40045436

TIOCPKT_FLUSHREAD: Final = 1
TIOCPKT_FLUSHWRITE: Final = 2
TIOCPKT_STOP: Final = 4
TIOCPKT_START: Final = 8
TIOCPKT_NOSTOP: Final = 16
TIOCPKT_DOSTOP: Final = 32
TIOCPKT_IOCTL: Final = 64

OUTPUT_MAX: Final = 65536
WINDOW: Final = struct.Struct("<HHHH")
UNIX98_SLAVE_MAJOR: Final = 136


class Pty(Terminal):
    """One pair. The program's side (slave) is inherited; here is the master's."""

    def __init__(self, kernel: Kernel, index: int, devpts: DevPts | None) -> None:
        super().__init__(kernel, index)
        self.devpts = devpts
        self.locked = True  # TIOCSPTLCK
        self.master_open = True
        self.slave_gone = False  # was open, is not any more
        self.out: list[bytes] = []
        self.out_size = 0
        self.master_queue = WaitQueue()  # POLLIN: output to take; POLLOUT: room for input
        self.packet_mode = False
        self.packet_status = 0

    # -- the master held by the Sentry -------------------------------------------------------------
    def write_from_host(self, data: bytes) -> int:
        """The user typed ``data``; how much was taken (for the rest wait on ``master_queue``)."""
        return self.receive(data)

    def take_output(self, limit: int) -> bytes:
        """Up to ``limit`` bytes to show, b"" when there are none now."""
        if not self.out:
            return b""
        first = self.out[0]
        if len(first) <= limit:
            if len(self.out) > 1 and len(first) < limit:
                first = self.join_output(limit)
            else:
                del self.out[0]
        else:
            self.out[0] = first[limit:]
            first = first[:limit]
        self.out_size -= len(first)
        self.queue.wake(WRITE_EVENTS)
        return first

    def join_output(self, limit: int) -> bytes:
        """Several pieces in one, up to ``limit`` bytes."""
        count = 0
        total = 0
        for piece in self.out:
            if total + len(piece) > limit:
                break
            total += len(piece)
            count += 1
        joined = b"".join(self.out[:count])
        del self.out[:count]
        return joined

    def resize(self, rows: int, columns: int) -> None:
        """The user's window has this size now; SIGWINCH when that is a change."""
        self.set_window(WINDOW.pack(rows & 0xFFFF, columns & 0xFFFF, 0, 0))

    def hang_up_master(self) -> None:
        """The master is gone: the terminal is dead (SIGHUP for the session's leader)."""
        if not self.master_open:
            return
        self.master_open = False
        self.out.clear()
        self.out_size = 0
        self.hang_up()
        if self.devpts is not None:
            self.devpts.forget(self)

    # -- Terminal ----------------------------------------------------------------------------------
    def transmit(self, data: bytes) -> None:
        if data and self.master_open:
            self.out.append(data)
            self.out_size += len(data)
            self.master_queue.wake(READ_EVENTS)

    def transmit_room(self) -> int:
        return OUTPUT_MAX - self.out_size - len(self.out) if self.master_open else OUTPUT_MAX

    def untransmitted(self) -> int:
        return 0  # as on Linux: the master's buffer does not count

    def drop_output(self) -> None:
        self.out.clear()
        self.out_size = 0
        self.packet_event(TIOCPKT_FLUSHWRITE)
        self.queue.wake(WRITE_EVENTS)

    def input_taken(self) -> None:
        if self.master_queue.registrations and self.ldisc.room() > 0:
            self.master_queue.wake(WRITE_EVENTS)

    def flow_changed(self, stopped: bool) -> None:
        self.packet_event(TIOCPKT_STOP if stopped else TIOCPKT_START)

    def settings_changed(self) -> None:
        if not self.packet_mode:
            return
        termios = self.ldisc.termios
        usual = termios.cc[VSTART] == 0x11 and termios.cc[VSTOP] == 0x13 and termios.iflag & 0o2000
        status = TIOCPKT_DOSTOP if usual else TIOCPKT_NOSTOP
        self.packet_event(status | (TIOCPKT_IOCTL if termios.lflag & EXTPROC else 0))

    def packet_event(self, status: int) -> None:
        """Tell a master in packet mode (TIOCPKT) what happened."""
        if self.packet_mode:
            opposite = {TIOCPKT_STOP: TIOCPKT_START, TIOCPKT_START: TIOCPKT_STOP}
            self.packet_status = (self.packet_status & ~opposite.get(status, 0)) | status
            self.master_queue.wake(READ_EVENTS | POLLPRI)

    def check_open(self, task: Task | None) -> None:
        if not self.master_open:
            raise EIO("the master is closed")
        super().check_open(task)

    def opened(self, file: TtyFile) -> None:
        super().opened(file)
        self.slave_gone = False

    def last_closed(self) -> None:
        self.slave_gone = True
        self.master_queue.wake(POLLHUP | READ_EVENTS)

    def name(self) -> str:
        return f"/dev/pts/{self.index}"


class MasterFile(File):
    """An open /dev/ptmx."""

    def __init__(self, pty: Pty, inode: Inode | None, flags: int) -> None:
        super().__init__(inode, flags)
        self.pty = pty
        self.queue = pty.master_queue

    def release(self) -> None:
        self.pty.hang_up_master()

    def writes_all(self) -> bool:
        return True

    def read(self, sink: Sink, offset: int) -> int:
        pty = self.pty
        if sink.left == 0:
            return 0
        if pty.packet_mode:
            if pty.packet_status:
                status = pty.packet_status
                pty.packet_status = 0
                return sink.put(bytes((status,)))
            if pty.out:
                count = sink.put(b"\0")
                return count + sink.put(pty.take_output(sink.left)) if sink.left else count
        elif pty.out:
            return sink.put(pty.take_output(sink.left))
        if pty.slave_gone:
            raise EIO("no slave is open")
        return WOULD_BLOCK

    def write(self, source: Source, offset: int) -> int:
        pty = self.pty
        room = pty.ldisc.room()
        if source.left == 0:
            return 0
        if room <= 0:
            return WOULD_BLOCK
        data = source.take(min(room, source.left))
        done = pty.receive(data)
        if done < len(data):
            source.give_back(len(data) - done)
        return done

    def poll(self) -> int:
        pty = self.pty
        events = 0
        if pty.out:
            events |= READ_EVENTS
        if pty.packet_mode and pty.packet_status:
            events |= READ_EVENTS | POLLPRI
        if pty.ldisc.room() > 0:
            events |= WRITE_EVENTS
        if pty.slave_gone:
            events |= POLLHUP
        return events

    def ioctl(self, task: Task, command: int, argument: int) -> int:
        pty = self.pty
        if command in (TIOCSCTTY, TIOCNOTTY):
            raise EINVAL("not for a master")
        if command == FIONREAD:
            task.copy_out(argument, INT.pack(pty.out_size))
        elif command == TIOCGPTN:
            task.copy_out(argument, INT.pack(pty.index))
        elif command == TIOCSPTLCK:
            pty.locked = task.copy_in(argument, 4) != bytes(4)
        elif command == TIOCGPTLCK:
            task.copy_out(argument, INT.pack(int(pty.locked)))
        elif command == TIOCPKT:
            pty.packet_mode = task.copy_in(argument, 4) != bytes(4)
            pty.packet_status = 0
        elif command == TIOCGPKT:
            task.copy_out(argument, INT.pack(int(pty.packet_mode)))
        elif command == TIOCGDEV:
            task.copy_out(argument, INT.pack(5 << 8 | 2))
        elif command == TIOCGPTPEER:
            return self.open_peer(task, argument)
        elif command == TIOCSIG:
            if not 0 < argument <= 64:
                raise EINVAL("no such signal")
            pty.signal_foreground(argument)
        else:
            return ioctl(pty, task, command, argument, False)
        return 0

    def open_peer(self, task: Task, flags: int) -> int:
        """TIOCGPTPEER: a descriptor of the slave without a path, lock or not."""
        pty = self.pty
        if flags & ~(O_ACCMODE | O_CLOEXEC | O_NOCTTY | O_NONBLOCK):
            raise EINVAL("unknown open flags")
        inode = pty.devpts.slave_inode(pty.index) if pty.devpts is not None else None
        file = open_terminal(pty, task, inode, flags & ~O_CLOEXEC)
        return install_new(task, file, flags & O_CLOEXEC != 0)
