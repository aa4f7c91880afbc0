"""The option parser."""

from __future__ import annotations

import pytest

from wardian.cli.options import Parser


def parser() -> Parser:
    made = Parser("wardian test", "wardian test [options]", "Tests.")
    made.add("-m --memory", "how much", "SIZE")
    made.add("-v --volume", "several", "SRC:DST", [])
    made.add("--read-only", "a switch")
    made.add("--network", "one of two", "NETWORK", "none").choices = ("none", "host")
    made.add("--strace", "with or without", "CALLS").bare = ""
    return made


@pytest.mark.parametrize(
    "words, memory",
    [
        ([], None),
        (["-m", "1g"], "1g"),
        (["-m1g"], "1g"),
        (["--memory", "1g"], "1g"),
        (["--memory=1g"], "1g"),
        (["--memory="], ""),
        (["-m", "-1"], "-1"),
        (["-m", "1", "-m", "2"], "2"),
    ],
)
def test_values_are_in_the_same_word_or_the_next(words: list[str], memory: str | None) -> None:
    options = parser().parse([*words, "true"])
    assert options.memory == memory
    assert options.rest == ["true"]


def test_the_first_other_word_ends_the_options() -> None:
    assert parser().parse(["--read-only", "true", "-m", "1"]).rest == ["true", "-m", "1"]
    assert parser().parse(["--", "-m", "--", "1"]).rest == ["-m", "--", "1"]
    assert parser().parse(["-", "-m"]).rest == ["-", "-m"]


def test_lists_collect_and_belong_to_one_run() -> None:
    both = parser()
    assert both.parse(["-v", "a:b", "--volume=c:d"]).volume == ["a:b", "c:d"]
    assert both.parse([]).volume == []


def test_a_value_that_may_be_left_out() -> None:
    assert parser().parse(["true"]).strace is None
    options = parser().parse(["--strace", "true"])
    assert (options.strace, options.rest) == ("", ["true"])
    assert parser().parse(["--strace=read", "true"]).strace == "read"


@pytest.mark.parametrize(
    "words, said",
    [
        (["--memory"], "--memory needs a value"),
        (["-m"], "-m needs a value"),
        (["--mem", "1"], "unrecognized option --mem"),
        (["-x"], "unrecognized option -x"),
        (["--read-only=yes"], "--read-only takes no value"),
        (["--network", "wifi"], "choose from none, host"),
    ],
)
def test_what_cannot_be_is_one_line_and_125(
    words: list[str], said: str, capfd: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse(words)
    assert end.value.code == 125
    error = capfd.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as end:
        parser().parse(["--read-only", "--help"])
    assert end.value.code == 0
    text = capsys.readouterr().out
    for words in ("-m, --memory SIZE", "--read-only", "--network {none,host}", "--strace[=CALLS]"):
        assert words in text
