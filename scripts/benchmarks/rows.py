"""What is wanted, row by row: who is measured, which figures are shown, and what must be reached. Pure data."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .goals import Goal
from .peers import (
    DASK,
    EXECUTOR,
    EXECUTORLIB,
    FUTURE,
    HTEX,
    HTEX_PREFETCH,
    LOKY,
    MPI4PY,
    MPI4PY_SPINNING,
    NOTHING,
    POOL,
    POOL_8_RANKS,
    POOL_32_NUMPY_EACH,
    POOL_32_NUMPY_ONCE,
    POOL_DEFAULT,
    POOL_TCP,
    PROCESSES,
    RECORDER,
    SERIALIZING,
    THREADS,
    blocks,
    in_parsl,
    simulated,
    with_workers,
)


@dataclass(frozen=True)
class Row:
    """``number`` names it; several may share one."""

    number: str
    title: str
    measure: str
    figures: tuple[str, ...]
    peers: tuple[str, ...]
    must: tuple[Goal, ...] = ()
    dream: tuple[Goal, ...] = ()
    quick: bool = True  # it has a place in two minutes

    @property
    def goals(self) -> tuple[Goal, ...]:
        return (*self.must, *self.dream)

    def needed(self) -> tuple[str, ...]:
        """Those peers that a goal speaks of."""
        named = {name for goal in self.goals for name in (goal.subject, goal.of)}
        return tuple(peer for peer in self.peers if peer in named)


#: Of row 15; ``one.py`` has what they name.
KINDS = (
    "function of the script",
    "function of a module",
    "partial",
    "bound method",
    "callable instance",
    "reads an array of 1.2 MB",
    "reads a dict of 20,000",
    "reads an instance",
)

ROWS = (
    Row(
        "1",
        "no-op tasks, `submit`, a future each",
        "rate",
        ("tasks/s",),
        (POOL, POOL_TCP, PROCESSES, LOKY, EXECUTORLIB, MPI4PY, DASK, EXECUTOR, HTEX, HTEX_PREFETCH),
        must=(Goal(POOL, "tasks/s", 4, PROCESSES), Goal(POOL, "tasks/s", 25, HTEX_PREFETCH)),
        dream=(Goal(POOL, "tasks/s", 100_000),),
    ),
    Row(
        "2",
        "the same through Parsl's DataFlowKernel",
        "rate",
        ("tasks/s",),
        tuple(in_parsl(e, log) for log in (True, False) for e in (EXECUTOR, HTEX, THREADS, SERIALIZING, NOTHING)),
        must=tuple(Goal(in_parsl(EXECUTOR, log), "tasks/s", 0.9, in_parsl(SERIALIZING, log)) for log in (True, False)),
        dream=tuple(Goal(in_parsl(EXECUTOR, log), "tasks/s", 0.9, in_parsl(NOTHING, log)) for log in (True, False)),
    ),
    Row(
        "3",
        "`map(f, range(1000000))`",
        "items",
        ("items/s",),
        (POOL, PROCESSES, MPI4PY),
        must=(Goal(POOL, "items/s", 1.0, PROCESSES),),
        dream=(Goal(POOL, "items/s", 2_000_000),),
    ),
    Row(
        "4",
        "round trip of one no-op",
        "latency",
        ("ms (p50)", "ms (p99)"),
        (POOL, POOL_TCP, PROCESSES, LOKY, EXECUTORLIB, MPI4PY, MPI4PY_SPINNING, DASK, EXECUTOR, HTEX),
        must=(
            Goal(POOL, "ms (p50)", 0.40, at_most=True),
            Goal(POOL, "ms (p99)", 0.8, at_most=True),
            Goal(POOL, "ms (p50)", 0.333, HTEX, at_most=True),
        ),
        dream=(Goal(POOL, "ms (p50)", 0.2, at_most=True),),
    ),
    Row(
        "5",
        "400 tasks that sleep 10 ms",
        "sleeps",
        ("ideal / real",),
        (POOL, PROCESSES, EXECUTORLIB, MPI4PY, EXECUTOR, HTEX),
        must=(Goal(POOL, "ideal / real", 0.97),),
        dream=(Goal(POOL, "ideal / real", 0.99),),
    ),
    Row(
        "6",
        "mixed: one task of 5 s, then 2,000 of 2 ms",
        "mixed",
        ("real / ideal",),
        (POOL, PROCESSES, EXECUTOR, HTEX_PREFETCH),
        must=(Goal(POOL, "real / ideal", 1.03, at_most=True),),
    ),
    Row(
        "7",
        "10 kB there and back",
        "small",
        ("tasks/s",),
        (POOL, POOL_TCP, PROCESSES, EXECUTORLIB, HTEX),
        must=(Goal(POOL, "tasks/s", 2, PROCESSES),),
    ),
    Row(
        "8",
        "10 MB there and back",
        "large",
        ("MB/s",),
        (POOL, POOL_TCP, PROCESSES, MPI4PY, HTEX),
        must=(
            Goal(POOL, "MB/s", 1.0, PROCESSES),
            Goal(POOL_TCP, "MB/s", 2, HTEX),
        ),
        dream=(Goal(POOL, "MB/s", 1.0, MPI4PY),),
    ),
    Row(
        "9",
        "CPU of all processes for a no-op of row 1",
        "rate",
        ("µs CPU/task",),
        (POOL, POOL_TCP, PROCESSES, LOKY, EXECUTORLIB, MPI4PY, DASK, EXECUTOR, HTEX, HTEX_PREFETCH),
        must=(Goal(POOL, "µs CPU/task", 25, at_most=True),),
        dream=(Goal(POOL, "µs CPU/task", 15, at_most=True),),
    ),
    Row(
        "10",
        "CPU of all processes when idle",
        "idle",
        ("% of a core",),
        (POOL_8_RANKS, with_workers(PROCESSES, 8), with_workers(MPI4PY, 8), with_workers(HTEX, 8)),
        must=(Goal(POOL_8_RANKS, "% of a core", 1, at_most=True),),
    ),
    Row(
        "11",
        "memory of the client for a task that waits",
        "queue",
        ("B/task",),
        (POOL, FUTURE, PROCESSES),
        must=(Goal(POOL, "B/task", 2500, at_most=True),),
        dream=(Goal(POOL, "B/task", 400, at_most=True),),
    ),
    Row(
        "11",
        "memory of the client for an item of row 3, at most",
        "items",
        ("B/item",),
        (POOL, PROCESSES, MPI4PY),
        must=(Goal(POOL, "B/item", 300, at_most=True),),
        dream=(Goal(POOL, "B/item", 50, at_most=True),),
    ),
    Row(
        "12",
        "from making the executor to its first result",
        "start",
        ("s to first result",),
        (POOL_DEFAULT, *(with_workers(POOL, n) for n in (1, 64, 512)), PROCESSES, EXECUTORLIB, EXECUTOR, HTEX),
        must=(Goal(POOL_DEFAULT, "s to first result", 1.0, at_most=True),),
        dream=(Goal(POOL_DEFAULT, "s to first result", 0.5, at_most=True),),
    ),
    Row(
        "13",
        "simulated workers under one interchange, 10 tasks of a second each",
        "at_scale",
        ("tasks/s", "workers"),
        (simulated(262_144), simulated(1_048_576)),
        must=(Goal(simulated(262_144), "tasks/s", 20_000),),
        dream=(Goal(simulated(1_048_576), "workers", 1_048_576),),
        quick=False,
    ),
    Row(
        "14",
        "blocks connected, tasks spread over them",
        "at_scale",
        ("tasks/s",),
        (blocks(1), blocks(1000), blocks(10_000), blocks(1, curve=True), blocks(1000, curve=True)),
        must=(
            Goal(blocks(1000), "tasks/s", 0.8, blocks(1)),
            Goal(blocks(1000, curve=True), "tasks/s", 0.8, blocks(1, curve=True)),
        ),
        dream=(Goal(blocks(10_000), "tasks/s", 0.8, blocks(1)),),
        quick=False,
    ),
    Row(
        "21",
        "the record of a run; 0.4 µs are 2 % of a CPU at 50,000 tasks/s",
        "at_scale",
        ("µs CPU/task", "B/task"),
        (RECORDER,),
        must=(Goal(RECORDER, "µs CPU/task", 0.4, at_most=True), Goal(RECORDER, "B/task", 48, at_most=True)),
        dream=(Goal(RECORDER, "µs CPU/task", 0.2, at_most=True), Goal(RECORDER, "B/task", 24, at_most=True)),
    ),
    Row(
        "15",
        "what `submit` is given: wall time a task, by kind",
        "kinds",
        tuple(f"{kind}, µs" for kind in KINDS),
        (POOL, PROCESSES),
        must=tuple(Goal(POOL, f"{kind}, µs", 1.0, PROCESSES, at_most=True) for kind in KINDS),
        dream=tuple(Goal(POOL, f"{kind}, µs", 0.5, PROCESSES, at_most=True) for kind in KINDS),
    ),
    Row(
        "workers",
        "what a worker costs: its share of memory (PSS)",
        "workers",
        ("a worker's MB", "all but the script, MB"),
        (with_workers(POOL, 32),),
    ),
    Row(
        "workers",
        "the same when each has used numpy",
        "workers_numpy",
        ("a worker's MB", "all but the script, MB"),
        (POOL_32_NUMPY_EACH, POOL_32_NUMPY_ONCE),
    ),
)


def chosen(numbers: str, words: str, quick: bool) -> list[Row]:
    """Rows of these numbers, with those of their peers whose names have one of the words; both are lists with commas,
    and empty for all. ``quick``: where no number is given only rows that are, and where no word is, only peers that a
    goal speaks of. Raises ValueError."""
    known = list(dict.fromkeys(row.number for row in ROWS))
    wanted = _listed(numbers) or known
    parts = _listed(words.lower())
    for number in wanted:
        if number not in known:
            raise ValueError(f"no row {number}; there are {', '.join(known)}")
    names = list(dict.fromkeys(peer for row in ROWS for peer in row.peers))
    for part in parts:
        if not any(part in name.lower() for name in names):
            raise ValueError(f"no peer has {part!r} in its name; there are: {'; '.join(names)}")
    rows = []
    for row in ROWS:
        if parts:
            peers = tuple(peer for peer in row.peers if any(part in peer.lower() for part in parts))
        else:
            peers = row.needed() if quick else row.peers
        if row.number in wanted and peers and (row.quick or not quick or numbers):
            rows.append(replace(row, peers=peers))
    return rows


def _listed(text: str) -> list[str]:
    return [word.strip() for word in text.split(",") if word.strip()]
