"""A function's pickle is kept while it would come out the same: every change that a pickle shows is seen."""

from __future__ import annotations

import functools
import logging
import subprocess
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit import sample
from xse.functions.captured import Captured, captured

ROOT = Path(__file__).parents[2]


def closure_over(value: Any) -> Callable[[], Any]:
    return lambda: value


def of(obj: Any) -> Captured:
    parts = captured(obj)
    assert parts is not None
    return parts


@pytest.mark.parametrize(
    "value", [1, "a", (1, ("b", None)), [1, 2], {"a": [1]}, logging.getLogger("x"), sample.double, len, sample]
)
def test_what_stays_the_same_is_unchanged(value: Any) -> None:
    assert of(closure_over(value)).unchanged()


@pytest.mark.parametrize(
    ("value", "change"),
    [
        ([1], lambda v: v.append(2)),
        ({"a": [1]}, lambda v: v["a"].append(2)),
        (([1], 2), lambda v: v[0].append(2)),
        ([1].append, lambda v: v(2)),
        (bytearray(b"a"), lambda v: v.extend(b"b")),
    ],
)
def test_what_changes_in_place_is_seen(value: Any, change: Callable[[Any], None]) -> None:
    parts = of(closure_over(value))
    change(value)
    assert not parts.unchanged()


def test_a_cell_with_another_object_is_seen() -> None:
    n = 0

    def read() -> int:
        return n

    parts = of(read)
    n = 1
    assert not parts.unchanged()


def with_keyword(*, scale: int = 2) -> Callable[[], int]:
    def inner(*, by: int = scale) -> int:
        return by

    return inner


@pytest.mark.parametrize(
    "change",
    [
        lambda f: setattr(f, "__defaults__", (2,)),
        lambda f: setattr(f, "__code__", (lambda: 3).__code__),
        lambda f: f.__kwdefaults__.update(by=5),
        lambda f: setattr(f, "__kwdefaults__", {"by": 2, "and_by": 3}),
        lambda f: setattr(f, "note", 1),
    ],
)
def test_a_function_that_is_altered_is_seen(change: Callable[[Any], None]) -> None:
    f = with_keyword()
    parts = of(f)
    assert parts.unchanged()
    change(f)
    assert not parts.unchanged()


def test_a_decorated_function_is_followed_to_what_it_wraps() -> None:
    things = [1]

    def wrapped() -> list[int]:
        return things

    @functools.wraps(wrapped)
    def wrapper() -> list[int]:
        return wrapped()

    parts = of(wrapper)
    assert parts.unchanged()
    things.append(2)
    assert not parts.unchanged()


def test_an_imported_function_that_its_module_no_longer_has_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    parts = of(sample.double)
    assert parts.unchanged()
    monkeypatch.setattr(sample, "double", lambda x: x)
    assert not parts.unchanged()


def test_nobody_can_tell_of_what_has_no_pickle() -> None:
    assert captured(closure_over(sys.stdout)) is None
    assert captured(closure_over(x for x in ())) is None


SCRIPT = """
    import math
    from xse.functions.captured import captured

    class Box:
        size = 1
        def get(self): return self.size + offset
        @staticmethod
        def make(): return Box()

    offset, table, box = 1, {1: 2}, Box()
    def helper(x): return x + offset
    def uses_a_function(x): return math.sqrt(helper(x))
    def uses_a_class(x): return Box().get()
    def uses_a_table(x): return table[x]
    def uses_an_instance(x): return box.get()

    def alone(x): return 2 * x
    before = {f.__name__: captured(f) for f in (alone, uses_a_function, uses_a_class, uses_a_table)}
    def changed(): return [name for name, parts in before.items() if not parts.unchanged()]

    print(captured(uses_an_instance), changed())
    offset = 2
    print(changed())
    offset = 1
    table[3] = 4
    print(changed())
    del table[3]
    Box.size = 2
    print(changed())
    Box.size = 1
    Box.extra = None
    print(changed())
    del Box.extra
    print(changed())
    def helper(x): return x
    print(changed())
    math = None
    print(changed())
    """


def test_a_script_that_changes_its_names_is_seen() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(SCRIPT)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.stdout.splitlines() == [
        "None []",
        "['uses_a_function', 'uses_a_class']",
        "['uses_a_table']",
        "['uses_a_class']",
        "['uses_a_class']",
        "[]",
        "['uses_a_function']",
        "['uses_a_function']",
    ], done.stderr
