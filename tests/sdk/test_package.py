"""The package's public face."""

from __future__ import annotations

import subprocess
import sys

import pytest

import wardian


def test_everything_public_can_be_had() -> None:
    for name in wardian.__all__:
        assert getattr(wardian, name) is not None
    assert set(wardian.__all__) <= set(dir(wardian))


def test_anything_else_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'nonesuch'"):
        wardian.nonesuch  # noqa: B018


def test_importing_it_imports_next_to_nothing() -> None:
    code = (
        f"import sys; sys.path[:] = {sys.path!r}; before = set(sys.modules); import wardian; "
        "print(*(set(sys.modules) - before))"
    )
    out = subprocess.run(
        [sys.executable, "-I", "-S", "-c", code], capture_output=True, text=True, check=True
    ).stdout
    assert set(out.split()) <= {
        "wardian",
        "__future__",
        "os",
        "os.path",
        "posixpath",
        "stat",
        "genericpath",
        "_stat",
        "_collections_abc",
        "abc",
        "_abc",
    }
