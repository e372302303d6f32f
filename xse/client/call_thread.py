"""A thread that makes calls, one after the other, in the order in which they were put."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable
from heapq import heappop, heappush
from typing import TypeAlias

Call: TypeAlias = Callable[[], object]


class CallThread:
    """``put`` may be called from anywhere: a signal handler, ``__del__``, any thread. It takes no lock of Python's."""

    def __init__(self, name: str, on_error: Callable[[BaseException], None]) -> None:
        """``on_error`` is told, in the thread, what a call raised. The thread then goes on with the next call."""
        self._name = name
        self._on_error = on_error
        self._calls: queue.SimpleQueue[Call | None] = queue.SimpleQueue()
        self._timers: list[tuple[float, int, Call]] = []  # a heap; the thread's own
        self._n_timers = 0
        self._thread: threading.Thread | None = None
        self._over = False

    def start(self) -> None:
        """Raises RuntimeError when the system gives no thread."""
        thread = threading.Thread(target=self._run, name=self._name, daemon=True)
        thread.start()
        self._thread = thread

    def put(self, call: Call) -> None:
        """Have ``call()`` made in the thread; in the caller's if the thread has ended."""
        self._calls.put(call)
        if self._over:
            self._make_the_rest()

    def put_later(self, seconds: float, call: Call) -> None:
        """Have ``call()`` made in the thread, in so many seconds. It is not made if the thread ends before."""
        due = time.monotonic() + seconds
        self.put(lambda: self._set_timer(due, call))

    def _set_timer(self, due: float, call: Call) -> None:
        self._n_timers += 1  # two calls that are due together are not compared
        heappush(self._timers, (due, self._n_timers, call))

    def is_current(self) -> bool:
        """Is the caller in this thread?"""
        return threading.current_thread() is self._thread

    def end(self) -> None:
        """Make what was put so far, and end. Waits for it, unless the caller is in this thread. May be called again."""
        self._calls.put(None)
        if self._thread and not self.is_current():
            self._thread.join()
            self._over = True
            self._make_the_rest()

    def _make_the_rest(self) -> None:
        with contextlib.suppress(queue.Empty):
            while True:
                self._make(self._calls.get_nowait())

    def _next(self) -> Call | None:
        if not self._timers:
            return self._calls.get()
        try:
            return self._calls.get(timeout=max(0.0, self._timers[0][0] - time.monotonic()))
        except queue.Empty:
            return heappop(self._timers)[2]

    def _run(self) -> None:
        while (call := self._next()) is not None:
            self._make(call)
            del call  # what it holds may be the last of something

    def _make(self, call: Call | None) -> None:
        try:
            if call:
                call()
        except BaseException as e:
            self._on_error(e)
