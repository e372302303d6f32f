"""What the record of a run costs the interchange: the recorder alone, told of messages as they come at full rate."""

from __future__ import annotations

import contextlib
import random
import time
from array import array
from collections.abc import Iterator

from xse.record.recorder import Recorder
from xse.wire import messages as wire

from .bench import Experiment

TASKS = 400_000
REPEATS = 5


@contextlib.contextmanager
def open_recorder(workers: int, *, together: int) -> Iterator[Experiment]:
    """``together``: tasks in a message."""
    yield lambda size: _cost(max(together, round(TASKS * size)), together, workers)


def _cost(n: int, together: int, workers: int) -> dict[str, float]:
    messages = _messages(n // together, together, workers)
    costs = [_record(messages) for _ in range(REPEATS)]
    n = len(messages) * together
    return {"µs CPU/task": min(seconds for seconds, _ in costs) / n * 1e6, "B/task": costs[0][1] / n}


def _messages(n: int, together: int, workers: int) -> list[tuple[wire.Tasks, array[int], wire.Results]]:
    """Tasks, the same sent, and their results in another order."""
    dice = random.Random(1)
    function = wire.Function(bytes(16), 0)
    found = []
    for first in range(0, n * together, together):
        ids = array("Q", range(first, first + together))
        tasks = wire.Tasks((function,), (wire.Run(0, together),), ids, array("I", [20]) * together)
        order = dice.sample(ids, together)
        starts = array("Q", [10**12 + i * 20 for i in order])
        times, lengths = (array("I", [dice.randrange(1, most) for _ in order]) for most in (300, 100))
        of = array("I", [dice.randrange(workers) for _ in order])
        found.append((tasks, ids, wire.Results(array("Q", order), starts, lengths, times, of, bytes(together))))
    return found


def _record(messages: list[tuple[wire.Tasks, array[int], wire.Results]]) -> tuple[float, int]:
    """Seconds of CPU, and bytes."""
    recorder = Recorder(lambda: time.monotonic_ns() // 1000)
    recorder.block_up("0")
    n_bytes = 0
    begin = time.process_time()
    for tasks, ids, results in messages:
        recorder.submitted(tasks)
        recorder.sent("0", ids)
        recorder.ended("0", results)
        n_bytes += sum(map(len, recorder.take()))
    recorder.flush()
    n_bytes += sum(map(len, recorder.take()))
    return time.process_time() - begin, n_bytes
