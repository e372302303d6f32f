"""Functions and classes made anew from what was written of them. Called by pickles of ``by_value`` and by ``mirror``.

Nothing of the user's runs here: no metaclass, no ``__init_subclass__``, no ``__set_name__``. A class is made as it was
when it was written, attribute by attribute, and not as its script made it.

An object has a *token*. A process makes an object of a token once; a pickle that comes later brings it up to date. So
``isinstance`` holds between a function's class and an argument's, and an instance that a task returns is of the very
class that the script defined.
"""

from __future__ import annotations

import abc
import enum
import functools
import importlib
import itertools
import marshal
import sys
import types
import typing
import uuid
import weakref
from typing import Any

_PREFIX = uuid.uuid4().hex[:16]  # of the tokens of this process
_numbers = itertools.count()
_tokens: dict[int, tuple[str, weakref.ref[Any]]] = {}  # of functions and classes, by identity: some have no hash
_made: weakref.WeakValueDictionary[str, Any] = weakref.WeakValueDictionary()  # by token
_ours: set[str] = set()  # tokens of classes that were defined in this process: what comes back changes nothing

EMPTY = "xse: an empty cell"  # in place of a cell's content


def token_of(obj: Any) -> str:
    """The token of a function or class of this process."""
    token = known_token(obj)
    if not token:
        token = f"{_PREFIX}{next(_numbers):x}"
        remember(token, obj)
        if isinstance(obj, type):
            _ours.add(token)
            weakref.finalize(obj, _ours.discard, token).atexit = False
    return token


def known_token(obj: Any) -> str:
    """The token that a function or class has already, or an empty text."""
    token, reference = _tokens.get(id(obj), ("", None))
    return token if reference is not None and reference() is obj else ""


def remember(token: str, obj: Any) -> Any:
    """This is the object of the token from now on."""
    key = id(obj)
    _tokens[key] = token, weakref.ref(obj, lambda gone: _forget_token(key, gone))
    _made[token] = obj
    return obj


def _forget_token(key: int, gone: weakref.ref[Any]) -> None:
    known = _tokens.get(key)
    if known is not None and known[1] is gone:
        _tokens.pop(key, None)


def forget(token: str) -> None:
    """The next object of this token is made anew."""
    _made.pop(token, None)


def made(token: str) -> Any:
    """The object of this token, if this process has it."""
    return _made.get(token)


# ---- functions


def make_cell() -> types.CellType:
    return types.CellType()


def make_namespace(name: str) -> dict[str, Any]:
    """Globals of functions that have no module."""
    return {"__name__": name, "__builtins__": __builtins__}


def make_code(data: bytes) -> types.CodeType:
    return marshal.loads(data)  # type: ignore[no-any-return]


def make_function(
    code: types.CodeType, where: str | dict[str, Any], name: str, cells: tuple[types.CellType, ...]
) -> types.FunctionType:
    """A function without its state. ``where``: its globals, or the module that they are of."""
    namespace = vars(importlib.import_module(where)) if isinstance(where, str) else where
    return types.FunctionType(code, namespace, name, None, cells or None)


def set_function(fn: types.FunctionType, state: dict[str, Any]) -> None:
    """Give a function what was written of it beside its code."""
    state = dict(state)
    for key, value in state.pop("globals", {}).items():
        fn.__globals__.setdefault(key, value)
    for cell, content in zip(fn.__closure__ or (), state.pop("cells"), strict=True):
        if type(content) is not str or content != EMPTY:
            cell.cell_contents = content
    attributes = state.pop("__dict__")
    fn.__dict__.clear()
    fn.__dict__.update(attributes)
    for name, value in state.items():
        setattr(fn, name, value)


# ---- classes


def make_class(
    token: str,
    meta: type[type],
    name: str,
    bases: tuple[type, ...],
    namespace: dict[str, Any],
    members: list[tuple[str, Any]] | None,
) -> type:
    """A class without its attributes. ``members``: of an enum, name and what its base's ``__new__`` takes."""
    known = _made.get(token)
    if known is not None:
        return known  # type: ignore[no-any-return]
    hooks = _without_hooks(bases)
    try:
        cls: type = type.__new__(meta, name, bases, dict(namespace))
    finally:
        for base, hook in hooks:
            type.__setattr__(base, "__init_subclass__", hook)
    if issubclass(meta, abc.ABCMeta):
        abc._abc_init(cls)  # type: ignore[attr-defined]
    if members is not None:
        type.__setattr__(cls, "_member_map_", _shells(cls, members))
    return remember(token, cls)  # type: ignore[no-any-return]


def _nothing(cls: type, /, **_: Any) -> None:
    """In place of a hook of the user's."""


def _without_hooks(bases: tuple[type, ...]) -> list[tuple[type, Any]]:
    """Take ``__init_subclass__`` away from the bases for a moment: what it did in the script is written already."""
    taken: list[tuple[type, Any]] = []
    for base in {b: None for direct in bases for b in direct.__mro__}:
        hook = vars(base).get("__init_subclass__")
        if hook is not None and base is not object:
            try:
                type.__setattr__(base, "__init_subclass__", classmethod(_nothing))
            except TypeError:  # a type of C
                continue
            taken.append((base, hook))
    return taken


def set_class(cls: type, state: dict[str, Any]) -> None:
    """Give a class its attributes; those that it was given before, and that are not among them, go."""
    token = known_token(cls)
    if token in _ours:
        return
    attributes: dict[str, Any] = state["attributes"]
    given = _given.get(token, set())
    for name in given - attributes.keys():
        if name in vars(cls):
            type.__delattr__(cls, name)
    _given[token] = set(attributes)
    if not given:
        weakref.finalize(cls, _given.pop, token, None).atexit = False
    for name, member_state in state["members"] or ():
        vars(cls)["_member_map_"][name].__dict__.update(member_state)
    for name, value in attributes.items():
        type.__setattr__(cls, name, value)
    if isinstance(cls, abc.ABCMeta):
        abc._abc_init(cls)  # type: ignore[attr-defined]
        for subclass in state["registered"]:
            abc.ABCMeta.register(cls, subclass)
    if not given:
        _tell_library(cls)


_given: dict[str, set[str]] = {}  # attributes of a class, by its token


def _tell_library(cls: type) -> None:
    """A base that the worker has imported keeps a register of its own, perhaps."""
    for base in cls.__mro__[1:]:
        if "__init_subclass__" in vars(base):
            if base.__module__.partition(".")[0] in sys.stdlib_module_names or known_token(base):
                return
            try:
                super(cls, cls).__init_subclass__()  # type: ignore[arg-type]
            except Exception:  # it wants arguments that nobody has kept
                return
            return


def _shells(cls: type, members: list[tuple[str, Any]]) -> dict[str, Any]:
    base = static_base(cls)
    return {name: base.__new__(cls, *args) for name, args in members}


def static_base(cls: type) -> type:
    """The first base that is not made by a class statement: object, int, str."""
    return next(base for base in cls.__mro__ if not base.__flags__ & 1 << 9)  # Py_TPFLAGS_HEAPTYPE


def enum_member(cls: type, name: str) -> Any:
    return vars(cls)["_member_map_"][name]


# ---- what else pickle does not write


def constant(module: str, name: str) -> Any:
    return getattr(importlib.import_module(module), name)


def make_property(cls: type, parts: tuple[Any, ...]) -> Any:
    return cls(*parts)


def make_cached_property(cls: Any, function: Any, name: str | None) -> Any:
    made = cls(function)
    made.attrname = name
    return made


def make_lru_cache(function: Any, maxsize: int | None, typed: bool) -> Any:
    return functools.lru_cache(maxsize, typed)(function)


def set_attributes(obj: Any, attributes: dict[str, Any]) -> None:
    obj.__dict__.update(attributes)


def make_type_var(kind: str, name: str, constraints: tuple[Any, ...], options: dict[str, Any]) -> Any:
    return getattr(typing, kind)(name, *constraints, **options)


def make_exception(cls: type[BaseException], args: tuple[Any, ...], attributes: dict[str, Any]) -> BaseException:
    """An exception whose ``__init__`` takes other arguments than it has kept."""
    error = cls.__new__(cls, *args)
    BaseException.__setattr__(error, "args", args)  # the class may refuse to be given attributes
    error.__dict__.update(attributes)
    return error


def is_enum(cls: type) -> bool:
    """An enum with members: the machinery of the class's own is written, too."""
    return isinstance(cls, enum.EnumMeta) and "_member_map_" in vars(cls)
