"""What the standard library has."""

from __future__ import annotations

import contextlib
import functools
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from typing import Any

from .bench import Bench


@contextlib.contextmanager
def open_processes(workers: int) -> Iterator[Bench]:
    with ProcessPoolExecutor(workers) as executor:
        yield Bench(executor.submit, functools.partial(executor.map, chunksize=100))


@contextlib.contextmanager
def open_futures(workers: int) -> Iterator[Bench]:
    """The least that an executor keeps of a task: its future, its function and its arguments. One thread runs them."""
    del workers
    queue: deque[tuple[Future[Any], Callable[..., Any], tuple[Any, ...]]] = deque()
    there = threading.Semaphore(0)

    def run() -> None:
        while True:
            there.acquire()
            if not queue:
                return
            future, fn, args = queue.popleft()
            future.set_result(fn(*args))

    def submit(fn: Callable[..., Any], *args: Any) -> Future[Any]:
        future: Future[Any] = Future()
        queue.append((future, fn, args))
        there.release()
        return future

    thread = threading.Thread(target=run)
    thread.start()
    try:
        yield Bench(submit)
    finally:
        there.release()
        thread.join()
