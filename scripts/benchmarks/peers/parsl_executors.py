"""Executors for Parsl, ours and others', and two that do next to nothing: what is left is Parsl itself."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import Future
from typing import Any

from parsl.executors import HighThroughputExecutor, ThreadPoolExecutor
from parsl.executors.base import ParslExecutor
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider
from parsl.serialize import deserialize, pack_apply_message, serialize

from xse import ExtremeScaleExecutor


def make(name: str, workers: int, prefetch: int = 0) -> ParslExecutor:
    match name:
        case "xse":
            return ExtremeScaleExecutor(workers_per_rank=workers)
        case "htex":
            return _htex(workers, prefetch)
        case "threads":
            return ThreadPoolExecutor(max_threads=workers)
        case "nothing":
            return Nothing()
        case "serializing":
            return Serializing()
    raise ValueError(name)


def _htex(workers: int, prefetch: int) -> HighThroughputExecutor:
    return HighThroughputExecutor(
        address="127.0.0.1",
        max_workers_per_node=workers,
        cores_per_worker=0.001,
        prefetch_capacity=prefetch,
        encrypted=True,  # as is ours wherever bytes leave the host
        provider=LocalProvider(launcher=SimpleLauncher()),  # type: ignore[no-untyped-call]
    )


class Nothing(ParslExecutor):
    """Answers in ``submit``."""

    def __init__(self) -> None:
        super().__init__()
        self.label = "nothing"

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        del resource_specification
        future: Future[Any] = Future()
        future.set_result(func(*args, **kwargs))
        return future

    def shutdown(self) -> None:
        super().shutdown()


class Serializing(Nothing):
    """Writes the task as HighThroughputExecutor does, and reads a result: the client's part of any executor for Parsl
    whose workers are other processes."""

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Any:
        del resource_specification
        pack_apply_message(func, args, kwargs)
        future: Future[Any] = Future()
        future.set_result(deserialize(serialize(func(*args, **kwargs))))
        return future
