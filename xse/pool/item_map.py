"""``map`` with a task for each item, as ``concurrent.futures`` of Python 3.14 has it."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Generator, Iterator, Sequence
from itertools import islice
from typing import Any, TypeVar

from xse.client.future import Future

T = TypeVar("T")


def item_map(
    submit: Callable[[tuple[Any, ...]], Future[T]],
    cancel: Callable[[Sequence[int]], None],
    check_open: Callable[[], None],
    items: Iterator[tuple[Any, ...]],
    *,
    timeout: float | None,
    buffersize: int | None,
) -> Generator[T, None, None]:
    """Submit the first ``buffersize`` items, or all, and return an iterator over the results.

    ``cancel`` takes the ids of tasks that nobody waits for any more: all of them in one message. ``check_open`` raises
    RuntimeError when nothing can be submitted any more. Then no item is taken; the results of those that were taken
    come first.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    futures = deque(map(submit, islice(items, buffersize)))
    return _results(submit, cancel, check_open, items if buffersize else None, futures, deadline)


def _results(
    submit: Callable[[tuple[Any, ...]], Future[T]],
    cancel: Callable[[Sequence[int]], None],
    check_open: Callable[[], None],
    items: Iterator[tuple[Any, ...]] | None,
    futures: deque[Future[T]],
    deadline: float | None,
) -> Generator[T, None, None]:
    shut: RuntimeError | None = None
    try:
        while futures:
            if items is not None:
                try:
                    check_open()
                except RuntimeError as e:
                    shut, items = e, None
                else:
                    item = next(items, None)
                    items = None if item is None else items
                    if item is not None:
                        futures.append(submit(item))
            yield _first_result(futures, None if deadline is None else max(0.0, deadline - time.monotonic()))
        if shut:
            raise shut
    finally:
        ids = [future.task_id for future in futures if not future.done()]
        if ids:
            cancel(ids)


def _first_result(futures: deque[Future[T]], timeout: float | None) -> T:
    """Keeps no reference to it. A future whose result does not come in time stays, to be cancelled."""
    result = futures[0].result(timeout)
    futures.popleft()
    return result
