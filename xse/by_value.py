"""Functions and classes that the other side cannot import travel by value: those of ``__main__``, lambdas, closures.

dill writes them, with the globals they name (and no others). A class keeps its identity: it has a token, and a process
makes a class of a token once, so that ``isinstance`` and ``==`` hold between a function's class and an argument's, and
an instance that a task returns is of the very class that the script defined.

What is written may be kept for the next submit only as long as it would come out the same. ``captured`` lists all that
goes into a function; when it holds something that can change in place (a list, an instance), nothing is kept.
"""

from __future__ import annotations

import enum
import io
import pickle
import sys
import types
import uuid
from collections.abc import Callable, Iterator
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import dill

_MAKERS: tuple[Callable[..., Any], ...] = (
    dill._dill._create_type,
    dill._dill._create_namedtuple,
    types.new_class,
)
_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented), range)
_MISSING = object()

_classes: dict[str, type] = {}  # token -> the class here
_tokens: WeakKeyDictionary[type, str] = WeakKeyDictionary()  # class -> token
_written: WeakKeyDictionary[type, tuple[tuple[Any, ...], str, bytes]] = WeakKeyDictionary()
_read: dict[str, str] = {}  # token -> which text of the class was read last
_foreign: set[str] = set()  # tokens of classes that were made elsewhere: the other side has them


def importable(obj: Any) -> bool:
    """Can another process of this environment import it by its module and name, and get the same?"""
    module = getattr(obj, "__module__", None)
    name = getattr(obj, "__qualname__", None)
    if module is None or name is None or module == "__main__" or module not in sys.modules:
        return False
    found: Any = sys.modules[module]
    for part in name.split("."):
        found = getattr(found, part, _MISSING)
    return found is obj


def is_by_value(obj: Any) -> bool:
    """A function or class written in Python that must travel by value."""
    return isinstance(obj, types.FunctionType | type) and not importable(obj) and obj.__module__ != "builtins"


class Pickler(pickle.Pickler):
    """A fast pickler that hands what must travel by value to dill, and leaves all else as it is."""

    def reducer_override(self, obj: Any) -> Any:
        if isinstance(obj, type) and is_by_value(obj):
            return _class_reduction(obj)
        if isinstance(obj, types.FunctionType) and is_by_value(obj):
            return _load, (_dumps(obj),)
        return NotImplemented


class _DillPickler(dill.Pickler):  # type: ignore[misc]
    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=pickle.HIGHEST_PROTOCOL, recurse=True)

    def save(self, obj: Any, save_persistent_id: bool = True) -> None:
        if isinstance(obj, enum.EnumMeta) and id(obj) not in self.memo and is_by_value(obj):
            self.save_reduce(_define_enum, _parts_of_enum(obj), obj=obj)  # dill cannot
        elif isinstance(obj, TypeVar) and id(obj) not in self.memo and not importable(obj):
            bounds = {"bound": obj.__bound__, "covariant": obj.__covariant__, "contravariant": obj.__contravariant__}
            self.save_reduce(_type_var, (obj.__name__, obj.__constraints__, bounds), obj=obj)
        else:
            super().save(obj, save_persistent_id)

    def save_reduce(self, func: Any, args: Any, *rest: Any, obj: Any = None, **named: Any) -> Any:
        if func in _MAKERS and isinstance(obj, type):
            func, args = _define, (_token(obj), func, args)
        return super().save_reduce(func, args, *rest, obj=obj, **named)


def _dumps(obj: Any) -> bytes:
    file = io.BytesIO()
    _DillPickler(file).dump(obj)
    return file.getvalue()


def _load(data: bytes) -> Any:
    return dill.loads(data)


def _token(cls: type) -> str:
    token = _tokens.get(cls)
    if token is None:
        token = uuid.uuid4().hex
        _tokens[cls] = token
        _classes[token] = cls
    return token


def _class_reduction(cls: type) -> tuple[Callable[..., Any], tuple[Any, ...]]:
    token = _token(cls)
    if token in _foreign:
        return _known, (token,)
    now = captured(cls)
    kept = _written.get(cls)
    if kept and now is not None and same(kept[0], now):
        return _read_class, (token, kept[1], kept[2])
    data, version = _dumps(cls), uuid.uuid4().hex
    if now is not None:
        _written[cls] = (now, version, data)
    return _read_class, (token, version, data)


def _read_class(token: str, version: str, data: bytes) -> type:
    is_ours = token in _classes and token not in _foreign
    if not is_ours and _read.get(token) != version:
        dill.loads(data)
        _read[token] = version
    return _classes[token]


def _known(token: str) -> type:
    try:
        return _classes[token]
    except KeyError:
        raise pickle.UnpicklingError("a class that this process has never defined or has forgotten") from None


def _define(token: str, make: Callable[..., type], args: tuple[Any, ...]) -> type:
    """Make the class of this token, or bring the one that is here up to date."""
    known = _classes.get(token)
    if known is None:
        made = make(*args)
        _classes[token] = made
        _tokens[made] = token
        _foreign.add(token)
        return made
    if token in _foreign and make is _MAKERS[0]:
        for name, value in args[3].items():
            if name not in ("__dict__", "__weakref__", "__doc__", "__module__", "__slots__"):
                setattr(known, name, value)
    return known


def _parts_of_enum(cls: enum.EnumMeta) -> tuple[Any, ...]:
    by_name: dict[str, Any] = dict(cls.__members__)
    members = [(name, member.value) for name, member in by_name.items()]
    written = {name: value for name, value in vars(cls).items() if _is_written_in(value, cls)}
    return _token(cls), type(cls), cls.__name__, cls.__qualname__, cls.__module__, cls.__bases__, members, written


def _is_written_in(value: Any, cls: type) -> bool:
    """A method of the class itself, and not one that the enum machinery has put there."""
    if isinstance(value, property):
        value = value.fget
    function = getattr(value, "__func__", value)
    return isinstance(function, types.FunctionType) and function.__qualname__.startswith(cls.__qualname__ + ".")


def _define_enum(
    token: str,
    meta: type[enum.EnumMeta],
    name: str,
    qualname: str,
    module: str,
    bases: tuple[type, ...],
    members: list[tuple[str, Any]],
    written: dict[str, Any],
) -> type:
    known = _classes.get(token)
    if known is not None:
        return known
    namespace = meta.__prepare__(name, bases)
    namespace["__module__"], namespace["__qualname__"] = module, qualname
    for key, value in (*members, *written.items()):
        namespace[key] = value
    made = meta(name, bases, namespace)
    _classes[token] = made
    _tokens[made] = token
    _foreign.add(token)
    return made


def _type_var(name: str, constraints: tuple[Any, ...], bounds: dict[str, Any]) -> Any:
    return TypeVar(name, *constraints, **bounds)


def captured(obj: Any) -> tuple[Any, ...] | None:
    """All that goes into a function or class when it is written, for ``same``; None: some of it can change in place."""
    parts: list[Any] = []
    return tuple(parts) if _capture(obj, parts, set()) else None


def same(a: tuple[Any, ...], b: tuple[Any, ...]) -> bool:
    """Are these the same objects?"""
    return len(a) == len(b) and all(x is y for x, y in zip(a, b, strict=True))


def _capture(obj: Any, parts: list[Any], seen: set[int]) -> bool:
    if isinstance(obj, _ATOMS):
        parts.append(obj)
        return True
    if isinstance(obj, tuple | frozenset) and type(obj) in (tuple, frozenset):
        parts.append(obj)
        return all(_capture(x, parts, seen) for x in obj)
    if id(obj) in seen:
        return True
    seen.add(id(obj))
    parts.append(obj)
    if isinstance(obj, types.ModuleType | types.BuiltinFunctionType):
        return True
    if isinstance(obj, types.FunctionType):
        return importable(obj) or _capture_function(obj, parts, seen)
    if isinstance(obj, type):
        return obj.__module__ == "builtins" or importable(obj) or _capture_class(obj, parts, seen)
    if isinstance(obj, staticmethod | classmethod):
        return _capture(obj.__func__, parts, seen)
    if isinstance(obj, property):
        return all(_capture(f, parts, seen) for f in (obj.fget, obj.fset, obj.fdel))
    return False


def _capture_function(fn: types.FunctionType, parts: list[Any], seen: set[int]) -> bool:
    parts.append(fn.__code__)
    if fn.__kwdefaults__ or fn.__dict__:
        return False
    cells = [_content(cell) for cell in fn.__closure__ or ()]
    names = [fn.__globals__.get(name, _MISSING) for name in global_names(fn.__code__)]
    for value in (*(fn.__defaults__ or ()), *cells, *names):
        if value is _MISSING:
            parts.append(value)
        elif not _capture(value, parts, seen):
            return False
    return True


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _MISSING


def _capture_class(cls: type, parts: list[Any], seen: set[int]) -> bool:
    for name, value in vars(cls).items():
        if name in ("__dict__", "__weakref__", "__annotations__", "__dataclass_params__", "__match_args__"):
            continue
        parts.append(name)
        if isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType):
            continue
        if name == "__dataclass_fields__":
            parts.append(value)
            continue
        if not _capture(value, parts, seen):
            return False
    return all(_capture(base, parts, seen) for base in cls.__bases__)


_names: WeakKeyDictionary[types.CodeType, tuple[str, ...]] = WeakKeyDictionary()


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names that the code, or code within it, may look up as globals (attribute names among them; they do no harm)."""
    names = _names.get(code)
    if names is None:
        names = tuple(dict.fromkeys(_walk_names(code)))
        _names[code] = names
    return names


def _walk_names(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _walk_names(constant)
