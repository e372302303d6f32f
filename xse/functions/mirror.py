"""In a worker: the namespaces that stand for the script's modules, and what is installed in them.

There is one namespace for a module, in ``sys.modules`` under the module's name, so that everything in it is pickled and
unpickled by name. A definition is installed when the worker has another one of that name, or none. What tasks and the
initializer do to the namespace stays: it is the worker's own, until the script changes that very name.
"""

from __future__ import annotations

import importlib
import importlib.machinery
import io
import pickle
import sys
import types
from collections.abc import Sequence
from typing import Any, TypeAlias

from xse.functions import rebuild, script
from xse.functions.names import MISSING, find
from xse.functions.segments import read_kept

#: Module and name, digest, shell, and state: its bytes, or where they lie in shared memory.
Written: TypeAlias = "tuple[tuple[str, str], bytes, bytes, bytes | tuple[str, int]]"

SEARCH_PATH = ("sys", "path")  # a definition like others, when the script's has changed

epoch = 0  # how often something was installed: who has seen this number has nothing to look for

_installed: dict[tuple[str, str], bytes] = {}  # the digest of each definition


def install(definitions: Sequence[Written]) -> bool:
    """Bring the namespaces up to date. False: they were. Raises whatever the loading of a definition raises."""
    global epoch
    wanted = [written for written in definitions if _installed.get(written[0]) != written[1]]
    if not wanted:
        return False
    epoch += 1
    before = {key: _installed.pop(key, None) for key, *_ in wanted}
    for key, _, _, where in wanted:
        if not key[1] and isinstance(where, bytes):
            _set_module(key[0], pickle.loads(where))
    shells = _make_shells([w for w in wanted if w[2]])
    for key, digest, shell, where in wanted:
        try:
            if not where:
                if before[key]:  # the script has unbound it; what the worker has bound by itself stays
                    vars(module(key[0])).pop(key[1], None)
                _installed[key] = digest
                continue
            state = io.BytesIO(where if isinstance(where, bytes) else read_kept(where))
            value = _Unpickler(state).load()
            if not key[1]:
                pass  # has its attributes already
            elif key == SEARCH_PATH:
                script.search(value)
            elif not shell:
                _bind(key, value)
            elif isinstance(shells[key], type):
                rebuild.set_class(shells[key], value)
            else:
                rebuild.set_function(shells[key], value)
        except (Exception, SystemExit) as e:
            raise pickle.UnpicklingError(f"the global {key[1]!r} of {key[0]} cannot be made here: {e!r}") from e
        _installed[key] = digest
    return True


def _make_shells(wanted: list[Written]) -> dict[tuple[str, str], Any]:
    """Functions and classes without what is in them, each after those that it is made of."""
    made: dict[tuple[str, str], Any] = {}
    while wanted:
        left = []
        for written in wanted:
            key, _, shell, _ = written
            try:
                module(key[0])
                made[key] = _shell(*_Unpickler(io.BytesIO(shell)).load())
                _bind(key, made[key])
            except (AttributeError, ImportError) as e:  # the class that it is in is still to be made
                error = e
                left.append(written)
        if len(left) == len(wanted):
            raise error
        wanted = left
    return made


def _shell(kind: str, token: str, *parts: Any) -> Any:
    known = rebuild.made(token)
    if kind == "class":
        if (
            known is not None
            and (type(known), known.__bases__) == (parts[0], parts[2])
            and _has_members(known, parts[4])
        ):
            return known
        rebuild.forget(token)
        return rebuild.make_class(token, *parts)
    code, where, name, n_cells = parts
    if known is not None and len(known.__closure__ or ()) == n_cells and vars(module(where)) is known.__globals__:
        known.__code__ = code
        return known
    module(where)
    return rebuild.remember(token, rebuild.make_function(code, where, name, tuple(map(_cell, range(n_cells)))))


def _cell(_: int) -> types.CellType:
    return rebuild.make_cell()


def _has_members(cls: type, members: list[tuple[str, Any]] | None) -> bool:
    return members is None or [name for name, _ in members] == [
        name for name, member in vars(cls)["_member_map_"].items() if member._name_ == name
    ]


def module(name: str) -> types.ModuleType:
    """The namespace of this name, made when it is first asked for; or the module, where it can be imported."""
    found = sys.modules.get(name)
    if found is None:
        try:
            found = importlib.import_module(name)
        except ImportError:
            found = sys.modules[name] = types.ModuleType(name)
    return found


def _set_module(name: str, attributes: dict[str, Any]) -> None:
    found = sys.modules.get(name)
    if found is None:
        found = sys.modules[name] = types.ModuleType(name)
        parent, _, last = name.rpartition(".")
        if parent in sys.modules:
            setattr(sys.modules[parent], last, found)
    spec = attributes.pop("spec")
    if spec:
        found.__spec__ = importlib.machinery.ModuleSpec(spec[0], None, origin=spec[1])
        found.__spec__.has_location = spec[1] is not None
    for key, value in attributes.items():
        if value is not None:
            setattr(found, key, value)


def _bind(key: tuple[str, str], value: Any) -> None:
    outer, _, name = key[1].rpartition(".")
    holder = find(key[0], outer) if outer else module(key[0])
    if holder is MISSING:
        raise AttributeError(f"{key[0]} has no {outer} yet")
    if isinstance(holder, type):
        type.__setattr__(holder, name, value)
    else:
        setattr(holder, name, value)


class _Unpickler(pickle.Unpickler):
    """Finds what another global's object is by its name."""

    def persistent_load(self, key: Any) -> Any:
        found = find(*key)
        if found is MISSING:
            raise pickle.UnpicklingError(f"{key[0]} has no {key[1]} here")
        return found
