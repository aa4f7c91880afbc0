"""The ``differential`` fixture: see harness.py."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from harness import Differential


@pytest.fixture
def differential(tmp_path: Path) -> Iterator[Differential]:
    """The harness, in an empty directory."""
    yield Differential(tmp_path)
    for directory, names, _ in os.walk(tmp_path):  # so that pytest can remove what a test locked
        for name in names:
            path = os.path.join(directory, name)
            if not os.path.islink(path):
                os.chmod(path, 0o755)
