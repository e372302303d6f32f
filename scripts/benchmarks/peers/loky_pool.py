from __future__ import annotations

import contextlib
from collections.abc import Iterator

from loky import ProcessPoolExecutor

from .bench import Bench


@contextlib.contextmanager
def open_bench(workers: int) -> Iterator[Bench]:
    with ProcessPoolExecutor(workers) as executor:
        yield Bench(executor.submit)
