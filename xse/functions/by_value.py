"""Functions and classes that the other side cannot import travel by value: those of ``__main__``, lambdas, closures.

dill writes them, with the globals they name (and no others). A class keeps its identity: it has a token, and a process
makes a class of a token once, so that ``isinstance`` and ``==`` hold between a function's class and an argument's, and
an instance that a task returns is of the very class that the script defined.
"""

from __future__ import annotations

import enum
import io
import pickle
import types
import uuid
from collections.abc import Callable
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

import dill

from xse.functions.captured import Captured, captured, importable

_MAKERS: tuple[Callable[..., Any], ...] = (
    dill._dill._create_type,
    dill._dill._create_namedtuple,
    types.new_class,
)

_classes: dict[str, type] = {}  # token -> the class here
_tokens: WeakKeyDictionary[type, str] = WeakKeyDictionary()  # class -> token
_written: WeakKeyDictionary[type, tuple[Captured, str, bytes]] = WeakKeyDictionary()
_read: dict[str, str] = {}  # token -> which text of the class was read last
_foreign: set[str] = set()  # tokens of classes that were made elsewhere: the other side has them


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
    kept = _written.get(cls)
    if kept and kept[0].unchanged():
        return _read_class, (token, kept[1], kept[2])
    parts = captured(cls)
    data, version = _dumps(cls), uuid.uuid4().hex
    if parts is not None:
        _written[cls] = (parts, version, data)
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
