"""Codec 1: functions, arguments and results as Parsl writes them, so that its serializer plug-ins go on working.

A function is ``serialize(function)``, arguments are ``serialize(args)`` and ``serialize(kwargs)`` behind each other, a
value is ``serialize(value)``, and an exception is a serialized ``RemoteExceptionWrapper``, as HighThroughputExecutor
sends it. Imported by the executor, and by workers that have such tasks.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import struct
import sys
from collections.abc import Callable
from typing import Any

from parsl.app.errors import RemoteExceptionWrapper
from parsl.serialize import deserialize, serialize

from xse.functions.payload import Call, Function, Unmade, name_of, too_large, words_of
from xse.parsl.errors import DeserializationError, SerializationError
from xse.wire.messages import MAX_ITEM, Buffer, Status

NUMBER = 1

_LENGTH = struct.Struct("<Q")  # of the serialized args; the serialized kwargs follow them


def dump_function(function: Callable[..., Any]) -> Function:
    """Parsl keeps what it wrote for a function object. Raises what its serializers raise, or PayloadTooLarge."""
    data = serialize(function, buffer_threshold=MAX_ITEM)
    if len(data) > MAX_ITEM:
        raise too_large("the function", len(data))
    return Function(data, codec=NUMBER, name=name_of(function))


@functools.cache
def _nothing() -> bytes:
    """Of most tasks, in place of keyword arguments. Parsl takes 10 us to write it."""
    data: bytes = serialize({}, buffer_threshold=MAX_ITEM)
    return data


def dump_arguments(args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
    """Raises what Parsl's serializers raise, or PayloadTooLarge."""
    positional = serialize(args, buffer_threshold=MAX_ITEM)
    named = serialize(kwargs, buffer_threshold=MAX_ITEM) if kwargs else _nothing()
    data = b"".join((_LENGTH.pack(len(positional)), positional, named))
    if len(data) > MAX_ITEM:
        raise too_large("the arguments", len(data))
    return data


def load_result(status: int, data: Buffer) -> tuple[Any, BaseException | None]:
    """In the client: the value, or the exception. What cannot be read is Parsl's DeserializationError."""
    try:
        loaded = deserialize(bytes(data))
        if status == Status.VALUE:
            return loaded, None
        if isinstance(loaded, RemoteExceptionWrapper):
            return None, loaded.get_exception()
    except (Exception, SystemExit) as e:
        return None, DeserializationError(f"a result cannot be read here: {words_of(e)}")
    return None, DeserializationError(f"in place of an exception came {type(loaded)}")


# ---- in the worker


def dump_exception(error: BaseException) -> bytes:
    """An exception that cannot be serialized becomes one that says so."""
    try:
        return _dump_wrapped(RemoteExceptionWrapper(type(error), error, error.__traceback__))
    except BaseException as e:
        said = f"{words_of(error, str)}, which cannot be serialized: {words_of(e)}"
        told = DeserializationError(f"the task raised {type(error).__name__}: {said}")
        data: bytes = serialize(RemoteExceptionWrapper(type(told), told, error.__traceback__))
        return data


def _dump_wrapped(wrapper: RemoteExceptionWrapper) -> bytes:
    """An exception that can be deserialized again. One whose ``__init__`` takes other arguments than it has kept is
    made without it on the other side. Raises whatever says that it cannot."""
    try:
        data: bytes = serialize(wrapper)
        deserialize(data)
    except BaseException:
        part: Any = wrapper
        while part is not None:  # and its causes
            part.e_value = Unmade(part.e_value)
            part = part.cause
        data = serialize(wrapper)
        deserialize(data)
    return data


def load_function(data: bytes) -> Call:
    """A function that cannot be loaded raises in each task that calls it: the worker lives on."""
    function: Callable[..., Any] | None = None

    def call(arguments: Buffer) -> tuple[int, bytes]:
        nonlocal function
        try:
            if function is None:
                function = _load("the function", data)
            args, kwargs = _load_arguments(function, arguments)
            value = function(*args, **kwargs)
        except SystemExit:
            raise  # ends the worker, as it would end a script
        except BaseException as e:
            return Status.RAISED, dump_exception(e)
        return _dump_value(value, function)

    return call


def _load(what: str, data: bytes) -> Any:
    try:
        return deserialize(data)
    except (Exception, SystemExit) as e:
        raise DeserializationError(f"{what} cannot be read in the worker: {words_of(e)}") from e


def _load_arguments(function: Callable[..., Any], data: Buffer) -> tuple[Any, Any]:
    view = memoryview(data)
    (n,) = _LENGTH.unpack_from(view)
    middle = _LENGTH.size + n
    try:
        return deserialize(bytes(view[_LENGTH.size : middle])), deserialize(bytes(view[middle:]))
    except (Exception, SystemExit) as e:
        told = f"the arguments of {_name(function)} cannot be read in the worker: {words_of(e)}"
        raise DeserializationError(told) from e


def _name(function: Callable[..., Any]) -> str:
    """The user's: Parsl wraps it, and the wrapper's own name does not make the way."""
    return name_of(inspect.unwrap(function))


def _dump_value(value: Any, function: Callable[..., Any]) -> tuple[int, bytes]:
    if isinstance(value, RemoteExceptionWrapper):  # Parsl catches what an app raises, and returns it so
        error = value.e_value
        try:
            return Status.VALUE, _dump_wrapped(value)
        except BaseException:
            return Status.RAISED, dump_exception(error)
    try:
        return Status.VALUE, serialize(value, buffer_threshold=sys.maxsize)
    except BaseException as e:
        name = _name(function)
        said = f"the result of {name}, {name_of(type(value))}, cannot be serialized: {words_of(e)}"
        told = SerializationError(name, said)
        return Status.RAISED, dump_exception(told)


def execute_payload(name: str, buffer: bytes, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """The function of this full import path, called with the buffer first: see ExtremeScaleExecutor.submit_payload."""
    module, _, function = name.rpartition(".")
    return getattr(importlib.import_module(module), function)(buffer, *args, **kwargs)


def load_setup(data: bytes) -> Callable[[], None]:
    """A serialized function without arguments."""
    return deserialize(data)  # type: ignore[no-any-return]
