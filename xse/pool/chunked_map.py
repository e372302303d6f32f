"""``map`` in chunks: a task runs many items, as many as take a few milliseconds, and no item has a future of its own.

The items are taken in the caller's thread, by ``map`` and by the iteration: a cursor of a database, say, may be used in
its own thread only. With ``chunksize="auto"`` the iteration takes items while it would have to wait for a result, so
that a result that is there never waits for an iterable that blocks. How many items are ahead of the iteration grows
with what it has taken.

A worker that finds a chunk to take much longer than it should gives the rest back, in smaller chunks. So a long item
has a task of its own, even where all items before it were short.
"""

from __future__ import annotations

import itertools
import sys
import threading
import time
from _thread import allocate_lock
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from concurrent.futures import TimeoutError as FuturesTimeoutError
from functools import partial
from typing import Any, Protocol, TypeAlias

from xse.client.future import Future
from xse.errors import SerializationError
from xse.functions import payload
from xse.functions.payload import Function, Scattered, Task

TARGET_S = 0.005  # for one chunk: a hundred times what its way costs, and short enough to share the last ones out
PATIENCE_S = 2 * TARGET_S  # then a worker gives back what it has not begun
MOST_ITEMS = 8192
MOST_PARTS = 64  # that a chunk is cut into when it takes too long; each of them may be cut again
MOST_BYTES = 1 << 20  # of arguments or results in a chunk
GROWTH = 4  # from one chunk to the next, while they prove short
AHEAD = 4  # chunks under way for each worker
AHEAD_ITEMS = 2  # items that "auto" takes ahead of the iteration for each worker, to begin with
AHEAD_SHARE = 4  # and so much of what the iteration has taken: a quarter

#: Seconds that the items took, the pickle of the list of their values, that of what the next one raised, and the
#: pickled arguments of chunks that hold the rest.
Answer: TypeAlias = "tuple[float, bytes, bytes | None, list[bytes]]"


class Submit(Protocol):
    """Submits a ``chunk_task`` with its pickled arguments. ``then`` is called in the events thread."""

    def __call__(
        self, function: Function, data: bytes | Scattered, then: Callable[[Future[Any]], None]
    ) -> Future[Any]: ...


class Chunk:
    """Items of one task, and what became of them."""

    def __init__(self, n_items: int, n_bytes: int, function: Function) -> None:
        self.n_items = n_items
        self.function = function
        self.n_bytes = n_bytes
        self.future: Future[Any] | None = None
        self.answer: Answer | None = None
        self.failure: BaseException | None = None
        self.rest: list[Chunk] = []  # what the worker has given back
        self._over = False
        self._bell = allocate_lock()
        self._bell.acquire()

    @property
    def over(self) -> bool:
        """Has it been answered, and is what it gave back submitted?"""
        return self._over

    def set_over(self) -> None:
        """Wakes the iteration. Takes no lock: a handler of a signal may have interrupted the iteration."""
        self._over = True
        self._bell.release()

    def wait(self, timeout_s: float | None) -> None:
        """Raises TimeoutError."""
        if not self._over:
            seconds = -1 if timeout_s is None else max(0.0, min(timeout_s, threading.TIMEOUT_MAX))
            if not self._bell.acquire(timeout=seconds):
                raise FuturesTimeoutError

    def ids(self) -> list[int]:
        """The task ids of it and of what it gave back, without those that are over."""
        own = [self.future.task_id] if self.future and not self._over else []
        return own + [i for chunk in self.rest for i in chunk.ids()]


class ChunkedMap:
    """One call of ``map``."""

    def __init__(
        self,
        write: Callable[[tuple[Any, ...]], Task],
        submit: Submit,
        cancel: Callable[[Sequence[int]], None],
        check_open: Callable[[], None],
        items: Iterator[Any],
        *,
        size: int | None,
        n_workers: int,
        timeout: float | None,
        buffersize: int | None,
        all_now: bool = False,
    ) -> None:
        """``write`` makes a task of the arguments of a ``chunk_task``. ``cancel`` takes ids of tasks.

        ``check_open`` raises RuntimeError when nothing more can be submitted.

        ``size``: items of a chunk; None: by what items take. ``buffersize``: chunks that may be ahead of the iteration.
        ``all_now``: take all items before the first result is asked for.
        """
        self._write = write
        self._submit = submit
        self._cancel = cancel
        self._check_open = check_open
        self._items = items
        self._auto = size is None
        self._size = size or 1
        self._item_s: float | None = None
        self._n_workers = n_workers
        self._all_now = all_now and buffersize is None
        self._most_chunks = buffersize or (AHEAD * n_workers if self._auto and not self._all_now else sys.maxsize)
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._chunks: deque[Chunk] = deque()  # not iterated over yet, in order
        self._n_submitted = 0  # chunks
        self._n_answered = 0  # of these, without those that they gave back; counted in the events thread
        self._n_given = 0  # items that the iteration has handed out
        self._n_taken = 0  # items that were taken from the iterable
        self._exhausted = False
        self._failure: BaseException | None = None  # of the iterable, or of a submit: raised where the item would come

    def results(self) -> Generator[Any, None, None]:
        """Take the first items, and return an iterator over the results, in order."""
        while self._may_take():
            self._take(_never)
        if self._failure is not None and not self._auto and self._most_chunks == sys.maxsize:
            failure, self._failure = self._failure, None
            raise failure
        return self._results()

    # ---- taking items

    def _may_take(self) -> bool:
        """May another chunk be submitted?"""
        if self._exhausted or len(self._chunks) >= self._most_chunks:
            return False
        return self._items_left() > 0

    def _items_left(self) -> int:
        """How many items may be taken ahead of the iteration now."""
        if self._all_now or not self._auto:
            return sys.maxsize
        ahead = AHEAD_ITEMS * self._n_workers + self._n_given // AHEAD_SHARE
        return self._n_given + ahead - self._n_taken

    def _take(self, enough: Callable[[], bool]) -> None:
        """Submit one chunk. "auto" takes no more items for it when that takes long, or when there is ``enough``."""
        items: list[Any] = []
        try:
            self._check_open()
            if self._auto:
                self._fill(items, min(self._size, self._items_left()), enough)
            else:
                items.extend(itertools.islice(self._items, self._size))
                self._exhausted = len(items) < self._size
        except Exception as e:
            self._exhausted, self._failure = True, e
        self._n_taken += len(items)
        if items:
            try:
                self._submit_chunk(items)
            except Exception as e:
                self._exhausted, self._failure = True, e

    def _fill(self, items: list[Any], n: int, enough: Callable[[], bool]) -> None:
        start = time.perf_counter()
        for item in itertools.islice(self._items, n):
            items.append(item)
            if enough() or time.perf_counter() - start > TARGET_S:
                return
        self._exhausted = len(items) < n

    def _submit_chunk(self, items: list[Any]) -> None:
        function, data, _ = self._write((items, PATIENCE_S if self._auto else None))
        chunk = Chunk(len(items), len(data), function)
        chunk.future = self._submit(function, data, then=partial(self._answered, chunk))
        self._n_submitted += 1
        self._chunks.append(chunk)

    # ---- in the events thread

    def _answered(self, chunk: Chunk, future: Future[Any]) -> None:
        try:
            chunk.answer = future.result(0)
        except BaseException as e:
            chunk.failure = e
        else:
            self._submit_the_rest(chunk, chunk.answer)
        self._n_answered += 1
        chunk.future = None
        chunk.set_over()

    def _submit_the_rest(self, chunk: Chunk, answer: Answer) -> None:
        seconds, values, _, rest = answer
        try:
            for data in rest:
                part = Chunk(0, len(data), chunk.function)
                self._n_answered -= 1
                part.future = self._submit(chunk.function, data, then=partial(self._answered, part))
                chunk.rest.append(part)
        except Exception as e:  # the pool is broken
            chunk.failure = e
        if self._auto and chunk.n_items and not rest:
            self._size = self._better_size(chunk.n_items, seconds, max(chunk.n_bytes, len(values)))
        elif rest:
            self._size = 1
            self._item_s = None

    def _better_size(self, n: int, seconds: float, n_bytes: int) -> int:
        now = seconds / n
        self._item_s = now if self._item_s is None else (self._item_s + now) / 2
        by_time = TARGET_S / self._item_s if self._item_s > 0 else MOST_ITEMS
        return max(1, min(GROWTH * n, MOST_ITEMS, int(by_time), MOST_BYTES * n // n_bytes))

    # ---- the iteration

    def _results(self) -> Generator[Any, None, None]:
        try:
            while True:
                self._take_more()
                if not self._chunks:
                    break
                chunk = self._chunks[0]
                chunk.wait(self._left())
                self._chunks.popleft()
                self._chunks.extendleft(reversed(chunk.rest))
                chunk.rest = []
                yield from self._values(chunk)
            if self._failure is not None:
                raise self._failure
        finally:  # left early: nobody will ask for the rest
            ids = [i for chunk in self._chunks for i in chunk.ids()]
            if ids:
                self._cancel(ids)

    def _take_more(self) -> None:
        """As many chunks as may be taken; but "auto" does not while a result is there, unless workers have little to
        do."""
        while self._may_take():
            if self._auto and self._chunks and self._chunks[0].over and self._n_running() >= self._n_workers:
                return
            n = len(self._chunks)
            self._take(_never if self._first_is_over() else self._first_is_over)
            if len(self._chunks) == n or (self._auto and self._first_is_over()):
                return

    def _n_running(self) -> int:
        return self._n_submitted - self._n_answered

    def _first_is_over(self) -> bool:
        return bool(self._chunks) and self._chunks[0].over

    def _values(self, chunk: Chunk) -> Generator[Any, None, None]:
        if chunk.answer is not None:
            _, values, error, _ = chunk.answer
            for value in payload.loads(values):
                self._n_given += 1
                yield value
            if error is not None:
                raise payload.load_exception(error)
        if chunk.failure is not None:
            raise chunk.failure

    def _left(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - time.monotonic())


def _never() -> bool:
    return False


# ---- in the worker


def run_chunk(fn: Callable[..., Any], several: bool, items: list[Any], patience_s: float | None) -> Answer:
    """``several``: each item is a tuple of arguments. Items after one that raises are not run. After ``patience_s`` the
    items that have not begun are given back."""
    clock = time.perf_counter
    start = clock()
    until = float("inf") if patience_s is None else start + patience_s
    values: list[Any] = []
    error: bytes | None = None
    rest: list[bytes] = []
    try:
        for item in items:  # no iterator calls fn: StopIteration would only end it
            values.append(fn(*item) if several else fn(item))
            if clock() > until and len(values) < len(items):
                rest = _rest(items[len(values) :], patience_s, (clock() - start) / len(values))
                if rest:
                    break
                until = float("inf")
    except SystemExit:
        raise  # ends the worker, as it would end a script
    except BaseException as e:
        error = payload.dump_exception(e)
    seconds = clock() - start
    try:
        return seconds, payload.dumps(values), error, rest
    except Exception:  # one of them: those before it are told
        good, error = _up_to_the_bad_one(values)
        return seconds, payload.dumps(good), error, []


def _rest(items: list[Any], patience_s: float | None, item_s: float) -> list[bytes]:
    """Arguments of further chunks. Empty: they cannot be pickled here, and must be run here."""
    n = max(1, int(TARGET_S / item_s), -(-len(items) // MOST_PARTS))
    try:
        return [payload.dumps(((items[i : i + n], patience_s), {})) for i in range(0, len(items), n)]
    except Exception:
        return []


def _up_to_the_bad_one(values: list[Any]) -> tuple[list[Any], bytes | None]:
    for i, value in enumerate(values):
        try:
            payload.dumps(value)
        except Exception as e:
            told = SerializationError(f"a result, {payload.name_of(type(value))}, cannot be pickled: {e!r}")
            return values[:i], payload.dump_exception(told)
    return values, None


def chunk_task(fn: Callable[..., Any], several: bool) -> Callable[..., Answer]:
    """The task that runs a chunk with ``fn``: its arguments are the items, and the patience in seconds.

    A function without a name, so that ``fn`` is written once for all chunks.
    """

    def task(items: list[Any], patience_s: float | None) -> Answer:
        return run_chunk(fn, several, items, patience_s)

    task.__qualname__ = payload.name_of(fn)  # it is what errors name
    return task
