"""The future of a task: a ``concurrent.futures.Future`` that takes no lock.

``done()``, ``result()`` and ``cancel()`` may be called in a signal handler, in ``__del__`` and in a forked child: there
a lock could be held by the very code that was interrupted, or by a thread that the child does not have. So nothing here
takes one. What must happen once is one step of the interpreter: a key set by ``dict.setdefault``, an item taken by
``deque.popleft``.

The client first stores that the future is over, and then looks for those who wait. A waiter first enters itself, and
then looks whether the future is over. So one of the two sees the other.
"""

from __future__ import annotations

import contextlib
import sys
import threading
from _thread import LockType, allocate_lock
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, _base
from concurrent.futures import Future as StandardFuture
from typing import Any, Protocol, TypeAlias, TypeVar

from xse.functions import payload, segments
from xse.functions.segments import Segment
from xse.wire.messages import Buffer, Status

T = TypeVar("T")
Data: TypeAlias = "Buffer | Segment"

_PENDING, _RUNNING = _base.PENDING, _base.RUNNING
_FINISHED, _CANCELLED = _base.FINISHED, _base.CANCELLED_AND_NOTIFIED
_VALUE, _RAISED = int(Status.VALUE), int(Status.RAISED)  # an enum's member costs as much as a call to look up


class Owner(Protocol):
    """What a future asks of the client it came from."""

    @property
    def load(self) -> Callable[[int, Any], tuple[Any, BaseException | None]]:
        """Unpickles what has come, VALUE or RAISED."""

    def check_wait(self, future: Future[Any]) -> None:
        """Raises RuntimeError in a thread, or a process, where a wait for it could never end."""

    def cancel(self, future: Future[Any], *, kill: bool, wait: bool) -> bool: ...


class Future(StandardFuture[T]):
    """The result of one task. Created by ``submit``; completed by the client.

    ``task_id`` is unique in its executor, from 1.
    """

    # Class attributes until they are set: a future that nobody waits for costs little.
    _over: str | None = None  # FINISHED or CANCELLED_AND_NOTIFIED, when it is over
    _running = False  # it was seen to run
    _raw: Data | None = None  # what has come, until somebody asks for it
    _raised = False  # what has come is an exception
    _loaded: tuple[Any, BaseException | None] | None = None  # value and exception
    _extras: dict[str, Any] | None = None  # those who wait: "bells", "callbacks", "watch", "then"; and "held"
    segment: str | None = None  # path of the arguments in shared memory; the worker removes it when it takes them

    def __init__(self, task_id: int, owner: Owner) -> None:
        # Not the base's __init__, which makes a Condition and two lists.
        self.task_id = task_id
        self._owner = owner

    @property
    def parsl_executor_task_id(self) -> int:
        """The task's id under the name that Parsl's HighThroughputExecutor gives it."""
        return self.task_id

    def hold(self, what: Any) -> None:
        """Keep it until the task is over: a worker may come to read it."""
        self._extra("held", lambda: what)

    def _extra(self, name: str, make: Callable[[], Any]) -> Any:
        extras = self._extras
        if extras is None:
            extras = self.__dict__.setdefault("_extras", {})
        found = extras.get(name)
        return extras.setdefault(name, make()) if found is None else found

    # ---- completed by the client, once

    def finish(self, status: int, data: Data) -> bool:
        """VALUE or RAISED has come; whoever asks for it unpickles it. True: call ``Client.announce``."""
        self._raw = data
        if status != _VALUE:
            self._raised = True
            self._remove_segment()
        return self._end(_FINISHED)

    def fail(self, error: BaseException) -> bool:
        """The task will have no result of its own. True: call ``Client.announce``."""
        self._loaded = (None, error)
        self._remove_segment()
        return self._end(_FINISHED)

    def fulfil(self, value: Any) -> bool:
        """Complete it with this object. True: call ``Client.announce``."""
        self._loaded = (value, None)
        return self._end(_FINISHED)

    def drop(self) -> bool:
        """It is cancelled. True: call ``Client.announce``."""
        self._remove_segment()
        return self._end(_CANCELLED)

    def start(self) -> None:
        """It is known to run."""
        self._running = True
        if self._extras:
            _ring(self._extras.get("start_bells"))

    def _end(self, state: str) -> bool:
        self._over = state
        return self._extras is not None and self.ring()

    def ring(self) -> bool:
        """Wake all threads that wait in ``result``, ``exception`` or ``cancel``. True: call ``Client.announce``."""
        extras = self._extras
        if extras is None:
            return False
        extras.pop("held", None)
        _ring(extras.get("bells"))
        _ring(extras.get("start_bells"))
        return "watch" in extras or "then" in extras or bool(extras.get("callbacks"))

    def _remove_segment(self) -> None:
        """No worker may have come to take it."""
        if self.segment:
            segments.remove(self.segment)

    # ---- those who are told of the end

    def then(self, call: Callable[[Future[T]], None]) -> None:
        """For the project's own code, before the task is sent: ``call(future)`` in the events thread at the end."""
        self._extra("then", lambda: call)

    def take_then(self) -> Callable[[Future[T]], None] | None:
        """What ``then`` was given, once."""
        return self._extras.pop("then", None) if self._extras else None

    @property
    def watched(self) -> bool:
        """Does ``concurrent.futures.wait`` or ``as_completed`` look at it?"""
        return self._extras is not None and "watch" in self._extras

    @property
    def has_callbacks(self) -> bool:
        return self._extras is not None and bool(self._extras.get("callbacks"))

    def tell_watchers(self) -> None:
        """Tell ``concurrent.futures.wait`` and ``as_completed`` that it is over. May wait for locks of theirs."""
        with self._condition:
            pass

    def run_callbacks(self) -> None:
        """Each callback once. A callback that raises, whatever it is, is logged."""
        callbacks = self._extras.get("callbacks") if self._extras else None
        while callbacks:
            try:
                callback = callbacks.popleft()
            except IndexError:  # another thread took the last one
                break
            try:
                callback(self)
            except BaseException:
                with contextlib.suppress(BaseException):  # a handler of the user's log is the user's code, too
                    _base.LOGGER.exception("exception calling callback for %r", self)

    # ---- what concurrent.futures.wait and as_completed look at

    @property
    def _state(self) -> str:  # type: ignore[override, unused-ignore]
        watch = self._extras.get("watch") if self._extras else None
        over = watch.over if watch is not None and watch.is_owned() else self._over
        return over or (_RUNNING if self._running else _PENDING)

    @property
    def _condition(self) -> _Watched:  # type: ignore[override, unused-ignore]
        return _Watched(self, self._extra("watch", _Watch))

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override, unused-ignore]
        return self._extra("watch", _Watch).waiters  # type: ignore[no-any-return]

    # ---- what users call

    def done(self) -> bool:
        """Is it over: finished or cancelled?"""
        return self._over is not None

    def cancelled(self) -> bool:
        """Was it cancelled?"""
        return self._over == _CANCELLED

    def running(self) -> bool:
        """Is the task known to run? The pool tells this only when somebody asks to cancel it."""
        return self._running and self._over is None

    def result(self, timeout: float | None = None) -> T:
        """What the function returned; raises what it raised, or why it has no result.

        ``timeout``: seconds to wait at most; then TimeoutError is raised. Raises CancelledError if it was cancelled.
        """
        value, error = self._answer(timeout)
        if error is None:
            return value  # type: ignore[no-any-return]
        try:
            raise error
        finally:
            del self, error  # or the exception's traceback would keep them, and they the exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the function raised, or None. ``timeout`` and what is raised: see ``result``."""
        return self._answer(timeout)[1]

    def _answer(self, timeout: float | None) -> tuple[Any, BaseException | None]:
        if self._over is None:
            self._wait(timeout)
        if self._over == _CANCELLED:
            raise CancelledError
        return self._loaded or self._load()

    def _load(self) -> tuple[Any, BaseException | None]:
        """Unpickle what has come. Two threads may both do it: the answer of the first is everybody's.

        A value that cannot be unpickled is kept as it came: a handler of a signal may have raised meanwhile, or no
        descriptor may have been left, and it may be unpickled when it is asked for again.
        """
        data = self._raw
        if data is not None:
            loaded = self._owner.load(_RAISED if self._raised else _VALUE, data)
            if loaded[1] is not None and not self._raised:
                return loaded
            self.__dict__.setdefault("_loaded", loaded)
            self._raw = None
        assert self._loaded is not None
        return self._loaded

    def _wait(self, timeout: float | None) -> None:
        self._sleep("bells", lambda: self._over is not None, timeout)
        if self._over is None:
            raise _base.TimeoutError

    def _sleep(self, bells_name: str, is_over: Callable[[], bool], timeout: float | None) -> None:
        """Until ``is_over()``, or for ``timeout`` seconds. Each waiter has a lock of its own, which ``_ring`` opens."""
        bell = allocate_lock()
        bell.acquire()
        bells = self._extra(bells_name, deque)
        bells.append(bell)
        try:
            if not is_over():
                self._owner.check_wait(self)
                bell.acquire(timeout=-1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX)))
        finally:
            with contextlib.suppress(ValueError):  # it was rung
                bells.remove(bell)

    def add_done_callback(self, fn: Callable[[Future[T]], object]) -> None:
        """Have ``fn(future)`` called when it is over, in a thread where only callbacks run; now if it is over now."""
        if self._over is None:
            self._extra("callbacks", deque).append(fn)
            if self._over is not None:  # meanwhile; each callback is taken once
                self.run_callbacks()
            return
        try:
            fn(self)
        except Exception:
            _base.LOGGER.exception("exception calling callback for %r", self)

    def cancel(self, *, kill: bool = False) -> bool:
        """Cancel the task unless it has started. True: it will never run.

        Waits until the pool knows whether it has started: one round trip. In a thread that runs an asyncio event loop
        it does not wait: it asks for the cancellation and returns False unless that is known already.

        ``kill``: end a task that runs, and its worker with it; then True is returned for it, too.
        """
        if self._over is not None:
            return self.cancelled()
        if self._running and not kill:
            return False
        self._owner.cancel(self, kill=kill, wait=not _in_event_loop())
        return self.cancelled()

    def wait_for_cancel(self, kill: bool) -> None:
        """Until it is over, or known to run; with ``kill`` until it is over, for then it will be."""
        if kill:
            self._sleep("bells", lambda: self._over is not None, None)
        else:
            self._sleep("start_bells", lambda: self._over is not None or self._running, None)

    def _get_snapshot(self) -> tuple[bool, bool, Any, BaseException | None]:
        """What asyncio of Python 3.14 asks: done, cancelled, result, exception."""
        if self._over is None:
            return False, False, None, None
        if self._over == _CANCELLED:
            return True, True, None, None
        return (True, False, *(self._loaded or self._load()))

    def __repr__(self) -> str:
        """Does not unpickle the result."""
        state = _base._STATE_TO_DESCRIPTION_MAP[self._state]
        what = ""
        if self._over == _FINISHED and self._loaded is not None:
            value, error = self._loaded
            what = f" returned {type(value).__name__}" if error is None else f" raised {type(error).__name__}"
        return f"<{type(self).__name__} at {id(self):#x} state={state}{what}>"

    def __reduce__(self) -> Any:
        raise TypeError("a future cannot be pickled: pass its result")


class _Watch:
    """What ``concurrent.futures.wait`` and ``as_completed`` need of a future: a lock, and a list of waiters.

    They hold the locks of all their futures while they count which are over and enter themselves. Meanwhile a future
    must not change for them. So the state that the holder of the lock sees is ``over`` of this object, and that changes
    only when somebody takes the lock. The client itself never takes it; its events thread does.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.depth = 0
        self.over: str | None = None
        self.waiters: list[Any] = []

    def is_owned(self) -> bool:
        return self.lock._is_owned()  # type: ignore[attr-defined, no-any-return]


class _Watched:
    """A future and its watch, where the base has a Condition."""

    __slots__ = ("_future", "_watch")

    def __init__(self, future: Future[Any], watch: _Watch) -> None:
        self._future = future
        self._watch = watch

    def acquire(self, blocking: bool = True, timeout: float = -1) -> bool:
        watch = self._watch
        if not watch.lock.acquire(blocking, timeout):
            return False
        watch.depth += 1
        if watch.depth == 1 and watch.over is None:
            self._catch_up()
        return True

    def release(self) -> None:
        self._watch.depth -= 1
        self._watch.lock.release()

    def __enter__(self) -> bool:
        return self.acquire()

    def __exit__(self, *_: object) -> None:
        self.release()

    def notify_all(self) -> None:
        """Nobody waits here: ``result`` and ``exception`` wait for bells."""

    def _catch_up(self) -> None:
        future, watch = self._future, self._watch
        watch.over = future._over
        if watch.over is None:
            return
        failed = future._raised or (future._loaded is not None and future._loaded[1] is not None)
        for waiter in watch.waiters:
            if watch.over == _CANCELLED:
                waiter.add_cancelled(future)
            elif failed:
                waiter.add_exception(future)
            else:
                waiter.add_result(future)


def _ring(bells: deque[LockType] | None) -> None:
    while bells:
        try:
            bell = bells.popleft()
        except IndexError:  # its waiter went away
            break
        bell.release()


def _in_event_loop() -> bool:
    asyncio = sys.modules.get("asyncio")
    return asyncio is not None and asyncio._get_running_loop() is not None


def finish_all(futures: Sequence[Future[Any] | None], statuses: Sequence[int], data: Sequence[Any]) -> list[int]:
    """``finish`` for those futures whose value has come, which are most. Returns which are left to be looked at one by
    one: those with another status, and those for whom somebody waits (``Future.ring``)."""
    left = []
    for i, (future, status, value) in enumerate(zip(futures, statuses, data, strict=True)):
        if future is not None and status == _VALUE:
            future._raw = value
            future._over = _FINISHED
            if future._extras is None:
                continue
        left.append(i)
    return left


def load_result(status: int, data: Data) -> tuple[Any, BaseException | None]:
    """xse's own codec, as ``finish`` wants it."""
    return payload.load_result(status, data)
