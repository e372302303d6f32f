"""What processes cost, read from /proc."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable


def cpu_s(pid: int) -> float:
    """CPU time of all threads of a process, to the nanosecond that the scheduler counts."""
    total = 0
    for thread in os.listdir(f"/proc/{pid}/task"):
        with contextlib.suppress(FileNotFoundError), open(f"/proc/{pid}/task/{thread}/schedstat") as file:
            total += int(file.read().split()[0])
    return total / 1e9


def total_cpu_s(pids: Iterable[int]) -> float:
    return sum(map(cpu_s, pids))


def pss_bytes(pid: int) -> int:
    """What it keeps in memory, a page that several share counted in parts."""
    with open(f"/proc/{pid}/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("Pss:")) * 1024
