"""What is done to each peer. A measure takes an open bench and gives figures by name; each result's value is checked.

``size``: how much of it, 1.0 being a full measure.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Callable, Iterable
from pathlib import Path

from . import memory
from .peers import WORKERS
from .peers.bench import Bench, Experiment
from .processes import CpuMeter, forget_peak, peak_bytes, resident_bytes
from .tasks import double, same, sleep, wait_for, where, where_with_numpy

Figures = dict[str, float]


def check(found: Iterable[object], expected: Iterable[object]) -> None:
    """Value by value, and that there are as many."""
    for a, b in zip(found, expected, strict=True):
        if a != b:
            raise AssertionError(f"a result is {a!r:.100}, not {b!r:.100}")


def warm(bench: Bench, n: int = 200) -> None:
    check([f.result() for f in [bench.submit(double, i) for i in range(n)]], range(0, 2 * n, 2))


def start(bench: Bench, size: float) -> Figures:
    """Nothing: whoever runs the measures takes the time to the first result."""
    del bench, size
    return {}


def rate(bench: Bench, size: float) -> Figures:
    """No-op tasks, a future each, from the first ``submit`` to the last ``result``; and the CPU of all processes."""
    warm(bench)
    seconds, most = 2.0 * size, 200_000
    elapsed, n = 0.0, 200
    while elapsed < seconds and n < most:  # so many that it lasts a while, whoever runs them
        n = min(most, 2 * n if elapsed == 0 else int(n * min(10.0, 1.2 * seconds / elapsed)))
        cpu, begin = CpuMeter(), time.perf_counter()
        values = [f.result() for f in [bench.submit(double, i) for i in range(n)]]
        elapsed = time.perf_counter() - begin
        cpu_s = cpu.seconds()
        check(values, range(0, 2 * n, 2))
    return {"tasks/s": n / elapsed, "µs CPU/task": cpu_s / n * 1e6}


def items(bench: Bench, size: float) -> Figures:
    """``map`` over numbers, results taken one by one; and the most memory that the client needs for it."""
    check(bench.map(double, range(1000)), range(0, 2000, 2))
    n = round(1_000_000 * size)
    forget_peak()
    resident, begin = resident_bytes(), time.perf_counter()
    check(bench.map(double, range(n)), range(0, 2 * n, 2))
    elapsed = time.perf_counter() - begin
    return {"items/s": n / elapsed, "B/item": max(0, peak_bytes() - resident) / n}


def latency(bench: Bench, size: float) -> Figures:
    """Round trips of one no-op while nothing else runs: 2,000, or as many as there are in some seconds."""
    warm(bench)
    times: list[float] = []
    end = time.perf_counter() + 4 * size
    while len(times) < 2000 * size and (len(times) < 100 or time.perf_counter() < end):
        n = len(times)
        begin = time.perf_counter()
        value = bench.submit(double, n).result()
        times.append(time.perf_counter() - begin)
        check([value], [2 * n])
    times.sort()
    return {"ms (p50)": statistics.median(times) * 1000, "ms (p99)": times[int(len(times) * 0.99)] * 1000}


def sleeps(bench: Bench, size: float) -> Figures:
    """Tasks of 10 ms: how near to ideal?"""
    warm(bench)
    n = round(400 * size)
    begin = time.perf_counter()
    check([f.result() for f in [bench.submit(sleep, 0.01) for _ in range(n)]], [0.01] * n)
    return {"ideal / real": n * 0.01 / WORKERS / (time.perf_counter() - begin)}


def mixed(bench: Bench, size: float) -> Figures:
    """One long task first, and many short ones, which must not wait behind it."""
    warm(bench)
    long, n = 5.0 * size, round(2000 * size)
    begin = time.perf_counter()
    futures = [bench.submit(sleep, long), *(bench.submit(sleep, 0.002) for _ in range(n))]
    check([f.result() for f in futures], [long, *[0.002] * n])
    ideal = max(long, (long + n * 0.002) / WORKERS)
    return {"real / ideal": (time.perf_counter() - begin) / ideal}


def small(bench: Bench, size: float) -> Figures:
    """10 kB there and back."""
    warm(bench)
    data = [bytes([i % 256]) * 10_000 for i in range(round(5000 * size))]
    begin = time.perf_counter()
    check([f.result() for f in [bench.submit(same, d) for d in data]], data)
    return {"tasks/s": len(data) / (time.perf_counter() - begin)}


def large(bench: Bench, size: float) -> Figures:
    """10 MB there and back. Bytes that differ, so that nobody can send the same ones twice."""
    warm(bench)
    data = [bytes([i]) * 10_000_000 for i in range(max(4, round(30 * size)))]
    begin = time.perf_counter()
    check([f.result() for f in [bench.submit(same, d) for d in data]], data)
    return {"MB/s": 20 * len(data) / (time.perf_counter() - begin)}


def idle(bench: Bench, size: float) -> Figures:
    """CPU of all processes while nobody asks for anything."""
    warm(bench)
    time.sleep(1.0)  # what the work before has left behind
    cpu, begin = CpuMeter(), time.perf_counter()
    time.sleep(6.0 * size)
    elapsed = time.perf_counter() - begin
    return {"% of a core": cpu.seconds() / elapsed * 100}


def queue(bench: Bench, size: float) -> Figures:
    """Memory of the client for a task that waits, its workers being busy."""
    warm(bench)
    n = round(100_000 * size)
    with tempfile.TemporaryDirectory() as directory:
        end = Path(directory) / "end"
        busy = [bench.submit(wait_for, str(end)) for _ in range(WORKERS)]
        before = memory.settled()
        futures = [bench.submit(double, i) for i in range(n)]
        after = memory.settled()
        end.touch()
        check([f.result() for f in busy], [str(end)] * WORKERS)
        check([f.result() for f in futures], range(0, 2 * n, 2))
    return {"B/task": (after - before) / n}


def kinds(bench: Bench, size: float, functions: dict[str, Callable[[int], int]]) -> Figures:
    """Wall time of a task by the kind of what is submitted, as ``map`` with ``chunksize=1`` does it. Each kind returns
    its argument and 1."""
    n = max(200, round(4_000 * size))
    figures = {}
    for name, fn in functions.items():
        check([f.result() for f in [bench.submit(fn, i) for i in range(200)]], range(1, 201))
        begin = time.perf_counter()
        values = [f.result() for f in [bench.submit(fn, i) for i in range(n)]]
        figures[f"{name}, µs"] = (time.perf_counter() - begin) / n * 1e6
        check(values, range(1, n + 1))
    return figures


def workers(bench: Bench, size: float) -> Figures:
    """What 32 workers cost that have Python and nothing else."""
    del size
    return memory.of_workers(bench, 32, where)


def workers_numpy(bench: Bench, size: float) -> Figures:
    """The same when each has used numpy."""
    del size
    return memory.of_workers(bench, 32, where_with_numpy)


def at_scale(experiment: Experiment, size: float) -> Figures:
    """What it measures itself."""
    return experiment(size)


MEASURES: dict[str, Callable[..., Figures]] = {
    measure.__name__: measure
    for measure in (
        start,
        rate,
        items,
        latency,
        sleeps,
        mixed,
        small,
        large,
        idle,
        queue,
        kinds,
        workers,
        workers_numpy,
        at_scale,
    )
}
