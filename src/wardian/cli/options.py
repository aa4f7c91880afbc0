"""What the option parsers of all commands have in common.

Not imported by a plain run, which has no time for ``argparse`` (``cli.do_options``).
"""

from __future__ import annotations

import argparse
import os

from wardian.host.messages import OWN_STATUS, complain

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn


class Formatter(argparse.HelpFormatter):
    """Finds the width by itself: argparse makes one for every option, and would import ``shutil``
    for it, which imports all compressors there are."""

    def __init__(self, prog: str) -> None:
        super().__init__(prog, width=terminal_width() - 2)


def terminal_width() -> int:
    """Columns of standard output."""
    try:
        return os.get_terminal_size(1).columns or 80
    except OSError:
        return 80


class Parser(argparse.ArgumentParser):
    """argparse with our status and a one-line error."""

    def __init__(self, **arguments: Any) -> None:
        super().__init__(**arguments, formatter_class=Formatter)

    def error(self, message: str) -> NoReturn:
        complain(f"{message}: see `{self.prog} --help`", self.prog)
        self.exit(OWN_STATUS)
