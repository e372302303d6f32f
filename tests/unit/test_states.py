"""docs/developers/states.md names the states that the code has, all of them and no others."""

from __future__ import annotations

import dataclasses
import re

import pytest

from tests.support.pools import ROOT
from xse.interchange.core import Block

DOCUMENT = (ROOT / "docs" / "developers" / "states.md").read_text()


def table_after(heading: str) -> set[str]:
    """States in the first and third columns of the next table."""
    rows = re.findall(r"^\|(.*)\|$", DOCUMENT.partition(heading)[2].partition("\n\n|")[2].partition("\n\n")[0], re.M)
    cells = [row.split(" | ") for row in rows[1:]]  # the head was cut with the blank line
    return {state.strip() for row in cells for cell in (row[0], row[2]) for state in cell.split(",")} - {""}


def enum(path: str, name: str) -> set[str]:
    found = re.search(rf"^enum {name} \{{(.*?)\}}", (ROOT / path).read_text(), re.M)
    assert found, f"no enum {name} in {path}"
    return set(re.findall(r"\w+", found[1]))


@pytest.mark.parametrize(
    ("heading", "path", "name"),
    [
        ("`enum worker_state` of `csrc/leader/leader.c`", "csrc/leader/leader.c", "worker_state"),
        ("`enum state` of `csrc/leader/leader.c`", "csrc/leader/leader.c", "state"),
        ("`enum state` of `csrc/manager/manager.c`", "csrc/manager/manager.c", "state"),
    ],
)
def test_a_table_in_c_has_the_states_of_its_enum(heading: str, path: str, name: str) -> None:
    assert table_after(heading) == enum(path, name)


def test_the_interchanges_table_has_the_flags_of_a_block() -> None:
    flags = {f.name for f in dataclasses.fields(Block) if f.default is False} - {"recalled", "ever_ready"}
    assert table_after("by the flags of `Block`") - {"open", "gone", "WELCOME; or REFUSE"} == flags
