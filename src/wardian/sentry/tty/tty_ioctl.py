"""ioctls of a terminal, for both of its sides (tty_ioctl(4))."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

from wardian.sentry.errno import EINVAL, EIO, ENOTTY, EPERM, ESRCH
from wardian.sentry.kernel.credentials import CAP_SYS_ADMIN
from wardian.sentry.kernel.exit import disassociate
from wardian.sentry.kernel.signal_numbers import SIGTTOU
from wardian.sentry.tty.termios import parse_termios
from wardian.sentry.tty.tty import Terminal

if TYPE_CHECKING:
    from wardian.sentry.kernel.task import Task

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
INT: Final = struct.Struct("<i")


def ioctl(tty: Terminal, task: Task, command: int, argument: int, program_side: bool) -> int:
    """The ioctls of both sides of a terminal; ENOTTY for others."""
    if command in (TCGETS, TCGETS2):
        termios = tty.ldisc.termios
        task.copy_out(argument, termios.pack() if command == TCGETS else termios.pack2())
        return 0
    if command in (TCSETS, TCSETSW, TCSETSF, TCSETS2, TCSETSW2, TCSETSF2):
        return set_termios(tty, task, command, argument)
    if command == TIOCGWINSZ:
        task.copy_out(argument, tty.window)
        return 0
    if command == TIOCSWINSZ:
        tty.set_window(task.copy_in(argument, 8))
        return 0
    if command in (TIOCGPGRP, TIOCSPGRP, TIOCGSID, TIOCSCTTY, TIOCNOTTY):
        return job_ioctl(tty, task, command, argument, program_side)
    if command in (TCSBRK, TCSBRKP, TIOCSBRK, TIOCCBRK):
        return 0 if tty.may_proceed(task, SIGTTOU) else task.park_until(0)
    if command == TCXONC:
        return flow_ioctl(tty, task, argument)
    if command == TCFLSH:
        return flush_ioctl(tty, task, argument)
    return small_ioctl(tty, task, command, argument)


def small_ioctl(tty: Terminal, task: Task, command: int, argument: int) -> int:
    """Those that only read or set a number."""
    if command == FIONREAD:
        task.copy_out(argument, INT.pack(tty.ldisc.pending()))
    elif command == TIOCOUTQ:
        task.copy_out(argument, INT.pack(tty.untransmitted()))
    elif command == TIOCGETD:
        task.copy_out(argument, INT.pack(0))
    elif command == TIOCSETD:
        if task.copy_in(argument, 4) != bytes(4):
            raise EINVAL("only N_TTY")
    elif command == TIOCEXCL:
        tty.exclusive = True
    elif command == TIOCNXCL:
        tty.exclusive = False
    elif command == TIOCGEXCL:
        task.copy_out(argument, INT.pack(int(tty.exclusive)))
    elif command == TIOCSTI:
        raise EIO("typing for others is not allowed")  # dev.tty.legacy_tiocsti=0
    elif command == TIOCVHANGUP:
        if not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EPERM("needs CAP_SYS_ADMIN")
        tty.hang_up()
    else:
        raise ENOTTY("no such terminal ioctl")
    return 0


def set_termios(tty: Terminal, task: Task, command: int, argument: int) -> int:
    """TCSETS and its kin. Output is never pending in hardware, so TCSETSW need not wait."""
    if not tty.may_proceed(task, SIGTTOU):
        return task.park_until(0)
    size = TERMIOS2_SIZE if command in (TCSETS2, TCSETSW2, TCSETSF2) else TERMIOS_SIZE
    new = parse_termios(task.copy_in(argument, size), tty.ldisc.termios)
    if command in (TCSETSF, TCSETSF2):
        tty.ldisc.flush_input()
        tty.input_taken()
    was_stopped = tty.ldisc.stopped
    tty.ldisc.set_termios(new)
    if was_stopped and not tty.ldisc.stopped:
        tty.flow(False)
    tty.settings_changed()
    tty.queue.wake(0)
    return 0


def flow_ioctl(tty: Terminal, task: Task, action: int) -> int:
    """TCXONC: TCOOFF, TCOON; TCIOFF and TCION have nobody to tell."""
    if not tty.may_proceed(task, SIGTTOU):
        return task.park_until(0)
    if action > 3:
        raise EINVAL("no such flow control")
    if action < 2 and tty.ldisc.stopped != (action == 0):
        tty.flow(action == 0)
    return 0


def flush_ioctl(tty: Terminal, task: Task, which: int) -> int:
    """TCFLSH: TCIFLUSH, TCOFLUSH, TCIOFLUSH."""
    if not tty.may_proceed(task, SIGTTOU):
        return task.park_until(0)
    if which > 2:
        raise EINVAL("no such queue")
    if which != 1:
        tty.ldisc.flush_input()
        tty.input_taken()
    if which != 0:
        tty.drop_output()
    return 0


def job_ioctl(tty: Terminal, task: Task, command: int, argument: int, program_side: bool) -> int:
    """Sessions and process groups."""
    if command == TIOCSPGRP:
        return set_foreground(tty, task, argument)
    if command == TIOCSCTTY:
        return set_controlling(tty, task, argument)
    if command == TIOCNOTTY:
        if not tty.controls(task):
            raise ENOTTY("not the controlling terminal")
        session = task.group.session
        if session.leader is task.group:
            disassociate(session)
        return 0
    if program_side and not tty.controls(task):
        raise ENOTTY("not the controlling terminal")
    if command == TIOCGPGRP:
        group = tty.foreground
        task.copy_out(argument, INT.pack(group.pgid if group is not None else 0))
        return 0
    if tty.session is None:
        raise ENOTTY("no session")
    task.copy_out(argument, INT.pack(tty.session.sid))
    return 0


def set_foreground(tty: Terminal, task: Task, argument: int) -> int:
    """TIOCSPGRP, tcsetpgrp(3)."""
    try:
        if not tty.may_proceed(task, SIGTTOU):
            return task.park_until(0)
    except EIO:
        raise ENOTTY("orphaned background process") from None
    if not tty.controls(task):
        raise ENOTTY("not the controlling terminal")
    pgid = INT.unpack(task.copy_in(argument, 4))[0]
    if pgid < 0:
        raise EINVAL("negative process group")
    group = task.kernel.pids.process_group(pgid)
    if group is None:
        raise ESRCH("no such process group")
    if group.session is not tty.session:
        raise EPERM("process group of another session")
    tty.foreground = group
    tty.queue.wake(0)  # readers parked in the background look again
    return 0


def set_controlling(tty: Terminal, task: Task, force: int) -> int:
    """TIOCSCTTY."""
    group = task.group
    session = group.session
    if session.leader is group and tty.session is session:
        return 0
    if session.leader is not group or session.tty is not None:
        raise EPERM("not a session leader without a terminal")
    if tty.session is not None:
        if force != 1 or not task.credentials.has_cap(CAP_SYS_ADMIN):
            raise EPERM("controls another session")
        tty.leave_session()
    tty.control(task)
    return 0
