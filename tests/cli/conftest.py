"""The ``wardian`` fixture: runs the command, and fails the test when anything is left on the host afterwards."""

from __future__ import annotations

import ctypes
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Wardian

PR_SET_CHILD_SUBREAPER = 36


@pytest.fixture(scope="session")
def subreaper() -> None:
    """Orphans of what we start become our own children, so that none is overlooked."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0


@pytest.fixture
def wardian(tmp_path: Path, subreaper: None) -> Iterator[Wardian]:
    """The command line, in an empty directory."""
    command = Wardian(tmp_path)
    yield command
    for directory in command.temporary:
        shutil.rmtree(directory)
    command.check_nothing_left()
