"""What memory is used: by a client that has stopped changing, by workers that have all worked."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable

from .peers.bench import Bench
from .processes import family, pss_bytes, resident_bytes

_PATIENCE_S = 60


def settled() -> int:
    """This process's memory when it has not grown or shrunk by a hundredth for half a second."""
    gc.collect()
    now, since = resident_bytes(), time.perf_counter()
    end = since + _PATIENCE_S
    while time.perf_counter() - since < 0.5:
        if time.perf_counter() > end:
            raise AssertionError("the client's memory does not come to rest")
        time.sleep(0.05)
        if abs(resident_bytes() - now) > now / 100:
            now, since = resident_bytes(), time.perf_counter()
    return resident_bytes()


def of_workers(bench: Bench, n: int, where: Callable[[float], int]) -> dict[str, float]:
    """When each of ``n`` workers has run ``where``, which tells its process: a worker's share of memory, and that of
    all processes but this one."""
    pids: set[int] = set()
    begin = time.perf_counter()
    while len(pids) < n:
        if time.perf_counter() - begin > _PATIENCE_S:
            raise AssertionError(f"of {n} workers {len(pids)} have answered in {_PATIENCE_S} s")
        pids |= {f.result() for f in [bench.submit(where, 0.02) for _ in range(2 * n)]}
    if len(pids) != n:
        raise AssertionError(f"{len(pids)} processes have answered, and there should be {n} workers")
    others = family() - {os.getpid()}
    return {
        "a worker's MB": sum(map(pss_bytes, pids)) / n / 1e6,
        "all but the script, MB": sum(map(pss_bytes, others)) / 1e6,
    }
