"""A hostile guest gains nothing: programs that attack the Sentry and the host from inside.

Each program of programs/ does its worst, sees that another process of its sandbox works on
undisturbed, and ends with a status of its own, which must reach us: the Sentry has outlived it.
"""

from __future__ import annotations

import random
from typing import Protocol

import pytest


class Runner(Protocol):
    """The ``hostile`` fixture."""

    def __call__(self, name: str, *arguments: str, options: tuple[str, ...] = ()) -> object: ...


MODES = ("direct", "validated")


def mode(name: str) -> tuple[str, ...]:
    """The options of a memory mode."""
    return ("--memory-mode", name)


def number(seed: str) -> str:
    """``seed``, or a random one; a failure shows it."""
    return str(random.SystemRandom().getrandbits(32)) if seed == "random" else seed


@pytest.mark.parametrize("memory", MODES)
def test_every_number_in_every_numbering(hostile: Runner, memory: str) -> None:
    hostile("numbers", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("seed", ["1", "3936613278", "random"])  # a process group is orphaned
def test_calls_whose_arguments_mean_something(hostile: Runner, memory: str, seed: str) -> None:
    hostile("calls", number(seed), options=(*mode(memory), "--tmpfs", "/play"))


@pytest.mark.parametrize("memory", MODES)
def test_jumps_into_the_system_call_instructions_of_the_stub(hostile: Runner, memory: str) -> None:
    hostile("jumps", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
def test_memory_calls_that_reach_for_the_stub(hostile: Runner, memory: str) -> None:
    hostile("mappings", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("seed", ["1", "2", "random"])
def test_nonsense_on_the_channel(hostile: Runner, memory: str, seed: str) -> None:
    hostile("channel", number(seed), options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
def test_descriptors_of_the_host_process(hostile: Runner, memory: str) -> None:
    hostile("descriptors", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
def test_registers_stacks_and_frames_as_no_compiler_leaves_them(
    hostile: Runner, memory: str
) -> None:
    hostile("registers", options=(*mode(memory), "--no-patching"))
    hostile("registers", "patched", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("seed", ["1", "random"])
def test_memory_that_changes_during_the_call(hostile: Runner, memory: str, seed: str) -> None:
    hostile("races", number(seed), options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
def test_processes_that_the_sentry_does_not_know(hostile: Runner, memory: str) -> None:
    hostile("clones", options=(*mode(memory), "--pids", "20"))


@pytest.mark.parametrize("memory", MODES)
def test_what_a_parent_says_of_its_children(hostile: Runner, memory: str) -> None:
    hostile("lies", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
@pytest.mark.parametrize("seed", ["1", "random"])
def test_families_in_disorder(hostile: Runner, memory: str, seed: str) -> None:
    hostile("families", number(seed), options=mode(memory))
