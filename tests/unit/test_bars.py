"""Progress bars: what they say, and that they say nothing where nobody looks."""

from __future__ import annotations

import io
import sys
from concurrent.futures import Future

import pytest

import xse
from xse.bars.bar import Bar
from xse.bars.progress import how_many, progress, with_bar


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.fixture
def no_tqdm(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tqdm", None)


def done(value: int) -> Future[int]:
    future: Future[int] = Future()
    if value < 0:
        future.set_exception(ValueError(value))
    else:
        future.set_result(value)
    return future


def test_a_line_tells_how_many_the_rate_the_failures_and_the_time_left() -> None:
    bar = Bar(1000, stream=io.StringIO())
    for i in range(250):
        bar.add(failed=i < 3)
    assert bar.line(10.0) == "250 of 1,000 tasks (25 %), 25.0/s, 3 failed, 30 s left"
    assert Bar(None, "items", io.StringIO()).line(0.0) == "0 items, 0.0/s"


@pytest.mark.usefixtures("no_tqdm")
def test_futures_come_as_they_are_done_and_the_bar_ends_with_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    futures = [done(i) for i in (1, -1, 2)]
    assert set(xse.progress(futures)) == set(futures)
    assert "\r3 of 3 tasks (100 %)" in terminal.getvalue()
    assert "1 failed" in terminal.getvalue()
    assert terminal.getvalue().endswith("\n")


def test_without_a_terminal_nothing_is_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", stream := io.StringIO())
    assert len(list(progress([done(1), done(2)]))) == 2
    assert list(with_bar(iter([1, 2]), 2)) == [1, 2]
    assert stream.getvalue() == ""


@pytest.mark.usefixtures("no_tqdm")
def test_a_map_that_is_left_early_closes_its_bar_and_its_results(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", terminal := Terminal())
    closed = []

    def results() -> object:
        try:
            yield from range(10)
        finally:
            closed.append(True)

    taken = with_bar(results(), 10)  # type: ignore[arg-type,var-annotated]
    assert next(taken) == 0
    taken.close()
    assert closed == [True]
    assert terminal.getvalue().endswith("\n")


def test_the_number_of_items_is_that_of_the_shortest_that_has_a_length() -> None:
    assert how_many([range(5), [1, 2, 3]]) == 3
    assert how_many([range(5), iter(lambda: 0, 1)]) == 5
    assert how_many([iter(lambda: 0, 1)]) is None
