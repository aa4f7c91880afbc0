"""A hostile guest gains nothing: programs that attack the Sentry and the host from inside.

Each program of programs/ does its worst, sees that another process of its sandbox works on
undisturbed, and ends with a status of its own, which must reach us: the Sentry has outlived it.
"""

from __future__ import annotations

from typing import Protocol

import pytest


class Runner(Protocol):
    """The ``hostile`` fixture."""

    def __call__(self, name: str, *arguments: str, options: tuple[str, ...] = ()) -> object: ...


MODES = ("direct", "validated")


def mode(name: str) -> tuple[str, ...]:
    """The options of a memory mode."""
    return ("--memory-mode", name)


@pytest.mark.parametrize("memory", MODES)
def test_every_number_in_every_numbering(hostile: Runner, memory: str) -> None:
    hostile("numbers", options=mode(memory))


@pytest.mark.parametrize("memory", MODES)
def test_jumps_into_the_system_call_instructions_of_the_stub(hostile: Runner, memory: str) -> None:
    hostile("jumps", options=mode(memory))
