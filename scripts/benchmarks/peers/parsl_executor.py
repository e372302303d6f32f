"""An executor for Parsl without Parsl's DataFlowKernel."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from typing import Any

from .bench import Bench
from .parsl_executors import make


@contextlib.contextmanager
def open_bench(workers: int, name: str, prefetch: int = 0) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as directory:
        executor: Any = make(name, workers, prefetch)
        executor.run_dir = executor.provider.script_dir = directory
        executor.start()
        try:
            executor.scale_out_facade(1)
            yield Bench(lambda fn, *args: executor.submit(fn, {}, *args))
        finally:
            executor.scale_in_facade(1)
            executor.shutdown()
