"""In the client: what workers must have of the script before they can run a task.

A *definition* is what a name of a mirrored module is bound to: a function, a class, or any other object. A task says
which definitions it needs, all of them, with those that they need; a worker installs what it does not have
(``mirror.py``). A definition is written once, and again when it has changed.
"""

from __future__ import annotations

import enum
import io
import pickle
import sys
import types
import warnings
from collections.abc import Iterable
from hashlib import blake2b
from typing import Any

from xse.errors import SerializationError
from xse.functions import by_value, rebuild
from xse.functions.by_value import Key, Pickler, Refused
from xse.functions.changes import SMALL, Changes
from xse.functions.names import MISSING, find, is_mirrored, is_named, module_of_globals
from xse.functions.segments import Kept

LARGE_GLOBAL = 1 << 20  # bytes of a global's pickle, from which on the user is told what it costs

_UNNAMED = (*(int, float, complex, str, bytes, bool, type(None), range), types.ModuleType, types.BuiltinFunctionType)


class Definition:
    """One name of a mirrored module, written. ``shell``: of a function or class, what it can be made of before the
    definitions that it refers to are there. ``first``: definitions whose objects its pickle refers to by name."""

    __slots__ = ("changes", "digest", "first", "kept", "key", "later", "shell", "state")

    def __init__(self, key: Key, shell: bytes, state: bytes, changes: Changes) -> None:
        self.key = key
        self.shell = shell
        self.state: bytes = state
        self.changes = changes
        self.first: dict[Key, bytes] = {}  # and their digests
        self.later: list[Key] = []
        self.digest = b""
        self.kept: Kept | None = None  # where its state lies in shared memory, once it has been put there

    def seal(self) -> None:
        digest = blake2b(digest_size=16)
        for part in (self.shell, self.state, *self.first.values()):
            digest.update(len(part).to_bytes(8, "little"))
            digest.update(part)
        self.digest = digest.digest()


class _DefinitionPickler(Pickler):
    """Writes an object that is the value of another global by that name: the two stay one object in the worker."""

    def __init__(self, file: Any, writer: _Writer, key: Key, definition_of: dict[int, Key], root: Any) -> None:
        super().__init__(file, writer.first, writer.later, key, root)
        self._by_identity = definition_of
        self._writer = writer

    def persistent_id(self, obj: Any) -> Any:
        key = self._by_identity.get(id(obj))
        if key is None or key == self._current or not self._writer.object_of(key):
            return None
        return key


class Definitions:
    """Keeps what it has written. One for each pool; any thread may call it."""

    def __init__(self) -> None:
        self._written: dict[Key, Definition] = {}

    def closure(self, roots: Iterable[Key], user: str) -> list[Definition]:
        """All that these need, in the order in which a worker installs them. ``user``: whose errors are told.
        Raises SerializationError."""
        writer = _Writer(self._written, user)
        for root in roots:
            writer.later(root)
        writer.drain(0)
        return list(writer.done.values())


class _Writer:
    """Writes definitions one after the other, each after those whose objects it refers to."""

    def __init__(self, written: dict[Key, Definition], user: str) -> None:
        self.done: dict[Key, Definition] = {}
        self._written = written
        self._user = user
        self._todo: list[Key] = []
        self._open: list[tuple[Key, dict[Key, bytes], list[Key]]] = []  # those that are being written
        self._checking: set[Key] = set()
        self._by_identity: dict[str, dict[int, Key]] = {}

    # ---- what picklers call

    def later(self, key: Key) -> None:
        """Code that is being written will look this name up when it runs."""
        if self._open:
            self._open[-1][2].append(key)
        self._todo.append(key)

    def first(self, key: Key) -> None:
        """What is being written refers to a named function or class, or to a module."""
        if self._open:
            self._open[-1][2].append(key)
        start = len(self._todo)
        self._define(key)
        self.drain(start)

    def object_of(self, key: Key) -> bool:
        """The same, to an object that only its name leads to. False: it is being written itself."""
        if any(key == other for other, _, _ in self._open):
            return False
        kind = type(find(*key))
        if _loads_by_itself(kind) and any((kind.__module__, kind.__qualname__) == other for other, _, _ in self._open):
            return False  # what loads it is in the class, which is being written
        first = self._open[-1][1]
        self.first(key)
        if key not in self.done:
            return False
        first[key] = self.done[key].digest
        return True

    # ----

    def drain(self, start: int) -> None:
        """Write what code needs, from the start-th on, with all that it needs in its turn."""
        while len(self._todo) > start:
            self._define(self._todo.pop())

    def _define(self, key: Key) -> None:
        module, name = key
        if key in self.done or any(key == other for other, _, _ in self._open):
            return
        if name and (module, "") not in self.done:
            self._define((module, ""))
        if "." in name:
            start = len(self._todo)
            self._define((module, name.rpartition(".")[0]))
            self.drain(start)
        if key in self.done:
            return
        kept = self._written.get(key)
        if kept is not None and self._is_current(kept):
            self.done[key] = kept
            self._todo += kept.later
            return
        value = find(module, name) if name else sys.modules[module]
        definition = _absent(key) if value is MISSING else self._write(key, value)
        if kept is not None and kept.digest == definition.digest:
            definition.kept = kept.kept
        self._written[key] = self.done[key] = definition

    def _is_current(self, kept: Definition) -> bool:
        try:
            if kept.key in self._checking or not kept.changes.unchanged():
                return False
        except Exception:
            return False
        self._checking.add(kept.key)
        try:
            for key, digest in kept.first.items():
                start = len(self._todo)
                self._define(key)
                self.drain(start)
                if key not in self.done or self.done[key].digest != digest:
                    return False
        finally:
            self._checking.discard(kept.key)
        return True

    def _write(self, key: Key, value: Any) -> Definition:
        module, name = key
        changes = Changes()
        outer, _, last = name.rpartition(".")
        if name:
            changes.name(vars(find(module, outer) if outer else sys.modules[module]), last)
        is_elsewhere = isinstance(value, types.FunctionType | type) and is_named(value)
        is_own = is_elsewhere and (value.__module__, value.__qualname__) == key
        first: dict[Key, bytes] = {}
        later: list[Key] = []
        self._open.append((key, first, later))
        try:
            if not name:
                shell, state = b"", pickle.dumps(_module_attributes(value), by_value.PROTOCOL)
            elif isinstance(value, types.FunctionType) and is_own and module_of_globals(value):
                code, where, fn_name, cells = by_value.function_shell(self._pickler(key, io.BytesIO(), None), value)
                token = rebuild.token_of(value)
                shell = self._dumps(key, ("function", token, code, where, fn_name, len(cells)), None)
                file = io.BytesIO()
                pickler = self._pickler(key, file, None)
                pickler.dump(by_value.function_state(pickler, value))
                state = file.getvalue()
            elif isinstance(value, type) and is_own:
                shell = self._dumps(key, ("class", *by_value.class_shell(value)), None)
                file = io.BytesIO()
                pickler = self._pickler(key, file, None)
                pickler.dump(by_value.class_state(pickler, value))
                state = file.getvalue()
            else:
                shell, state = b"", self._dumps(key, value, None if is_elsewhere and not is_own else value)
        except SerializationError:
            raise
        except Exception as e:
            raise SerializationError(self._refusal(key, e)) from e
        finally:
            self._open.pop()
        if name and (is_own or not is_elsewhere):
            changes.add(value, whole=bool(shell) or len(state) <= SMALL)
        if not shell and len(state) > LARGE_GLOBAL and not _is_still(value):
            _warn_of_size(key, len(state))
        definition = Definition(key, shell, state, changes.done())
        definition.first = first
        definition.later = later
        definition.seal()
        return definition

    def _dumps(self, key: Key, obj: Any, root: Any) -> bytes:
        file = io.BytesIO()
        self._pickler(key, file, root).dump(obj)
        return file.getvalue()

    def _pickler(self, key: Key, file: Any, root: Any) -> _DefinitionPickler:
        return _DefinitionPickler(file, self, key, self._identities(key[0]), root)

    def _identities(self, module: str) -> dict[int, Key]:
        """Objects that a name of the module leads to, and that have no other name."""
        known = self._by_identity.get(module)
        if known is None:
            known = self._by_identity[module] = {
                id(value): (module, name)
                for name, value in list(vars(sys.modules[module]).items())
                if not isinstance(value, _UNNAMED)
                and not isinstance(type(value), enum.EnumMeta)  # its class leads to it
                and not (type(value) in (tuple, frozenset) and not value)
                and not (
                    isinstance(value, types.FunctionType | type) and (is_named(value) or value.__module__ == "builtins")
                )
                and not name.startswith("__")
            }
        return known

    def _refusal(self, key: Key, error: Exception) -> str:
        module, name = key
        where = "" if module == "__main__" else f" of the module {module}"
        what = f"the global {name!r}{where}, which {self._user} uses,"
        if isinstance(error, Refused):
            return (
                f"{what} is or holds {error.what}, which cannot be sent to a worker: make it in the task, or in the"
                " pool's initializer"
            )
        return f"{what} cannot be pickled: {error!r}"


def _absent(key: Key) -> Definition:
    """A name that code looks up, and that the script has not bound, or not any more."""
    changes = Changes()
    changes.name(vars(sys.modules[key[0]]), key[1])
    definition = Definition(key, b"", b"", changes.done())
    definition.seal()
    return definition


def _loads_by_itself(kind: type) -> bool:
    """Does a class of the script say how its instances are pickled?"""
    return any(
        name in vars(base)
        for base in kind.__mro__
        if is_mirrored(base.__module__)
        for name in ("__reduce__", "__reduce_ex__", "__setstate__", "__new__")
    )


def _is_still(value: Any) -> bool:
    return isinstance(value, str | bytes | int)


def _module_attributes(module: types.ModuleType) -> dict[str, Any]:
    spec = getattr(module, "__spec__", None)
    return {
        "__file__": getattr(module, "__file__", None),
        "__package__": getattr(module, "__package__", None),
        "__doc__": module.__doc__,
        "__path__": list(getattr(module, "__path__", ())) or None,
        "spec": spec and (spec.name, spec.origin),
    }


_told: set[Key] = set()


def _warn_of_size(key: Key, size: int) -> None:
    if key in _told:
        return
    _told.add(key)
    warnings.warn(
        f"the global {key[1]!r} takes {size >> 20} MB in each worker; changes within it are not seen, only a new object"
        " under its name is",
        stacklevel=2,
    )
