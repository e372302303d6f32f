"""Each example of the manual runs as it stands, and prints what the page says that it prints."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs" / "guide").glob("*.md"))]
EXAMPLE = re.compile(
    r"(?:<!-- (?P<mark>not run|saved as) ?:? ?(?P<word>[^>]*?) -->\n+)?"
    r"```python\n(?P<code>.*?)```\n"
    r"(?:\n+It prints:\n+```text\n(?P<output>.*?)```)?",
    re.DOTALL,
)


class Example(NamedTuple):
    """A block of Python on a page. ``saved_as``: other examples of the page import it by that name."""

    page: str
    line: int
    code: str
    output: str | None
    is_run: bool
    saved_as: str


def examples_of(text: str, page: str = "") -> list[Example]:
    return [
        Example(
            page,
            text[: found.start("code")].count("\n") + 1,
            found["code"],
            found["output"],
            found["mark"] != "not run",
            found["word"] if found["mark"] == "saved as" else "",
        )
        for found in EXAMPLE.finditer(text)
    ]


EXAMPLES = [example for page in PAGES for example in examples_of(page.read_text(), page.name)]


def test_an_example_its_output_and_its_marks_are_found() -> None:
    text = (
        "<!-- not run: no Slurm -->\n\n```python\na\n```\n\n"
        "```python\nb\n```\n\nIt prints:\n\n```text\nB\n```\n"
        "<!-- saved as c.py -->\n```python\nc\n```\n"
    )
    a, b, c = examples_of(text)
    assert (a.is_run, a.code, a.output) == (False, "a\n", None)
    assert (b.is_run, b.code, b.output) == (True, "b\n", "B\n")
    assert (c.is_run, c.code, c.saved_as) == (True, "c\n", "c.py")


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda e: f"{e.page}:{e.line}")
def test_an_example_runs_and_prints_what_the_page_says(example: Example, any_mpi: str, tmp_path: Path) -> None:
    if not example.is_run:
        compile(example.code, example.page, "exec")
        return
    for other in EXAMPLES:
        if other.page == example.page and other.saved_as:
            (tmp_path / other.saved_as).write_text(other.code)
    script = tmp_path / "example.py"
    script.write_text(example.code)
    done = subprocess.run(
        [sys.executable, str(script)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    if example.output is not None:
        assert done.stdout == example.output
