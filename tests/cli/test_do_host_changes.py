"""The host changes files while a program inside looks at them: docs/files.md, from outside."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator

import pytest
from command import Wardian

WINDOW = 0.002  # what is believed at most, when --file-access=cached
LOOP = 'while read -r line; do eval "$line" 2>/dev/null; echo =; done'


class Inside:
    """A shell inside that runs a line at a time."""

    def __init__(self, process: subprocess.Popen[str], window: float) -> None:
        self.process = process
        self.window = window

    def says(self, line: str) -> list[str]:
        """What ``line`` prints, once what was believed before is too old."""
        time.sleep(5 * self.window)
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        said: list[str] = []
        while (answer := self.process.stdout.readline().rstrip("\n")) != "=":
            assert answer or self.process.poll() is None, "the shell is gone"
            said.append(answer)
        return said


@pytest.fixture(params=["root", "root shared", "volume"])
def inside(request: pytest.FixtureRequest, wardian: Wardian) -> Iterator[Inside]:
    tree = wardian.directory / "tree"
    (tree / "d").mkdir(parents=True)
    (tree / "d/f").write_text("old")
    options, place, window = ["--file-access=cached"], str(tree), WINDOW
    if request.param == "root shared":
        options, window = ["--file-access=shared"], 0.0
    elif request.param == "volume":
        options, place, window = ["-v", f"{tree}:/tmp/tree"], "/tmp/tree", 0.0
    process = wardian.start("do", *options, "sh", "-c", f"cd {place}; {LOOP}")
    yield Inside(process, window)
    assert process.stdin is not None
    process.stdin.close()
    assert process.wait(20) == 0


def test_names_come_and_go(inside: Inside, wardian: Wardian) -> None:
    tree = wardian.directory / "tree"
    assert inside.says("[ -e d/new ] || echo none; cat d/f; echo") == ["none", "old"]
    (tree / "d/new").write_text("made")
    assert inside.says("[ -e d/new ] && cat d/new; echo; ls d") == ["made", "f", "new"]
    (tree / "d/new").unlink()
    assert inside.says("[ -e d/new ] || echo gone; cat d/new || ls d") == ["gone", "f"]


def test_replaced_files_are_the_new_ones_and_open_ones_the_old(
    inside: Inside, wardian: Wardian
) -> None:
    tree = wardian.directory / "tree"
    assert inside.says("exec 3<d/f; cat d/f; echo") == ["old"]
    (tree / "d/f.tmp").write_text("newer")
    os.rename(tree / "d/f.tmp", tree / "d/f")
    assert inside.says("cat d/f; echo; cat <&3; echo; stat -c %s d/f") == ["newer", "old", "5"]
    (tree / "d/f").unlink()
    (tree / "d/f").write_text("once more")
    assert inside.says("cat d/f; echo; stat -c %s d/f") == ["once more", "9"]


def test_attributes_follow(inside: Inside, wardian: Wardian) -> None:
    tree = wardian.directory / "tree"
    os.chmod(tree / "d/f", 0o644)
    assert inside.says("stat -c %a:%s d/f; exec 3<d/f") == ["644:3"]
    os.chmod(tree / "d/f", 0o600)
    with (tree / "d/f").open("a") as file:
        file.write(" and more")
    assert inside.says("stat -c %a:%s d/f; stat -Lc %s /proc/self/fd/3") == ["600:12", "12"]


def test_directories_move_and_are_replaced(inside: Inside, wardian: Wardian) -> None:
    tree = wardian.directory / "tree"
    assert inside.says("cat d/f; echo; [ -e e ] || echo none") == ["old", "none"]
    os.rename(tree / "d", tree / "e")
    assert inside.says("cat e/f; echo; [ -e d/f ] || echo none; ls") == ["old", "none", "e"]
    (tree / "d").mkdir()
    (tree / "d/f").write_text("other")
    assert inside.says("cat d/f; echo; cat e/f; echo") == ["other", "old"]
    shutil.rmtree(tree / "e")
    assert inside.says("[ -e e/f ] || echo none; [ -d e ] || echo none; ls") == [
        "none",
        "none",
        "d",
    ]


def test_links_turn_and_lead_nowhere_outside(inside: Inside, wardian: Wardian) -> None:
    tree = wardian.directory / "tree"
    (tree / "two").write_text("2")
    os.symlink("d/f", tree / "link")
    assert inside.says("cat link; echo") == ["old"]
    os.unlink(tree / "link")
    os.symlink("two", tree / "link")
    assert inside.says("cat link; echo") == ["2"]


def test_an_unknown_kind_of_access_is_refused(wardian: Wardian) -> None:
    outcome = wardian.do("--file-access=rarely", "true")
    assert outcome.status == 125 or outcome.status == 2
    assert "rarely" in outcome.err


def test_exclusive_runs_programs(wardian: Wardian) -> None:
    outcome = wardian.do("--file-access=exclusive", "sh", "-c", "echo x > f; cat f; ls /etc/passwd")
    assert (outcome.status, outcome.out) == (0, "x\n/etc/passwd\n")
