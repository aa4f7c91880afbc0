"""N_TTY, the line discipline (termios(3)): editing, echo, signal characters, output processing.

Sans-IO: :meth:`LineDiscipline.receive` takes what the terminal's user typed, :meth:`read` gives
what a program may read, :meth:`output` turns what a program wrote into what the terminal shows.
What else happens is left in ``echo``, ``signals`` and ``flushed`` for the owner (``tty.Terminal``).
"""

from __future__ import annotations

from typing import Final

from wardian.sentry.tty.termios import (
    ECHO,
    ECHOCTL,
    ECHOE,
    ECHOK,
    ECHOKE,
    ECHONL,
    ICANON,
    ICRNL,
    IEXTEN,
    IGNCR,
    IMAXBEL,
    INLCR,
    ISIG,
    ISTRIP,
    IUCLC,
    IUTF8,
    IXANY,
    IXON,
    NOFLSH,
    OCRNL,
    OLCUC,
    ONLCR,
    ONLRET,
    ONOCR,
    OPOST,
    TABDLY,
    VEOF,
    VEOL,
    VEOL2,
    VERASE,
    VINTR,
    VKILL,
    VLNEXT,
    VMIN,
    VQUIT,
    VREPRINT,
    VSTART,
    VSTOP,
    VSUSP,
    VTIME,
    VWERASE,
    XTABS,
    Termios,
    default_termios,
)

SIGINT: Final = 2
SIGQUIT: Final = 3
SIGTSTP: Final = 20

LINE_MAX: Final = 4095  # a canonical line, without its end (termios(3), "Canonical mode")
INPUT_MAX: Final = 65536  # what waits to be read in all
ECHO_MAX: Final = 65536
COLUMN_LOOKBACK: Final = 1024

NL: Final = 10
CR: Final = 13
TAB: Final = 9
BACKSPACE: Final = 8
RUB_OUT: Final = b"\b \b"
SPECIAL_INPUT: Final = ISTRIP | IUCLC | IGNCR | ICRNL | INLCR | IXON
SPECIAL_LOCAL: Final = ICANON | ISIG | ECHO | ECHONL


class LineDiscipline:
    """The state between one terminal and the programs that use it."""

    def __init__(self) -> None:
        self.termios: Termios = default_termios()
        self.ready: list[bytes] = []  # canonical: a line each, b"" for end of file
        self.ready_size = 0
        self.edit = bytearray()  # the line being typed
        self.literal = False  # VLNEXT was typed
        self.column = 0  # of the cursor, for erasing tabs
        self.edit_column = 0  # where the line being typed began
        self.stopped = False  # VSTOP was typed
        # for the owner to take
        self.echo = bytearray()
        self.signals: list[int] = []
        self.flushed = False  # a signal character threw the queues away

    # -- settings ----------------------------------------------------------------------------------
    def set_termios(self, new: Termios) -> None:
        """TCSETS: what was typed so far changes its meaning with ICANON, and is never lost."""
        old = self.termios
        self.termios = new
        if (old.lflag ^ new.lflag) & ICANON:
            data = b"".join(self.ready)
            if new.lflag & ICANON:
                self.ready = [data] if data else []
            else:
                data += self.edit
                self.edit.clear()
                self.ready = [data] if data else []
            self.ready_size = len(data)
            self.literal = False
        if old.iflag & IXON and not new.iflag & IXON:
            self.stopped = False

    def is_char(self, c: int, which: int) -> bool:
        """True when ``c`` is the control character ``which``; 0 disables one (_POSIX_VDISABLE)."""
        return c != 0 and self.termios.cc[which] == c

    # -- input -------------------------------------------------------------------------------------
    def room(self) -> int:
        """How much :meth:`receive` takes now; a line without an end never blocks its typist."""
        if self.termios.lflag & ICANON and not self.ready:
            return INPUT_MAX
        return max(0, INPUT_MAX - self.ready_size - len(self.edit) - len(self.ready))

    def receive(self, data: bytes) -> None:
        """The user typed ``data`` (at most :meth:`room`)."""
        t = self.termios
        if not (t.lflag & SPECIAL_LOCAL or t.iflag & SPECIAL_INPUT):
            self.make_ready(data)
            return
        plain = bytearray()  # non-canonical characters, passed on together
        for c in data:
            self.receive_char(c, plain)
        if plain:
            self.make_ready(bytes(plain))

    def make_ready(self, piece: bytes) -> None:
        """Let a program read ``piece``."""
        self.ready.append(piece)
        self.ready_size += len(piece)

    def receive_char(self, c: int, plain: bytearray) -> None:
        """One typed character."""
        t = self.termios
        iflag = t.iflag
        if iflag & ISTRIP:
            c &= 0x7F
        if iflag & IUCLC and t.lflag & IEXTEN and 65 <= c <= 90:
            c += 32
        if self.literal:
            self.literal = False
            self.ordinary(c, plain)
            return
        if iflag & IXON and self.flow_control(c):
            return
        if t.lflag & ISIG and self.signal_char(c):
            if self.flushed:
                plain.clear()
            return
        if self.stopped and iflag & IXON and iflag & IXANY:
            self.stopped = False
        if c == CR:
            if iflag & IGNCR:
                return
            if iflag & ICRNL:
                c = NL
                if t.lflag & (ECHO | ICANON) == ECHO:
                    self.put_echo(b"\n")  # and not ^J, which a typed NL echoes as
                    plain.append(NL)
                    return
        elif c == NL and iflag & INLCR:
            c = CR
        if t.lflag & ICANON and self.canonical_char(c):
            return
        self.ordinary(c, plain)

    def flow_control(self, c: int) -> bool:
        """VSTART and VSTOP; True when ``c`` was one."""
        if self.is_char(c, VSTART):
            self.stopped = False
            return True
        if self.is_char(c, VSTOP):
            self.stopped = True
            return True
        return False

    def signal_char(self, c: int) -> bool:
        """VINTR, VQUIT and VSUSP; True when ``c`` was one."""
        if self.is_char(c, VINTR):
            signo = SIGINT
        elif self.is_char(c, VQUIT):
            signo = SIGQUIT
        elif self.is_char(c, VSUSP):
            signo = SIGTSTP
        else:
            return False
        if signo not in self.signals:
            self.signals.append(signo)
        t = self.termios
        if not t.lflag & NOFLSH:
            self.flush_input()
            self.echo.clear()
            self.flushed = True
        if t.iflag & IXON:
            self.stopped = False
        if t.lflag & ECHO:
            self.echo_char(c)
        return True

    def canonical_char(self, c: int) -> bool:
        """Line ends and editing; True when ``c`` was one of those characters."""
        lflag = self.termios.lflag
        extended = lflag & IEXTEN != 0
        if self.is_char(c, VERASE):
            self.erase_char()
        elif self.is_char(c, VKILL):
            self.kill_line()
        elif extended and self.is_char(c, VWERASE):
            self.erase_word()
        elif extended and self.is_char(c, VLNEXT):
            self.literal = True
            if lflag & ECHO and lflag & ECHOCTL:
                self.put_echo(b"^\b")
        elif extended and lflag & ECHO and self.is_char(c, VREPRINT):
            self.echo_char(c)
            self.put_echo(b"\n")
            for typed in bytes(self.edit):
                self.echo_char(typed)
        elif c == NL:
            if lflag & (ECHO | ECHONL):
                self.put_echo(b"\n")
            self.end_line(b"\n")
        elif self.is_char(c, VEOF):
            self.end_line(b"")
        elif self.is_char(c, VEOL) or (extended and self.is_char(c, VEOL2)):
            if lflag & ECHO:
                self.echo_char(c)
            self.end_line(bytes((c,)))
        else:
            return False
        return True

    def end_line(self, end: bytes) -> None:
        """The line typed is complete."""
        self.make_ready(bytes(self.edit) + end)
        self.edit.clear()

    def ordinary(self, c: int, plain: bytearray) -> None:
        """A character that means itself."""
        t = self.termios
        if t.lflag & ICANON:
            if len(self.edit) >= LINE_MAX:
                if t.iflag & IMAXBEL:
                    self.put_echo(b"\a")
                return
            if not self.edit:
                self.edit_column = self.column
        if t.lflag & ECHO:
            self.echo_char(c)
        if t.lflag & ICANON:
            self.edit.append(c)
        else:
            plain.append(c)

    # -- editing -----------------------------------------------------------------------------------
    def last_char(self) -> int:
        """Where the last character of the line begins; with IUTF8 it may have several bytes."""
        edit = self.edit
        start = len(edit) - 1
        if self.termios.iflag & IUTF8:
            while edit[start] & 0xC0 == 0x80 and start:
                start -= 1
        return start

    def pop_char(self) -> int:
        """Take the last character off the line; its first byte."""
        start = self.last_char()
        c = self.edit[start]
        del self.edit[start:]
        return c

    def erase_char(self) -> None:
        """VERASE."""
        if not self.edit:
            return
        c = self.pop_char()
        lflag = self.termios.lflag
        if not lflag & ECHO:
            return
        if lflag & ECHOE:
            self.rub_out(c)
        else:
            self.echo_char(self.termios.cc[VERASE])

    def erase_word(self) -> None:
        """VWERASE: blanks and such, then a word."""
        in_word = False
        while self.edit:
            if is_word_char(self.edit[self.last_char()]):
                in_word = True
            elif in_word:
                break
            c = self.pop_char()
            if self.termios.lflag & ECHO:
                self.rub_out(c)

    def kill_line(self) -> None:
        """VKILL."""
        lflag = self.termios.lflag
        if not self.edit:
            return
        if lflag & ECHO and lflag & ECHOK and lflag & ECHOKE and lflag & ECHOE:
            while self.edit:
                self.rub_out(self.pop_char())
            return
        self.edit.clear()
        if lflag & ECHO:
            self.echo_char(self.termios.cc[VKILL])
            if lflag & ECHOK:
                self.put_echo(b"\n")

    def rub_out(self, c: int) -> None:
        """Make the character ``c``, just taken off the line, vanish from the screen."""
        if c == TAB:
            column = self.edit_column
            for typed in bytes(self.edit):
                column = self.column_after(column, typed)
            width = 8 - column % 8
            self.put_echo(b"\b" * width)
            if not self.termios.oflag & OPOST:
                self.column = max(0, self.column - width)
            return
        control = c < 32 or c == 127
        shown_as_two = self.termios.lflag & ECHOCTL != 0
        if control and shown_as_two:
            self.put_echo(RUB_OUT)
        if not control or shown_as_two:
            self.put_echo(RUB_OUT)

    def column_after(self, column: int, c: int) -> int:
        """The cursor column after the echo of ``c``."""
        if c == TAB:
            return column + 8 - column % 8
        if c < 32 or c == 127:
            return column + 2 if self.termios.lflag & ECHOCTL else column
        if self.termios.iflag & IUTF8 and c & 0xC0 == 0x80:
            return column
        return column + 1

    # -- echo and output ---------------------------------------------------------------------------
    def echo_char(self, c: int) -> None:
        """Echo one character, a control character as ^X under ECHOCTL."""
        if self.termios.lflag & ECHOCTL and (c < 32 or c == 127) and c != TAB:
            self.put_echo(bytes((94, c ^ 64)))
            if not self.termios.oflag & OPOST:
                self.column += 2  # the only echo that counts then, as on Linux
        else:
            self.put_echo(bytes((c,)))

    def put_echo(self, data: bytes) -> None:
        if len(self.echo) < ECHO_MAX:
            self.echo += self.output(data)

    def output(self, data: bytes) -> bytes:
        """What the terminal gets when a program writes ``data``."""
        oflag = self.termios.oflag
        if not oflag & OPOST:
            return data
        if oflag & (ONLCR | OLCUC | OCRNL | ONOCR | ONLRET) != ONLCR or oflag & TABDLY == XTABS:
            return self.output_slowly(data)
        self.track_column(data)
        return data.replace(b"\n", b"\r\n")

    def track_column(self, data: bytes) -> None:
        """Follow the cursor; only the last line matters, and of that a few screen lines."""
        start = max(data.rfind(b"\r"), data.rfind(b"\n")) + 1
        if start:
            self.edit_column = 0
        column = 0 if start else self.column
        start = max(start, len(data) - COLUMN_LOOKBACK)
        for i in range(start, len(data)):
            c = data[i]
            if c == TAB:
                column += 8 - column % 8
            elif c == BACKSPACE:
                column = max(0, column - 1)
            elif c >= 32 and c != 127 and not (c & 0xC0 == 0x80 and self.termios.iflag & IUTF8):
                column += 1
        self.column = column

    def output_slowly(self, data: bytes) -> bytes:
        """:meth:`output` for the rare flags, character by character."""
        oflag = self.termios.oflag
        out = bytearray()
        for c in data:
            if c == NL:
                if oflag & (ONLRET | ONLCR):
                    self.column = 0
                self.edit_column = self.column
                if oflag & ONLCR:
                    out.append(CR)
                out.append(NL)
            elif c == CR:
                if oflag & ONOCR and self.column == 0:
                    continue
                if oflag & OCRNL:
                    if oflag & ONLRET:
                        self.column = self.edit_column = 0
                    out.append(NL)
                else:
                    self.column = self.edit_column = 0
                    out.append(CR)
            elif c == TAB:
                step = 8 - self.column % 8
                self.column += step
                out += b" " * step if oflag & TABDLY == XTABS else b"\t"
            elif c == BACKSPACE:
                self.column = max(0, self.column - 1)
                out.append(c)
            else:
                if c >= 32 and c != 127 and not (c & 0xC0 == 0x80 and self.termios.iflag & IUTF8):
                    self.column += 1
                out.append(c - 32 if oflag & OLCUC and 97 <= c <= 122 else c)
        return bytes(out)

    # -- the program's side ------------------------------------------------------------------------
    def readable(self) -> bool:
        """poll(2) POLLIN: a line, or as many characters as VMIN asks for when there is no VTIME."""
        if self.termios.lflag & ICANON:
            return bool(self.ready)
        cc = self.termios.cc
        least = 1 if cc[VTIME] or not cc[VMIN] else cc[VMIN]
        return self.ready_size >= least

    def read(self, limit: int) -> bytes | None:
        """Up to ``limit`` bytes of a line, or of what there is; b"" at end of file, or None."""
        if not self.ready:
            return None
        if not self.termios.lflag & ICANON and len(self.ready) > 1:
            self.ready = [b"".join(self.ready)]
        first = self.ready[0]
        if len(first) <= limit:
            del self.ready[0]
            self.ready_size -= len(first)
            return first
        self.ready[0] = first[limit:]
        self.ready_size -= limit
        return first[:limit]

    def pending(self) -> int:
        """FIONREAD: what could be read; in canonical mode complete lines only."""
        return self.ready_size

    def flush_input(self) -> None:
        """TCIFLUSH."""
        self.ready.clear()
        self.ready_size = 0
        self.edit.clear()
        self.literal = False


def is_word_char(c: int) -> bool:
    """isalnum() of the kernel, which means Latin-1, or an underscore."""
    if c < 128:
        return 48 <= c <= 57 or 65 <= c <= 90 or 97 <= c <= 122 or c == 95
    return c >= 0xC0 and c not in (0xD7, 0xF7)
