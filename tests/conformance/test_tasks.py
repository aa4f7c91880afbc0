"""``tasks.c`` says the same on the host and inside: processes, signals, timers."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from under_test import python_path, wardian_command

HERE = Path(__file__).parent


@pytest.mark.skipif(shutil.which("gcc") is None, reason="needs gcc")
def test_tasks_probe_says_the_same_inside(tmp_path: Path) -> None:
    probe = tmp_path / "tasks"
    subprocess.run(["gcc", "-O1", "-w", "-pthread", "-o", probe, HERE / "tasks.c"], check=True)
    native = subprocess.run([probe], capture_output=True, text=True, timeout=60, check=False)
    inside = subprocess.run(
        [*wardian_command(), "do", "--", probe],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={**os.environ, **python_path()},
    )
    assert inside.stdout.splitlines() == native.stdout.splitlines()
    assert inside.returncode == native.returncode == 0
