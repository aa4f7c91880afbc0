"""Which ``wardian`` the tests run: the command in $WARDIAN, or else the source tree's own."""

from __future__ import annotations

import os
import shlex
import sys
from pathlib import Path

SOURCE = Path(__file__).parents[1] / "src"


def wardian_command() -> list[str]:
    """The words of the command."""
    if os.environ.get("WARDIAN"):
        return shlex.split(os.environ["WARDIAN"])
    return [sys.executable, "-m", "wardian"]


def python_path() -> dict[str, str]:
    """The part of the environment that lets :func:`wardian_command` find the package. An installed
    command must find its own."""
    return {} if os.environ.get("WARDIAN") else {"PYTHONPATH": str(SOURCE)}


def kept_environment() -> dict[str, str]:
    """What of our own environment chooses the build."""
    names = ("PATH", "WARDIAN_INTERPRETED")
    return {name: os.environ[name] for name in names if name in os.environ}
