"""One installation, two builds: compiled, and with WARDIAN_INTERPRETED the .py files beside it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

COMPILED = ".cpython-"
WHERE = """
import wardian, wardian._core
import wardian.platform.stub.engine as engine
import wardian.sentry.kernel.dispatch as dispatch
import wardian.sentry.kernel.signals as signals
import wardian.sentry.vfs.namei as namei
print(wardian.__file__, wardian._core.__file__, sep="\\n")
print(engine.__file__, dispatch.__file__, signals.__file__, namei.__file__, sep="\\n")
"""


def files(tmp_path: Path, interpreted: str | None) -> list[Path]:
    """Where the installed package's modules come from: itself, the C core, then compiled ones."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env.pop("WARDIAN_INTERPRETED", None)
    if interpreted is not None:
        env["WARDIAN_INTERPRETED"] = interpreted
    result = subprocess.run(
        [sys.executable, "-c", WHERE], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    if "No module named 'wardian'" in result.stderr and os.environ.get("CI") != "true":
        pytest.skip("not installed here: make build")
    assert result.returncode == 0, result.stderr
    return [Path(line) for line in result.stdout.splitlines()]


def test_installation_runs_compiled(tmp_path: Path) -> None:
    package, core, *hot = files(tmp_path, None)
    assert package.suffix == ".py"
    assert COMPILED in core.name
    assert all(COMPILED in path.name and path.suffix == ".so" for path in hot), hot


@pytest.mark.parametrize("word", ["1", "yes"])
def test_interpreted_runs_the_sources_of_the_same_installation(tmp_path: Path, word: str) -> None:
    package, core, *hot = files(tmp_path, word)
    assert COMPILED in core.name
    assert all(path.suffix == ".py" and package.parent in path.parents for path in hot), hot


def test_installation_is_complete(tmp_path: Path) -> None:
    package = files(tmp_path, None)[0].parent
    assert (package / "py.typed").exists()
    assert (package / "_core.pyi").exists()
    assert os.access(package / "stub", os.X_OK)
    assert list(package.parent.glob("wardian__mypyc.*.so")), "the compiled modules' shared library"
    compiled = {
        path.parent / path.name.partition(".")[0] for path in package.rglob("*.cpython-*.so")
    }
    without = [module for module in compiled if module != package / "_core"]
    without = [m for m in without if not m.with_suffix(".py").exists() and not m.is_dir()]
    assert not without, "no source beside"


RAISED = """
import traceback
from wardian.sentry.kernel.fdtable import FDTable
from wardian.sentry.vfs.file import File
table = FDTable()
for action in (lambda: table.get(5), lambda: table._put(-5, File(None, 0), False)):
    try:
        action()
    except Exception as e:
        print(type(e).__name__, *[frame.name for frame in traceback.extract_tb(e.__traceback__)])
"""


def test_an_errno_has_no_traceback_and_a_bug_has(tmp_path: Path) -> None:
    files(tmp_path, None)  # it is installed
    env = {name: value for name, value in os.environ.items() if not name.startswith("PYTHON")}
    env.pop("WARDIAN_INTERPRETED", None)
    result = subprocess.run(
        [sys.executable, "-c", RAISED], env=env, cwd=tmp_path, capture_output=True, text=True
    )
    assert result.stdout.splitlines() == [
        "EBADF <module> <lambda>",
        "IndexError <module> <lambda> _put",
    ], result.stderr


def test_no_class_is_taken_from_the_garbage_collector() -> None:
    """mypyc's ``acyclic=True`` still gives a class CPython's trashcan, and that writes in front of
    objects without a collector's head: freed below fifty others, they corrupt the heap."""
    sources = Path(__file__).parents[1] / "src"
    assert sources.is_dir()
    found = [path for path in sources.rglob("*.py") if "acyclic=True" in path.read_text()]
    assert not found
