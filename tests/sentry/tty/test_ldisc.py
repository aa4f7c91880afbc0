"""The line discipline alone: what is typed, what is shown, what a program reads."""

from __future__ import annotations

from wardian.sentry.tty.ldisc import LINE_MAX, SIGINT, SIGTSTP, LineDiscipline
from wardian.sentry.tty.termios import (
    ECHO,
    ECHOCTL,
    ECHOE,
    ECHOKE,
    ICANON,
    ICRNL,
    IGNCR,
    INLCR,
    ISIG,
    IUTF8,
    IXANY,
    IXON,
    NOFLSH,
    OCRNL,
    ONLCR,
    OPOST,
    VEOL,
    VMIN,
    XTABS,
    Termios,
)


def change(
    ldisc: LineDiscipline,
    *,
    iflag: int = 0,
    oflag: int = 0,
    lflag: int = 0,
    no_iflag: int = 0,
    no_lflag: int = 0,
    cc: dict[int, int] | None = None,
) -> None:
    old = ldisc.termios
    chars = bytearray(old.cc)
    for index, value in (cc or {}).items():
        chars[index] = value
    ldisc.set_termios(
        Termios(
            (old.iflag | iflag) & ~no_iflag,
            old.oflag | oflag,
            old.cflag,
            (old.lflag | lflag) & ~no_lflag,
            0,
            bytes(chars),
        )
    )


def type_in(ldisc: LineDiscipline, data: bytes) -> bytes:
    """Type, and return what was echoed."""
    ldisc.receive(data)
    echoed = bytes(ldisc.echo)
    ldisc.echo.clear()
    return echoed


def raw(ldisc: LineDiscipline) -> None:
    change(ldisc, no_iflag=ICRNL | IXON, no_lflag=ICANON | ECHO | ISIG)


def test_a_line_is_readable_once_ended_and_cr_becomes_nl() -> None:
    ldisc = LineDiscipline()
    assert type_in(ldisc, b"hel") == b"hel"
    assert ldisc.read(100) is None
    assert type_in(ldisc, b"lo\r") == b"lo\r\n"
    assert ldisc.readable()
    assert ldisc.read(100) == b"hello\n"
    assert ldisc.read(100) is None


def test_one_read_gives_at_most_one_line_and_may_take_it_in_pieces() -> None:
    ldisc = LineDiscipline()
    ldisc.receive(b"one\ntwo\n")
    assert ldisc.read(2) == b"on"
    assert ldisc.read(100) == b"e\n"
    assert ldisc.read(100) == b"two\n"


def test_erase_word_erase_and_kill() -> None:
    ldisc = LineDiscipline()
    assert type_in(ldisc, b"ab\x7f") == b"ab\b \b"
    assert type_in(ldisc, b"\x7f\x7f") == b"\b \b"
    type_in(ldisc, b"two words  ")
    assert type_in(ldisc, b"\x17") == b"\b \b" * 7
    assert bytes(ldisc.edit) == b"two "
    assert type_in(ldisc, b"\x15") == b"\b \b" * 4
    assert bytes(ldisc.edit) == b""


def test_control_characters_echo_as_two_and_are_erased_as_two() -> None:
    ldisc = LineDiscipline()
    assert type_in(ldisc, b"\x01") == b"^A"
    assert type_in(ldisc, b"\x7f") == b"\b \b\b \b"
    change(ldisc, no_lflag=ECHOCTL)
    assert type_in(ldisc, b"\x01") == b"\x01"


def test_erasing_a_tab_goes_back_to_where_it_began() -> None:
    ldisc = LineDiscipline()
    ldisc.output(b"$ ")
    type_in(ldisc, b"abc\t")
    assert type_in(ldisc, b"\x7f") == b"\b\b\b"


def test_utf8_characters_are_erased_whole() -> None:
    ldisc = LineDiscipline()
    change(ldisc, iflag=IUTF8)
    type_in(ldisc, "aé€".encode())
    assert type_in(ldisc, b"\x7f\x7f") == b"\b \b\b \b"
    assert bytes(ldisc.edit) == b"a"


def test_eof_ends_a_line_without_a_newline_and_an_empty_one_is_end_of_file() -> None:
    ldisc = LineDiscipline()
    ldisc.receive(b"part\x04")
    assert ldisc.read(100) == b"part"
    assert ldisc.read(100) is None
    ldisc.receive(b"\x04")
    assert ldisc.read(100) == b""


def test_literal_next_takes_the_meaning_away() -> None:
    ldisc = LineDiscipline()
    assert type_in(ldisc, b"\x16\x03\n") == b"^\b^C\r\n"
    assert ldisc.signals == []
    assert ldisc.read(10) == b"\x03\n"


def test_signal_characters_flush_and_echo() -> None:
    ldisc = LineDiscipline()
    ldisc.receive(b"old\nhalf")
    assert type_in(ldisc, b"\x03") == b"^C"
    assert ldisc.signals == [SIGINT]
    assert ldisc.flushed
    assert ldisc.read(10) is None
    ldisc.signals.clear()
    change(ldisc, lflag=NOFLSH)
    ldisc.receive(b"keep\x1a\n")
    assert ldisc.signals == [SIGTSTP]
    assert ldisc.read(10) == b"keep\n"


def test_a_line_is_limited_but_its_end_still_counts() -> None:
    ldisc = LineDiscipline()
    ldisc.receive(b"x" * 5000 + b"\n")
    assert ldisc.read(10000) == b"x" * LINE_MAX + b"\n"


def test_input_is_bounded_even_by_empty_lines() -> None:
    ldisc = LineDiscipline()
    total = 0
    while ldisc.room():
        piece = b"\x04" * min(10000, ldisc.room())
        ldisc.receive(piece)
        total += len(piece)
    assert total <= 65536


def test_raw_mode_passes_everything_and_vmin_makes_it_readable() -> None:
    ldisc = LineDiscipline()
    raw(ldisc)
    assert type_in(ldisc, b"\x03\r\x04") == b""
    assert ldisc.read(2) == b"\x03\r"
    assert ldisc.read(2) == b"\x04"
    change(ldisc, cc={VMIN: 3})
    ldisc.receive(b"ab")
    assert not ldisc.readable()
    ldisc.receive(b"c")
    assert ldisc.readable()


def test_what_was_typed_survives_changes_of_mode() -> None:
    ldisc = LineDiscipline()
    ldisc.receive(b"line\nhalf")
    change(ldisc, no_lflag=ICANON)
    assert ldisc.read(100) == b"line\nhalf"
    ldisc.receive(b"early")
    change(ldisc, lflag=ICANON)
    assert ldisc.read(100) == b"early"


def test_carriage_return_rules() -> None:
    ldisc = LineDiscipline()
    change(ldisc, iflag=IGNCR)
    ldisc.receive(b"a\rb\n")
    assert ldisc.read(10) == b"ab\n"
    change(ldisc, iflag=INLCR, no_iflag=IGNCR | ICRNL, no_lflag=ICANON)
    ldisc.receive(b"\n")
    assert ldisc.read(10) == b"\r"


def test_stop_and_start() -> None:
    ldisc = LineDiscipline()
    ldisc.receive(b"\x13")
    assert ldisc.stopped
    ldisc.receive(b"x")
    assert ldisc.stopped
    ldisc.receive(b"\x11")
    assert not ldisc.stopped
    change(ldisc, iflag=IXANY)
    ldisc.receive(b"\x13y")
    assert not ldisc.stopped


def test_extra_end_of_line_character() -> None:
    ldisc = LineDiscipline()
    change(ldisc, cc={VEOL: ord(";")})
    ldisc.receive(b"a;")
    assert ldisc.read(10) == b"a;"


def test_output_processing() -> None:
    ldisc = LineDiscipline()
    assert ldisc.output(b"a\nb\n") == b"a\r\nb\r\n"
    change(ldisc, oflag=XTABS)
    assert ldisc.output(b"ab\tc\n") == b"ab      c\r\n"
    change(ldisc, oflag=OCRNL)
    assert ldisc.output(b"x\r") == b"x\n"
    old = ldisc.termios
    ldisc.set_termios(Termios(old.iflag, ONLCR & ~OPOST, old.cflag, old.lflag, 0, old.cc))
    ldisc.termios.oflag = 0
    assert ldisc.output(b"raw\n\t") == b"raw\n\t"


def test_plain_erase_without_echoe_shows_the_erase_character() -> None:
    ldisc = LineDiscipline()
    change(ldisc, no_lflag=ECHOE | ECHOKE)
    assert type_in(ldisc, b"a\x7f") == b"a^?"
    assert type_in(ldisc, b"bc\x15") == b"bc^U\r\n"
