"""The option parser of all commands.

Not ``argparse``: with what it imports it takes a quarter of the time from the command line to the
first guest instruction, and it takes apart what stands after the command to run.
"""

from __future__ import annotations

import os
import sys

from wardian.host.messages import complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

USAGE_STATUS = 125
"""Wardian's own errors; 126 and 127 are the command's (as docker run, env(1))."""
HELP_COLUMN = 24


class Options:
    """What was asked for: an attribute for each option, and the words after them."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values
        self.rest: list[str] = []

    def __getattr__(self, name: str) -> Any:
        try:
            return self.values[name]
        except KeyError:
            raise AttributeError(name) from None


class Option:
    """One of them. ``value`` names what must follow it, in capitals; without, it is a switch."""

    def __init__(self, names: str, value: str, default: Any, words: str) -> None:
        self.names = names.split()  # the last one is the long one
        self.key = self.names[-1].lstrip("-").replace("-", "_")
        self.value = value
        self.default = default
        self.words = words
        self.many = isinstance(default, list)  # may be given several times
        self.choices: tuple[str, ...] = ()
        self.bare: str | None = None  # what it means without ``=VALUE``, if that may be left out

    def usage(self) -> str:
        """The left column of the help."""
        value = "{" + ",".join(self.choices) + "}" if self.choices else self.value
        if self.bare is not None:
            value = f"[={value}]"
        elif value:
            value = f" {value}"
        return f"{', '.join(self.names)}{value}"


class Parser:
    """Options up to the first word that is none, or ``--``."""

    def __init__(self, program: str, usage: str, description: str) -> None:
        self.program = program
        self.usage = usage
        self.description = description
        self.options: list[Option] = []
        self.by_name: dict[str, Option] = {}

    def add(self, names: str, words: str, value: str = "", default: Any = None) -> Option:
        """Another option; ``default`` as long as it is not given, and a list to collect values."""
        option = Option(names, value, default if value else False, words)
        self.options.append(option)
        self.by_name |= dict.fromkeys(option.names, option)
        return option

    def parse(self, words: list[str]) -> Options:
        """Ends the process with a line on standard error for what cannot be, and for --help."""
        options = Options({o.key: list(o.default) if o.many else o.default for o in self.options})
        at = 0
        while at < len(words) and words[at].startswith("-") and words[at] != "-":
            at += 1
            if words[at - 1] == "--":
                break
            name, value = self.split(words[at - 1])
            option = self.by_name[name]
            if value is None and option.value and option.bare is None:
                if at == len(words):
                    self.fail(f"option {name} needs a value")
                value = words[at]
                at += 1
            self.take(options, option, name, value)
        options.rest = words[at:]
        return options

    def split(self, word: str) -> tuple[str, str | None]:
        """An option's name and the value in the same word: ``--name=value``, ``-nvalue``."""
        if word in ("-h", "--help"):
            sys.stdout.write(self.help())
            sys.exit(0)
        name, equals, value = word.partition("=")
        if word[:2] != "--" and word[:2] in self.by_name:
            return word[:2], word[2:] or None
        if name not in self.by_name:
            self.fail(f"unrecognized option {name}")
        return name, value if equals else None

    def take(self, options: Options, option: Option, name: str, value: str | None) -> None:
        """Note what one option says."""
        if not option.value:
            if value is not None:
                self.fail(f"option {name} takes no value, not {value!r} either")
            options.values[option.key] = True
            return
        if value is None:
            value = option.bare
        if option.choices and value not in option.choices:
            self.fail(f"bad value {value!r} of {name}: choose from {', '.join(option.choices)}")
        if option.many:
            options.values[option.key].append(value)
        else:
            options.values[option.key] = value

    def fail(self, words: str) -> NoReturn:
        """One line, and the end."""
        complain(f"{words}: see `{self.program} --help`", self.program)
        sys.exit(USAGE_STATUS)

    def help(self) -> str:
        """The text of ``--help``."""
        import textwrap  # only here, and slow to import

        try:
            width = min(os.get_terminal_size(1).columns or 80, 100)
        except OSError:
            width = 80
        indent = " " * HELP_COLUMN
        lines = [
            f"usage: {self.usage}",
            "",
            *textwrap.wrap(self.description, width),
            "",
            "options:",
        ]
        for left, words in [
            ("-h, --help", "show this"),
            *((o.usage(), o.words) for o in self.options),
        ]:
            text = textwrap.wrap(words, max(width - HELP_COLUMN, 20))
            first = f"  {left}"
            if len(first) > HELP_COLUMN - 2:
                lines.append(first)
            else:
                lines.append(first.ljust(HELP_COLUMN) + text.pop(0))
            lines += [indent + line for line in text]
        return "\n".join([*lines, ""])
