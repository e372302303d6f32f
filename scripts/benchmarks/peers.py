"""Who is measured: each peer as a context manager that gives a Bench to run tasks on, with so many workers."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future
from dataclasses import dataclass
from typing import Any

Submit = Callable[..., "Future[Any]"]


@dataclass(frozen=True)
class Bench:
    """``submit(fn, *args)`` gives a future. ``executor``: where ``map`` is to be had, too."""

    submit: Submit
    executor: Executor | None = None


@contextlib.contextmanager
def _standard(executor: Executor) -> Iterator[Bench]:
    with executor:
        yield Bench(executor.submit, executor)


def _pool(workers: int) -> contextlib.AbstractContextManager[Bench]:
    from xse import PoolExecutor

    return _standard(PoolExecutor(workers))


def _process_pool(workers: int) -> contextlib.AbstractContextManager[Bench]:
    from concurrent.futures import ProcessPoolExecutor

    return _standard(ProcessPoolExecutor(workers))


def _xse_executor(workers: int) -> Any:
    from xse import ExtremeScaleExecutor

    return ExtremeScaleExecutor(workers_per_rank=workers)


def _htex(prefetch: int) -> Callable[[int], Any]:
    def make(workers: int) -> Any:
        from parsl.executors import HighThroughputExecutor
        from parsl.launchers import SimpleLauncher
        from parsl.providers import LocalProvider

        return HighThroughputExecutor(
            address="127.0.0.1",
            max_workers_per_node=workers,
            cores_per_worker=0.001,
            prefetch_capacity=prefetch,
            encrypted=True,  # as is ours wherever bytes leave the host
            provider=LocalProvider(launcher=SimpleLauncher()),
        )

    return make


def _alone(make: Callable[[int], Any]) -> Callable[[int], contextlib.AbstractContextManager[Bench]]:
    """A Parsl executor without its DataFlowKernel."""

    @contextlib.contextmanager
    def opened(workers: int) -> Iterator[Bench]:
        with tempfile.TemporaryDirectory() as directory:
            executor = make(workers)
            executor.run_dir = executor.provider.script_dir = directory
            executor.start()
            try:
                executor.scale_out_facade(1)
                yield Bench(lambda fn, *args: executor.submit(fn, {}, *args))
            finally:
                executor.scale_in_facade(1)
                executor.shutdown()

    return opened


def _workflow(make: Callable[[int], Any], logging: bool) -> Callable[[int], contextlib.AbstractContextManager[Bench]]:
    """The same behind the DataFlowKernel, as python_apps."""

    @contextlib.contextmanager
    def opened(workers: int) -> Iterator[Bench]:
        import parsl
        from parsl.config import Config

        with tempfile.TemporaryDirectory() as directory:
            config = Config(
                executors=[make(workers)], run_dir=directory, strategy_period=0.5, initialize_logging=logging
            )
            with parsl.load(config):
                apps: dict[Any, Any] = {}

                def submit(fn: Any, *args: Any) -> Future[Any]:
                    if fn not in apps:
                        apps[fn] = parsl.python_app(fn)
                    return apps[fn](*args)  # type: ignore[no-any-return]

                yield Bench(submit)

    return opened


#: By name; the first of each kind is ours.
PEERS: dict[str, Callable[[int], contextlib.AbstractContextManager[Bench]]] = {
    "xse PoolExecutor": _pool,
    "ProcessPoolExecutor": _process_pool,
    "xse ExtremeScaleExecutor": _alone(_xse_executor),
    "HighThroughputExecutor": _alone(_htex(0)),
    "HighThroughputExecutor, prefetch 32": _alone(_htex(32)),
    "xse ExtremeScaleExecutor in Parsl": _workflow(_xse_executor, True),
    "HighThroughputExecutor in Parsl": _workflow(_htex(0), True),
    "xse ExtremeScaleExecutor in Parsl, no log": _workflow(_xse_executor, False),
    "HighThroughputExecutor in Parsl, no log": _workflow(_htex(0), False),
}
