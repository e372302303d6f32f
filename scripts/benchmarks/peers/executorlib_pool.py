from __future__ import annotations

import contextlib
from collections.abc import Iterator

from executorlib import SingleNodeExecutor

from .bench import Bench


@contextlib.contextmanager
def open_bench(workers: int) -> Iterator[Bench]:
    """Its workers stay, rather than be started anew for each task."""
    with SingleNodeExecutor(max_workers=workers, block_allocation=True) as executor:
        yield Bench(executor.submit)
