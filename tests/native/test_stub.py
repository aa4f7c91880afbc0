"""native/stub as a part of ordinary programs, under the sanitizers. What only a guest process can
show is tested with real guests."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sanitized import HERE, NATIVE, compile_c, run

STUB = NATIVE / "stub"


def cases(program: str) -> list[str]:
    """The cases that a C file lists."""
    return re.findall(r"^ +CASE\((\w+)\)$", (HERE / f"{program}.c").read_text(), re.MULTILINE)


def build(program: str, folder: Path) -> Path:
    """One C file of this directory, with the source of the stub that it includes."""
    rest = [STUB / name for name in ("copy.S", "fast.S", "patch.c")]
    return compile_c(folder / program, f"-I{STUB}", HERE / f"{program}.c", *rest)


@pytest.fixture(scope="session")
def trap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """trap_cases.c, compiled."""
    return build("trap_cases", tmp_path_factory.mktemp("trap"))


@pytest.mark.parametrize("name", cases("trap_cases"))
def test_trap(trap: Path, name: str) -> None:
    done = run(trap, name)
    assert done.returncode == 0, done.stderr
