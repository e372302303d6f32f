"""A backend for joblib, by which scikit-learn and others run their loops in a PoolExecutor.

    import joblib, xse.joblib
    xse.joblib.register()
    with joblib.parallel_config("xse", n_jobs=8):
        joblib.Parallel()(joblib.delayed(f)(i) for i in range(1000))

``parallel_config("xse", executor=pool)`` uses a pool of your own, with its options. Otherwise a pool of ``n_jobs``
workers is started at the first loop, and kept for the next ones until the script ends.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

from joblib.parallel import AutoBatchingMixin, ParallelBackendBase, register_parallel_backend

from xse.client.future import Future
from xse.pool.executor import PoolExecutor, PoolWithOptions

NAME = "xse"

_pools: dict[int, PoolExecutor] = {}  # that loops have started, by the number of workers


def register(make_default: bool = False) -> None:
    """Make the backend known to joblib. ``make_default``: use it where a loop names none."""
    register_parallel_backend(NAME, Backend, make_default=make_default)


class Backend(AutoBatchingMixin, ParallelBackendBase):  # type: ignore[misc]
    """What joblib asks of a backend."""

    supports_retrieve_callback = True
    uses_threads = False
    supports_sharedmem = False

    def __init__(self, executor: PoolExecutor | PoolWithOptions | None = None, **settings: Any) -> None:
        super().__init__(**settings)
        self._given = executor
        self._executor: PoolExecutor | PoolWithOptions | None = executor

    def effective_n_jobs(self, n_jobs: int | None) -> int:
        """Workers for ``n_jobs``, where -1 is all CPUs, -2 all but one; all of an executor that was given."""
        if self._given is not None:
            pool = self._given._pool if isinstance(self._given, PoolWithOptions) else self._given
            return pool._max_workers
        if n_jobs == 0:
            raise ValueError("n_jobs == 0 in Parallel has no meaning")
        if n_jobs is None:
            return 1
        return n_jobs if n_jobs > 0 else max(1, len(os.sched_getaffinity(0)) + 1 + n_jobs)

    def configure(self, n_jobs: int | None = 1, parallel: Any = None, **_: Any) -> int:
        """Called before a loop. Returns the number of workers."""
        self.parallel = parallel
        n = self.effective_n_jobs(n_jobs)
        if self._given is None:
            pool = _pools.get(n)
            if pool is None or pool.closed or pool.broken:
                pool = _pools[n] = PoolExecutor(n)
            self._executor = pool
        return n

    def submit(self, func: Callable[[], Any], callback: Callable[[Any], Any] | None = None) -> Future[Any]:
        """Schedule one batch of calls."""
        assert self._executor is not None
        future = self._executor.submit(func)
        if callback is not None:
            future.add_done_callback(callback)
        return future

    apply_async = submit  # its name before joblib 1.5

    def retrieve_result_callback(self, future: Future[Any]) -> Any:
        """What the batch returned, or what it raised."""
        return future.result()

    def terminate(self) -> None:
        """A loop is over. The pool stays for the next one."""
        self.reset_batch_stats()

    def abort_everything(self, ensure_ready: bool = True) -> None:
        """A call has raised: what the loop has still to do is cancelled. What runs is ended with its pool, unless the
        executor is the user's own."""
        if self._given is None and isinstance(self._executor, PoolExecutor):
            _pools.pop(self._executor._max_workers, None)
            self._executor.kill_workers()
        if ensure_ready:
            self.configure(self.parallel.n_jobs, self.parallel)
