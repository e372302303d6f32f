"""What the documents name exists: tests, arguments, files and functions."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from xse import ExtremeScaleExecutor, PoolExecutor

ROOT = Path(__file__).parents[2]

FILE = re.compile(r"(?:[a-z]+/)?test_\w+")
NAME = re.compile(r"[a-z0-9]+(?:_[a-z0-9]+){2,}")  # without test_, and perhaps only its beginning


def table_rows(text: str) -> list[list[str]]:
    """The cells of each line of a table."""
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("|")]


def names_in(file: str) -> list[str] | None:
    """Of the tests there, without test_ (a function of any name in C). None: no such file."""
    paths = [p for p in (ROOT / "tests").rglob("test_*.[cp]*") if file in (p.stem, f"{p.parent.name}/{p.stem}")]
    return [
        name for p in paths for name in re.findall(r"^(?:def test_|static void )(\w+)", p.read_text(), re.M)
    ] or None


def unknown_in(cell: str, files: list[str]) -> list[str]:
    """Of a cell like 'test_parsl: a_lost_block, a_retry_handler; cluster/test_slurm': files that there are not, and
    names that no test of the files named before them begins with."""
    unknown = []
    before = NAME
    for token in re.findall(rf"{FILE.pattern}|{NAME.pattern}", cell):
        kind = FILE if FILE.fullmatch(token) else NAME
        if kind is FILE:
            files = [*files, token] if before is FILE else [token]
            known = names_in(token) is not None
        else:
            known = any(name.startswith(token) for file in files for name in names_in(file) or [])
        if not known:
            unknown.append(token)
        before = kind
    return unknown


def test_a_name_that_no_test_has_is_found() -> None:
    cell = "a_name_that_no_test; test_layout: no_modules_import, no_such_test_here; unit/test_docs, test_nowhere"
    assert unknown_in(cell, ["test_docs"]) == ["no_such_test_here", "test_nowhere"]


@pytest.mark.parametrize(
    ("document", "default"), [("developers/faults.md", []), ("developers/interface.md", ["test_interface"])]
)
def test_the_tests_that_a_document_names_exist(document: str, default: list[str]) -> None:
    cells = [row[-1] for row in table_rows((ROOT / "docs" / document).read_text())]
    assert sum(bool(FILE.search(cell) or NAME.search(cell)) for cell in cells) >= 15
    assert [name for cell in cells for name in unknown_in(cell, default)] == []


@pytest.mark.parametrize("executor", [PoolExecutor, ExtremeScaleExecutor])
def test_options_md_has_every_argument_and_no_other(executor: type) -> None:
    (section,) = (
        s
        for s in re.split(r"^## ", (ROOT / "docs/guide/options.md").read_text(), flags=re.M)
        if s.startswith(executor.__name__)
    )
    listed = [name for row in table_rows(section) for name in re.findall(r"`(\w+)`", row[0])]
    assert sorted(listed) == sorted(set(inspect.signature(executor).parameters))


@pytest.mark.parametrize("document", [*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"], ids=lambda p: p.name)
def test_every_link_between_documents_leads_somewhere(document: Path) -> None:
    targets = re.findall(r"\]\((?![a-z]+:|#)([^)#]+)", document.read_text())
    assert [t for t in targets if not (document.parent / t).exists()] == []


def test_what_architecture_says_where_to_find_is_there() -> None:
    text = (ROOT / "docs" / "developers" / "architecture.md").read_text()
    table = text.partition("## Where to find")[2].partition("\n## ")[0]
    sources = [p for folder in ("xse", "csrc") for p in (ROOT / folder).rglob("*.[pch]*")]
    code = "\n".join(path.read_text() for path in sources if path.suffix in (".py", ".c", ".h"))
    words = re.findall(r"`([^`]+)`", table)
    assert len(words) > 20
    for word in words:
        if "/" in word:
            assert (ROOT / word).exists(), word
        else:
            for name in word.split("."):
                assert re.search(rf"\b{name}\b", code), word
