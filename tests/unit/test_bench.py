"""What scripts/bench says of its figures: verdicts, tables, and the places in documents. It measures nothing here."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from scripts.benchmarks import document, results, table
from scripts.benchmarks.goals import Goal, judge, number
from scripts.benchmarks.measures import MEASURES, check
from scripts.benchmarks.peers import PEERS
from scripts.benchmarks.results import Results
from scripts.benchmarks.rows import ROWS, Row, chosen

ROOT = Path(__file__).parents[2]

FASTER = Goal("ours", "tasks/s", 4, of="theirs")
SHORTER = Goal("ours", "ms", 0.4, at_most=True)
ROW = Row(
    "7", "tasks", "rate", ("tasks/s", "ms"), ("ours", "theirs", "absent"), must=(FASTER, SHORTER), dream=(SHORTER,)
)
ABOUT = {
    **{name: name for name in ("date", "commit", "cpu", "cpus", "kernel", "python", "mpi")},
    "repeats": 3,
    "size": 1.0,
    "versions": {"xse": "1.0"},
}


def found() -> Results:
    answer = Results(dict(ABOUT))
    for ours, theirs in ((400.0, 100.0), (900.0, 200.0), (410.0, 90.0)):
        answer.add("ours", "rate", {"tasks/s": ours, "ms": 0.5})
        answer.add("theirs", "rate", {"tasks/s": theirs})
    return answer


# ---- goals


@pytest.mark.parametrize(("ours", "reached"), [(399.0, False), (400.0, True), (401.0, True)])
def test_a_ratio_is_reached_from_its_bound_on(ours: float, reached: bool) -> None:
    verdict = judge(FASTER, {("ours", "tasks/s"): [ours], ("theirs", "tasks/s"): [100.0]})
    assert verdict.reached is reached
    assert verdict.actual == ours / 100


def test_a_ratio_is_of_what_was_measured_in_the_same_turn() -> None:
    """However fast the machine was in it."""
    figures = {("ours", "tasks/s"): [900.0, 400.0, 500.0], ("theirs", "tasks/s"): [200.0, 120.0, 100.0]}
    assert judge(FASTER, figures).actual == 4.5


@pytest.mark.parametrize(("ms", "reached"), [(0.39, True), (0.4, True), (0.41, False)])
def test_a_limit_is_reached_up_to_its_bound(ms: float, reached: bool) -> None:
    assert judge(SHORTER, {("ours", "ms"): [ms]}).reached is reached


@pytest.mark.parametrize(
    "figures",
    [
        {},
        {("theirs", "tasks/s"): [100.0]},
        {("ours", "tasks/s"): [400.0]},
        {("ours", "tasks/s"): [400.0], ("theirs", "tasks/s"): [0.0]},
        {("ours", "tasks/s"): [400.0], ("theirs", "ms"): [100.0]},
        {("ours", "tasks/s"): [400.0, 400.0], ("theirs", "tasks/s"): [100.0]},
    ],
)
def test_what_was_not_measured_is_neither_reached_nor_missed(figures: dict[tuple[str, str], list[float]]) -> None:
    verdict = judge(FASTER, figures)
    assert verdict.reached is None
    assert verdict.text == "not measured"


def test_a_verdict_says_by_how_much() -> None:
    figures = {("ours", "tasks/s"): [350.0], ("theirs", "tasks/s"): [100.0], ("ours", "ms"): [0.25]}
    assert judge(FASTER, figures).text == "**no**: 3.5 x"
    assert judge(SHORTER, figures).text == "yes: 0.25"


def test_a_goal_says_itself() -> None:
    assert FASTER.text == "4 x theirs"
    assert SHORTER.text == "at most 0.4 ms"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (72_472.4, "72,472"),
        (1000, "1,000"),
        (831.26, "831.3"),
        (100.0, "100"),
        (12.345, "12.35"),
        (1.03, "1.03"),
        (0.3333, "0.333"),
        (0.4, "0.4"),
        (0.0012, "0.001"),
        (0.0, "0"),
    ],
)
def test_a_number_has_the_digits_that_tell_something(value: float, text: str) -> None:
    assert number(value) == text


# ---- results and tables


def test_repeats_become_a_median_and_a_range() -> None:
    assert table.cell([3.0, 1.0, 2.0]) == "2 (1 to 3)"
    assert table.cell([2.0]) == "2"
    assert table.cell([]) == "-"


def test_goals_are_judged_by_all_turns() -> None:
    assert found().turns(ROW) == {
        ("ours", "tasks/s"): [400.0, 900.0, 410.0],
        ("ours", "ms"): [0.5] * 3,
        ("theirs", "tasks/s"): [100.0, 200.0, 90.0],
    }


def test_the_table_of_a_row_has_a_line_for_each_peer_that_was_measured() -> None:
    assert list(table.of_row(ROW, found())) == [
        "| 7. tasks |          tasks/s |               ms |",
        "|----------|-----------------:|-----------------:|",
        "| ours     | 410 (400 to 900) | 0.5 (0.5 to 0.5) |",
        "| theirs   |  100 (90 to 200) |                - |",
    ]


def test_must_and_dream_stand_beside_what_was_measured() -> None:
    lines = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table.verdicts([ROW], found())]
    assert lines[2:] == [
        ["7", "tasks", "410 tasks/s", "4 x theirs", "yes: 4.5 x", "at most 0.4 ms", "**no**: 0.5"],
        ["", "", "0.5 ms", "at most 0.4 ms", "**no**: 0.5", "", ""],
    ]


def test_lines_of_a_table_are_equally_long() -> None:
    for lines in (table.verdicts([ROW], found()), table.of_row(ROW, found()), table.summary(found())):
        assert len({len(line) for line in lines}) == 1


def test_results_survive_their_file(tmp_path: Path) -> None:
    before = found()
    before.failures["absent"] = "no such package"
    before.write(tmp_path / "results.json")
    assert results.read(tmp_path / "results.json") == before


def test_a_peer_that_failed_is_named_with_the_reason() -> None:
    answer = found()
    answer.failures["absent"] = "no such package"
    assert list(table.failures(answer)) == [" - not measured: absent: no such package"]


def test_a_table_tells_on_what_it_was_measured() -> None:
    reported = table.about(ABOUT)
    assert all(word in reported for word in ("commit", "cpu", "mpi", "xse 1.0", "3 turns,"))
    assert "1 turn, in short," in table.about({**ABOUT, "repeats": 1, "size": 0.25})


# ---- values


@pytest.mark.parametrize("values", [[1, 2], [1, 2, 3, 4], [1, 2, 4], []])
def test_a_wrong_or_missing_result_is_no_figure(values: list[int]) -> None:
    with pytest.raises((AssertionError, ValueError)):
        check(values, [1, 2, 3])


# ---- rows


@pytest.mark.parametrize("row", ROWS, ids=lambda row: f"{row.number}-{row.measure}")
def test_a_row_asks_for_what_there_is(row: Row) -> None:
    assert row.measure in MEASURES
    assert set(row.peers) <= set(PEERS)
    for goal in row.goals:
        assert goal.figure in row.figures
        assert {goal.subject, goal.of or goal.subject} <= set(row.peers)


def test_rows_1_to_14_are_all_there() -> None:
    assert {str(n) for n in range(1, 15)} <= {row.number for row in ROWS}


def test_every_peer_is_in_a_row() -> None:
    assert {peer for row in ROWS for peer in row.peers} == set(PEERS)


# ---- what is chosen


def test_without_a_choice_all_is_measured() -> None:
    assert chosen("", "", quick=False) == list(ROWS)


def test_quick_is_what_the_verdicts_need() -> None:
    rows = chosen("", "", quick=True)
    assert [row.goals for row in rows] == [row.goals for row in ROWS if row.goals and row.quick]
    for row in rows:
        assert set(row.peers) == {name for goal in row.goals for name in (goal.subject, goal.of) if name}


def test_rows_are_chosen_by_number() -> None:
    assert [row.number for row in chosen("4, 11", "", quick=False)] == ["4", "11", "11"]


def test_peers_are_chosen_by_a_word_in_whatever_case() -> None:
    assert {peer for row in chosen("1,5", "LOKY,dask", quick=True) for peer in row.peers} == {"loky", "Dask"}


@pytest.mark.parametrize(("numbers", "words"), [("99", ""), ("", "nobody"), ("1,x", "xse")])
def test_what_is_not_there_cannot_be_chosen(numbers: str, words: str) -> None:
    with pytest.raises(ValueError, match="there are"):
        chosen(numbers, words, quick=False)


# ---- documents

TEXT = "before\n<!-- bench: rows -->\nold\n<!-- bench: end -->\nafter\n<!-- bench: summary -->\n<!-- bench: end -->\n"


def test_a_place_is_filled_and_nothing_else_is_touched() -> None:
    filled = document.fill(TEXT, "rows", "new\n")
    assert filled == TEXT.replace("old\n", "\nnew\n\n")
    assert document.fill(filled, "rows", "new\n") == filled


def test_figures_are_put_in_as_they_are() -> None:
    assert r"\1 \g<0>" in document.fill(TEXT, "rows", r"\1 \g<0>")


def test_a_document_without_the_place_is_an_error() -> None:
    with pytest.raises(document.NoPlaceError):
        document.fill(TEXT, "nowhere", "new")


@pytest.mark.parametrize(("file", "place"), [("docs/guide/performance.md", "rows"), ("README.md", "summary")])
def test_our_documents_have_their_places(file: str, place: str) -> None:
    assert "new figures" in document.fill((ROOT / file).read_text(), place, "new figures")


def test_the_picture_that_the_document_shows_is_there() -> None:
    named = re.findall(r"!\[.*?\]\((.*?)\)", (ROOT / "docs" / "guide" / "performance.md").read_text())
    assert named
    assert all((ROOT / "docs" / "guide" / name).exists() for name in named)
