"""What travels, how, and what the other side gets: xse's own codec."""

from __future__ import annotations

import functools
import os
import pickle
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

from tests.unit import sample
from xse.errors import RemoteTraceback, SerializationError
from xse.functions import payload
from xse.wire.messages import Status


def run(fn: Any, *args: Any, **kwargs: Any) -> tuple[Any, BaseException | None]:
    """Through the codec, as a task goes: function and arguments written and read, the result too."""
    function = payload.Functions().get(fn)
    status, data = payload.load_function(function.data)(payload.dump_arguments(fn, args, kwargs))
    return payload.load_result(status, data)


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


def test_arguments_that_only_dill_can_write_are_written() -> None:
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


def test_a_scattered_pickle_brings_what_only_dill_can_write() -> None:
    large, add = read(payload.scattered((bytes(payload.LARGE), lambda n: n + 1)))
    assert (len(large), add(1)) == (payload.LARGE, 2)


def test_names_of_the_script_are_found_among_however_many_others(monkeypatch: pytest.MonkeyPatch) -> None:
    """In the middle of megabytes that the pickler writes frame by frame."""
    monkeypatch.setattr(payload, "_pickle_by_value", lambda _: b"by value")
    monkeypatch.setitem(vars(sys.modules["__main__"]), "double_of_the_script", of_the_script)
    rest = [str(i) for i in range(300_000)]
    assert payload.scattered([bytes(payload.LARGE), rest, of_the_script, rest]).parts == [b"by value"]
    assert len(payload.scattered([bytes(payload.LARGE), rest, rest]).parts) > 1


def of_the_script() -> None: ...


of_the_script.__module__, of_the_script.__qualname__ = "__main__", "double_of_the_script"


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


def test_an_exception_that_cannot_travel_is_reported_in_words() -> None:
    def fail() -> None:
        raise sample.Unloadable(1, 2)

    _, error = run(fail)
    assert isinstance(error, SerializationError)
    assert "Unloadable" in str(error)
    assert "raise sample.Unloadable(1, 2)" in str(error.__cause__)


def test_a_result_that_cannot_travel_names_its_type() -> None:
    _, error = run(lambda: sample.Unpicklable())
    assert isinstance(error, SerializationError)
    assert "Unpicklable" in str(error)


def test_an_argument_that_cannot_travel_names_the_function() -> None:
    with pytest.raises(SerializationError, match="argument of double"):
        payload.dump_arguments(sample.double, (sample.Unpicklable(),), {})


def test_a_function_that_cannot_be_loaded_fails_its_task_alone() -> None:
    call = payload.load_function(b"rubbish")
    status, data = call(payload.dump_arguments(len, (), {}))
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

    payload.load_setup(payload.dump_setup(initialize, (tmp_path / "x", "here")))()
    assert (tmp_path / "x").read_text() == "here"


# ---- what may be kept from one submit to the next

limit = 1


def reads_a_global() -> int:
    return limit


def make_closure(captured: Any) -> Any:
    return lambda: captured


def test_an_importable_function_is_written_once() -> None:
    functions = payload.Functions()
    assert functions.get(sample.double) is functions.get(sample.double)


def test_a_closure_over_constants_is_written_once() -> None:
    functions = payload.Functions()
    closure = make_closure((1, "a", None))
    assert functions.get(closure) is functions.get(closure)


def test_a_closure_that_changed_is_written_anew() -> None:
    functions = payload.Functions()
    counter = 0

    def read() -> int:
        return counter

    before = functions.get(read)
    counter += 1
    after = functions.get(read)
    assert before.digest != after.digest
    status, data = payload.load_function(after.data)(payload.dump_arguments(read, (), {}))
    assert payload.load_result(status, data) == (1, None)


def test_a_closure_over_something_mutable_is_written_each_time() -> None:
    functions = payload.Functions()
    captured: list[int] = []
    closure = make_closure(captured)
    functions.get(closure)
    captured.append(5)
    status, data = payload.load_function(functions.get(closure).data)(payload.dump_arguments(closure, (), {}))
    assert payload.load_result(status, data) == ([5], None)


def test_changed_defaults_are_seen() -> None:
    functions = payload.Functions()
    f = eval("lambda x=1: x")
    before = functions.get(f)
    f.__defaults__ = (2,)
    assert functions.get(f).digest != before.digest


# ---- functions and classes of a script


def script(tmp_path: Path, client: str, worker: str) -> str:
    """Run ``client`` as a script, which writes payloads with dump(name, object), then ``worker`` in a process of its
    own, which reads them with load(name) and may write back; then the client goes on after the line ``# back``."""
    helpers = textwrap.dedent(
        f"""
        import os, sys
        sys.path[:0] = {[os.getcwd()]!r}
        from xse.functions import payload
        def dump(name, obj):
            open({str(tmp_path)!r} + "/" + name, "wb").write(payload.dumps(obj))
        def load(name):
            return payload.loads(open({str(tmp_path)!r} + "/" + name, "rb").read())
        """
    )
    (tmp_path / "worker.py").write_text(helpers + "import __main__\nvars(__main__).pop('C', None)\n" + worker)
    first, _, rest = textwrap.dedent(client).partition("# back")
    call = f"\nimport subprocess\nsubprocess.run([sys.executable, {str(tmp_path / 'worker.py')!r}], check=True)\n"
    (tmp_path / "client.py").write_text(helpers + first + call + rest)
    done = subprocess.run([sys.executable, str(tmp_path / "client.py")], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_functions_of_a_script_bring_the_globals_they_name(tmp_path: Path) -> None:
    client = """
        import math
        factor = 3
        def helper(x): return math.floor(x) * factor
        def f(x): return helper(x) + (f(x - 1) if x > 1 else 0)
        dump("f", f)
        # back
        """
    assert script(tmp_path, client, "print(load('f')(2.5))") == "9\n"


def test_a_class_of_a_script_is_one_class_everywhere(tmp_path: Path) -> None:
    client = """
        from dataclasses import dataclass
        @dataclass
        class C:
            x: int
            def twice(self): return C(2 * self.x)
        def f(c):
            assert isinstance(c, C) and type(c) is C
            return c.twice()
        dump("f", f)
        dump("c", C(4))
        # back
        back = load("back")
        print(type(back) is C, back == C(8))
        """
    worker = "f, c = load('f'), load('c')\nassert type(f(c)) is type(c)\ndump('back', f(c))\n"
    assert script(tmp_path, client, worker) == "True True\n"


def test_all_kinds_of_classes_of_a_script_travel_both_ways(tmp_path: Path) -> None:
    client = """
        import abc, collections, enum, typing
        class Plain:
            limit = 3
            @property
            def p(self): return 1
            @classmethod
            def make(cls): return cls()
            @staticmethod
            def s(): return 2
        class Child(Plain):
            def q(self): return super().p + 1
        class Colour(enum.Enum):
            RED = 1
            BLUE = 2
        Pair = collections.namedtuple("Pair", "a b")
        class Typed(typing.NamedTuple):
            a: int
            b: str = "x"
        class Failure(Exception):
            pass
        class Abstract(abc.ABC):
            @abc.abstractmethod
            def m(self): ...
        class Concrete(Abstract):
            def m(self): return 5
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, v): self.v = v
        class Slotted:
            __slots__ = ("v",)
            def __init__(self, v): self.v = v
        objects = [Child(), Colour.RED, Pair(1, 2), Typed(1), Failure("f"), Concrete(), Box(3), Slotted(4), Plain]
        dump("objects", objects)
        # back
        back = load("back")
        assert back[0].q() == 2 and type(back[0]) is Child
        assert back[1] is Colour.RED
        assert back[2] == Pair(1, 2) and type(back[2]) is Pair
        assert back[3] == Typed(1, "x") and type(back[3]) is Typed
        assert type(back[4]) is Failure and back[4].args == ("f",)
        assert isinstance(back[5], Abstract) and back[5].m() == 5
        assert type(back[6]) is Box and back[6].v == 3
        assert type(back[7]) is Slotted and back[7].v == 4
        assert back[8] is Plain
        print("all")
        """
    worker = "o = load('objects')\nassert o[0].q() == 2 and o[0].make().s() == 2\ndump('back', o)\n"
    assert script(tmp_path, client, worker) == "all\n"


def test_a_class_that_changed_is_changed_in_the_worker(tmp_path: Path) -> None:
    client = """
        class C:
            limit = 1
            def get(self): return self.limit
        dump("a", C())
        C.limit = 2
        dump("b", C())
        # back
        """
    worker = "a = load('a')\nassert a.get() == 1\nb = load('b')\nprint(b.get(), a.get(), type(a) is type(b))"
    assert script(tmp_path, client, worker) == "2 2 True\n"
