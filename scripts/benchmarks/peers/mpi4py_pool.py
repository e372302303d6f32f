from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator

from mpi4py.futures import MPIPoolExecutor

from .bench import Bench


@contextlib.contextmanager
def open_bench(workers: int) -> Iterator[Bench]:
    """The ranks are there already: mpiexec has started them, as ``python -m mpi4py.futures``."""
    with MPIPoolExecutor() as executor:
        if executor.num_workers != workers:
            raise AssertionError(f"there are {executor.num_workers} workers, not {workers}")
        yield Bench(executor.submit, functools.partial(executor.map, chunksize=100))
