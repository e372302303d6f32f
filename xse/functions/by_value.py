"""The pickler of both sides: by reference what has a name, by value what has none, and never what must stay at home.

The C pickler writes everything; it asks ``reducer_override`` about whatever is no plain data. What a mirrored module
holds is pickled by name and noted in ``needs``: the worker must have its definition (``definitions.py``). Lambdas,
closures and local classes have no name and go by value. Files, locks, sockets and their like are refused.
"""

from __future__ import annotations

import abc
import builtins
import copyreg
import dataclasses
import functools
import importlib
import io
import marshal
import pickle
import sys
import types
import typing
import weakref
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

from xse.functions import rebuild
from xse.functions.names import (
    attribute_names,
    find,
    global_names,
    holder,
    is_mirrored,
    is_named,
    module_of_globals,
)

PROTOCOL = 5

#: A definition: a mirrored module and a name in it. With an empty name: the module itself.
Key: TypeAlias = tuple[str, str]
Reducer: TypeAlias = "Callable[[Any, Any], Any] | None"

#: Of a class: made anew with it, or of no account for what it does. (copyreg keeps __slotnames__ there.)
NOT_WRITTEN = frozenset(("__dict__", "__weakref__", "__slotnames__", "_abc_impl", "__module__", "__qualname__"))


class Refused(pickle.PicklingError):
    """An object of a kind that must not be sent to another process. ``what``: "an open file"."""

    def __init__(self, what: str) -> None:
        super().__init__(f"{what} cannot be sent to a worker")
        self.what = what


class Pickler(pickle.Pickler):
    """Pickles anything that has a name on the other side, and functions and classes that have none.

    ``needs``: definitions that the pickle refers to are added to it. None: nobody asks, as in a worker.
    ``later``: names that written code looks up when it runs.
    ``current``: the definition that is being written; its own methods go by value, and so does ``root``.
    """

    def __init__(
        self,
        file: Any,
        needs: Callable[[Key], object] | None = None,
        later: Callable[[Key], object] | None = None,
        current: Key | None = None,
        root: Any = None,
        buffer_callback: Any = None,
    ) -> None:
        super().__init__(file, PROTOCOL, buffer_callback=buffer_callback)
        self._need = needs
        self._later = later
        self._current = current
        self._root = root
        self._namespaces: dict[int, Any] = {}  # of functions without a module, by identity
        self._enums: set[type] = set()  # that are being written

    def reducer_override(self, obj: Any) -> Any:
        try:
            reducer = _reducers[type(obj)]
        except KeyError:
            reducer = _choose(type(obj))
        except TypeError:  # a type that has no hash
            reducer = _reducer_of(type(obj))
        return NotImplemented if reducer is None else reducer(self, obj)

    # ---- references

    def named(self, obj: Any) -> bool:
        """By name, and the other side will have it."""
        if obj is self._root or not is_named(obj):
            return False
        if self._need is None or not is_mirrored(obj.__module__):
            return True
        key = holder(obj)
        if key == self._current:
            # Its own methods are parts of it; itself it is referred to by name, as by anything else.
            return not isinstance(obj, types.FunctionType) or "." not in obj.__qualname__
        self._need(key)
        return True

    def _code_needs(self, fn: types.FunctionType, module: str) -> None:
        """What the code will look up when it runs."""
        if self._later is None:
            return
        for other, name in names_needed(fn, module):
            if (other, name) != self._current:
                self._later((other, name))


def names_needed(fn: types.FunctionType, module: str) -> Iterator[Key]:
    """Names of mirrored modules that a function of ``module`` looks up: its globals, and the attributes of modules."""
    namespace = fn.__globals__
    if is_mirrored(module):
        for name in global_names(fn.__code__):
            if name in namespace or not hasattr(builtins, name):
                yield module, name
    for name in global_names(fn.__code__):
        value = namespace.get(name)
        if isinstance(value, types.ModuleType) and is_mirrored(value.__name__):
            for attribute in attribute_names(fn.__code__):
                if attribute in vars(value):
                    yield value.__name__, attribute


# ---- functions


def _function(pickler: Pickler, fn: types.FunctionType) -> Any:
    if pickler.named(fn):
        return NotImplemented
    return (
        rebuild.make_function,
        function_shell(pickler, fn),
        function_state(pickler, fn),
        None,
        None,
        rebuild.set_function,
    )


def function_shell(pickler: Pickler, fn: types.FunctionType) -> tuple[Any, ...]:
    """The arguments of ``make_function``."""
    where: Any = module_of_globals(fn)
    if where is None:
        where = pickler._namespaces.setdefault(id(fn.__globals__), _Namespace(fn.__globals__))
    elif pickler._need is not None and is_mirrored(where):
        pickler._need((where, ""))
    return fn.__code__, where, fn.__name__, tuple(fn.__closure__ or ())


def function_state(pickler: Pickler, fn: types.FunctionType) -> dict[str, Any]:
    """For ``set_function``."""
    module = module_of_globals(fn)
    state: dict[str, Any] = {
        "cells": [content_of(cell, rebuild.EMPTY) for cell in fn.__closure__ or ()],
        "__dict__": fn.__dict__,
        "__module__": fn.__module__,
        "__qualname__": fn.__qualname__,
        "__doc__": fn.__doc__,
        "__defaults__": fn.__defaults__,
        "__kwdefaults__": fn.__kwdefaults__,
        "__annotations__": fn.__annotations__,
    }
    if getattr(fn, "__type_params__", ()):
        state["__type_params__"] = fn.__type_params__  # type: ignore[attr-defined,unused-ignore]
    if module is None:
        used = global_names(fn.__code__)
        state["globals"] = {name: fn.__globals__[name] for name in used if name in fn.__globals__}
        module = ""
    pickler._code_needs(fn, module)
    return state


def content_of(cell: types.CellType, empty: Any) -> Any:
    """``empty``: it has not been filled yet."""
    try:
        return cell.cell_contents
    except ValueError:
        return empty


class _Namespace:
    """The globals of functions without a module, once in a pickle. Each function adds those that it uses."""

    def __init__(self, namespace: dict[str, Any]) -> None:
        self._name = str(namespace.get("__name__", ""))

    def __reduce__(self) -> Any:
        return rebuild.make_namespace, (self._name,)


# ---- classes


def _class(pickler: Pickler, cls: type) -> Any:
    if pickler.named(cls):
        return NotImplemented
    if cls.__module__ == "builtins":
        name = _names_of_types().get(cls)
        return NotImplemented if name is None else (rebuild.constant, ("types", name))
    return rebuild.make_class, class_shell(cls), class_state(pickler, cls), None, None, rebuild.set_class


@functools.cache
def _names_of_types() -> dict[type, str]:
    return {value: name for name, value in vars(types).items() if isinstance(value, type)}


def class_shell(cls: type) -> tuple[Any, ...]:
    """The arguments of ``make_class``."""
    namespace: dict[str, Any] = {"__module__": cls.__module__, "__qualname__": cls.__qualname__}
    attributes = vars(cls)
    if "__slots__" in attributes:
        namespace["__slots__"] = [name for name, value in attributes.items() if _is_slot(value, cls)]
        namespace["__slots__"] += [name for name in ("__dict__", "__weakref__") if name in attributes]
    members = None
    if rebuild.is_enum(cls):
        base = rebuild.static_base(cls)
        canonical = attributes["_member_map_"]
        made = {id(member): () if base is object else base.__getnewargs__(member) for member in canonical.values()}  # type: ignore[attr-defined]
        members = [(name, made[id(member)]) for name, member in canonical.items() if member._name_ == name]
    return rebuild.token_of(cls), type(cls), cls.__name__, cls.__bases__, namespace, members


def _is_slot(value: Any, cls: type) -> bool:
    return isinstance(value, types.MemberDescriptorType) and value.__objclass__ is cls


def class_state(pickler: Pickler, cls: type) -> dict[str, Any]:
    """For ``set_class``."""
    attributes = {
        name: value
        for name, value in vars(cls).items()
        if name not in NOT_WRITTEN and not isinstance(value, types.GetSetDescriptorType) and not _is_slot(value, cls)
    }
    members = None
    if rebuild.is_enum(cls):
        pickler._enums.add(cls)
        canonical = {id(m) for m in attributes["_member_map_"].values()}
        members = [
            (name, {k: None if _is_composite(v, cls, canonical) else v for k, v in member.__dict__.items()})
            for name, member in attributes["_member_map_"].items()
            if member._name_ == name
        ]
        by_value = attributes["_value2member_map_"]
        attributes["_value2member_map_"] = {k: m for k, m in by_value.items() if id(m) in canonical}
    registered: list[type] = []
    if hasattr(cls, "_abc_impl") and "_abc_impl" in vars(cls):
        registered = registered_with(cls)
    return {"attributes": attributes, "members": members, "registered": registered}


def registered_with(cls: type) -> list[type]:
    """Classes that ``cls.register`` was called for."""
    found = [reference() for reference in abc._get_dump(cls)[0]]  # type: ignore[attr-defined]
    return sorted((c for c in found if c is not None), key=lambda c: (c.__module__, c.__qualname__))


def _is_composite(value: Any, cls: type, canonical: set[int]) -> bool:
    """A combination of flags, which is made when it is asked for."""
    return type(value) is cls and id(value) not in canonical


def _instance_of_enum(pickler: Pickler, member: Any) -> Any:
    cls = type(member)
    if cls in pickler._enums and vars(cls)["_member_map_"].get(member._name_) is member:
        return rebuild.enum_member, (cls, member._name_)
    return NotImplemented


# ---- what else


def _module(pickler: Pickler, module: types.ModuleType) -> Any:
    name = module.__name__
    if sys.modules.get(name) is not module:
        raise pickle.PicklingError(f"the module {name} is not in sys.modules: put it there, so that it has a name")
    if pickler._need is not None and is_mirrored(name):
        pickler._need((name, ""))
    return importlib.import_module, (name,)


def _by_name(pickler: Pickler, obj: Any) -> Any:
    """It may say that it is a global of its module."""
    if copyreg.dispatch_table.get(type(obj)):
        return NotImplemented
    reduced = obj.__reduce_ex__(PROTOCOL)
    if not isinstance(reduced, str):
        return reduced
    module = getattr(obj, "__module__", None)
    if find(module, reduced) is not obj:
        return _unnamed(obj, reduced)
    if pickler._need is not None and is_mirrored(module):  # type: ignore[arg-type]
        key = (module, reduced.partition(".")[0])
        if key == pickler._current:
            return _unnamed(obj, reduced)
        pickler._need(key)  # type: ignore[arg-type]
    return reduced


def _unnamed(obj: Any, name: str) -> Any:
    """Something that refers to itself by a name that leads elsewhere, or to the definition that is being written."""
    kind = type(obj).__name__
    if kind == "TypeVar":
        options = {"covariant": obj.__covariant__, "contravariant": obj.__contravariant__, "bound": obj.__bound__}
        return rebuild.make_type_var, (kind, obj.__name__, obj.__constraints__, options)
    if kind in ("ParamSpec", "TypeVarTuple"):
        return rebuild.make_type_var, (kind, obj.__name__, (), {})
    if kind == "NewType":
        return rebuild.make_type_var, (kind, obj.__name__, (obj.__supertype__,), {})
    if isinstance(obj, functools._lru_cache_wrapper):
        parameters = obj.cache_parameters()
        arguments = (obj.__wrapped__, parameters["maxsize"], parameters["typed"])
        attributes = {k: v for k, v in vars(obj).items() if k != "cache_parameters"}
        return rebuild.make_lru_cache, arguments, attributes, None, None, rebuild.set_attributes
    if hasattr(obj, "__dict__"):
        return copyreg.__newobj__, (type(obj),), obj.__dict__ or None  # type: ignore[attr-defined]
    raise pickle.PicklingError(f"{name} is not the name of this {kind} in its module")


def _property(_: Pickler, obj: Any) -> Any:
    return rebuild.make_property, (type(obj), (obj.fget, obj.fset, obj.fdel, obj.__doc__))


def _method_wrapper(_: Pickler, obj: Any) -> Any:
    return rebuild.make_property, (type(obj), (obj.__func__,))


def _cached_property(_: Pickler, obj: Any) -> Any:
    return rebuild.make_cached_property, (type(obj), obj.func, obj.attrname)


def _descriptor(_: Pickler, obj: Any) -> Any:
    return getattr, (obj.__objclass__, obj.__name__)


def _constant_of_dataclasses(_: Pickler, obj: Any) -> Any:
    name = next(name for name, value in vars(dataclasses).items() if value is obj)
    return rebuild.constant, ("dataclasses", name)


def _stream(_: Pickler, obj: Any) -> Any:
    for name in ("stdin", "stdout", "stderr"):
        if obj is getattr(sys, name, None):
            return rebuild.constant, ("sys", name)
    raise Refused("an open file")


def _refuse(what: str) -> Callable[[Pickler, Any], Any]:
    def refuse(_: Pickler, __: Any) -> Any:
        raise Refused(what)

    return refuse


_reducers: dict[type, Reducer] = {}


def _fixed() -> dict[type, Reducer]:
    table: dict[type, Reducer] = {
        types.FunctionType: _function,
        types.ModuleType: _module,
        types.CellType: lambda _, __: (rebuild.make_cell, ()),
        types.CodeType: lambda _, code: (rebuild.make_code, (marshal.dumps(code),)),
        types.MappingProxyType: lambda _, proxy: (types.MappingProxyType, (dict(proxy),)),
        types.MemberDescriptorType: _descriptor,
        types.GetSetDescriptorType: _descriptor,
        property: _property,
        staticmethod: _method_wrapper,
        classmethod: _method_wrapper,
        functools.cached_property: _cached_property,
        functools._lru_cache_wrapper: _by_name,
        weakref.WeakKeyDictionary: lambda _, d: (weakref.WeakKeyDictionary, (dict(d),)),
        weakref.WeakValueDictionary: lambda _, d: (weakref.WeakValueDictionary, (dict(d),)),
        weakref.WeakSet: lambda _, s: (weakref.WeakSet, (list(s),)),
        types.GeneratorType: _refuse("a generator"),
        types.CoroutineType: _refuse("a coroutine"),
        types.AsyncGeneratorType: _refuse("a generator"),
        types.FrameType: _refuse("a frame"),
    }
    for name in ("MISSING", "KW_ONLY", "_FIELD", "_FIELD_CLASSVAR", "_FIELD_INITVAR", "_HAS_DEFAULT_FACTORY"):
        if hasattr(dataclasses, name):
            table[type(getattr(dataclasses, name))] = _constant_of_dataclasses
    for name in ("TypeVar", "ParamSpec", "TypeVarTuple", "NewType", "TypeAliasType"):
        if hasattr(typing, name):
            table[getattr(typing, name)] = _by_name
    return table


#: Kinds that hold something of this process, by a base of theirs; bases are looked up by name, to import nothing.
_AT_HOME = (
    ("_thread", "lock", "a lock"),
    ("_thread", "LockType", "a lock"),
    ("_thread", "RLock", "a lock"),
    ("threading", "_RLock", "a lock"),
    ("threading", "Condition", "a lock"),
    ("threading", "Semaphore", "a lock"),
    ("threading", "Event", "a lock"),
    ("threading", "Barrier", "a lock"),
    ("threading", "Thread", "a thread"),
    ("_thread", "_local", "a thread's own data"),
    ("socket", "socket", "a socket"),
    ("_socket", "socket", "a socket"),
    ("concurrent.futures._base", "Executor", "an executor"),
    ("concurrent.futures._base", "Future", "a future"),
    ("_asyncio", "Future", "a future"),
    ("asyncio.events", "AbstractEventLoop", "an event loop"),
    ("multiprocessing.synchronize", "SemLock", "a lock of multiprocessing"),
    ("multiprocessing.pool", "Pool", "a pool of processes"),
    ("multiprocessing.process", "BaseProcess", "a process"),
    ("multiprocessing.queues", "Queue", "a queue of multiprocessing"),
    ("multiprocessing.queues", "SimpleQueue", "a queue of multiprocessing"),
    ("multiprocessing.connection", "_ConnectionBase", "a connection"),
    ("subprocess", "Popen", "a process"),
    ("queue", "Queue", "a queue of threads"),
    ("_queue", "SimpleQueue", "a queue of threads"),
    ("sqlite3", "Connection", "a database connection"),
    ("sqlite3", "Cursor", "a cursor of a database connection"),
    ("mmap", "mmap", "a memory map"),
)


def _choose(cls: type) -> Reducer:
    """How instances of this type are written. None: as plain pickle does."""
    if not _reducers or len(_reducers) > 4096:  # types may be made in a loop, and dropped
        _reducers.clear()
        _reducers.update(_fixed())
        if cls in _reducers:
            return _reducers[cls]
    reducer = _reducers[cls] = _reducer_of(cls)
    return reducer


def _reducer_of(cls: type) -> Reducer:
    if issubclass(cls, type):
        return _class
    for base, reducer in (
        (types.ModuleType, _module),
        (property, _property),
        (functools.cached_property, _cached_property),
    ):
        if issubclass(cls, base):
            return reducer
    if issubclass(cls, io.IOBase) and not issubclass(cls, io.BytesIO | io.StringIO) and not _reduces(cls):
        return _stream
    for module, name, what in _AT_HOME:
        kind = vars(sys.modules.get(module) or object).get(name)
        if isinstance(kind, type) and issubclass(cls, kind) and not _reduces(cls):
            return _refuse(what)
    if rebuild.is_enum(cls):
        return _instance_of_enum
    if _reduces(cls) and any(
        "__reduce__" in vars(b) or "__reduce_ex__" in vars(b) for b in cls.__mro__ if is_mirrored(b.__module__)
    ):
        return _by_name
    if not _reduces(cls) and hasattr(cls, "commit") and hasattr(cls, "cursor"):
        return _refuse("a database connection")
    return None


def _reduces(cls: type) -> bool:
    """Whoever wrote the class has thought of pickle."""
    return any(
        name in vars(base)
        for base in cls.__mro__
        if base.__flags__ & 1 << 9 and base.__module__.partition(".")[0] not in _OWN
        for name in ("__reduce__", "__reduce_ex__", "__getstate__", "__getnewargs__")
    )


#: Libraries whose classes of the kinds above say by these methods that they cannot be pickled.
_OWN = frozenset(("io", "_io", "_pyio", "socket", "multiprocessing", "tempfile", "threading", "_thread", "xse"))


def dumps(
    obj: Any,
    needs: Callable[[Key], object] | None = None,
    later: Callable[[Key], object] | None = None,
) -> bytes:
    """Pickle anything. Raises Refused, or whatever the pickle of a part of it raises."""
    file = io.BytesIO()
    Pickler(file, needs, later).dump(obj)
    return file.getvalue()
