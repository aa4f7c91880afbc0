"""The package's public face."""

from __future__ import annotations

import os
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


def modules_after(statement: str) -> set[str]:
    """What a fresh interpreter has imported then, of this build of Python and none of its site's
    additions. The interpreted build is allowed its finder."""
    code = f"import sys; sys.path[:] = {sys.path!r}; {statement}; print(*sys.modules)"
    env = {name: value for name, value in os.environ.items() if name != "WARDIAN_INTERPRETED"}
    command = [sys.executable, "-I", "-S", "-c", code]
    return set(subprocess.check_output(command, env=env, text=True).split())


def test_importing_it_imports_next_to_nothing() -> None:
    assert modules_after("import wardian") - modules_after("import __future__, os") == {"wardian"}
