"""What goes into the pickle of a function or class that travels by value, and whether it is still the same.

A function's pickle is kept from one submit to the next, so the question is asked for each task, and must cost next to
nothing. ``captured`` walks once through all that is written: code, defaults, closure cells, the globals that are named,
and of those that are functions or classes of a script the same. It notes every place where another object could be put,
and ``unchanged`` looks only whether the same objects are still there. What can change in place (a list, an instance) is
known by its own pickle, which is compared.
"""

from __future__ import annotations

import pickle
import sys
import types
from collections.abc import Iterator, Mapping
from typing import Any
from weakref import WeakKeyDictionary

_ATOMS = (int, float, complex, str, bytes, bool, type(None), type(...), type(NotImplemented), range)
_MISSING = object()

#: Of a class: made anew by whoever defines it, or of no account for what it does. (copyreg keeps __slotnames__ there.)
_NOT_WRITTEN = (
    "__dict__",
    "__weakref__",
    "__annotations__",
    "__slotnames__",
    "__dataclass_params__",
    "__match_args__",
    "_abc_impl",
)


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


class Captured:
    """All that goes into one function or class."""

    __slots__ = ("_bases", "_bindings", "_cells", "_codes", "_imports", "_sizes", "_state", "_things")

    def __init__(self, obj: Any) -> None:
        self._codes: list[tuple[types.FunctionType, Any, Any, Any]] = []
        self._bindings: list[tuple[Mapping[str, Any], str, Any]] = []  # in a namespace, a name, an object
        self._cells: list[tuple[types.CellType, Any]] = []
        self._sizes: list[tuple[Mapping[str, Any], int]] = []  # of namespaces in which no name may be added
        self._bases: list[tuple[type, tuple[type, ...]]] = []
        self._imports: list[Any] = []  # what is found by its name in a way of its own
        self._things: list[Any] = []  # what can change in place
        self._add(obj, set())
        self._state = self._pickled()

    def unchanged(self) -> bool:
        """Would it be written as it was?"""
        for fn, code, defaults, keyword_defaults in self._codes:
            if fn.__code__ is not code or fn.__defaults__ is not defaults or fn.__kwdefaults__ is not keyword_defaults:
                return False
        for namespace, name, value in self._bindings:
            if namespace.get(name, _MISSING) is not value:
                return False
        for cell, value in self._cells:
            if _content(cell) is not value:
                return False
        for every, n in self._sizes:
            if _size(every) != n:
                return False
        for cls, bases in self._bases:
            if cls.__bases__ is not bases:
                return False
        for obj in self._imports:
            if not importable(obj):
                return False
        return not self._things or self._pickled() == self._state

    def _pickled(self) -> bytes:
        """What can change in place, as it is now. Raises whatever says that it cannot be known so."""
        data = pickle.dumps(self._things, 5) if self._things else b""
        if b"__main__" in data:  # an instance of a class of the script, which may change, too
            raise pickle.PicklingError("it refers to the script")
        return data

    def _add(self, obj: Any, seen: set[int]) -> None:
        if isinstance(obj, _ATOMS):
            return
        if id(obj) in seen:
            return
        seen.add(id(obj))
        if type(obj) in (tuple, frozenset):
            for item in obj:
                self._add(item, seen)
        elif isinstance(obj, types.FunctionType):
            if importable(obj):
                self._add_import(obj)
            else:
                self._add_function(obj, seen)
        elif isinstance(obj, type):
            if importable(obj):
                self._add_import(obj)
            elif obj.__module__ != "builtins":
                self._add_class(obj, seen)
        elif isinstance(obj, staticmethod | classmethod):
            self._add(obj.__func__, seen)
        elif isinstance(obj, property):
            for function in (obj.fget, obj.fset, obj.fdel):
                self._add(function, seen)
        elif not isinstance(obj, types.ModuleType) and not _is_builtin(obj):
            self._things.append(obj)

    def _add_import(self, obj: Any) -> None:
        module = sys.modules[obj.__module__]
        self._bindings.append((sys.modules, obj.__module__, module))
        namespace: Mapping[str, Any] = vars(module)
        *outer, name = obj.__qualname__.split(".")
        if outer or namespace.get(name) is not obj:
            self._imports.append(obj)
        else:
            self._bindings.append((namespace, name, obj))

    def _add_function(self, fn: types.FunctionType, seen: set[int]) -> None:
        self._codes.append((fn, fn.__code__, fn.__defaults__, fn.__kwdefaults__))
        self._add(fn.__defaults__, seen)
        if fn.__kwdefaults__:
            self._add_namespace(fn.__kwdefaults__, seen)
        self._add_namespace(fn.__dict__, seen)
        for cell in fn.__closure__ or ():
            content = _content(cell)
            self._cells.append((cell, content))
            if content is not _MISSING:
                self._add(content, seen)
        for name in global_names(fn.__code__):
            self._add_binding(fn.__globals__, name, seen)

    def _add_class(self, cls: type, seen: set[int]) -> None:
        self._bases.append((cls, cls.__bases__))
        for base in cls.__bases__:
            self._add(base, seen)
        self._add_namespace(vars(cls), seen)

    def _add_namespace(self, namespace: Mapping[str, Any], seen: set[int]) -> None:
        """Every name of it."""
        self._sizes.append((namespace, _size(namespace)))
        for name in namespace:
            if name not in _NOT_WRITTEN:
                self._add_binding(namespace, name, seen)

    def _add_binding(self, namespace: Mapping[str, Any], name: str, seen: set[int]) -> None:
        value = namespace.get(name, _MISSING)
        self._bindings.append((namespace, name, value))
        known = isinstance(value, types.MemberDescriptorType | types.GetSetDescriptorType)
        if value is not _MISSING and not known and name != "__dataclass_fields__":
            self._add(value, seen)


def captured(obj: Any) -> Captured | None:
    """Of a function or class. None: nobody can tell whether it has changed."""
    try:
        return Captured(obj)
    except Exception:  # something that can change in place has no pickle of its own
        return None


def _is_builtin(obj: Any) -> bool:
    """A function of C that is nobody's method."""
    if not isinstance(obj, types.BuiltinFunctionType):
        return False
    return obj.__self__ is None or isinstance(obj.__self__, types.ModuleType)


def _size(namespace: Mapping[str, Any]) -> int:
    """How many names it has that are written."""
    return len(namespace) - sum([name in namespace for name in _NOT_WRITTEN]) if namespace else 0


def _content(cell: types.CellType) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # not filled yet
        return _MISSING


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
