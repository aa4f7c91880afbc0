"""gcc has nothing to say about native/, asked for more than the build asks for."""

from __future__ import annotations

import subprocess
import sysconfig
from pathlib import Path

import pytest
from sanitized import NATIVE

WARNINGS = (
    "-Wall -Wextra -Wconversion -Wshadow -Wpointer-arith -Wstrict-prototypes "
    "-Wvla -Wundef -Werror -fanalyzer"
).split()
STUB = "-Wmissing-prototypes -ffreestanding -fno-pic -mcmodel=large -mgeneral-regs-only".split()
CORE = [
    *("-fPIC", "-isystem", sysconfig.get_path("include"), "-Wno-missing-field-initializers"),
    "-Wno-analyzer-malloc-leak",  # grow(): what realloc(3) answers is kept in the hub's spaces
]
SOURCES = sorted([*NATIVE.glob("core/*.c"), *NATIVE.glob("stub/*.c")])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_no_warning(source: Path, tmp_path: Path) -> None:
    flags = STUB if source.parent.name == "stub" else CORE
    words = ["gcc", "-std=gnu11", "-O2", *WARNINGS, *flags, f"-I{NATIVE / 'include'}"]
    done = subprocess.run(
        [*words, "-c", source, "-o", tmp_path / "object.o"], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


def test_sources_are_found() -> None:
    assert {"core.c", "trap.c", "zygote.c"} <= {source.name for source in SOURCES}
