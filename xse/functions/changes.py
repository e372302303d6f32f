"""What a function or class was when it was written, and whether it is still the same.

The question is asked at each submit, so it costs next to nothing: are the same objects in the same places? What can
change in place (a list, an instance) is compared by its pickle, if that is small; a large one counts as changed when
its name is bound to another object. Nothing large is ever pickled to see that it has not changed.
"""

from __future__ import annotations

import abc
import pickle
import sys
import types
from collections.abc import Callable, Iterable, Mapping
from operator import is_
from typing import Any

from xse.functions import by_value
from xse.functions.by_value import NOT_WRITTEN, content_of
from xse.functions.names import MISSING, global_names, is_mirrored, is_named, module_of_globals
from xse.functions.rebuild import is_enum

SMALL = 4096  # bytes of a pickle, up to which an object that can change in place is compared by it

_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented), range)
_STILL = (types.ModuleType, types.BuiltinFunctionType, types.MemberDescriptorType, types.GetSetDescriptorType)


class Changes:
    """Watches what was written. ``merge`` makes one of several, which looks at each thing once."""

    __slots__ = (
        "_bases",
        "_bindings",
        "_cells",
        "_codes",
        "_empty",
        "_functions",
        "_mappings",
        "_names",
        "_registrations",
        "_rest",
        "_root",
        "_small",
        "_state",
    )

    def __init__(self) -> None:
        self._names: dict[int, tuple[Mapping[str, Any], dict[str, Any]]] = {}  # in a namespace: names and objects
        self._functions: dict[int, tuple[types.FunctionType, Any, Any, Any]] = {}
        self._cells: dict[int, tuple[types.CellType, Any]] = {}
        self._mappings: dict[int, tuple[Mapping[str, Any], list[str], list[Any]]] = {}  # every name of them
        self._bases: dict[int, tuple[type, tuple[type, ...]]] = {}
        self._small: dict[int, Any] = {}  # what can change in place
        self._root: tuple[Any, Any, Any, list[Any]] | None = None  # of a function without a name, which is not held
        self._registrations: object = None  # abc's counter of them; None: no ABC is among the classes
        self._state = b""
        self._empty: list[Mapping[str, Any]] = []  # namespaces of functions that had nothing in them
        # The same as above, as ``unchanged`` reads it:
        self._bindings: list[tuple[Callable[..., Any], str, Any]] = []
        self._codes: list[tuple[types.FunctionType, Any, Any, Any]] = []
        self._rest = False

    def unchanged(self, root: Any = None) -> bool:
        """Would it be written as it was? ``root``: what ``add_unnamed`` was given. Raises whatever the pickle of
        something small raises now."""
        if self._root is not None and not _is_same_root(root, self._root):
            return False
        for get, name, value in self._bindings:
            if get(name, MISSING) is not value:
                return False
        for fn, code, defaults, named in self._codes:
            if fn.__code__ is not code or fn.__defaults__ is not defaults or fn.__kwdefaults__ is not named:
                return False
        if any(self._empty):
            return False
        return not self._rest or self._rest_is_unchanged()

    def _rest_is_unchanged(self) -> bool:
        for cell, value in self._cells.values():
            if content_of(cell, MISSING) is not value:
                return False
        for mapping, keys, values in self._mappings.values():
            if len(mapping) != len(keys) or not all(map(is_, mapping.values(), values)) or list(mapping) != keys:
                return False
        for cls, bases in self._bases.values():
            if cls.__bases__ is not bases:
                return False
        if self._registrations is not None and self._registrations != abc.get_cache_token():
            return False
        return not self._small or _pickled(list(self._small.values())) == self._state

    # ---- noting

    def name(self, namespace: Mapping[str, Any], name: str) -> None:
        """What this name is bound to."""
        _, names = self._names.setdefault(id(namespace), (namespace, {}))
        names[name] = namespace.get(name, MISSING)

    def add(self, obj: Any, *, whole: bool = True) -> None:
        """All that is written of an object. ``whole`` False: it is known to be large, and counts as one."""
        self._walk(obj, set(), True, whole)

    def add_unnamed(self, fn: types.FunctionType) -> None:
        """As ``add``, of a function that nobody may be held by this: when it goes, this is of no use."""
        cells = [content_of(cell, MISSING) for cell in fn.__closure__ or ()]
        self._root = fn.__code__, fn.__defaults__, fn.__kwdefaults__, [_ROOT if c is fn else c for c in cells]
        self._function(fn, {id(fn)}, is_held=False)

    def keep_root(self, other: Changes) -> None:
        """Watch the function without a name that the other watches, too."""
        self._root = other._root

    def done(self) -> Changes:
        """All is noted."""
        if self._small:
            self._state = _pickled(list(self._small.values()))
        for namespace, names in self._names.values():
            self._bindings += [(namespace.get, name, value) for name, value in names.items()]
        self._codes = list(self._functions.values())
        others = (self._cells, self._mappings, self._bases, self._small)
        self._rest = any(others) or self._registrations is not None
        return self

    @classmethod
    def merge(cls, several: Iterable[Changes]) -> Changes:
        merged = cls()
        for one in several:
            for key, (namespace, names) in one._names.items():
                merged._names.setdefault(key, (namespace, {}))[1].update(names)
            merged._functions |= one._functions
            merged._cells |= one._cells
            merged._mappings |= one._mappings
            merged._bases |= one._bases
            merged._empty += one._empty
            merged._small |= one._small
            merged._registrations = merged._registrations or one._registrations
        return merged.done()

    def _walk(self, obj: Any, seen: set[int], is_root: bool, whole: bool) -> None:
        if isinstance(obj, _ATOMS) and type(obj) in _ATOMS:
            return
        if id(obj) in seen:
            return
        seen.add(id(obj))
        if type(obj) in (tuple, frozenset):
            for item in obj:
                self._walk(item, seen, False, whole)
        elif isinstance(obj, types.FunctionType):
            if is_root or not is_named(obj):
                self._function(obj, seen)
        elif isinstance(obj, type):
            if obj.__module__ != "builtins" and (is_root or not is_named(obj)):
                self._class(obj, seen)
        elif isinstance(obj, staticmethod | classmethod):
            self._walk(obj.__func__, seen, True, whole)
        elif isinstance(obj, property):
            for function in (obj.fget, obj.fset, obj.fdel):
                self._walk(function, seen, True, whole)
        elif not isinstance(obj, _STILL) and whole and _is_small(obj):
            self._small[id(obj)] = obj

    def _function(self, fn: types.FunctionType, seen: set[int], is_held: bool = True) -> None:
        if is_held:
            self._functions[id(fn)] = (fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__)
        self._walk(fn.__defaults__, seen, False, True)
        for mapping in (fn.__kwdefaults__, fn.__dict__):
            if mapping is not None:
                self._mapping(id(mapping), mapping, mapping, seen)
        for cell in fn.__closure__ or ():
            content = content_of(cell, MISSING)
            if is_held:
                self._cells[id(cell)] = (cell, content)
            if content is not MISSING:
                self._walk(content, seen, False, True)
        module = module_of_globals(fn)
        if module is None or is_mirrored(module):
            for name in global_names(fn.__code__):
                self.name(fn.__globals__, name)
        for other, name in by_value.names_needed(fn, module or ""):
            self.name(vars(sys.modules[other]), name)

    def _class(self, cls: type, seen: set[int]) -> None:
        self._bases[id(cls)] = (cls, cls.__bases__)
        for base in (type(cls), *cls.__bases__):
            self._walk(base, seen, False, True)
        if isinstance(cls, abc.ABCMeta):
            self._registrations = abc.get_cache_token()
        inside = {name: value for name, value in vars(cls).items() if not _is_machinery(name, cls)}
        self._mapping(id(cls), vars(cls), inside, seen, own=f"{cls.__qualname__}.")

    def _mapping(
        self, key: int, mapping: Mapping[str, Any], inside: Mapping[str, Any], seen: set[int], own: str = ""
    ) -> None:
        if not mapping and not own:
            self._empty.append(mapping)
            return
        self._mappings[key] = (mapping, list(mapping), list(mapping.values()))
        for value in inside.values():
            is_own = isinstance(value, types.FunctionType) and value.__qualname__.startswith(own)
            self._walk(value, seen, bool(own) and is_own, True)


_ROOT = object()  # a function that refers to itself, in its own cells


def _is_same_root(fn: types.FunctionType, root: tuple[Any, Any, Any, list[Any]]) -> bool:
    code, defaults, named, contents = root
    if fn.__code__ is not code or fn.__defaults__ is not defaults or fn.__kwdefaults__ is not named:
        return False
    for cell, content in zip(fn.__closure__ or (), contents, strict=True):
        now = content_of(cell, MISSING)
        if now is not content and not (content is _ROOT and now is fn):
            return False
    return True


def _is_machinery(name: str, cls: type) -> bool:
    """Made by whoever makes the class, and changed with it."""
    return (
        name in NOT_WRITTEN
        or name in ("__annotations__", "__dataclass_fields__", "__dataclass_params__")
        or (name.startswith("_") and is_enum(cls) and not name.startswith("__"))
    )


def _is_small(obj: Any) -> bool:
    """Does it have a small pickle? What is plainly large is not asked for one."""
    try:
        if getattr(type(obj), "nbytes", None) is not None and obj.nbytes > SMALL:
            return False
        if hasattr(type(obj), "__len__") and len(obj) > SMALL:
            return False
        return len(_pickled([obj])) <= SMALL
    except Exception:  # it has none, and whoever writes it will say so
        return False


def _pickled(things: list[Any]) -> bytes:
    try:
        return pickle.dumps(things, by_value.PROTOCOL)
    except Exception:  # a lambda is among them, or a local class
        return by_value.dumps(things)
