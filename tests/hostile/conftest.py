"""The ``hostile`` fixture: runs a hostile program in a sandbox and looks at the host afterwards."""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from command import Outcome, Wardian
from harness import listing, needs

PROGRAMS = Path(__file__).parent / "programs"
INCLUDE = Path(__file__).parents[2] / "native" / "include"
PR_SET_CHILD_SUBREAPER = 36
UNHARMED = 7
"""STATUS of hostile.h."""


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All hostile programs, compiled."""
    needs("gcc")
    directory = tmp_path_factory.mktemp("hostile")
    compilers = [
        subprocess.Popen(
            ["gcc", "-O1", "-w", "-pthread", f"-I{INCLUDE}", "-o", directory / source.stem, source]
        )
        for source in sorted(PROGRAMS.glob("*.c"))
    ]
    assert all(compiler.wait() == 0 for compiler in compilers)
    return directory


class Hostile:
    """Hostile programs, one sandbox each, in a directory of the host that must not change."""

    def __init__(self, wardian: Wardian, built: Path) -> None:
        self.wardian = wardian
        self.built = built

    def __call__(self, name: str, *arguments: str, options: tuple[str, ...] = ()) -> Outcome:
        """Run one; it must end in its own way, and the host be untouched."""
        directory = self.wardian.directory
        (directory / "lines").write_text("line\n" * 1000)
        before = listing(directory)
        here = (self.host_name(), os.sched_getaffinity(0))
        outcome = self.wardian.do(*options, "--", str(self.built / name), *arguments, timeout=120.0)
        assert outcome.out == f"{name}: nothing gained\n", (outcome, arguments)
        assert outcome.err == "", (outcome, arguments)
        assert outcome.status == UNHARMED, (outcome, arguments)
        assert listing(directory) == before, "the sandbox wrote to the host's directory"
        assert (self.host_name(), os.sched_getaffinity(0)) == here
        return outcome

    def host_name(self) -> str:
        """Of the host's own namespace."""
        return os.uname().nodename


@pytest.fixture
def hostile(tmp_path: Path, built: Path) -> Iterator[Hostile]:
    """A runner of hostile programs; nothing of them may be left when the test ends."""
    assert ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) == 0
    wardian = Wardian(tmp_path)
    yield Hostile(wardian, built)
    wardian.check_nothing_left()
