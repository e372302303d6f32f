"""Tasks that wait: until the test lets them go on, or for each other. Workers import this, so it takes little along."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from tests.support.waiting import eventually

LONGEST = 100.0  # seconds: longer than a test waits for anything


class Where(NamedTuple):
    """Where a task ran."""

    host: str
    block: str
    pid: int


def here() -> Where:
    return Where(os.uname().nodename, os.environ["PARSL_WORKER_BLOCK_ID"], os.getpid())


def wait_for(go: Path) -> Where:
    """Ends when the file ``go`` is there; until then ``n_waiting`` counts it."""
    _come(go.with_suffix(".waiting"))
    _until(go.exists, f"{go} has not come")
    return here()


def n_waiting(go: Path) -> int:
    """In how many workers tasks wait for ``go``, or have waited."""
    return _n_come(go.with_suffix(".waiting"))


def run_now(executor: Any, n: int, go: Path) -> list[Any]:
    """Futures of n tasks that run, all at once, until the file ``go`` is there."""
    futures = [executor.submit(wait_for, go) for _ in range(n)]
    eventually(lambda: n_waiting(go) == n, f"{n} tasks run at once", 60)
    return futures


def meet(place: Path, n: int) -> Where:
    """Ends when n tasks have come to this directory: in n workers, at the same time."""
    _come(place)
    _until(lambda: _n_come(place) >= n, f"not all {n} have come to {place}")
    return here()


def place(meeting: Path, n: int) -> dict[str, Any]:
    """The place of this worker in its node. Waits until n tasks run, so that each worker answers once."""
    names = ("RANK", "COUNT", "POOL_ID", "BLOCK_ID")
    reported: dict[str, Any] = {name: os.environ[f"PARSL_WORKER_{name}"] for name in names}
    for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK", "OMP_NUM_THREADS"):
        reported[name] = os.environ.get(name)
    reported["host"] = os.uname().nodename
    reported["cores"] = sorted(os.sched_getaffinity(0))
    reported["cwd"] = os.getcwd()
    meet(meeting, n)
    return reported


def exit_now() -> None:
    os._exit(3)


def _come(place: Path) -> None:
    place.mkdir(exist_ok=True)
    (place / f"{os.uname().nodename}-{os.getpid()}").touch()


def _n_come(place: Path) -> int:
    return len(list(place.glob("*")))


def _until(condition: Callable[[], bool], otherwise: str) -> None:
    deadline = time.monotonic() + LONGEST
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(otherwise)
        time.sleep(0.01)
