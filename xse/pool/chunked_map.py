"""``map`` in chunks: a task runs many items, as many as take a few milliseconds, and no item has a future of its own.

A thread, ``xse-map``, takes the items from the iterable as there is room for them and submits them chunk by chunk, so
that an iterable may be longer than memory. Results stay pickled until the iteration comes to them.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeAlias

from xse.client.future import Future
from xse.errors import SerializationError
from xse.functions import payload
from xse.wire.messages import Buffer

TARGET_S = 0.005  # for one chunk: a hundred times what its way costs, and short enough to share the last ones out
MOST_ITEMS = 8192
MOST_BYTES = 1 << 20  # of arguments or results in a chunk
GROWTH = 4  # from one chunk to the next, while they prove short
AHEAD = 4  # chunks under way for each worker

#: Seconds that the items took, the pickle of the list of their values, and that of what the next one raised.
Answer: TypeAlias = "tuple[float, bytes, bytes | None]"


class ChunkedMap:
    """One call of ``map``. ``owner`` is kept alive while there are items left."""

    def __init__(
        self,
        owner: object,
        submit: Callable[[Buffer], Future],
        cancel: Callable[[list[int]], None],
        fn: Callable[..., Any],
        items: Iterator[Any],
        *,
        size: int | None,
        n_workers: int,
        timeout: float | None,
        buffersize: int | None,
    ) -> None:
        """``submit`` takes the pickled arguments of a ``chunk_task``. ``size`` None: by what items take.

        ``buffersize``: how many items may be ahead of the iteration.
        """
        self._owner: object = owner
        self._submit = submit
        self._cancel = cancel
        self._fn = fn
        self._items = items
        self._fixed = size is not None
        self._size = size or 1
        self._item_s: float | None = None
        self._room = AHEAD * n_workers  # for chunks under way
        self._ahead = sys.maxsize if buffersize is None else buffersize  # items that may still be taken
        self.bounded = buffersize is not None
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._futures: deque[Future] = deque()  # not iterated over yet, in order
        self._error: BaseException | None = None  # of the iterable
        self._fed = False  # no more futures will come
        self._stopped = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._feed, name="xse-map", daemon=True)

    def start(self) -> Iterator[Any]:
        """The results, in order."""
        self._thread.start()
        return itertools.chain.from_iterable(self._answers())

    def join(self) -> None:
        """Until the last item is submitted."""
        self._thread.join()

    def stop(self, why: Exception | None = None) -> None:
        """Take no more items; the iteration ends with ``why``. What has not started is cancelled without one."""
        with self._changed:
            self._stopped = True
            self._error = self._error or why
            left = [] if why else [future.task_id for future in self._futures]
            self._changed.notify_all()
        if left:
            self._cancel(left)

    # ---- the feeding thread

    def _feed(self) -> None:
        try:
            while self._error is None and (n := self._wait_for_room()):
                chunk: list[Any] = []
                try:
                    chunk.extend(itertools.islice(self._items, n))
                except BaseException as e:  # of the iterable: it is raised where the item would have come
                    self._error = e
                if not chunk:
                    break
                self._submit_chunk(chunk)
        except BaseException as e:  # no more can be submitted
            self._error = e
        finally:
            with self._changed:
                self._fed = True
                self._owner = None
                self._changed.notify_all()

    def _submit_chunk(self, chunk: list[Any]) -> None:
        data = payload.dump_arguments(self._fn, (chunk,), {})
        with self._changed:
            if self._stopped:
                return
            self._room -= 1
            self._ahead -= len(chunk)
            future = self._submit(data)
            self._futures.append(future)
            self._changed.notify_all()
        future.add_done_callback(partial(self._answered, len(chunk), len(data)))

    def _wait_for_room(self) -> int:
        """Items that may be taken now; 0: stop."""
        with self._changed:
            self._changed.wait_for(lambda: self._stopped or (self._room > 0 and self._ahead > 0))
            return 0 if self._stopped else min(self._size, self._ahead)

    def _answered(self, n: int, n_bytes: int, future: Future) -> None:
        """Called once for each chunk, in the callback thread."""
        size = self._size
        if not self._fixed and not future.cancelled() and future.exception() is None:
            seconds, values, _ = future.result()
            size = self._better_size(n, seconds, max(n_bytes, len(values)))
        with self._changed:
            self._room += 1
            self._size = size
            self._changed.notify_all()

    def _better_size(self, n: int, seconds: float, n_bytes: int) -> int:
        now = seconds / n
        self._item_s = now if self._item_s is None else (self._item_s + now) / 2
        by_time = TARGET_S / self._item_s if self._item_s > 0 else MOST_ITEMS
        return max(1, min(GROWTH * n, MOST_ITEMS, int(by_time), MOST_BYTES * n // n_bytes))

    # ---- the iteration

    def _answers(self) -> Iterator[list[Any]]:
        try:
            while (future := self._next()) is not None:
                _, values, error = future.result(self._left())
                chunk = payload.loads(values)
                with self._changed:
                    self._ahead += len(chunk)
                    self._changed.notify_all()
                yield chunk
                if error is not None:
                    raise payload.load_exception(error)
            if self._error is not None:
                raise self._error
        finally:  # left early: nobody will ask for the rest
            self.stop()

    def _next(self) -> Future | None:
        with self._changed:
            if not self._changed.wait_for(lambda: self._futures or self._fed, self._left()):
                raise TimeoutError
            return self._futures.popleft() if self._futures else None

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


# ---- in the worker


def run_chunk(fn: Callable[..., Any], several: bool, chunk: list[Any]) -> Answer:
    """``several``: each item is a tuple of arguments. Items after one that raises are not run."""
    start = time.perf_counter()
    values: list[Any] = []
    error: bytes | None = None
    try:
        values.extend(itertools.starmap(fn, chunk) if several else map(fn, chunk))
    except SystemExit:
        raise  # ends the worker, as it would end a script
    except BaseException as e:
        error = payload.dump_exception(e)
    seconds = time.perf_counter() - start
    try:
        return seconds, payload.dumps(values), error
    except Exception:  # one of them: those before it are told
        good, error = _up_to_the_bad_one(values)
        return seconds, payload.dumps(good), error


def _up_to_the_bad_one(values: list[Any]) -> tuple[list[Any], bytes | None]:
    for i, value in enumerate(values):
        try:
            payload.dumps(value)
        except Exception as e:
            told = SerializationError(f"a result, {payload.name_of(type(value))}, cannot be pickled: {e!r}")
            return values[:i], payload.dump_exception(told)
    return values, None


def chunk_task(fn: Callable[..., Any], several: bool) -> Callable[[list[Any]], Answer]:
    """The task that runs a chunk with ``fn``."""
    return partial(run_chunk, fn, several)
