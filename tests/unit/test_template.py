"""Launch command templates."""

from __future__ import annotations

import pytest

from xse.parsl.launch_template import fill


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ("run {a} --b={b}", "run 1 --b=two"),
        ("{{a}} as HighThroughputExecutor writes it", "1 as HighThroughputExecutor writes it"),
        ("${a} and ${HOME} are the shell's", "${a} and ${HOME} are the shell's"),
        ("awk '{print $1}' {a}", "awk '{print $1}' 1"),
        ("{unknown} stays, {a}{b} too", "{unknown} stays, 1two too"),
        ("none is [{none}]", "none is []"),
        ("{ a } { } {} {{", "{ a } { } {} {{"),
    ],
)
def test_known_fields_are_filled_in_and_all_else_stays(template: str, expected: str) -> None:
    assert fill(template, {"a": 1, "b": "two", "none": None}) == expected


def test_what_is_filled_in_is_not_looked_at_again() -> None:
    assert fill("{a}", {"a": "{b}", "b": "no"}) == "{b}"
