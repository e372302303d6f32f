"""A script's functions and classes do in a worker what they do in ProcessPoolExecutor.

The worker is played by a process without a pool (``tests/support/played.py``).
"""

from __future__ import annotations

import sys
import textwrap
import zipfile
from pathlib import Path

import pytest

from tests.support.played import as_script, head, lines

# ---- kinds of functions


def test_functions_of_every_kind_run(tmp_path: Path) -> None:
    text = """
        import contextlib, functools, operator
        offset = 10
        def plain(x): return x + offset
        def even(n): return n == 0 or odd(n - 1)
        def odd(n): return n != 0 and even(n - 1)
        def outer(k):
            def inner(x): return x + k + offset
            return inner
        def loud(f):
            @functools.wraps(f)
            def wrapper(*args): return f(*args) * 2
            return wrapper
        @loud
        def wrapped(x): return x + offset
        @functools.lru_cache(maxsize=None)
        def cached(x): return cached(x - 1) + 1 if x else 0
        @functools.singledispatch
        def of(x): return "object"
        @of.register
        def _(x: int): return "int"
        @contextlib.contextmanager
        def doubled(x): yield 2 * x
        def uses_with(x):
            with doubled(x) as y: return y
        def default(x, *, by=offset): return x * by
        class Adder:
            def __init__(self, n): self.n = n
            def __call__(self, x): return x + self.n
            def add(self, x): return x + self.n
            @classmethod
            def make(cls, n): return cls(n).n
            @staticmethod
            def twice(x): return 2 * x
        square = lambda x: x * x
        def fact(n):
            return (lambda f: f(f, n))(lambda f, n: n and n * f(f, n - 1) or 1)
        def counter():
            n = 0
            def count():
                nonlocal n
                n += 1
                return n
            return count
        def recursive():
            def walk(n): return n and 1 + walk(n - 1)
            return walk
        print(submit(plain, 1), submit(even, 10), submit(outer(5), 1), submit(wrapped, 1), submit(cached, 50))
        print(submit(of, 1), submit(of, "a"), submit(uses_with, 4), submit(default, 2), submit(Adder(3), 4))
        print(submit(Adder(3).add, 4), submit(Adder.make, 5), submit(Adder.twice, 6), submit(Adder, 7).n)
        print(submit(square, 3), submit(fact, 5), submit(counter()), submit(recursive(), 9))
        print(submit(functools.partial(plain, 2)), submit(functools.partial(square), 5), submit(operator.add, 1, 2))
        print(submit(lambda f: f(2), square), submit(map, plain, [1, 2]).__class__.__name__)
        """
    assert as_script(tmp_path, text) == [
        "11 True 16 22 50",
        "int object 8 20 7",
        "7 5 12 7",
        "9 120 1 9",
        "12 25 3",
        "4 map",
    ]


def test_functions_that_call_each_other_in_a_long_row_run(tmp_path: Path) -> None:
    text = """
        exec("def f0(x): return x")
        for i in range(1, 900):
            exec(f"def f{i}(x): return f{i - 1}(x) + 1 if x < 3 else x")
        print(submit(f899, 3))
        """
    assert as_script(tmp_path, text) == ["3"]


# ---- kinds of classes


def test_classes_of_every_kind_are_the_same_class_on_both_sides(tmp_path: Path) -> None:
    text = """
        import abc, collections, dataclasses, enum, functools, typing
        class Register(type):
            known = []
            def __new__(meta, name, bases, space, *, tag="none"):
                cls = super().__new__(meta, name, bases, space)
                cls.tag = tag
                meta.known.append(name)
                return cls
            def __init__(cls, name, bases, space, **named): super().__init__(name, bases, space)
        class Meta(metaclass=Register, tag="a"):
            def get(self): return self.tag, len(Register.known)
        class Plugin:
            plugins = {}
            def __init_subclass__(cls, *, key, **named): Plugin.plugins[key] = cls
        class First(Plugin, key="first"):
            def run(self): return sorted(Plugin.plugins), Plugin.plugins["first"] is First
        class Slots:
            __slots__ = ("a", "__secret", "__dict__")
            def __init__(self): self.a, self.__secret = 1, 2
            def get(self): return self.a + self.__secret
        @dataclasses.dataclass(frozen=True, order=True)
        class Data:
            x: int
            y: list = dataclasses.field(default_factory=list)
            kind: typing.ClassVar[str] = "k"
            def get(self): return dataclasses.replace(self, x=self.x + 1), [f.name for f in dataclasses.fields(self)]
        @dataclasses.dataclass(slots=True)
        class SlotData:
            x: int = 3
            def get(self): return self.x
        class Lazy:
            @functools.cached_property
            def value(self): return 9
        class Colour(enum.Enum):
            RED = 1
            BLUE = 2
            CRIMSON = 1
            def get(self): return self is Colour.RED, Colour(2) is Colour.BLUE, Colour["CRIMSON"], len(Colour)
        class Planet(enum.Enum):
            EARTH = (1, "earth")
            MARS = (2, "mars")
            def __new__(cls, number, title):
                obj = object.__new__(cls)
                obj._value_, obj.title = number, title
                return obj
            def get(self): return Planet(2).title
        class Level(enum.IntEnum):
            LOW = 1
            HIGH = 5
            def get(self): return self + 1, Level.HIGH > self
        class Name(str, enum.Enum):
            A = "a"
            def get(self): return self + "b"
        class Right(enum.Flag):
            R = enum.auto()
            W = enum.auto()
            RW = R | W
            def get(self): return self | Right.W == Right.RW, Right.R in Right.RW, (~Right.R) == Right.W
        class Typed(typing.NamedTuple):
            a: int
            b: str = "x"
            def get(self): return self._replace(a=2), self._fields
        Pair = collections.namedtuple("Pair", "a b", defaults=[7])
        class Options(typing.TypedDict, total=False):
            a: int
        T = typing.TypeVar("T")
        class Box(typing.Generic[T]):
            def __init__(self, v: T): self.v = v
            def get(self): return self.v, Box[int].__args__
        class Sized(typing.Protocol):
            def size(self) -> int: ...
        class Shape(abc.ABC):
            @property
            @abc.abstractmethod
            def area(self): ...
        class Unit(Shape):
            area = 1
            def get(self):
                try: Shape()
                except TypeError: return isinstance(self, Shape), self.area
        class Outer:
            class Inner:
                def get(self): return Outer.Inner is type(self), Outer.factor
            factor = 4
        class Sub(Outer.Inner):
            def get(self): return super().get()
        class Money(int):
            def get(self): return self * 2
        class Descriptor:
            def __set_name__(self, owner, name): self.name = name
            def __get__(self, obj, owner): return self.name
        class Described:
            field = Descriptor()
            def get(self): return self.field
        class Failure(Exception):
            def __init__(self, a, b): super().__init__(a); self.b = b
            def get(self): return self.args, self.b
        def call(obj): return obj.get(), type(obj)
        for make in (Meta, First, Slots, lambda: Data(1), SlotData, lambda: Colour.RED, lambda: Planet.EARTH,
                     lambda: Level.LOW, lambda: Name.A, lambda: Right.R, lambda: Typed(1), lambda: Box(3), Unit,
                     Outer.Inner, Sub, lambda: Money(4), Described):
            obj = make()
            ask = First.run if type(obj) is First else type(obj).get
            got, there = submit(call, obj) if type(obj) is not First else (submit(obj.run), submit(type, obj))
            if got != ask(obj) or there is not type(obj):
                print(type(obj).__name__, got, ask(obj), there is type(obj))
        print(submit(lambda: Pair(1)), submit(lambda o: o["a"], Options(a=3)))
        print(submit(Lazy).value, submit(lambda: Lazy().value))
        print(told(lambda: Failure(1, 2).get()))
        """
    assert as_script(tmp_path, text) == ["Pair(a=1, b=7) 3", "9 9", "((1,), 2)"]


def test_local_classes_keep_their_identity(tmp_path: Path) -> None:
    text = """
        def make():
            class Local:
                def __init__(self, x): self.x = x
                def more(self): return Local(self.x + 1)
            return Local
        Local = make()
        def more(obj, cls): return obj.more(), isinstance(obj, cls)
        del Local.__doc__
        obj, same = submit(lambda o, c=Local: (o.more(), isinstance(o, c)), Local(1))
        print(type(obj) is Local, obj.x, same)
        """
    assert as_script(tmp_path, text.replace("        del Local.__doc__\n", "")) == ["True 2 True"]


# ---- one object stays one object


def test_a_sentinel_is_one_object_everywhere_in_a_worker(tmp_path: Path) -> None:
    text = """
        MISSING = object()
        items = []
        aliases = {"items": items}
        def f(x=MISSING): return x is MISSING
        class C:
            default = MISSING
            def get(self, x=MISSING): return x is MISSING is self.default
        def same():
            items.append(1)
            return aliases["items"] is items
        print(submit(f), submit(C().get), submit(same))
        """
    assert as_script(tmp_path, text) == ["True True True"]


def test_globals_that_hold_each_other_are_sent(tmp_path: Path) -> None:
    text = """
        a, b = [1], [2]
        a.append(b); b.append(a)
        class Node: pass
        node = Node(); node.own = node
        def f(): return a[0], a[1][0], b[0], b[1][0], node.own is node
        print(submit(f))
        """
    assert as_script(tmp_path, text) == ["(1, 2, 2, 1, True)"]


# ---- whose state it is


def test_what_the_initializer_and_tasks_set_stays(tmp_path: Path) -> None:
    text = """
        setting, cache = None, None
        calls = []
        def begin(value):
            global setting
            setting = value
        def read(): return setting
        def count():
            global cache
            cache = (cache or 0) + 1
            calls.append(cache)
            return cache, len(calls)
        def also(): return count()
        initialize(begin, 42)
        print(submit(read), submit(count), submit(also), submit(count), submit(read))
        """
    assert as_script(tmp_path, text) == ["42 (1, 1) (2, 2) (3, 3) 42"]


CHANGES = {
    "a global is bound anew": ("n = 1\ndef f(): return n", "n = 2"),
    "a global is defined later": ("def f():\n try: return late\n except NameError: return None", "late = 3"),
    "a global is deleted": ("n = 1\ndef f():\n try: return n\n except NameError: return None", "del n"),
    "a small list changes": ("items = [1]\ndef f(): return items", "items.append(2)"),
    "a small list gets a lambda": ("items = [1]\ndef f(): return len(items)", "items.append(lambda: 1)"),
    "a small dictionary changes within": ("d = {'a': [1]}\ndef f(): return d", "d['a'].append(2)"),
    "an attribute of an instance": ("class C: pass\nc = C(); c.x = 1\ndef f(): return c.x", "c.x = 2"),
    "an attribute of a subclass of str": ("class S(str): pass\ns = S('a'); s.x = 1\ndef f(): return s.x", "s.x = 2"),
    "a function is defined anew": ("def g(): return 1\ndef f(): return g()", "def g(): return 2"),
    "the submitted function is defined anew": ("def f(): return 1", "def f(): return 2"),
    "code is replaced": ("def g(): return 1\ndef f(): return g()", "g.__code__ = (lambda: 2).__code__"),
    "defaults are replaced": ("def g(x=1): return x\ndef f(): return g()", "g.__defaults__ = (2,)"),
    "a default changes in place": ("def g(x=[1]): return x\ndef f(): return g()", "g.__defaults__[0].append(2)"),
    "an attribute of a function": ("def g(): return g.x\ng.x = 1\ndef f(): return g()", "g.x = 2"),
    "a class attribute": ("class C: x = 1\ndef f(): return C.x", "C.x = 2"),
    "a list in a class": ("class C: x = [1]\ndef f(): return C.x", "C.x.append(2)"),
    "a method is replaced": (
        "class C:\n def m(self): return 1\ndef f(): return C().m()",
        "C.m = lambda self: 2",
    ),
    "a method is deleted": (
        "class B:\n def m(self): return 2\nclass C(B):\n def m(self): return 1\ndef f(): return C().m()",
        "del C.m",
    ),
    "a base's method is replaced": (
        "class B:\n def m(self): return 1\nclass C(B): pass\ndef f(): return C().m()",
        "B.m = lambda self: 2",
    ),
    "a metaclass's method": (
        "class M(type):\n def m(cls): return 1\nclass C(metaclass=M): pass\ndef f(): return C.m()",
        "M.m = lambda cls: 2",
    ),
    "an enum's method": (
        "import enum\nclass E(enum.Enum):\n A = 1\n def m(self): return 1\ndef f(): return E.A.m()",
        "E.m = lambda self: 2",
    ),
    "a class is registered": (
        "import abc\nclass A(abc.ABC): pass\ndef f(): return isinstance(3, A)",
        "A.register(int)",
    ),
    "a class has other bases": (
        "class A: x = 1\nclass B: x = 2\nclass C(A): pass\ndef f(): return C.x",
        "C.__bases__ = (B,)",
    ),
    "a class is defined anew": ("class C: x = 1\ndef f(): return C.x", "class C: x = 2"),
    "a name is bound to another module": ("import math as m\ndef f(): return m.__name__", "import cmath as m"),
    "what a closure holds": (
        "def make():\n n = 1\n def f(): return n\n def put(x):\n  nonlocal n\n  n = x\n return f, put\nf, put = make()",
        "put(2)",
    ),
    "what a decorated function wraps": (
        "import functools\ndef deco(g):\n @functools.wraps(g)\n def w(): return g()\n return w\n"
        "n = 1\n@deco\ndef f(): return n",
        "n = 2",
    ),
    "what an initial default refers to": ("items = [1]\ndef f(x=items): return x", "items.append(2)"),
}


def test_what_changed_before_a_submit_counts_for_it_and_not_for_those_before(tmp_path: Path) -> None:
    """The task before the change runs after it, too, and sees what it was submitted with."""
    parts = []
    for i, (begin, change) in enumerate(CHANGES.values()):
        space = f"space_{i}"
        parts.append(
            f"""
{space} = _types.ModuleType({space!r}); _sys.modules[{space!r}] = {space}
exec({begin!r}, vars({space}))
wanted = [repr({space}.f())]
first = write({space}.f)
exec({change!r}, vars({space}))
wanted.append(repr({space}.f()))
second = write({space}.f)
seen = [repr(run(first)), repr(run(second)), repr(run(first)), repr(run(second)), repr(submit({space}.f))]
print({i}, seen == wanted * 2 + wanted[1:] and wanted[0] != wanted[1] or (seen, wanted))
"""
        )
    seen = as_script(tmp_path, "import types as _types\n" + "".join(parts))
    assert dict(zip(CHANGES, seen, strict=True)) == {name: f"{i} True" for i, name in enumerate(CHANGES)}


def test_a_large_global_is_sent_anew_when_its_name_is_bound_anew_and_not_pickled_to_see_whether(tmp_path: Path) -> None:
    text = """
        class Counted(list):
            pickled = 0
            def __reduce_ex__(self, protocol):
                Counted.pickled += 1
                return Counted, (), None, iter(list(self))
        table = Counted(range(20_000))
        def f(): return len(table), table[0]
        before = submit(f)
        n = Counted.pickled
        for _ in range(5): submit(f)
        table[0] = 5
        print(before, submit(f), Counted.pickled - n)
        table = Counted([7] * 9)
        print(submit(f))
        """
    assert as_script(tmp_path, text) == ["(20000, 0) (20000, 0) 0", "(9, 7)"]


def test_a_large_global_that_has_not_changed_is_not_pickled_again_when_another_changes(tmp_path: Path) -> None:
    text = """
        class Large:
            pickled = 0
            def __init__(self): self.data = "x" * 100_000
            def __reduce__(self):
                Large.pickled += 1
                return Large, ()
        large, step = [Large()] * 1, 0
        large += ["x" * 100_000]
        def f(): return step, len(large[1])
        submit(f)
        n = Large.pickled
        seen = []
        for step in range(5): seen.append(submit(f)[0])
        print(seen, Large.pickled - n)
        """
    assert as_script(tmp_path, text) == ["[0, 1, 2, 3, 4] 0"]


# ---- what is refused

REFUSED = {
    "an open file": "open(__file__)",
    "a lock": "threading.Lock()",
    "a lock in a list": "[threading.RLock()]",
    "a condition": "threading.Condition()",
    "an event": "threading.Event()",
    "a thread": "threading.Thread()",
    "a thread's own data": "threading.local()",
    "a socket": "socket.socket()",
    "a generator": "(x for x in ())",
    "an executor": "concurrent.futures.ThreadPoolExecutor(1)",
    "a future": "concurrent.futures.Future()",
    "a database connection": "sqlite3.connect(':memory:')",
    "a process": "subprocess.Popen(['true'])",
    "a queue of threads": "queue.Queue()",
    "a pool": "multiprocessing.pool.ThreadPool(1)",
    "a memory map": "mmap.mmap(-1, 10)",
    "an instance that holds a file": "Holder(open(__file__))",
    "a lock of multiprocessing": "multiprocessing.Lock()",
    "a temporary file": "tempfile.NamedTemporaryFile()",
}


def test_what_must_stay_is_refused_and_global_and_function_are_named(tmp_path: Path) -> None:
    text = """
        import concurrent.futures, mmap, multiprocessing, multiprocessing.pool, queue, socket, sqlite3
        import subprocess, sys, tempfile, threading
        class Holder:
            def __init__(self, x): self.x = x
        """
    text = textwrap.dedent(text)
    for i, (what, made) in enumerate(REFUSED.items()):
        text += textwrap.dedent(
            f"""
            thing_{i} = {made}
            def uses_{i}(): return thing_{i}
            def calls_{i}(): return uses_{i}()
            def closed_{i}(variable): return lambda: variable
            said = [told(calls_{i}), told(id, thing_{i}), told(closed_{i}(thing_{i}))]
            named = "thing_{i}" in said[0] and "calls_{i}" in said[0] and "'variable'" in said[2]
            print({what!r}, named and all("SerializationError" in s for s in said) or said)
            """
        )
    text += "_worker.stdin.close(); sys.stdout.flush(); _os._exit(0)\n"
    assert as_script(tmp_path, text) == [f"{what} True" for what in REFUSED]


def test_a_file_is_neither_opened_again_nor_truncated(tmp_path: Path) -> None:
    text = f"""
        log = open({str(tmp_path / "log")!r}, "w")
        log.write("line"); log.flush()
        def f(): log.write("never")
        print("'log'" in told(f), "open file" in told(f), open({str(tmp_path / "log")!r}).read())
        """
    assert as_script(tmp_path, text) == ["True True line"]


def test_streams_and_loggers_are_the_workers_own(tmp_path: Path) -> None:
    text = """
        import logging, sys
        out, log = sys.stdout, logging.getLogger("x")
        def f(): return out is sys.stdout, log is logging.getLogger("x")
        print(submit(f))
        """
    assert as_script(tmp_path, text) == ["(True, True)"]


# ---- inside a task


def test_a_task_pickles_the_scripts_objects_and_starts_processes_with_its_functions(tmp_path: Path) -> None:
    text = """
        import multiprocessing, pickle
        from concurrent.futures import ProcessPoolExecutor
        class Point:
            def __init__(self, x): self.x = x
        def helper(x): return x * x
        def pickles(): return pickle.loads(pickle.dumps(Point(3))).x, pickle.loads(pickle.dumps(helper)) is helper
        def forks():
            with multiprocessing.get_context("fork").Pool(2) as p: return p.map(helper, range(3))
        def futures():
            context = multiprocessing.get_context("fork")
            with ProcessPoolExecutor(2, mp_context=context) as p: return list(p.map(helper, range(3)))
        print(submit(pickles), submit(forks), submit(futures))
        """
    assert as_script(tmp_path, text) == ["(3, True) [0, 1, 4] [0, 1, 4]"]


def test_proxies_of_a_manager_work_in_a_task(tmp_path: Path) -> None:
    text = """
        import multiprocessing
        if __name__ == "__main__":
            initialize(None)
            with multiprocessing.get_context("fork").Manager() as m:
                d = m.dict(a=1)
                initialize(None)
                print(submit(dict, d), submit(m.list([1]).append, 2))
        """
    assert as_script(tmp_path, text) == ["{'a': 1} None"]


# ---- where a script and its modules are


def test_modules_are_found_wherever_the_script_finds_them(tmp_path: Path) -> None:
    source = "def f(x): return x * 10\n"
    names = ["plain", "a:b", "50%", "with space", "übung"]
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / f"mod_{len(name)}.py").write_text(source)
    with zipfile.ZipFile(tmp_path / "lib.zip", "w") as z:
        z.writestr("zipped.py", source)
    (tmp_path / "late").mkdir()
    (tmp_path / "late" / "mod_late.py").write_text(source)
    text = f"""
        import importlib
        for entry in {[str(tmp_path / n) for n in [*names, "lib.zip"]]!r}: _sys.path.append(entry)
        def by_import(name):
            import importlib
            return importlib.import_module(name).f(2)
        for name in {["mod_5", "mod_3", "mod_10", "zipped"]!r}:
            print(submit(importlib.import_module(name).f, 1), submit(by_import, name))
        _sys.path.insert(0, {str(tmp_path / "late")!r})
        import mod_late
        print(submit(mod_late.f, 1), submit(by_import, "mod_late"))
        """
    assert as_script(tmp_path, text) == ["10 20"] * 5


def test_modules_that_no_worker_can_import_are_mirrored(tmp_path: Path) -> None:
    (tmp_path / "hidden").mkdir()
    (tmp_path / "hidden" / "plug.py").write_text(
        "limit = 3\ndef f(x): return g(x) + limit\ndef g(x): return x\nclass C: pass\n"
    )
    text = f"""
        import importlib.util, types
        spec = importlib.util.spec_from_file_location("plug", {str(tmp_path / "hidden" / "plug.py")!r})
        plug = importlib.util.module_from_spec(spec); _sys.modules["plug"] = plug; spec.loader.exec_module(plug)
        made = types.ModuleType("made"); _sys.modules["made"] = made
        exec("def double(x): return 2 * x", vars(made))
        loose = importlib.util.module_from_spec(spec); spec.loader.exec_module(loose)
        def uses(x): return plug.f(x) + made.double(x)
        print(submit(plug.f, 1), submit(made.double, 2), submit(uses, 3))
        print(type(submit(plug.C)) is plug.C, submit(loose.g, 5))
        plug.limit = 4
        print(submit(plug.f, 1), submit(uses, 3))
        """
    assert as_script(tmp_path, text) == ["4 4 12", "True 5", "5 13"]


def test_a_module_that_workers_import_is_not_looked_into(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import threading\nstate = threading.local()\nn = 0\ndef count():\n    global n\n    n += 1\n    return n\n"
    )
    text = """
        import own
        def first(): return own.count()
        def second(): return own.count() + 0
        own.n = 10
        print(submit(first), submit(second), submit(first), submit(own.count))
        """
    assert as_script(tmp_path, text) == ["1 2 3 4"]


def test_a_module_run_by_name_may_import_its_neighbours(tmp_path: Path) -> None:
    (tmp_path / "pkg").mkdir()
    (tmp_path / "pkg" / "__init__.py").touch()
    (tmp_path / "pkg" / "help.py").write_text("V = 7\n")
    (tmp_path / "pkg" / "run.py").write_text(
        head()
        + "from . import help as helper\ndef f(x):\n    from .help import V\n    return V + x + helper.V\n"
        + "print(submit(f, 1))\n"
    )
    assert lines([sys.executable, "-m", "pkg.run"], cwd=tmp_path) == ["15"]


@pytest.mark.parametrize("how", ["-c", "stdin"])
def test_a_script_needs_no_file(how: str, tmp_path: Path) -> None:
    text = head() + "class C:\n    x = 1\ndef f(c): return c.x + C.x\nprint(submit(f, C()))\n"
    if how == "-c":
        assert lines([sys.executable, "-c", text], cwd=tmp_path) == ["2"]
    else:
        assert lines([sys.executable], input=text, cwd=tmp_path) == ["2"]


def test_cells_of_a_notebook_may_define_anew(tmp_path: Path) -> None:
    text = """
        cells = [
            "class C:\\n    def get(self): return 1\\ndef f(c): return c.get()",
            "seen = [submit(f, C())]",
            "class C:\\n    def get(self): return 2",
            "seen.append(submit(f, C()))",
            "def f(c): return c.get() * 10",
            "seen.append(submit(f, C())); print(seen)",
        ]
        for cell in cells: exec(compile(cell, "<cell>", "exec"), globals())
        """
    assert as_script(tmp_path, text) == ["[1, 2, 20]"]


def test_a_worker_has_the_scripts_arguments(tmp_path: Path) -> None:
    text = """
        def f():
            import sys
            return sys.argv[1:], __file__ == sys.argv[0], __name__
        print(submit(f) == (_sys.argv[1:], True, "__main__"))
        """
    assert as_script(tmp_path, text) == ["True"]


# ---- costs, counted


def test_an_attribute_called_as_a_global_does_not_make_that_global_travel(tmp_path: Path) -> None:
    text = """
        data = bytearray(1_000_000)
        class Thing: data = 1
        def f(x): return x.data
        print(submit(f, Thing()), sum(map(len, write(f, 1))) < 5_000)
        """
    assert as_script(tmp_path, text) == ["1 True"]


def test_nothing_is_installed_again_that_has_not_changed(tmp_path: Path) -> None:
    text = """
        class Seen:
            def __reduce__(self): return _note, ()
        n = 0
        def _note():
            global n
            n += 1
            return n
        seen, other = Seen(), 0
        def f(): return n, other
        def g(): return seen, n
        submit(g); submit(g)
        print(submit(g))
        other = 1
        submit(f)
        print(submit(g))
        """
    assert as_script(tmp_path, text) == ["(1, 1)", "(1, 1)"]
