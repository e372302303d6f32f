"""Payloads: what lies in a task and in a result.

xse's own codec is number 0. A function is the pickle of two things: the function's own pickle, and the definitions
that it and its arguments need (``definitions.py``). A task's arguments are the pickle of ``(args, kwargs)``, with the
callable behind them if it is no function. A value is its pickle, an exception the pickle of ``(exception, text of its
traceback)``. ``by_value`` is the pickler of all of them.
"""

from __future__ import annotations

import functools
import importlib
import pickle
import sys
import traceback
import types
import weakref
from collections.abc import Callable, Iterable, Sequence
from hashlib import blake2b
from typing import Any, NamedTuple, Protocol, TypeAlias

from xse.errors import PayloadTooLarge, RemoteTraceback, SerializationError
from xse.functions import by_value, mirror, rebuild, script
from xse.functions.by_value import PROTOCOL, Key, Refused
from xse.functions.changes import Changes
from xse.functions.definitions import Definition, Definitions
from xse.functions.mirror import SEARCH_PATH, Written
from xse.functions.names import is_named
from xse.functions.segments import Kept, Reference, Segment, Segments
from xse.wire.messages import MAX_ITEM, Buffer, Status

Needs: TypeAlias = "Callable[[Key], object] | None"
_VALUE = int(Status.VALUE)  # an enum's member costs as much as a call to look up
LARGE = 256 << 10  # bytes from which on a segment is faster than the sockets

#: What a worker does with a task: arguments in, status and payload out.
Call: TypeAlias = Callable[[Buffer], tuple[int, bytes]]


class Codec(Protocol):
    """One way to read functions and arguments and to write results; modules implement it."""

    def load_function(self, data: bytes) -> Call: ...

    def load_setup(self, data: bytes) -> Callable[[], None]: ...

    def dump_exception(self, error: BaseException) -> bytes: ...


#: The module of each codec number (docs/developers/protocol.md, 2.1).
CODECS = {0: "xse.functions.payload", 1: "xse.parsl.codec"}


def codec(number: int) -> Codec:
    """The codec of that number. Raises SerializationError for one that is not known here."""
    try:
        return importlib.import_module(CODECS[number])
    except (KeyError, ImportError) as e:
        raise SerializationError(f"codec {number} is not to be had here: {e!r}") from e


class Function:
    """A function's bytes, ready for the wire, and its name for people. ``holds``: what must be there until its tasks
    are answered. ``could_be_kept``: its large parts would be in shared memory, had there been any."""

    __slots__ = ("codec", "could_be_kept", "data", "digest", "holds", "name")

    def __init__(
        self, data: bytes, codec: int = 0, name: str = "", holds: Any = None, could_be_kept: bool = False
    ) -> None:
        self.name = name
        self.data = data
        self.codec = codec
        self.holds = holds
        self.could_be_kept = could_be_kept
        self.digest = blake2b(data, digest_size=16, person=b"xse codec" + bytes([codec])).digest()


def name_of(obj: Any) -> str:
    """How messages call a function or an object."""
    if isinstance(obj, functools.partial):
        return f"partial of {name_of(obj.func)}"
    return getattr(obj, "__qualname__", None) or f"an object of type {type(obj).__qualname__}"


def words_of(error: BaseException, words: Callable[[BaseException], str] = repr) -> str:
    """What an exception says of itself, if it says anything."""
    try:
        return words(error)
    except BaseException:
        return f"{type(error).__name__} (its words cannot be had)"


def dumps(obj: Any, needs: Needs = None) -> bytes:
    """Pickle anything that has a pickle. ``needs`` is called with each definition that it refers to, in the client.
    Raises whatever the pickle of a part of it raises."""
    if type(obj) in _PLAIN:
        return pickle.dumps(obj, PROTOCOL)
    return by_value.dumps(obj, needs, needs)


class Scattered:
    """A pickle in pieces, for large ones: bytes lie in it as they were given, without a copy. ``len``: of all of it."""

    __slots__ = ("_length", "parts")

    def __init__(self, parts: Sequence[Buffer]) -> None:
        self.parts = parts
        self._length = sum(map(len, parts))

    def __len__(self) -> int:
        return self._length


def scattered(obj: Any, arrays: list[pickle.PickleBuffer] | None = None, needs: Needs = None) -> Scattered:
    """As ``dumps``. ``arrays``: where large arrays are to go, which are then not in the pickle; then what may change is
    not copied either.

    Large bytes and texts come from the pickler as pieces of their own; what else it writes comes in pieces of less than
    128 KiB (PEP 3154).
    """
    parts: list[Buffer] = []
    if arrays is None:  # bytes are not copied by it
        writer = _Writer(lambda part: parts.append(bytes(part)))
        by_value.Pickler(writer, needs, needs).dump(obj)
    else:
        writer = _Writer(parts.append)
        by_value.Pickler(writer, needs, needs, buffer_callback=arrays.append).dump(obj)
    return Scattered(parts)


class _Writer:
    """What a Pickler writes to: it hands large bytes over as they are, without a copy, and what else is a buffer."""

    def __init__(self, write: Callable[[Buffer], None]) -> None:
        self.write = write


def loads(data: Buffer | Segment) -> Any:
    """The object again, once. Arrays that came in a segment go on living there."""
    obj = data if type(data) is Segment else pickle.loads(data)  # type: ignore[arg-type]
    return pickle.loads(obj.stream, buffers=obj.arrays) if type(obj) is Segment else obj


def too_large(what: str, size: int) -> PayloadTooLarge:
    """No message may carry it."""
    return PayloadTooLarge(
        f"{what} takes {size} bytes, and a message carries at most {MAX_ITEM}: pass a file, or less", size, MAX_ITEM
    )


# ---- large ones, within one host


_PLAIN = frozenset((int, float, complex, bool, type(None), str, bytes))  # their pickle refers to nothing
_SMALL = frozenset((int, float, complex, bool, type(None)))


def bulk_of(values: Iterable[Any]) -> int:
    """The bytes of those of ``values`` whose size can be seen from without: bytes, texts, arrays."""
    n = 0
    for value in values:
        kind = type(value)
        if kind in _SMALL:
            continue
        if kind is bytes or kind is str or kind is bytearray:
            n += len(value)
        elif hasattr(kind, "nbytes"):
            n += _n_bytes(value)
    return n


def _n_bytes(value: Any) -> int:
    """What it says, if that is a number of bytes."""
    try:
        size = value.nbytes
    except Exception:
        return 0
    return size if isinstance(size, int) and size > 0 else 0


def dump_segment(obj: Any, bulk: int, into: Segments, needs: Needs = None) -> Reference | None:
    """``obj`` in a segment. None: there is no room for it, or it is so large that no message might carry it, which is
    refused on the other way. ``bulk``: what ``bulk_of`` says. Raises as ``dumps``."""
    if bulk > MAX_ITEM - LARGE:
        return None
    arrays: list[pickle.PickleBuffer] = []
    data = scattered(obj, arrays, needs)
    return into.put(data.parts, [array.raw() for array in arrays])


# ---- in the client


class Task(NamedTuple):
    """What goes on the wire for one call. ``segment``: the path of what ``data`` refers to."""

    function: Function
    data: bytes | Scattered
    segment: str | None


class _Entry:
    """A function that is kept from one submit to the next, with what workers must have before they call it."""

    __slots__ = ("changes", "definitions", "function", "held", "keys", "loader", "name", "size", "variants")

    def __init__(
        self, name: str, held: Any, loader: bytes | None, definitions: list[Definition], changes: Changes
    ) -> None:
        self.name = name
        self.held = held  # the function, or a weak reference to it
        self.loader = loader  # the function's pickle; None: the function comes with the arguments
        self.definitions = definitions
        self.keys = {d.key for d in definitions}
        self.changes = changes
        self.size = len(loader or b"")
        self.function: Function | None = None
        self.variants: dict[Any, tuple[Changes, Function]] = {}  # by what arguments need beside that

    def is_of(self, fn: Callable[..., Any]) -> bool:
        """Is it this function's, which it refers to weakly?"""
        return type(self.held) is weakref.ref and self.held() is fn


_new_tuple = tuple.__new__  # a NamedTuple's own costs twice as much


class Functions:
    """Writes tasks. Functions are kept from one submit to the next while they would come out the same.

    A task runs what its function, and all that it names, was when it was submitted (``changes.py`` says what of that is
    seen). Functions without a name are kept as long as somebody holds them, and at most ``MOST_BYTES`` of them. What is
    called but is no function (a partial, a bound method, an instance) carries state of its own: it goes with the
    arguments, each time anew, as ProcessPoolExecutor does it.
    """

    MOST = 1024
    MOST_BYTES = 32 << 20

    def __init__(self) -> None:
        self._definitions = Definitions()
        self._kept: dict[int, _Entry] = {}  # by identity of the function
        self._n_bytes = 0
        self._carriers: dict[str, _Entry] = {}
        self._path = list(sys.path)
        self._search_path: Definition | None = None  # once it has changed

    def task(
        self, fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], segments: Segments | None = None
    ) -> Task:
        """One call, as it is now. ``segments``: for what is large, if all workers see them. Raises SerializationError
        or PayloadTooLarge."""
        if sys.path != self._path:
            self._take_path()
        entry = self._kept.get(id(fn))
        try:
            if entry is None or (entry.held is not fn and not entry.is_of(fn)) or not entry.changes.unchanged(fn):
                entry = self._renewed(fn)
        except SerializationError:
            raise
        except Exception:  # something small has no pickle any more: whoever writes it will say so
            entry = self._renewed(fn)
        if not kwargs and _SMALL.issuperset(map(type, args)) and entry.loader is not None:
            function = entry.function
            if function is None or (segments is not None and function.could_be_kept):
                function = self._function(entry, (), segments)
            return _new_tuple(Task, (function, pickle.dumps((args, kwargs), PROTOCOL), None))
        parts = (args, kwargs) if entry.loader is not None else (args, kwargs, fn)
        needs: dict[Key, None] = {}
        bulk = bulk_of((*args, *kwargs.values()) if kwargs else args)
        data: bytes | Scattered
        segment = None
        try:
            reference = None
            if bulk >= LARGE and segments:
                reference = dump_segment(parts, bulk, segments, needs.setdefault)
            if reference:
                data, segment = pickle.dumps(reference, 2), reference.path
            elif bulk < LARGE:
                data = by_value.dumps(parts, needs.setdefault, needs.setdefault)
            else:
                data = scattered(parts, None, needs.setdefault)
        except Exception as e:
            raise _refused(fn, e) from e
        if len(data) > MAX_ITEM:
            raise too_large(f"the arguments of {entry.name}", len(data))
        return Task(self._function(entry, tuple(needs), segments), data, segment)

    def setup(self, initializer: Callable[..., Any] | None, initargs: tuple[Any, ...]) -> bytes:
        """What every worker runs before its first task. Raises SerializationError."""
        task = None
        if initializer is not None:
            try:
                function, data, _ = self.task(initializer, initargs, {})
            except SerializationError as e:
                raise SerializationError(
                    f"the initializer {name_of(initializer)} cannot be sent to workers: {e}"
                ) from e
            task = function.data, data if isinstance(data, bytes) else b"".join(data.parts)
        return pickle.dumps((script.taken(), task), PROTOCOL)

    # ----

    def _renewed(self, fn: Callable[..., Any]) -> _Entry:
        """The function as it is now."""
        if not _is_kept(fn):
            return self._carried(name_of(fn))
        try:
            return self._write(fn)
        except SerializationError:
            raise
        except Exception as e:
            raise SerializationError(f"the function {name_of(fn)} cannot be sent to a worker: {words_of(e)}") from e

    def _carried(self, name: str) -> _Entry:
        """For what is called but is no function: one for each name that people see."""
        entry = self._carriers.get(name)
        if entry is None:
            if len(self._carriers) >= self.MOST:
                self._carriers.clear()
            entry = self._carriers[name] = _Entry(name, None, None, [], Changes())
        return entry

    def _write(self, fn: Any) -> _Entry:
        needs: dict[Key, None] = {}
        own = Changes()
        is_unnamed = not is_named(fn)
        if is_unnamed:
            own.add_unnamed(fn)  # before it is written: what changes meanwhile is seen at the next submit
        else:
            own.name(sys.modules, fn.__module__)
            own.name(vars(sys.modules[fn.__module__]), fn.__qualname__.partition(".")[0])
        try:
            loader = by_value.dumps(fn, needs.setdefault, needs.setdefault)
        except Refused as e:
            raise SerializationError(_refused_words(fn, e)) from e
        if len(loader) > MAX_ITEM:
            raise too_large(f"the function {name_of(fn)}", len(loader))
        definitions = self._definitions.closure(needs, name_of(fn))
        changes = (
            Changes.merge([own, *(d.changes for d in definitions)]) if definitions or not is_unnamed else own.done()
        )
        changes.keep_root(own)
        held = fn
        if is_unnamed:
            held = weakref.ref(fn, functools.partial(self._forget, id(fn)))
        entry = _Entry(name_of(fn), held, loader, definitions, changes)
        self._keep(id(fn), entry)
        return entry

    def _keep(self, key: int, entry: _Entry) -> None:
        before = self._kept.pop(key, None)
        if before is not None:
            self._n_bytes -= before.size
        self._n_bytes += entry.size
        self._kept[key] = entry
        while len(self._kept) > self.MOST or (self._n_bytes > self.MOST_BYTES and len(self._kept) > 1):
            try:
                oldest = self._kept.pop(next(iter(self._kept)))
            except (KeyError, StopIteration, RuntimeError):  # another thread's
                break
            self._n_bytes -= oldest.size

    def _forget(self, key: int, reference: Any) -> None:
        """Nobody holds the function any more."""
        entry = self._kept.get(key)
        if entry is not None and entry.held is reference:
            self._kept.pop(key, None)
            self._n_bytes -= entry.size

    def _take_path(self) -> None:
        """The script has changed its ``sys.path``: from now on every task says what it is."""
        self._path = list(sys.path)
        found = Definition(SEARCH_PATH, b"", pickle.dumps(script.search_path(), PROTOCOL), Changes())
        found.seal()
        self._search_path = found
        self._kept.clear()
        self._n_bytes = 0
        self._carriers.clear()

    def _function(self, entry: _Entry, needs: tuple[Key, ...], segments: Segments | None) -> Function:
        """The entry's function, with what the arguments need beside what it needs itself."""
        if needs:
            more = frozenset(needs) - entry.keys
            if more:
                return self._variant(entry, more, segments)
        function = entry.function
        if function is None or (segments is not None and function.could_be_kept):
            function = entry.function = self._compose(entry, entry.definitions, segments)
        return function

    def _variant(self, entry: _Entry, more: frozenset[Key], segments: Segments | None) -> Function:
        known = entry.variants.get(more)
        if known is not None:
            try:
                if known[0].unchanged() and not (segments is not None and known[1].could_be_kept):
                    return known[1]
            except Exception:
                pass
        definitions = self._definitions.closure(more, f"an argument of {entry.name}")
        both = {d.key: d for d in (*definitions, *entry.definitions)}
        function = self._compose(entry, list(both.values()), segments)
        if len(entry.variants) >= 64:
            entry.variants.clear()
        entry.variants[more] = Changes.merge(d.changes for d in definitions), function
        return function

    def _compose(self, entry: _Entry, definitions: list[Definition], segments: Segments | None) -> Function:
        written: list[Written] = []
        kept: list[Kept] = []
        could_be_kept = False
        for d in ([self._search_path] if self._search_path else []) + definitions:
            state: bytes | tuple[str, int] = d.state
            if len(d.state) >= LARGE:
                if segments and d.kept is None:
                    d.kept = segments.keep(d.state)
                if segments and d.kept is not None:
                    state = d.kept.where
                    kept.append(d.kept)
                could_be_kept = could_be_kept or segments is None
            written.append((d.key, d.digest, d.shell, state))
        data = pickle.dumps((entry.loader, written, entry.name), PROTOCOL)
        if len(data) > MAX_ITEM:
            raise too_large("a function, with the globals that it uses,", len(data))
        return Function(data, name=entry.name, holds=tuple(kept) or None, could_be_kept=could_be_kept)


def _is_kept(fn: Any) -> bool:
    """A function, or something that only its name is written of."""
    if isinstance(fn, types.FunctionType):
        return True
    if isinstance(fn, types.BuiltinFunctionType) and not isinstance(fn.__self__, types.ModuleType | None):
        return False  # a method of an object
    return isinstance(fn, types.BuiltinFunctionType | type | functools._lru_cache_wrapper) and is_named(fn)


def _refused(fn: Callable[..., Any], error: Exception) -> SerializationError:
    if isinstance(error, Refused):
        return SerializationError(
            f"an argument of {name_of(fn)} is or holds {error.what}, which cannot be sent to a worker: make it in the"
            " task"
        )
    return SerializationError(f"an argument of {name_of(fn)} cannot be pickled: {words_of(error)}")


def _refused_words(fn: Any, error: Refused) -> str:
    names = [
        name
        for name, cell in zip(fn.__code__.co_freevars, fn.__closure__ or (), strict=True)
        if _is_refused(by_value.content_of(cell, None))
    ]
    what = f"its variable {names[0]!r}" if names else "something that it refers to"
    return (
        f"the function {name_of(fn)} cannot be sent to a worker: {what} is or holds {error.what}: make it in the task,"
        " or in the pool's initializer"
    )


def _is_refused(obj: Any) -> bool:
    try:
        by_value.dumps(obj)
    except Refused:
        return True
    except Exception:
        return False
    return False


def claimed(data: Buffer) -> Buffer | Segment:
    """The segment of a result that began as a ``Reference`` does; its memory now goes with it."""
    try:
        return pickle.loads(data)  # type: ignore[no-any-return]
    except OSError:  # its directory is gone; whoever loads the result is told
        return data


def load_result(status: int, data: Buffer | Segment) -> tuple[Any, BaseException | None]:
    """Of VALUE or RAISED: the value, or the exception. What cannot be read is a SerializationError."""
    if status != _VALUE:
        return None, load_exception(data)  # type: ignore[arg-type]
    try:
        return loads(data), None
    except (Exception, SystemExit) as e:
        return None, SerializationError(f"the result cannot be unpickled here: {words_of(e)}")


def load_exception(data: Buffer) -> BaseException:
    """What ``dump_exception`` wrote, with the remote traceback as its cause."""
    try:
        error, text = loads(data)
    except (Exception, SystemExit) as e:
        return SerializationError(f"the exception that the task raised cannot be unpickled here: {words_of(e)}")
    if text:
        BaseException.__setattr__(error, "__cause__", RemoteTraceback(text))
    return error  # type: ignore[no-any-return]


# ---- in the worker

_NONE = pickle.dumps(None, PROTOCOL)
_OWN_FRAMES = ("xse.functions.payload", "xse.worker.entry", "xse.pool.chunked_map")


def _traceback_text(error: BaseException) -> str:
    """The traceback from the task's own frame on: ours say nothing to a user."""
    tb = error.__traceback__
    while tb and tb.tb_next and tb.tb_frame.f_globals.get("__name__") in _OWN_FRAMES:
        tb = tb.tb_next
    return "".join(traceback.format_exception(type(error), error, tb))


def dump_exception(error: BaseException) -> bytes:
    """An exception and the text of its traceback.

    One whose ``__init__`` takes other arguments than it has kept is made without it on the other side. One that cannot
    make the way at all becomes a SerializationError with its type, its words and its traceback.
    """
    text = _traceback_text(error)
    for name in ("__traceback__", "__cause__", "__context__"):  # a class may refuse to be given attributes
        BaseException.__setattr__(error, name, None)
    try:
        return _dump_exception_and(error, text)
    except BaseException as e:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        told = f"the task raised {name}: {words_of(error, str)}, which cannot be pickled: {words_of(e)}"
        return dumps((SerializationError(told), text))


def _dump_exception_and(error: BaseException, text: str) -> bytes:
    """A pickle that can be loaded again. Raises whatever says that there is none."""
    try:
        data = dumps((error, text))
        loads(data)  # a class whose __init__ does not take its own args fails only there
    except BaseException:
        data = dumps((Unmade(error), text))
        loads(data)
    return data


class Unmade:
    """Pickled in place of an exception: its class, args and attributes, and no call of its ``__init__``."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __reduce__(self) -> Any:
        return rebuild.make_exception, (type(self._error), self._error.args, vars(self._error))


_segments: Segments | None = None  # for large results


def use_segments(directory: str) -> None:
    """Put large results into this directory, which the client sees, too."""
    global _segments
    _segments = Segments(directory)


def _dump_value(value: Any, fn: Any) -> tuple[int, bytes]:
    if value is None:
        return _VALUE, _NONE
    try:
        bulk = 0 if type(value) in _SMALL else bulk_of((value,))
        if bulk < LARGE:
            return _VALUE, dumps(value)
        reference = dump_segment(value, bulk, _segments) if _segments else None
        if reference:
            return _VALUE, pickle.dumps(reference, 2)
        return _VALUE, b"".join(scattered(value).parts)
    except BaseException as e:
        told = SerializationError(
            f"the result of {name_of(fn)}, {name_of(type(value))}, cannot be pickled: {words_of(e)}"
        )
        return Status.RAISED, dump_exception(told)


def load_function(data: bytes) -> Call:
    """A function that cannot be loaded raises in each task that calls it: the worker lives on."""
    loaded = Loaded(data)

    def call(arguments: Buffer) -> tuple[int, bytes]:
        fn = None
        try:
            fn = loaded.function()
            args, kwargs, *carried = loads(arguments)
            if carried:
                fn = carried[0]
        except BaseException as e:
            told = e if isinstance(e, SerializationError) else _not_loaded(fn, e)
            return Status.RAISED, dump_exception(told)
        try:
            value = fn(*args, **kwargs)  # type: ignore[misc]
        except SystemExit:
            raise  # ends the worker, as it would end a script
        except BaseException as e:
            return Status.RAISED, dump_exception(e)
        return _dump_value(value, fn)

    return call


def _not_loaded(fn: Any, error: BaseException) -> SerializationError:
    of = "" if fn is None else f" of {name_of(fn)}"
    return SerializationError(f"the arguments{of} cannot be unpickled in the worker: {words_of(error)}")


class Loaded:
    """A function in a worker, with the definitions that it needs."""

    __slots__ = ("_data", "_definitions", "_epoch", "_fn", "_loader")

    def __init__(self, data: bytes) -> None:
        self._data: bytes | None = data  # until it is first called, so that its task bears the error
        self._definitions: list[Written] = []
        self._epoch = -1
        self._fn: Callable[..., Any] | None = None
        self._loader: bytes | None = None

    def function(self) -> Callable[..., Any] | None:
        """The function, as it was submitted. None: it comes with the arguments. Raises SerializationError."""
        if self._epoch == mirror.epoch:
            return self._fn
        try:
            if self._data is not None:
                self._loader, self._definitions, _ = loads(self._data)
                self._data = None
            if mirror.install(self._definitions) or self._fn is None:
                self._fn = loads(self._loader) if self._loader is not None else None
        except (Exception, SystemExit) as e:
            raise SerializationError(f"the function cannot be unpickled in the worker: {words_of(e)}") from e
        self._epoch = mirror.epoch
        return self._fn


def _load_or_say(what: str, data: Buffer) -> Any:
    try:
        return loads(data)
    except (Exception, SystemExit) as e:
        raise SerializationError(f"{what} cannot be unpickled in the worker: {words_of(e)}") from e


def load_setup(data: bytes) -> Callable[[], None]:
    """What ``Functions.setup`` wrote: raises what the initializer raises."""

    def run() -> None:
        found, task = _load_or_say("the initializer", data)
        script.give(found)
        if task is not None:
            fn = Loaded(task[0]).function()
            args, kwargs, *carried = _load_or_say("the initializer's arguments", task[1])
            (carried[0] if carried else fn)(*args, **kwargs)  # type: ignore[misc]

    return run
