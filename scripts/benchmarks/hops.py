"""Which microseconds, where: the CPU time of each hop that a task passes, for rows 1 and 4. ``scripts/bench --hops``.

Linux counts the nanoseconds that each thread has run (``/proc/PID/task/TID/schedstat``).
"""

from __future__ import annotations

import contextlib
import os
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from xse import PoolExecutor

from .processes import family
from .steps import us_per_task as us_per_step
from .table import table
from .tasks import double

WORKERS = 2
TASKS = 100_000
ROUND_TRIPS = 5_000


def hop_of(pid: int, tid: int) -> str:
    """By what the process calls itself; the script's own threads apart."""
    title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
    if pid == os.getpid():
        return "script: submit, result" if tid == pid else "script: the client's threads"
    for word, hop in (
        ("xse.interchange", "interchange"),
        ("worker", "workers"),
        ("zygote", "zygote"),
        ("--connect", "rank: manager and leader" if "mpiexec" not in title else "mpiexec"),
    ):
        if word in title:
            return hop
    return "the rest"


def ran_ns() -> Iterator[tuple[str, int]]:
    for pid in family() | {os.getpid()}:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            for tid in map(int, os.listdir(f"/proc/{pid}/task")):
                text = Path(f"/proc/{pid}/task/{tid}/schedstat").read_text()
                yield hop_of(pid, tid), int(text.split()[0])


def us_per_task(work: Callable[[], int]) -> tuple[Counter[str], float]:
    """By hop; and of wall-clock time. ``work`` returns how many tasks it was."""
    before: Counter[str] = Counter()
    for hop, ns in ran_ns():
        before[hop] += ns
    start = time.perf_counter()
    n = work()
    elapsed = time.perf_counter() - start
    after: Counter[str] = Counter()
    for hop, ns in ran_ns():
        after[hop] += ns
    return Counter({hop: (after[hop] - before[hop]) / n / 1000 for hop in after}), elapsed / n * 1e6


def main() -> int:
    with PoolExecutor(WORKERS) as pool:

        def burst() -> int:
            futures = [pool.submit(double, i) for i in range(TASKS)]
            if [f.result() for f in futures] != [2 * i for i in range(TASKS)]:
                sys.exit("a result is wrong")
            return TASKS

        def one_by_one() -> int:
            for i in range(ROUND_TRIPS):
                if pool.submit(double, i).result() != 2 * i:
                    sys.exit("a result is wrong")
            return ROUND_TRIPS

        burst()
        columns = [us_per_task(burst), us_per_task(one_by_one)]
    hops = sorted(columns[0][0], key=lambda hop: -columns[0][0][hop])
    rows = [["CPU us for a task", "100,000 at once (row 1)", "one at a time (row 4)"]]
    rows += [[hop, *(f"{us[hop]:.1f}" for us, _ in columns)] for hop in hops if columns[1][0][hop] >= 0.05]
    rows.append(["all hops", *(f"{us.total():.1f}" for us, _ in columns)])
    rows.append(["by the clock", *(f"{clock:.1f}" for _, clock in columns)])
    print("\n".join(table(rows)))
    print()
    steps = us_per_step()
    rows = [["CPU us of the script for a task, by step", "warm, 64 in a message"]]
    rows += [[step, f"{us:.2f}"] for step, us in steps.items()]
    rows.append(["together", f"{sum(steps.values()):.2f}"])
    print("\n".join(table(rows)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
