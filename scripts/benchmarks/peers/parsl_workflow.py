"""An executor for Parsl as its users have it: python_apps, behind the DataFlowKernel."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from typing import Any

import parsl
from parsl.config import Config

from .bench import Bench
from .parsl_executors import make


@contextlib.contextmanager
def open_bench(workers: int, name: str, log: bool) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as directory:
        config = Config(
            executors=[make(name, workers)],
            run_dir=directory,
            strategy_period=0.5,
            initialize_logging=log,
            usage_tracking=0,
        )
        with parsl.load(config):
            apps: dict[Callable[..., Any], Callable[..., Future[Any]]] = {}

            def submit(fn: Callable[..., Any], *args: Any) -> Future[Any]:
                if fn not in apps:
                    apps[fn] = parsl.python_app(fn)
                return apps[fn](*args)

            yield Bench(submit)
