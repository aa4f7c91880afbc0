"""native/stub/zygote.c as a part of an ordinary program, under the sanitizers."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sanitized import HERE, NATIVE, compile_c, run

SOURCE = HERE / "zygote_cases.c"
STUB = NATIVE / "stub"


@pytest.fixture(scope="session")
def zygote(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """zygote_cases.c, compiled."""
    program = tmp_path_factory.mktemp("zygote") / "zygote_cases"
    return compile_c(program, f"-I{STUB}", SOURCE, STUB / "copy.S")


@pytest.mark.parametrize("name", re.findall(r"^ +CASE\((\w+)\)$", SOURCE.read_text(), re.MULTILINE))
def test_zygote(zygote: Path, name: str) -> None:
    done = run(zygote, name)
    assert done.returncode == 0, done.stderr
