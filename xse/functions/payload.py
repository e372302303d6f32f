"""Payloads: what lies in a task and in a result. Only this file, ``by_value`` and ``parsl_codec`` pickle.

xse's own codec is number 0. A function is its pickle, a task's arguments the pickle of ``(args, kwargs)``, a value its
pickle, an exception the pickle of ``(exception, text of its traceback)``. Plain pickle does it where it can, for it is
fast; what must travel by value goes through ``by_value`` (and dill, imported then).
"""

from __future__ import annotations

import importlib
import io
import pickle
import traceback
import types
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from hashlib import blake2b
from typing import Any, Protocol, TypeAlias, overload

from xse.errors import PayloadTooLarge, RemoteTraceback, SerializationError
from xse.functions.captured import Captured, captured
from xse.functions.segments import Reference, Segment, Segments
from xse.wire.messages import MAX_ITEM, Buffer, Status

PROTOCOL = 5
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
    """A function's bytes, ready for the wire, and its name for people."""

    __slots__ = ("codec", "data", "digest", "name")

    def __init__(self, data: bytes, codec: int = 0, name: str = "") -> None:
        self.name = name
        self.data = data
        self.codec = codec
        self.digest = blake2b(data, digest_size=16, person=b"xse codec" + bytes([codec])).digest()


def name_of(obj: Any) -> str:
    """How messages call a function or an object."""
    if isinstance(obj, partial):
        return f"partial of {name_of(obj.func)}"
    return getattr(obj, "__qualname__", None) or f"an object of type {type(obj).__qualname__}"


def _pickle_by_value(obj: Any) -> bytes:
    from xse.functions import by_value

    file = io.BytesIO()
    by_value.Pickler(file, PROTOCOL).dump(obj)
    return file.getvalue()


def dumps(obj: Any) -> bytes:
    """Pickle anything that plain pickle or dill can. Raises whatever the pickle of a part of it raises."""
    try:
        data = pickle.dumps(obj, PROTOCOL)
    except Exception:  # whatever plain pickle cannot, the other may: it is the one to tell
        return _pickle_by_value(obj)
    # A reference into this very script no worker can import. (rfind: over megabytes it is twice as fast as find.)
    if data.rfind(b"__main__") >= 0:
        return _pickle_by_value(obj)
    return data


class Scattered:
    """A pickle in pieces, for large ones: bytes lie in it as they were given, without a copy. ``len``: of all of it."""

    __slots__ = ("_length", "parts")

    def __init__(self, parts: Sequence[Buffer]) -> None:
        self.parts = parts
        self._length = sum(map(len, parts))

    def __len__(self) -> int:
        return self._length


def scattered(obj: Any, arrays: list[pickle.PickleBuffer] | None = None) -> Scattered:
    """As ``dumps``. ``arrays``: where large arrays are to go, which are then not in the pickle; then what may change is
    not copied either.

    Large bytes and texts come from the pickler as pieces of their own, and are not searched for names: what else it
    writes comes in pieces of less than 128 KiB (PEP 3154).
    """
    parts: list[Buffer] = []
    if arrays is None:
        pickler = pickle.Pickler(
            _Writer(lambda part: parts.append(bytes(part))), PROTOCOL
        )  # bytes are not copied by it
    else:
        pickler = pickle.Pickler(_Writer(parts.append), PROTOCOL, buffer_callback=arrays.append)
    try:
        pickler.dump(obj)
    except Exception:
        by_value = True
    else:
        by_value = any(len(part) < LARGE and b"__main__" in part for part in parts)
    if not by_value:
        return Scattered(parts)
    if arrays:
        arrays.clear()
    return Scattered([_pickle_by_value(obj)])


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
            n += value.nbytes
    return n


def dump_segment(obj: Any, bulk: int, into: Segments) -> Reference | None:
    """``obj`` in a segment. None: there is no room for it, or it is so large that no message might carry it, which is
    refused on the other way. ``bulk``: what ``bulk_of`` says. Raises as ``dumps``."""
    if bulk > MAX_ITEM - LARGE:
        return None
    arrays: list[pickle.PickleBuffer] = []
    data = scattered(obj, arrays)
    return into.put(data.parts, [array.raw() for array in arrays])


# ---- in the client


class Functions:
    """Functions as they go on the wire, kept from one submit to the next while they would come out the same.

    What is asked for each submit is whether all that a function captures is still the same (``captured``): a task runs
    what the function was when it was submitted. Everything else that can be called (a partial, a bound method, an
    instance) carries state of its own and is always written anew.
    """

    MOST = 1024

    def __init__(self) -> None:
        self._kept: dict[Any, tuple[Captured, Function]] = {}

    def get(self, fn: Callable[..., Any]) -> Function:
        """Raises SerializationError or PayloadTooLarge."""
        if not isinstance(fn, types.FunctionType):
            return self.write(fn)
        kept = self._kept.get(fn)
        if kept and kept[0].unchanged():
            return kept[1]
        parts = captured(fn)  # before it is written: what changes meanwhile is seen at the next submit
        function = self.write(fn)
        if parts is None:
            self._kept.pop(fn, None)
            return function
        if len(self._kept) >= self.MOST:
            self._kept.clear()
        self._kept[fn] = (parts, function)
        return function

    @staticmethod
    def write(fn: Callable[..., Any]) -> Function:
        """As it is now. Raises SerializationError or PayloadTooLarge."""
        try:
            data = dumps(fn)
        except Exception as e:
            raise SerializationError(f"the function {name_of(fn)} cannot be pickled: {e!r}") from e
        if len(data) > MAX_ITEM:
            raise too_large(f"the function {name_of(fn)}", len(data))
        return Function(data, name=name_of(fn))


@overload
def dump_arguments(fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes: ...
@overload
def dump_arguments(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], bulk: int
) -> bytes | Scattered: ...
def dump_arguments(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], bulk: int = 0
) -> bytes | Scattered:
    """``bulk``: what ``bulk_of`` says of them. Raises SerializationError or PayloadTooLarge."""
    try:
        data = dumps((args, kwargs)) if bulk < LARGE else scattered((args, kwargs))
    except Exception as e:
        raise SerializationError(f"an argument of {name_of(fn)} cannot be pickled: {e!r}") from e
    if len(data) > MAX_ITEM:
        raise too_large(f"the arguments of {name_of(fn)}", len(data))
    return data


def reference_arguments(
    fn: Callable[..., Any], args: tuple[Any, ...], kwargs: dict[str, Any], bulk: int, into: Segments
) -> Reference | None:
    """Large arguments in a segment. None: as ``dump_segment``. Raises SerializationError."""
    try:
        return dump_segment((args, kwargs), bulk, into)
    except Exception as e:
        raise SerializationError(f"an argument of {name_of(fn)} cannot be pickled: {e!r}") from e


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
    except Exception as e:
        return None, SerializationError(f"the result cannot be unpickled here: {e!r}")


def load_exception(data: Buffer) -> BaseException:
    """What ``dump_exception`` wrote, with the remote traceback as its cause."""
    try:
        error, text = loads(data)
    except Exception as e:
        return SerializationError(f"the exception that the task raised cannot be unpickled here: {e!r}")
    if text:
        error.__cause__ = RemoteTraceback(text)
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
    """An exception that cannot make the way becomes a SerializationError with its type, its words and its traceback."""
    text = _traceback_text(error)
    error.__traceback__ = error.__cause__ = error.__context__ = None
    try:
        data = dumps((error, text))
        loads(data)  # a class whose __init__ does not take its own args fails only there
    except Exception as e:
        name = f"{type(error).__module__}.{type(error).__qualname__}"
        told = SerializationError(f"the task raised {name}: {error}, which cannot be pickled: {e!r}")
        data = dumps((told, text))
    return data


_segments: Segments | None = None  # for large results


def use_segments(directory: str) -> None:
    """Put large results into this directory, which the client sees, too."""
    global _segments
    _segments = Segments(directory)


def _dump_value(value: Any, fn: Callable[..., Any]) -> tuple[int, bytes]:
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
    except Exception as e:
        told = SerializationError(f"the result of {name_of(fn)}, {name_of(type(value))}, cannot be pickled: {e!r}")
        return Status.RAISED, dump_exception(told)


def load_function(data: bytes) -> Call:
    """A function that cannot be loaded raises in each task that calls it: the worker lives on."""
    fn: Callable[..., Any] | None = None

    def call(arguments: Buffer) -> tuple[int, bytes]:
        nonlocal fn
        try:
            if fn is None:
                fn = _load_or_say("the function", data)
            args, kwargs = _load_or_say("the arguments", arguments, fn)
            value = fn(*args, **kwargs)
        except SystemExit:
            raise  # ends the worker, as it would end a script
        except BaseException as e:
            return Status.RAISED, dump_exception(e)
        return _dump_value(value, fn)

    return call


def _load_or_say(what: str, data: Buffer, fn: Callable[..., Any] | None = None) -> Any:
    try:
        return loads(data)
    except Exception as e:
        of = "" if fn is None else f" of {name_of(fn)}"
        raise SerializationError(f"{what}{of} cannot be unpickled in the worker: {e!r}") from e


def dump_setup(initializer: Callable[..., Any], initargs: tuple[Any, ...]) -> bytes:
    """What every worker runs before its first task. Raises SerializationError."""
    try:
        return dumps((initializer, initargs))
    except Exception as e:
        raise SerializationError(f"the initializer {name_of(initializer)} cannot be pickled: {e!r}") from e


def load_setup(data: bytes) -> Callable[[], None]:
    def run() -> None:
        initializer, initargs = _load_or_say("the initializer", data)
        initializer(*initargs)

    return run
