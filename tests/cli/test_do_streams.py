"""Standard input, output and error in every odd state: what natively happens happens inside."""

from __future__ import annotations

import os
import subprocess

import pytest
from command import Wardian, assert_one_line

# Shell lines run twice: with W='' natively, with W='wardian do' inside. Same output, same status.
AS_NATIVELY = {
    "stdin-closed": "$W cat <&-; echo $?",
    "stdin-closed-fds": "$W sh -c 'for n in 0 1 2; do test -e /proc/self/fd/$n && echo $n; done' <&-; echo $?",
    "stdin-closed-is-not-ours": "$W readlink /proc/self/fd/0 <&-; echo $?",
    "stdout-closed": "$W sh -c 'echo x; echo $? >&2' >&- 2>&1; echo $?",
    "stdout-closed-cat": "echo x | $W cat >&-; echo $?",
    "stderr-closed": "$W sh -c 'ls /no/such/file; echo $?' 2>&-; echo $?",
    "all-closed": "$W sh -c 'exit 3' <&- >&- 2>&-; echo $?",
    "broken-pipe": "{ $W seq 100000; echo $? >&2; } | head -1",
    "broken-pipe-ignored": "{ $W sh -c 'trap \"\" PIPE; seq 100000; echo $?' 2>/dev/null; echo $? >&2; } | head -1",
    "yes-head": "$W yes | head -2; echo ${PIPESTATUS[0]}",
    "dev-full": "$W sh -c 'echo x' > /dev/full; echo $?",
    "dev-full-cat": "echo x | $W cat > /dev/full; echo $?",
    "dev-null": "$W cat < /dev/null > /dev/null; echo $?",
    "early-reader": "printf 'a\\nb\\nc\\n' | { $W head -c 2; cat; }",
    "file-offset": "printf 'a\\nb\\nc\\n' > f; { $W sed -n 1q; cat; } < f",
    "file-append": "echo one > f; $W echo two >> f; cat f",
    "file-both": "$W sh -c 'echo out; echo err >&2' > f 2>&1; cat f",
    "file-read-write": "echo abc > f; $W sh -c 'cat; echo more >&0' <> f; cat f",
    "here-document": "$W cat <<< hello",
    "socket": "echo hi | $W cat | $W cat",
    "large": "head -c 3000000 /dev/zero | $W cat | wc -c",
    "stderr-to-pipe": "$W sh -c 'echo err >&2' 2>&1 >/dev/null | cat",
    "read-only-stdout": "$W sh -c 'echo x' 1< /dev/null; echo $?",
    "extra-descriptor-is-not-passed": "$W sh -c 'test -e /proc/self/fd/7 && echo leaked; exit 0' 7</dev/null; true",
}
NATIVELY_PASSED = {"extra-descriptor-is-not-passed"}


@pytest.mark.parametrize("name", AS_NATIVELY)
def test_as_natively(wardian: Wardian, name: str) -> None:
    line = AS_NATIVELY[name]
    inside = wardian.shell(f'W="$WARDIAN do"; {line}')
    for left in wardian.directory.iterdir():
        left.unlink()
    native = wardian.shell(f"W=; {line}")
    if name in NATIVELY_PASSED:
        native.out = ""
    assert (inside.out, inside.err) == (native.out, native.err)


@pytest.mark.parametrize(
    "words", [["--help"], ["do", "--help"], ["version"], ["doctor"]], ids=" ".join
)
def test_own_output_that_cannot_be_written_is_an_error(wardian: Wardian, words: list[str]) -> None:
    outcome = wardian.shell(f"$WARDIAN {' '.join(words)} > /dev/full; echo $?")
    assert outcome.out == "125\n"
    assert_one_line(outcome.err)
    assert wardian.shell(f"$WARDIAN {' '.join(words)} >&-; echo $?").err == ""


def test_trace_and_log_whose_reader_went_away_do_not_disturb(wardian: Wardian) -> None:
    outcome = wardian.shell(
        "{ $WARDIAN do --strace --debug sh -c 'sleep 0.3; exit 7'; echo $?; } 2> >(head -c 1 >/dev/null)"
    )
    assert outcome.out == "7\n"


def test_trace_to_a_full_device_does_not_disturb(wardian: Wardian) -> None:
    outcome = wardian.shell(
        "$WARDIAN do --strace --debug sh -c 'echo ok; exit 7' 2> /dev/full; echo $?"
    )
    assert outcome.out == "ok\n7\n"


def test_non_blocking_streams_of_others_are_left_as_they_are(wardian: Wardian) -> None:
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    process = wardian.start(
        "do", "sh", "-c", "head -c 300000 /dev/zero", stdout=writer, stderr=subprocess.DEVNULL
    )
    os.close(writer)
    os.set_blocking(reader, True)
    with os.fdopen(reader, "rb") as stream:
        assert len(stream.read()) == 300000
    assert process.wait(10) == 0
