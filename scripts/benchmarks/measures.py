"""What is measured. Each takes an open bench and gives figures by name; each checks every result's value."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable

from peers import Bench
from processes import cpu_s, family

WORKERS = 2


def double(n: int) -> int:
    return n + n


def same(data: bytes) -> bytes:
    return data


def sleep(seconds: float) -> float:
    import time

    time.sleep(seconds)
    return seconds


def check(found: Iterable[object], expected: Iterable[object]) -> None:
    for a, b in zip(found, expected, strict=True):
        if a != b:
            raise AssertionError(f"a result is {a!r}, not {b!r}")


def warm(bench: Bench, n: int = 200) -> None:
    check([f.result() for f in [bench.submit(double, i) for i in range(n)]], range(0, 2 * n, 2))


def rate(bench: Bench, size: float) -> dict[str, float]:
    """No-op tasks a second, a future each; and the CPU of all processes for one."""
    warm(bench)
    elapsed, n = 0.0, 200
    while elapsed < 2.0 * size and n < 200_000:  # so many that it lasts a while, whoever runs them
        n = min(200_000, n * 2 if elapsed == 0 else int(n * min(10.0, 2.2 * size / elapsed)))
        processes = family()
        cpu, start = cpu_s(processes), time.perf_counter()
        futures = [bench.submit(double, i) for i in range(n)]
        values = [f.result() for f in futures]
        elapsed = time.perf_counter() - start
        cpu = cpu_s(processes) - cpu
        check(values, range(0, 2 * n, 2))
    return {"tasks/s": n / elapsed, "us CPU/task": cpu / n * 1e6}


def latency(bench: Bench, size: float) -> dict[str, float]:
    """Round trip of one no-op while nothing else runs."""
    warm(bench)
    times = []
    for i in range(round(2000 * size)):
        start = time.perf_counter()
        value = bench.submit(double, i).result()
        times.append(time.perf_counter() - start)
        check([value], [2 * i])
    times.sort()
    return {"p50 ms": statistics.median(times) * 1000, "p99 ms": times[int(len(times) * 0.99)] * 1000}


def sleeps(bench: Bench, size: float) -> dict[str, float]:
    """Tasks of 10 ms: how near to ideal?"""
    warm(bench)
    n = round(400 * size)
    start = time.perf_counter()
    check([f.result() for f in [bench.submit(sleep, 0.01) for _ in range(n)]], [0.01] * n)
    return {"10 ms tasks, ideal/real": n * 0.01 / WORKERS / (time.perf_counter() - start)}


def mixed(bench: Bench, size: float) -> dict[str, float]:
    """One long task first, and many short ones, which must not wait behind it."""
    warm(bench)
    long, n = 5.0 * size, round(2000 * size)
    start = time.perf_counter()
    futures = [bench.submit(sleep, long), *(bench.submit(sleep, 0.002) for _ in range(n))]
    check([f.result() for f in futures], [long, *[0.002] * n])
    ideal = max(long, (long + n * 0.002) / WORKERS)
    return {"mixed, real/ideal": (time.perf_counter() - start) / ideal}


def small_payload(bench: Bench, size: float) -> dict[str, float]:
    warm(bench)
    data = [bytes([i % 256]) * 10_000 for i in range(round(5000 * size))]
    start = time.perf_counter()
    check([f.result() for f in [bench.submit(same, d) for d in data]], data)
    return {"10 kB tasks/s": len(data) / (time.perf_counter() - start)}


def large_payload(bench: Bench, size: float) -> dict[str, float]:
    warm(bench)
    data = [bytes([i]) * 10_000_000 for i in range(max(4, round(30 * size)))]
    start = time.perf_counter()
    check([f.result() for f in [bench.submit(same, d) for d in data]], data)
    return {"10 MB there and back, MB/s": 20 * len(data) / (time.perf_counter() - start)}


def idle(bench: Bench, size: float) -> dict[str, float]:
    """CPU of all processes while nobody asks for anything."""
    warm(bench)
    time.sleep(0.5)  # what the work before has left behind
    processes = family()
    cpu, seconds = cpu_s(processes), 4.0 * size
    time.sleep(seconds)
    return {"idle, % of a core": (cpu_s(processes) - cpu) / seconds * 100}


MEASURES: dict[str, Callable[[Bench, float], dict[str, float]]] = {
    "rate": rate,
    "latency": latency,
    "sleeps": sleeps,
    "mixed": mixed,
    "small_payload": small_payload,
    "large_payload": large_payload,
    "idle": idle,
}
