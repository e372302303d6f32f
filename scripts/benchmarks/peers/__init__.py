"""Who is measured. A peer's module is imported when it is opened: most of them live in environments of their own."""

from __future__ import annotations

import functools
import importlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field, replace
from typing import Any

from .bench import Bench, Experiment

WORKERS = 2


@dataclass(frozen=True)
class Peer:
    """``module.function(workers, **options)`` is a context manager that gives a Bench, or an Experiment."""

    module: str
    function: str = "open_bench"
    options: Mapping[str, Any] = field(default_factory=dict)
    workers: int = WORKERS
    environment: str = ""  # the name of one in ``environments``; otherwise that of xse
    packages: str = ""  # an environment whose packages it sees, too
    mpi: bool = False  # is started by mpiexec, with a rank for the script and one for each worker
    settings: Mapping[str, str] = field(default_factory=dict)  # environment variables
    timeout_s: int = 120

    def opener(self) -> Callable[[], AbstractContextManager[Bench | Experiment]]:
        """Imports what the peer needs; what is returned opens it."""
        module = importlib.import_module(f"{__name__}.{self.module}")
        return functools.partial(getattr(module, self.function), self.workers, **self.options)


POOL = "xse PoolExecutor"
POOL_TCP = "xse PoolExecutor, encrypted TCP"
EXECUTOR = "xse ExtremeScaleExecutor"
PROCESSES = "ProcessPoolExecutor"
LOKY = "loky"
EXECUTORLIB = "executorlib"
MPI4PY = "mpi4py.futures"
MPI4PY_SPINNING = "mpi4py.futures, spinning"
DASK = "Dask"
HTEX = "HighThroughputExecutor"
HTEX_PREFETCH = "HighThroughputExecutor, prefetch 32"
FUTURE = "a Future and its call"
RECORDER = "the recorder, 40 tasks a message"

PEERS: dict[str, Peer] = {
    POOL: Peer("xse_pool"),
    POOL_TCP: Peer("xse_pool", "open_over_tcp"),
    EXECUTOR: Peer("parsl_executor", options={"name": "xse"}),
    PROCESSES: Peer("standard", "open_processes"),
    LOKY: Peer("loky_pool", environment="loky"),
    EXECUTORLIB: Peer("executorlib_pool", environment="executorlib"),
    MPI4PY: Peer("mpi4py_pool", environment="mpi4py", mpi=True),
    MPI4PY_SPINNING: Peer("mpi4py_pool", environment="mpi4py", mpi=True, settings={"MPI4PY_FUTURES_BACKOFF": "0"}),
    DASK: Peer("dask_cluster", environment="dask"),
    HTEX: Peer("parsl_executor", options={"name": "htex"}),
    HTEX_PREFETCH: Peer("parsl_executor", options={"name": "htex", "prefetch": 32}),
    FUTURE: Peer("standard", "open_futures"),
    RECORDER: Peer("record_cost", "open_recorder", options={"together": 40}),
}


# ---- the same on other terms

NOTHING = "null executor"
SERIALIZING = "serializing null executor"
THREADS = "threads"


def in_parsl(executor: str, log: bool) -> str:
    """As python_apps, behind the DataFlowKernel."""
    return f"{executor} in Parsl{'' if log else ', no log'}"


def with_workers(executor: str, n: int) -> str:
    return f"{executor}, {n} worker{'s' if n > 1 else ''}"


POOL_DEFAULT = f"{POOL}()"
POOL_8_RANKS = f"{POOL}, 8 ranks"
POOL_32_NUMPY_EACH = f"{with_workers(POOL, 32)} that import numpy"
POOL_32_NUMPY_ONCE = f"{with_workers(POOL, 32)}, numpy preloaded"


def simulated(n: int) -> str:
    return f"xse, {n:,} simulated workers"


def blocks(n: int, curve: bool = False) -> str:
    return f"xse, {f'{n:,} blocks' if n > 1 else 'one block'}{', encrypted TCP' if curve else ''}"


for log in (True, False):
    for executor, name in {
        EXECUTOR: "xse",
        HTEX: "htex",
        THREADS: "threads",
        SERIALIZING: "serializing",
        NOTHING: "nothing",
    }.items():
        PEERS[in_parsl(executor, log)] = Peer("parsl_workflow", options={"name": name, "log": log})

PEERS[POOL_DEFAULT] = Peer("xse_pool", "open_default")
PEERS[POOL_8_RANKS] = Peer("xse_pool", options={"ranks": 8}, workers=8)
for executor in (PROCESSES, HTEX, MPI4PY):
    PEERS[with_workers(executor, 8)] = replace(PEERS[executor], workers=8)
for n in (1, 32, 64, 512):
    PEERS[with_workers(POOL, n)] = replace(PEERS[POOL], workers=n)
PEERS[POOL_32_NUMPY_EACH] = Peer("xse_pool", workers=32, packages="numpy")
PEERS[POOL_32_NUMPY_ONCE] = Peer("xse_pool", workers=32, packages="numpy", options={"preload": ["numpy"]})
for n in (262_144, 1_048_576):
    PEERS[simulated(n)] = Peer("at_scale", "open_simulated", {"ranks": 64}, workers=n, timeout_s=600)
for n, curve in ((1, False), (1000, False), (10_000, False), (1, True), (1000, True)):
    PEERS[blocks(n, curve)] = Peer("at_scale", "open_blocks", {"blocks": n, "curve": curve}, timeout_s=300)
