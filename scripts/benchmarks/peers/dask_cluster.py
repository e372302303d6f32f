from __future__ import annotations

import contextlib
from collections.abc import Iterator

from distributed import Client, LocalCluster

from .bench import Bench


@contextlib.contextmanager
def open_bench(workers: int) -> Iterator[Bench]:
    with (
        LocalCluster(n_workers=workers, threads_per_worker=1, processes=True, dashboard_address=None) as cluster,
        Client(cluster) as client,
        client.get_executor(pure=False) as executor,  # a result for each call, though its arguments were seen before
    ):
        yield Bench(executor.submit)
