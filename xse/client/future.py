"""The future of a task: a concurrent.futures.Future that costs little until somebody waits for it.

The standard one makes a Condition and two lists when it is born, and takes the lock to finish. Most futures are done
before anybody waits, so these make the Condition when one is first asked for. ``finish`` sets the state and looks for a
Condition after; a waiter makes its Condition and looks at the state after: one of the two sees the other.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future as StandardFuture
from concurrent.futures import _base
from typing import Any, Protocol, TypeAlias

from xse.functions import payload, segments
from xse.functions.segments import Segment
from xse.wire.messages import Buffer, Status

Data: TypeAlias = "Buffer | Segment"

_birth = threading.Lock()  # of Conditions
_PENDING, _RUNNING, _FINISHED = _base.PENDING, _base.RUNNING, _base.FINISHED
_OVER = (_FINISHED, _base.CANCELLED, _base.CANCELLED_AND_NOTIFIED)
_VALUE, _RAISED = int(Status.VALUE), int(Status.RAISED)  # an enum's member costs as much as a call to look up


class Owner(Protocol):
    """What a future asks of the client it came from."""

    @property
    def load(self) -> Callable[[int, Any], tuple[Any, BaseException | None]]:
        """Unpickles what has come, VALUE or RAISED."""

    def cancel(self, future: Future, *, kill: bool) -> bool: ...


class Future(StandardFuture[Any]):
    """Of one task. ``task_id`` is unique in its executor, from 1."""

    _state = _PENDING  # until set: a class attribute costs a future nothing
    _result: Any = None
    _exception: BaseException | None = None
    _raw: Data | None = None  # what has come, until it is asked for
    _raised = False  # what has come is an exception
    _lazy: dict[str, Any] | None = None
    segment: str | None = None  # of the arguments, which the worker removes when it takes them

    def __init__(self, task_id: int, owner: Owner) -> None:
        # Not the base's __init__: it would make what is made on demand here.
        self.task_id = task_id
        self._owner = owner

    @property
    def parsl_executor_task_id(self) -> int:
        """As Parsl's HighThroughputExecutor calls it."""
        return self.task_id

    # ---- what the base keeps in attributes, made when it is first asked for

    def _made(self, name: str, make: Callable[[], Any]) -> Any:
        lazy = self._lazy
        if lazy is None or name not in lazy:
            with _birth:
                lazy = self._lazy = self._lazy or {}
                lazy.setdefault(name, make())
        return lazy[name]

    @property
    def _condition(self) -> threading.Condition:  # type: ignore[override, unused-ignore]
        return self._made("condition", threading.Condition)  # type: ignore[no-any-return]

    @property
    def _waiters(self) -> list[Any]:  # type: ignore[override, unused-ignore]
        return self._made("waiters", list)  # type: ignore[no-any-return]

    @property
    def _done_callbacks(self) -> list[Any]:  # type: ignore[override, unused-ignore]
        return self._made("callbacks", list)  # type: ignore[no-any-return]

    # ---- finishing; called by the client, once

    def finish(self, status: int, data: Data) -> bool:
        """VALUE or RAISED has come. It is unpickled by whoever asks for it. True: call ``run_callbacks``."""
        self._raw = data
        if status:
            self._raised = True
        return self._finished()

    def fail(self, error: BaseException) -> bool:
        """The task will have no result of its own. True: call ``run_callbacks``."""
        self._exception = error
        self._remove_segment()
        return self._finished()

    def _finished(self) -> bool:
        with _birth:  # what is made on demand is made before this, or after: then it sees the state
            lazy = self._lazy
            if lazy is None or "condition" not in lazy:
                self._state = _FINISHED
                bells = lazy.pop("bells", ()) if lazy else ()
                lazy = None
        if lazy is None:
            for bell in bells:
                bell.release()
            return False
        with self._condition:  # as_completed and wait hold all their futures' while they count: the state is set within
            self._state = _FINISHED
            for waiter in self._waiters:
                waiter.add_exception(self) if self._failed() else waiter.add_result(self)
            self._condition.notify_all()
        self._ring()
        return bool(self._done_callbacks)

    def _ring(self) -> None:
        """Who waits in ``result`` or ``exception`` looks at the state."""
        with _birth:
            bells = self._lazy.pop("bells", ()) if self._lazy else ()
        for bell in bells:
            bell.release()

    def drop(self) -> bool:
        """It is cancelled. True: call ``run_callbacks``."""
        self._remove_segment()
        with self._condition:
            self._state = _base.CANCELLED_AND_NOTIFIED
            for waiter in self._waiters:
                waiter.add_cancelled(self)
            self._condition.notify_all()
        self._ring()
        return bool(self._done_callbacks)

    def _remove_segment(self) -> None:
        """Nobody may have come to take it."""
        if self.segment:
            segments.remove(self.segment)

    def start(self) -> None:
        """It is known to run."""
        with self._condition:
            if self._state == _PENDING:
                self._state = _RUNNING
                self._condition.notify_all()

    def run_callbacks(self) -> None:
        """In a thread that may run what users have attached."""
        self._invoke_callbacks()  # type: ignore[attr-defined]

    def _failed(self) -> bool:
        return self._raised or self._exception is not None

    # ---- what users call

    def _load(self) -> None:
        """Unpickle what has come, once."""
        data = self._raw
        if data is None:
            return
        value, error = self._owner.load(_RAISED if self._raised else _VALUE, data)
        with _birth:  # two threads may both have loaded it; one of the two values is everybody's
            if self._raw is not None:
                self._result, self._exception, self._raw = value, error, None

    def result(self, timeout: float | None = None) -> Any:
        """What the function returned; raises what it raised, or why it has no result."""
        if self._state != _FINISHED:
            self._wait(timeout)
        if self._state != _FINISHED:
            return super().result(0)  # cancelled, or timed out: the base knows what to raise
        if self._raw is not None:
            self._load()
        if self._exception is None:
            return self._result
        try:
            raise self._exception
        finally:
            del self  # or the exception's traceback would keep the future, and it the exception

    def exception(self, timeout: float | None = None) -> BaseException | None:
        """What the function raised, or None."""
        if self._state != _FINISHED:
            self._wait(timeout)
        if self._state != _FINISHED:
            return super().exception(0)
        self._load()
        return self._exception

    def _wait(self, timeout: float | None) -> None:
        """Until it is done. A lock of its own is half of what a Condition does, and all that is needed here."""
        bell = threading.Lock()
        bell.acquire()
        with _birth:
            if self._state in _OVER:
                return
            if self._lazy is None:
                self._lazy = {}
            self._lazy.setdefault("bells", []).append(bell)
        bell.acquire(timeout=-1 if timeout is None else max(0.0, min(timeout, threading.TIMEOUT_MAX)))

    def cancel(self, *, kill: bool = False) -> bool:
        """Cancel the task unless it has started; waits until that is known, a round trip. True: it will never run.

        With ``kill`` a task that runs is ended with its worker, and True is returned for it, too.
        """
        if self.done():
            return self.cancelled()
        return self._owner.cancel(self, kill=kill)

    def wait_for_cancel(self, kill: bool) -> bool:
        """Until it is done, or known to run; with ``kill`` until it is done, for then it will be."""
        with self._condition:
            self._condition.wait_for(lambda: self.done() or (self._state != _PENDING and not kill))
        return self.cancelled()

    def __repr__(self) -> str:
        self._load()
        return super().__repr__()

    def __reduce__(self) -> Any:
        raise TypeError("a future cannot be pickled: pass its result")


def finish_all(futures: Sequence[Future | None], statuses: Sequence[int], data: Sequence[bytes]) -> list[int]:
    """``finish`` for those futures whose value has come and for whom nobody waits yet, which are most: at one go.
    Returns which are left to be finished one by one."""
    left = []
    with _birth:
        for i, (future, status, value) in enumerate(zip(futures, statuses, data, strict=True)):
            if future is not None and status == _VALUE and future._lazy is None:
                future._raw = value
                future._state = _FINISHED
            else:
                left.append(i)
    return left


def load_result(status: int, data: Data) -> tuple[Any, BaseException | None]:
    """xse's own codec, as ``finish`` wants it."""
    return payload.load_result(status, data)
