"""The quick way to read a command line says what argparse says, or nothing."""

from __future__ import annotations

import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from wardian.cli import do
from wardian.cli.do_options import BY_NAME, OPTIONS, Options, quick, split_command

VALUES = ("", "x", "/tmp:/mnt", "A=B=C", "a b", "-", "-1", "-x", "--debug", "none", "shared", "1.5")
NAMES = (*BY_NAME, "-h", "--help", "--vol", "--nothing", "-vx", "-ex=y", "-v=x", "-eu", "-")
WORDS = st.one_of(
    st.sampled_from([*NAMES, *VALUES, "true", "--"]),
    st.builds("{}={}".format, st.sampled_from(NAMES), st.sampled_from(VALUES)),
)
RIGHT = st.one_of(
    st.sampled_from([[o.names[-1]] for o in OPTIONS if o.flag or o.bare]),
    st.builds(
        lambda option, at, value: [option.names[at % len(option.names)], value],
        st.sampled_from([o for o in OPTIONS if not o.flag and not o.bare and not o.choices]),
        st.integers(0, 1),
        st.sampled_from(VALUES),
    ),
    st.builds(
        lambda option, value: [f"{option.names[-1]}={value}"],
        st.sampled_from([o for o in OPTIONS if not o.flag]),
        st.sampled_from(VALUES),
    ),
    st.sampled_from([[o.names[-1], c] for o in OPTIONS for c in o.choices]),
)


def by_argparse(ours: list[str]) -> dict[str, object] | None:
    """None where it ends the process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(do, "quick", lambda words: None)
        patch.setattr("wardian.cli.options.complain", lambda *words: None)
        patch.setattr(sys, "stdout", sys.stderr)
        try:
            return vars(do.parse(ours))
        except SystemExit:
            return None


@given(st.lists(WORDS, max_size=6))
def test_never_something_else_than_argparse(words: list[str]) -> None:
    ours, _ = split_command(words)
    found = quick(ours)
    if found is not None:
        assert vars(found) == by_argparse(ours)


@given(st.lists(RIGHT, max_size=5))
def test_what_is_written_out_needs_no_argparse(options: list[list[str]]) -> None:
    ours, command = split_command([word for option in options for word in option] + ["true"])
    found = quick(ours)
    expected = by_argparse(ours)
    assert (
        found is not None or expected is None or any("-" in w[:1] for o in options for w in o[1:])
    )
    if found is not None:
        assert vars(found) == expected
        assert command == ["true"]


def test_every_option_has_its_attribute() -> None:
    assert {option.attribute for option in OPTIONS} == set(Options.__annotations__)
