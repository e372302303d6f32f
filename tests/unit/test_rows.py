"""docs/guide/failure.md, docs/developers/faults.md and tests/faults have the same rows, and each row names its
tests."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from tests.unit.test_docs import FILE, NAME, ROOT, table_rows

FAULTS = ROOT / "tests" / "faults"
TABLE = ROOT / "docs" / "guide" / "failure.md"  # what a user sees
TESTS = ROOT / "docs" / "developers" / "faults.md"  # the tests that show it


def numbers(document: Path) -> list[int]:
    """Of the rows of its table."""
    return [int(cells[0]) for cells in table_rows(document.read_text()) if cells[0].isdigit()]


def rows_in(nodes: list[ast.expr]) -> set[int]:
    """Of each ``pytest.mark.row(N)`` in these expressions."""
    return {
        int(ast.literal_eval(call.args[0]))
        for node in nodes
        for call in ast.walk(node)
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.row"
    }


def marked(path: Path) -> dict[str, set[int]]:
    """The tests of this file, without test_, and their rows."""
    body = ast.parse(path.read_text()).body
    of_all = [s.value for s in body if isinstance(s, ast.Assign) and ast.unparse(s.targets[0]) == "pytestmark"]
    return {
        f.name.removeprefix("test_"): rows_in(of_all + f.decorator_list)
        for f in body
        if isinstance(f, ast.FunctionDef) and f.name.startswith("test_")
    }


#: By the names that the document has for them: faults/test_tasks, hosts/test_nodes.
FILES = {f"{path.parent.name}/{path.stem}": marked(path) for path in sorted(FAULTS.rglob("test_*.py"))}


def named() -> list[tuple[int, str, str]]:
    """Row, file and the beginning of a test's name, for each in the last column. For a file alone the name is empty."""
    found = []
    row = 0
    for first, *cells in table_rows(TESTS.read_text()):
        row = int(first) if first.isdigit() else row
        for part in cells[-1].split(";"):
            file = re.search(rf"\b{FILE.pattern}", part)
            if file and file[0] in FILES:
                names = NAME.findall(part.replace(file[0], ""))
                found += [(row, file[0], name) for name in names or [""]]
    return found


def test_a_mark_is_found_wherever_it_stands(tmp_path: Path) -> None:
    (tmp_path / "test_it.py").write_text(
        "pytestmark = [pytest.mark.row(1)]\n"
        "@pytest.mark.row(2)\n@pytest.mark.parametrize('n', [pytest.param(0, marks=pytest.mark.row(3))])\n"
        "def test_one(): pass\ndef test_two(): pass\ndef no_test(): pass\n"
    )
    assert marked(tmp_path / "test_it.py") == {"one": {1, 2, 3}, "two": {1}}


def test_every_row_has_a_test_that_injects_its_fault_and_no_test_has_a_row_that_is_not_there() -> None:
    rows = numbers(TABLE)
    assert rows == list(range(1, len(rows) + 1))
    assert numbers(TESTS) == rows
    assert {row for tests in FILES.values() for of_test in tests.values() for row in of_test} == set(rows)


@pytest.mark.parametrize("file", FILES)
def test_every_test_of_faults_has_its_row(file: str) -> None:
    assert [name for name, rows in FILES[file].items() if not rows] == []


def test_every_row_names_a_test_of_its_own_and_none_of_anothers() -> None:
    assert {row for row, _, _ in named()} == set(numbers(TABLE))
    for row, file, name in named():
        meant = [rows for test, rows in FILES[file].items() if test.startswith(name)]
        assert meant, f"row {row} names {name}, which {file} does not have"
        assert any(row in rows for rows in meant), f"row {row} names {file}: {name}, which is not marked with it"
