"""``wardian doctor``: honest about this host, and about hosts that lack things."""

from __future__ import annotations

import json
import os

import pytest

from wardian.cli import doctor as command
from wardian.host import cgroups, doctor


@pytest.fixture(scope="module")
def report() -> doctor.Report:
    return doctor.examine(command.stub_path())


def test_this_host_can_run_sandboxes(report: doctor.Report) -> None:
    assert report.can_run(), [c.as_dict() for c in report.checks if c.state != "ok"]


def test_every_layer_is_named_once(report: doctor.Report) -> None:
    names = [check.name for check in report.checks if check.kind == doctor.LAYER]
    assert len(names) == len(set(names))
    assert {"limits", "user namespace", "root", "landlock", "capabilities", "seccomp"} <= set(names)


def test_what_is_missing_comes_with_a_remedy(report: doctor.Report) -> None:
    for check in report.checks:
        assert check.state in ("ok", "missing", "partly")
        assert check.detail
        assert check.state == "ok" or check.remedy


def ours() -> set[str]:
    """Everything of ours in the directories where a sandbox puts things."""
    directories = {"/tmp", *(place.directory for place in cgroups.places().values())}
    return {name for d in directories for name in os.listdir(d) if name.startswith("wardian-")}


def test_examining_leaves_nothing_behind() -> None:
    before, had = (os.readlink("/proc/self/ns/user"), os.getcwd()), ours()
    doctor.examine(command.stub_path())
    dead = {name for name in ours() - had if not os.path.exists(f"/proc/{name.split('-')[1]}")}
    assert dead == set()
    assert before == (os.readlink("/proc/self/ns/user"), os.getcwd())


def fake(*states: str) -> doctor.Report:
    kinds = (doctor.NEEDED, doctor.LAYER, doctor.LAYER)
    return doctor.Report(
        [
            doctor.Check(kind, f"check{i}", state, "some detail", "do this")
            for i, (kind, state) in enumerate(zip(kinds, states, strict=True))
        ]
    )


@pytest.mark.parametrize(
    ("states", "status", "strict"),
    [
        (("ok", "ok", "ok"), 0, 0),
        (("ok", "missing", "ok"), 0, 1),
        (("ok", "ok", "partly"), 0, 1),
        (("missing", "ok", "ok"), 1, 1),
    ],
)
def test_status(
    states: tuple[str, str, str], status: int, strict: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(doctor, "examine", lambda stub: fake(*states))
    assert command.main([]) == status
    assert command.main(["--strict"]) == strict


def test_table_says_how_to_get_what_is_missing() -> None:
    text = command.table(fake("ok", "missing", "ok"))
    assert text.startswith("Sandboxes can run here, without all layers: check1.")
    assert "to get it: do this" in text
    assert all(len(line) <= 100 for line in text.splitlines())


def test_json(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(doctor, "examine", lambda stub: fake("missing", "ok", "ok"))
    command.main(["--json"])
    said = json.loads(capsys.readouterr().out)
    assert said["can_run"] is False
    assert said["checks"][0]["name"] == "check0"


def test_unknown_option_is_one_line(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as raised:
        command.main(["--nonsense"])
    assert raised.value.code == 125
    assert capfd.readouterr().err.count("\n") == 1


def test_a_probe_that_dies_says_of_what() -> None:
    assert doctor.in_child(lambda: os.kill(os.getpid(), 9)) == "the child died of SIGKILL"
    assert doctor.in_child(lambda: None) == ""
    assert doctor.in_child(lambda: os.rmdir("/")) != ""
