"""The options of all commands: declared as data, taken from the command line, explained by
``--help``.

Not argparse: importing it and building its parser takes longer than Python itself.
"""

from __future__ import annotations

import os
import sys

from wardian.host.messages import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any, NoReturn

USAGE_STATUS = 125
"""Wardian's own errors; 126 and 127 are the command's (as docker run, env(1))."""
HELP_COLUMN = 24

FLAG, VALUE, LIST, BARE_OR_VALUE = range(4)
"""What an option takes: nothing; a value; a value each time; none, or one after ``=``."""


class Option:
    """One option. ``kind`` is VALUE where there is a ``metavar``; ``bare`` is the value of one that
    was given without (BARE_OR_VALUE)."""

    def __init__(
        self,
        *names: str,
        help: str,
        metavar: str = "",
        kind: int = FLAG,
        choices: Sequence[str] = (),
        default: Any = None,
    ) -> None:
        self.names = names
        self.help = help
        self.choices = choices
        self.metavar = metavar or (f"{{{','.join(choices)}}}" if choices else "")
        self.kind = kind or (VALUE if self.metavar else FLAG)
        self.default: Any = False if self.kind == FLAG else default

    @property
    def field(self) -> str:
        """Its name among the values."""
        return self.names[-1].lstrip("-").replace("-", "_")

    @property
    def heading(self) -> str:
        """As the help shows it."""
        if self.kind == FLAG:
            return ", ".join(self.names)
        value = f"[={self.metavar}]" if self.kind == BARE_OR_VALUE else f" {self.metavar}"
        return ", ".join(self.names) + value


HELP = Option("-h", "--help", help="show this help and exit")


class Values:
    """What was given: one attribute for each option."""

    def __init__(self, options: Sequence[Option]) -> None:
        for option in options:
            self.__dict__[option.field] = [] if option.kind == LIST else option.default

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(name)

    def give(self, option: Option, value: Any) -> None:
        """An option was given; the last time counts."""
        if option.kind == LIST:
            self.__dict__[option.field].append(value)
        else:
            self.__dict__[option.field] = value


class Parser:
    """The options of one command, before its first other word. ``usage`` begins with its name."""

    def __init__(self, prog: str, usage: str, description: str, options: Sequence[Option]) -> None:
        self.prog = prog
        self.usage = usage
        self.description = description
        self.options = [HELP, *options]
        self.by_name = {name: option for option in self.options for name in option.names}

    def parse(self, words: list[str]) -> tuple[Values, list[str]]:
        """The values, and the words that are not ours."""
        values = Values(self.options)
        at = 0
        while at < len(words) and words[at].startswith("-") and words[at] != "--":
            at = self.take(words, at, values)
        return values, words[at + 1 :] if words[at : at + 1] == ["--"] else words[at:]

    def take(self, words: list[str], at: int, values: Values) -> int:
        """The option at ``at``; where the next word is."""
        option, value = self.split(words[at])
        if option is HELP:
            sys.stdout.write(self.text())
            raise SystemExit(0)
        if option.kind == FLAG:
            if value is not None:
                self.error(f"{words[at]}: the option takes no value")
            values.give(option, True)
            return at + 1
        if value is None and option.kind == BARE_OR_VALUE:
            value = ""
        elif value is None:
            at += 1
            if at == len(words):
                self.error(f"{words[at - 1]} needs a value: {option.metavar}")
            value = words[at]
        if option.choices and value not in option.choices:
            self.error(f"bad {option.names[-1]} {value!r}: choose from {', '.join(option.choices)}")
        values.give(option, value)
        return at + 1

    def split(self, word: str) -> tuple[Option, str | None]:
        """``--name``, ``--name=value``, ``-n`` or ``-nvalue``."""
        if word in self.by_name:
            return self.by_name[word], None
        name, equals, value = word.partition("=")
        if not word.startswith("--"):
            name, equals, value = word[:2], word[2:], word[2:].removeprefix("=")
        option = self.by_name.get(name)
        if option is None:
            self.error(f"unrecognized option {name}")
        return option, value if equals else None

    def error(self, message: str) -> NoReturn:
        """One line, and our status."""
        complain(f"{message}: see `{self.prog} --help`", self.prog)
        raise SystemExit(USAGE_STATUS)

    def text(self) -> str:
        """What ``--help`` says."""
        import textwrap  # slow to import

        width = terminal_width() - 2
        lines = [
            f"usage: {self.usage}",
            "",
            *textwrap.wrap(self.description, width),
            "",
            "options:",
        ]
        indent = " " * HELP_COLUMN
        for option in self.options:
            start = f"  {option.heading}"
            if len(start) > HELP_COLUMN - 2:
                lines.append(start)
                start = ""
            texts = textwrap.wrap(
                option.help,
                max(width, HELP_COLUMN + 20),
                initial_indent=start.ljust(HELP_COLUMN),
                subsequent_indent=indent,
            )
            lines += texts
        return "\n".join([*lines, ""])


def terminal_width() -> int:
    """Columns of standard output."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80
