"""The C probes of probes/: what a system call answers, down to the errno, natively and inside."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest
from harness import PROBES, Differential, needs


@pytest.mark.parametrize("source", sorted(PROBES.glob("*.c")), ids=lambda path: path.stem)
def test_probe(source: Path, differential: Differential) -> None:
    needs("gcc")
    program = differential.directory / source.stem
    subprocess.run(
        ["gcc", "-O1", "-w", "-pthread", "-o", program, source, "-lrt", "-lutil"], check=True
    )
    # Below a shell, so that orphans are not the probe's children: inside, the first program is init.
    differential(["sh", "-c", f"./{source.stem}; exit $?"])


@pytest.mark.parametrize("option", ["", "--no-patching"])
def test_call_sites_are_patched_unless_told_not_to(option: str, differential: Differential) -> None:
    needs("gcc")
    program = differential.directory / "callsites"
    source = PROBES / "callsites.c"
    subprocess.run(["gcc", "-O1", "-w", "-pthread", "-o", program, source, "-lrt"], check=True)
    outcome = differential.inside([str(program), "show"], [option] if option else [])
    last = outcome.stdout.splitlines()[-6:]
    known = "traps" if option else "jumps"
    assert last == [f"{name} {known}" for name in ("plain", "wide", "zero", "any")] + [
        "shorter traps",
        "other traps",
    ]


def test_a_successor_without_a_library_has_nothing_of_its_predecessor(
    differential: Differential,
) -> None:
    needs("gcc")
    program = differential.directory / "bare"
    source = PROBES.parent / "bare.c"
    subprocess.run(["gcc", "-O1", "-w", "-nostdlib", "-static", "-o", program, source], check=True)
    differential(["sh", "-c", "exec sh -c 'exec ./bare'"])
