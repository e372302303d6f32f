"""xse with more workers and blocks than a machine has: simulated ones (``scripts/scaling``). They check each result."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from scaling import rows

from .bench import Experiment

TASKS_EACH = 10  # of a simulated worker
TASK_S = 1.0
TASKS = 1_000_000  # for played blocks


@contextlib.contextmanager
def open_simulated(workers: int, *, ranks: int) -> Iterator[Experiment]:
    """``workers`` in all, in a real pool of so many ranks."""
    yield lambda size: rows.simulated(ranks, workers // ranks, max(1, round(TASKS_EACH * size)), TASK_S)


@contextlib.contextmanager
def open_blocks(workers: int, *, blocks: int, curve: bool) -> Iterator[Experiment]:
    """Played ones."""
    del workers
    yield lambda size: rows.blocks(blocks, round(TASKS * size), curve=curve)
