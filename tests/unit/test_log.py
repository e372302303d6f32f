"""The interchange's log."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from xse.interchange.log import BoundedLog


def record(text: str) -> logging.LogRecord:
    return logging.LogRecord("xse", logging.INFO, "", 0, text, (), None)


def test_it_is_bounded_and_keeps_the_newest(tmp_path: Path) -> None:
    log = BoundedLog(str(tmp_path / "a.log"), most_bytes=1000)
    for i in range(1000):
        log.emit(record(f"line n={i}"))
        assert all(path.stat().st_size <= 1000 for path in tmp_path.iterdir())
    log.close()
    assert (tmp_path / "a.log").read_text().splitlines()[-1] == "line n=999"
    assert {path.name for path in tmp_path.iterdir()} == {"a.log", "a.log.1"}


def test_a_disk_that_takes_nothing_is_reported_once(capsys: pytest.CaptureFixture[str]) -> None:
    log = BoundedLog("/dev/full")
    for _ in range(10):
        log.emit(record("nobody reads this"))
    assert capsys.readouterr().err == "xse.interchange: no log is written in /dev: No space left on device\n"
