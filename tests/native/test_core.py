"""native/core under AddressSanitizer and UndefinedBehaviorSanitizer: good use, wrong use, and a
channel full of a hostile guest's bytes. The cases are the functions of the *_cases.py here, each
in a process of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from sanitized import HERE, REPORTED, build_core, compile_c, run, run_with_core


def cases(module: str) -> list[str]:
    """The cases in one file. It cannot be imported here: it needs the instrumented core."""
    return re.findall(r"^def case_(\w+)\(", (HERE / f"{module}.py").read_text(), re.MULTILINE)


@pytest.fixture(scope="session")
def core(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The instrumented extension module."""
    return build_core(tmp_path_factory.mktemp("core"))


@pytest.mark.parametrize("name", cases("hub_cases"))
def test_hub(core: Path, name: str) -> None:
    done = run_with_core(core, "hub_cases", f"case_{name}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", cases("hostile_cases"))
def test_hostile_channel(core: Path, name: str) -> None:
    done = run_with_core(core, "hostile_cases", f"case_{name}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", cases("placement_cases"))
def test_placement(core: Path, name: str) -> None:
    done = run_with_core(core, "placement_cases", f"case_{name}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", cases("transfer_cases"))
def test_transfer(core: Path, name: str) -> None:
    done = run_with_core(core, "transfer_cases", f"case_{name}")
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", cases("function_cases"))
def test_function(core: Path, name: str) -> None:
    done = run_with_core(core, "function_cases", f"case_{name}")
    assert done.returncode == 0, done.stderr


def test_reading_past_an_object_is_reported(core: Path) -> None:
    """The cases above would pass as well if nobody looked."""
    done = run_with_core(core, "__main__", "overrun")
    assert done.returncode == REPORTED
    assert "heap-buffer-overflow" in done.stderr


def test_undefined_behaviour_is_reported(tmp_path: Path) -> None:
    source = tmp_path / "overflow.c"
    source.write_text("int main(int argc, char **argv) { (void)argv; return 0x7fffffff + argc; }\n")
    done = run(compile_c(tmp_path / "overflow", source))
    assert done.returncode == REPORTED
    assert "signed integer overflow" in done.stderr
