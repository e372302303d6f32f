"""scripts/fault-times turns the times that tests noted into a column of a table. Nothing is measured here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from scripts.benchmarks import document, fault_times
from tests.support.took import FILE, Took
from tests.unit.test_docs import table_rows

DOCUMENT = (Path(__file__).parents[2] / "docs" / "developers" / "faults.md").read_text()


@pytest.mark.parametrize(
    ("seconds", "reported"),
    [
        ([0.0213, 0.004], "4 to 21 ms"),
        ([0.003], "3 ms"),
        ([0.0004, 0.0003], "0 ms"),
        ([-0.0002, 0.5], "0.00 to 0.50 s"),
        ([0.04, 2.004, 1.1], "0.04 to 2.00 s"),
        ([10.2, 10.2], "10.20 s"),
    ],
)
def test_a_span_is_from_the_shortest_to_the_longest(seconds: list[float], reported: str) -> None:
    assert fault_times.span(seconds) == reported


def entry(row: int, what: str, seconds: float, beyond: str = "") -> dict[str, object]:
    return {"row": row, "what": what, "beyond": beyond, "seconds": seconds, "test": "of either MPI"}


def test_all_turns_and_mpis_are_one_span_for_each_thing_that_is_seen() -> None:
    times = [entry(7, "ManagerLost", 0.5), entry(7, "of a hung rank", 0.02, "hb"), entry(7, "ManagerLost", 0.25)]
    assert fault_times.cells(times) == {7: "ManagerLost: 0.25 to 0.50 s; of a hung rank: hb + 20 ms"}


def test_the_column_is_written_anew_and_nothing_else() -> None:
    text = "| # | a | measured | d |\n|---|---|---|---|\n| 1 | x | old | y |\n|  | z |  | y |"
    filled = fault_times.fill(text, {1: "new", 9: "of no row"})
    assert filled == text.replace("old", "new")
    assert fault_times.fill(filled, {}) == text.replace("old", "")


def test_where_it_was_measured_stays_with_the_times(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "times"
    file.write_text(json.dumps(entry(1, "its exception", 0.5)) + "\n")
    for place in ("here", "elsewhere"):
        monkeypatch.setattr(fault_times, "about", lambda place=place: f"Measured {place}.")
        assert fault_times.read(file) == ([entry(1, "its exception", 0.5)], "Measured here.")


def test_our_document_has_the_column_and_the_place() -> None:
    rows = {int(cells[0]): cells for cells in table_rows(DOCUMENT) if cells[0].isdigit()}
    filled = fault_times.fill(DOCUMENT, {row: f"time {row}" for row in rows})
    assert [cells[fault_times.COLUMN] for cells in table_rows(filled) if cells[0] == "#"] == ["measured"]
    assert all(f"| time {row} |" in filled for row in rows)
    assert "on this" in document.fill(DOCUMENT, "times", "on this")


def test_a_time_is_noted_with_its_row_where_a_file_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FILE, str(tmp_path / "times"))
    with Took("t", [11, 22])("nothing is left", row=22):
        pass
    with pytest.raises(KeyError), Took("t", [11])("nothing is left"):
        raise KeyError("it was not seen")
    with pytest.raises(ValueError, match="too many"), Took("t", [11, 22])("nothing is left"):
        pass
    (line,) = (tmp_path / "times").read_text().splitlines()
    assert '"row": 22, "what": "nothing is left"' in line
