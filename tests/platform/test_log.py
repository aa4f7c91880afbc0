"""The log: levels, a file, and what happens when it cannot be written."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from wardian.platform import log


@pytest.fixture
def sink(monkeypatch: pytest.MonkeyPatch) -> log.Sink:
    fresh = log.Sink()
    monkeypatch.setattr(log, "SINK", fresh)
    return fresh


def test_only_what_is_bad_enough_is_written(sink: log.Sink, tmp_path: Path) -> None:
    sink.open_file(str(tmp_path / "log"))
    sink.level = log.WARNING
    voice = log.Log("wardian.test")
    voice.info("nobody wants to know %d", 1)
    voice.warning("%d of %s", 2, "these")
    voice.error("100% of it")
    lines = (tmp_path / "log").read_text().splitlines()
    assert [line.partition(" ")[2] for line in lines] == [
        "wardian.test WARNING 2 of these",
        "wardian.test ERROR 100% of it",
    ]


def test_a_file_is_appended_to(sink: log.Sink, tmp_path: Path) -> None:
    (tmp_path / "log").write_text("before\n")
    sink.open_file(str(tmp_path / "log"))
    log.Log("wardian.test").error("after")
    assert (tmp_path / "log").read_text().startswith("before\n")


def test_a_closed_descriptor_is_nobodys_trouble(sink: log.Sink) -> None:
    reader, sink.fd = os.pipe()
    os.close(sink.fd)
    os.close(reader)
    log.Log("wardian.test").error("said to nobody")


def test_dates_are_utc() -> None:
    assert log.utc(1.5) == "1970-01-01T00:00:01.500Z"
