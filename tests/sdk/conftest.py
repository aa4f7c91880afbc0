"""Sandboxes to test with. One is shared by all tests of a module: they must not depend on what
others left in it."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

import wardian


@pytest.fixture(scope="module")
def box() -> Iterator[wardian.Sandbox]:
    """A sandbox over this machine's root."""
    with wardian.Sandbox() as shared:
        yield shared
