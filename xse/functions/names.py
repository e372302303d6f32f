"""Names: what a module and a qualified name mean, and which modules another process can import.

A module is *mirrored* when a worker cannot import it as the script has it: ``__main__``, modules made in a notebook,
modules loaded by path. Each worker has one namespace in the place of a mirrored module (``mirror.py``).
"""

from __future__ import annotations

import os
import sys
import types
from collections.abc import Iterator
from typing import Any
from weakref import WeakKeyDictionary

MISSING = object()

_judged: dict[str, tuple[types.ModuleType, bool]] = {}  # by name: the module, and whether it is mirrored
_names: WeakKeyDictionary[types.CodeType, tuple[tuple[str, ...], tuple[str, ...]]] = WeakKeyDictionary()


def find(module: Any, qualname: Any) -> Any:
    """The object of this name, looked up as pickle does. ``MISSING``: there is none."""
    if not isinstance(module, str) or not isinstance(qualname, str):
        return MISSING
    found: Any = sys.modules.get(module, MISSING)
    for part in qualname.split("."):
        try:
            found = getattr(found, part)
        except Exception:
            return MISSING
    return found


def is_named(obj: Any) -> bool:
    """Does the name of this function or class lead to this very object?"""
    return find(obj.__module__, obj.__qualname__) is obj


def holder(obj: Any) -> tuple[str, str]:
    """The definition that holds a named function or class: module and name. A method is held by its class."""
    module, qualname = obj.__module__, obj.__qualname__
    while not isinstance(obj, type) and "." in qualname:
        qualname = qualname.rpartition(".")[0]
        obj = find(module, qualname)
    return module, qualname


def is_mirrored(name: str) -> bool:
    """Can a worker not import the module of this name?"""
    module = sys.modules.get(name)
    if module is None:
        return False
    known = _judged.get(name)
    if known is None or known[0] is not module:
        known = _judged[name] = (module, not _importable(name, module))
    return known[1]


def _importable(name: str, module: types.ModuleType) -> bool:
    if name in ("__main__", "__mp_main__"):
        return False
    if name in sys.builtin_module_names or name in sys.stdlib_module_names:
        return True
    parent = sys.modules.get(name.rpartition(".")[0]) if "." in name else None
    if parent is not None and is_mirrored(parent.__name__):
        return False
    spec = getattr(module, "__spec__", None)
    search = getattr(parent, "__path__", None) if parent is not None else None
    for finder in list(sys.meta_path):
        if getattr(finder, "__module__", "") == "__main__":  # no worker has it
            continue
        try:
            found = finder.find_spec(name, search)
        except Exception:
            continue
        if found is not None:
            return spec is None or _same_file(found.origin, spec.origin)
    # What its package puts into sys.modules by itself (os.path, six.moves) comes with the package.
    return spec is None and parent is not None


def _same_file(a: str | None, b: str | None) -> bool:
    if a == b:
        return True
    try:
        return a is not None and b is not None and os.path.samefile(a, b)
    except OSError:  # in a zip file
        return a is not None and b is not None and os.path.realpath(a) == os.path.realpath(b)


def module_of_globals(fn: types.FunctionType) -> str | None:
    """The module whose namespace a function looks its globals up in. None: a namespace of its own."""
    name = fn.__globals__.get("__name__")
    module = sys.modules.get(name) if isinstance(name, str) else None
    return name if module is not None and vars(module) is fn.__globals__ else None


def global_names(code: types.CodeType) -> tuple[str, ...]:
    """Names that this code, or code within it, reads or sets as globals."""
    return _names_of(code)[0]


def attribute_names(code: types.CodeType) -> tuple[str, ...]:
    """All other names in this code and in code within it: attributes, methods, modules."""
    return _names_of(code)[1]


def _names_of(code: types.CodeType) -> tuple[tuple[str, ...], tuple[str, ...]]:
    known = _names.get(code)
    if known is None:
        read = dict.fromkeys(_walk(code))
        known = _names[code] = tuple(read), tuple(n for n in _all(code) if n not in read)
    return known


def _walk(code: types.CodeType) -> Iterator[str]:
    import dis

    names = code.co_names
    # A function has STORE_NAME and LOAD_NAME only in class bodies within it, which may look further.
    for op in dis.get_instructions(code) if names else ():
        if op.argval in names and ("_GLOBAL" in op.opname or op.opname in ("LOAD_NAME", "LOAD_FROM_DICT_OR_GLOBALS")):
            yield op.argval
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _walk(constant)


def _all(code: types.CodeType) -> Iterator[str]:
    yield from code.co_names
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _all(constant)
