"""Imports point downwards only: cli, sdk, oci, host, sentry, platform, native."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src/wardian"

LEVELS = {"_core": 0, "platform": 1, "sentry": 2, "host": 3, "oci": 4, "sdk": 5, "cli": 6}
"""The room, and how high it lies."""

VOCABULARY = {
    "sentry.errno": "what an engine raises when guest memory is not there",
    "sentry.hostport": "the engine's epoll set is what host readiness comes from",
    "sentry.kernel.waitqueue": "and wait queues are how it is told",
}
"""Words that the engine shares with the Sentry. They lie in the Sentry's rooms, where a person who
knows Linux looks for them, and import nothing but each other: so nothing of the Sentry comes
along."""


def modules() -> list[tuple[str, Path]]:
    """Every module below the package, named without ``wardian.``."""
    return [
        (".".join(path.relative_to(SOURCE).with_suffix("").parts), path)
        for path in sorted(SOURCE.rglob("*.py"))
    ]


def imported(path: Path) -> Iterator[str]:
    """What a module imports of our own, at any depth, for type checking or not."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path}: imports name the whole way"
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        else:
            continue
        yield from (name.removeprefix("wardian.") for name in names if name.startswith("wardian."))


def shared(name: str) -> bool:
    """Whether this is, or is in, a module of :data:`VOCABULARY`."""
    return any(name == word or name.startswith(word + ".") for word in VOCABULARY)


def test_imports_point_downwards() -> None:
    upwards = []
    for name, path in modules():
        own = LEVELS.get(name.split(".")[0])
        if own is None:  # the public package itself stands above all rooms
            continue
        for other in imported(path):
            if LEVELS.get(other.split(".")[0], 0) > own and not shared(other):
                upwards.append(f"{name} imports {other}")
    assert not upwards


@pytest.mark.parametrize("word", VOCABULARY)
def test_shared_words_bring_nothing_along(word: str) -> None:
    path = SOURCE / (word.replace(".", "/") + ".py")
    assert all(shared(other) for other in imported(path))


def test_every_room_has_a_level() -> None:
    rooms = {path.name for path in SOURCE.iterdir() if path.is_dir() and path.name[0] != "_"}
    assert rooms == set(LEVELS) - {"_core"}
