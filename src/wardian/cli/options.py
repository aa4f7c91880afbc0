"""What the option parsers of all commands have in common."""

from __future__ import annotations

import argparse
from typing import NoReturn

from wardian.host.messages import complain

USAGE_STATUS = 125
"""Wardian's own errors; 126 and 127 are the command's (as docker run, env(1))."""


class Parser(argparse.ArgumentParser):
    """argparse with our status and a one-line error."""

    def error(self, message: str) -> NoReturn:
        complain(f"{message}: see `{self.prog} --help`", self.prog)
        self.exit(USAGE_STATUS)
