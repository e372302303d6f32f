"""What travels, how, and what the other side gets: xse's own codec."""

from __future__ import annotations

import functools
import gc
import os
import pickle
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.unit import sample
from xse.errors import RemoteTraceback, SerializationError
from xse.functions import payload
from xse.wire.messages import Status


def run(fn: Any, *args: Any, **kwargs: Any) -> tuple[Any, BaseException | None]:
    """Through the codec, as a task goes: function and arguments written and read, the result too."""
    return answer(payload.Functions(), fn, *args, **kwargs)


def answer(functions: payload.Functions, fn: Any, *args: Any, **kwargs: Any) -> tuple[Any, BaseException | None]:
    """As ``run``, with what these functions have kept."""
    task = functions.task(fn, args, kwargs)
    assert isinstance(task.data, bytes)
    return payload.load_result(*payload.load_function(task.function.data)(task.data))


def value_of(fn: Any, *args: Any, **kwargs: Any) -> Any:
    value, error = run(fn, *args, **kwargs)
    assert error is None, error
    return value


def test_functions_lambdas_closures_partials_and_methods_run() -> None:
    base = 10

    def add(x: int, *, y: int = 0) -> int:
        return base + x + y

    assert value_of(sample.double, 4) == 8
    assert value_of(lambda x: x + 1, 4) == 5
    assert value_of(add, 1, y=2) == 13
    assert value_of(functools.partial(add, y=5), 1) == 16
    assert value_of("abc".upper) == "ABC"
    assert value_of(sample.Point(3).__eq__, sample.Point(3)) is True
    assert value_of(len, [1, 2, 3]) == 3


def test_functions_without_a_name_are_arguments_too() -> None:
    assert value_of(lambda f: f(3), lambda x: x * x) == 9


def read(data: payload.Scattered) -> Any:
    return payload.loads(b"".join(data.parts))


def test_large_bytes_lie_in_a_scattered_pickle_as_they_were_given() -> None:
    large = os.urandom(payload.LARGE)
    data = payload.scattered((large, [1], "text" * payload.LARGE))
    assert any(part is large for part in data.parts)
    assert len(data) == len(b"".join(data.parts))
    assert read(data) == (large, [1], "text" * payload.LARGE)


class InBand:
    """Hands its memory to the pickler, as numpy's arrays do."""

    def __init__(self, data: Any) -> None:
        self.data = data

    def __reduce_ex__(self, protocol: Any) -> Any:
        return InBand, (pickle.PickleBuffer(self.data),)


def test_what_may_change_is_in_a_scattered_pickle_as_it_was() -> None:
    for make in (bytearray, lambda data: InBand(bytearray(data))):
        given: Any = make(b"x" * payload.LARGE)
        memory = given if isinstance(given, bytearray) else given.data
        data = payload.scattered(given)
        memory[0] = 0
        memory.append(0)
        again = read(data)
        assert (again if isinstance(again, bytearray) else again.data) == b"x" * payload.LARGE


def test_a_scattered_pickle_brings_functions_without_a_name() -> None:
    large, add = read(payload.scattered((bytes(payload.LARGE), lambda n: n + 1)))
    assert (len(large), add(1)) == (payload.LARGE, 2)


def test_what_a_task_raises_comes_with_its_remote_traceback() -> None:
    def fail() -> None:
        raise KeyError("nothing there")

    _, error = run(fail)
    assert type(error) is KeyError
    assert error.args == ("nothing there",)
    assert isinstance(error.__cause__, RemoteTraceback)
    text = str(error.__cause__)
    assert 'raise KeyError("nothing there")' in text
    assert "xse/functions/payload.py" not in text, "our own frames say nothing to a user"


def test_the_chain_of_an_exception_is_in_the_traceback() -> None:
    def fail() -> None:
        try:
            raise OSError("first")
        except OSError as e:
            raise ValueError("second") from e

    _, error = run(fail)
    assert "first" in str(error.__cause__)
    assert "second" in str(error.__cause__)


def test_an_exception_comes_back_whatever_its_init_takes() -> None:
    def fail() -> None:
        raise sample.Unloadable(1, 2)

    _, error = run(fail)
    assert type(error) is sample.Unloadable
    assert error.args == (1,)
    assert "raise sample.Unloadable(1, 2)" in str(error.__cause__)


class Refuses(Exception):
    """It can be given no attribute."""

    def __setattr__(self, name: str, value: object) -> None:
        raise AttributeError("no")


class Wordless(Exception):
    """It cannot be pickled, and says nothing."""

    def __init__(self) -> None:
        super().__init__()
        self.lock = threading.Lock()

    def __str__(self) -> str:
        raise ValueError("no words")

    __repr__ = __str__


def test_an_exception_that_refuses_attributes_comes_back() -> None:
    def fail() -> None:
        raise Refuses("a")

    _, error = run(fail)
    assert type(error) is Refuses
    assert error.args == ("a",)


def test_an_exception_that_cannot_travel_is_told_in_words_if_it_has_any() -> None:
    def fail() -> None:
        raise Wordless

    _, error = run(fail)
    assert isinstance(error, SerializationError)
    assert "Wordless" in str(error)


class ExitsWhenLoaded:
    def __reduce__(self) -> Any:
        return sys.exit, (3,)


def test_what_exits_when_it_is_unpickled_is_told_on_either_side() -> None:
    _, error = run(ExitsWhenLoaded)
    assert isinstance(error, SerializationError)
    _, error = run(id, ExitsWhenLoaded())
    assert isinstance(error, SerializationError)
    assert "SystemExit" in str(error)


def test_a_result_that_cannot_travel_names_its_type() -> None:
    _, error = run(lambda: sample.Unpicklable())
    assert isinstance(error, SerializationError)
    assert "Unpicklable" in str(error)


def test_an_argument_that_cannot_travel_names_the_function() -> None:
    with pytest.raises(SerializationError, match="argument of double"):
        payload.Functions().task(sample.double, (sample.Unpicklable(),), {})


def test_a_function_that_cannot_be_loaded_fails_its_task_alone() -> None:
    call = payload.load_function(b"rubbish")
    status, data = call(payload.dumps(((), {})))
    assert status == Status.RAISED
    _, error = payload.load_result(status, data)
    assert isinstance(error, SerializationError)
    assert "cannot be unpickled in the worker" in str(error)


def test_a_result_that_cannot_be_read_is_reported() -> None:
    _, error = payload.load_result(Status.VALUE, b"rubbish")
    assert isinstance(error, SerializationError)


def test_the_initializer_runs_with_its_arguments(tmp_path: Path) -> None:
    def initialize(path: Path, text: str) -> None:
        path.write_text(text)

    argv = list(sys.argv)
    payload.load_setup(payload.Functions().setup(initialize, (tmp_path / "x", "here")))()
    assert sys.argv == argv
    assert (tmp_path / "x").read_text() == "here"


# ---- what is kept from one submit to the next


def make_closure(captured: Any) -> Any:
    return lambda: captured


def function_of(functions: payload.Functions, fn: Any, *args: Any) -> payload.Function:
    return functions.task(fn, args, {}).function


def test_a_function_is_written_once() -> None:
    functions = payload.Functions()
    closure = make_closure((1, "a", None))
    for fn in (sample.double, len, sample.Point, closure):
        assert function_of(functions, fn) is function_of(functions, fn)


def test_a_closure_that_changed_is_written_anew() -> None:
    functions = payload.Functions()
    counter = 0

    def read() -> int:
        return counter

    before = function_of(functions, read)
    counter += 1
    assert function_of(functions, read).digest != before.digest
    assert answer(functions, read) == (1, None)


def test_a_closure_over_something_that_changed_in_place_is_written_anew() -> None:
    functions = payload.Functions()
    captured: list[int] = []
    closure = make_closure(captured)
    function_of(functions, closure)
    captured.append(5)
    assert answer(functions, closure) == ([5], None)


def test_changed_defaults_are_seen() -> None:
    functions = payload.Functions()
    f = eval("lambda x=1: x")
    before = function_of(functions, f)
    f.__defaults__ = (2,)
    assert function_of(functions, f).digest != before.digest


def test_functions_that_nobody_holds_are_forgotten() -> None:
    functions = payload.Functions()
    for i in range(50):
        function_of(functions, make_closure(bytes([i]) * 100_000))
    gc.collect()
    assert len(functions._kept) == 0
    assert functions._n_bytes == 0


def test_functions_that_somebody_holds_are_kept_up_to_so_many_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(payload.Functions, "MOST_BYTES", 1_000_000)
    functions = payload.Functions()
    held = [make_closure(bytes([i]) * 100_000) for i in range(50)]
    for closure in held:
        function_of(functions, closure)
    assert functions._n_bytes <= 1_000_000
    assert sum(entry.size for entry in functions._kept.values()) == functions._n_bytes


def test_what_carries_state_of_its_own_goes_with_the_arguments_and_makes_no_new_function() -> None:
    functions = payload.Functions()
    partials = [functools.partial(sample.double, i) for i in range(5)]
    assert len({function_of(functions, p).digest for p in partials}) == 1
    assert [answer(functions, p)[0] for p in partials] == [0, 2, 4, 6, 8]
