"""``tasks.c`` says the same on the host and inside: processes, signals, timers."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent
SOURCE = HERE.parents[1] / "src"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_tasks_probe_says_the_same_inside(tmp_path: Path) -> None:
    probe = tmp_path / "tasks"
    subprocess.run(["gcc", "-O1", "-w", "-pthread", "-o", probe, HERE / "tasks.c"], check=True)
    native = subprocess.run([probe], capture_output=True, text=True, timeout=60, check=False)
    inside = subprocess.run(
        [sys.executable, "-m", "wardian.cli.main", "do", "--", probe],
        capture_output=True, text=True, timeout=120, check=False,
        env={**os.environ, "PYTHONPATH": str(SOURCE)},
    )
    assert inside.stdout.splitlines() == native.stdout.splitlines()
    assert inside.returncode == native.returncode == 0
