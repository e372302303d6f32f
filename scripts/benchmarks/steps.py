"""Which microseconds of a task are which step's in the script, whose interpreter lock is what bounds row 1.

Each step alone and warm, on a client that has no interchange: what it would send stays with it, and what it takes is
made here. CPU time, the least of several runs.
"""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable

from xse.client.batch import to_message
from xse.client.client import Client
from xse.functions import payload
from xse.wire import messages as wire
from xse.wire.frames import Frames

from .tasks import double

TASKS = 20_000
TOGETHER = 64  # in a message, as in a burst
REPEATS = 7


class Awake:
    """An io thread that is never asleep: what is submitted stays in the outbox."""

    asleep = False

    def wake(self) -> None:
        pass


def us_per_task() -> dict[str, float]:
    """By step, in the order of a task's way."""
    client = Client(load=payload.load_result, on_event=lambda _: None)
    client._io = Awake()  # type: ignore[assignment]
    functions = payload.Functions()
    function, arguments, _ = functions.task(double, (1,), {})
    value = payload.dumps(42)

    def submit() -> None:
        client.futures.clear()
        client._outbox.clear()
        for _ in range(TASKS):
            client.submit(function, arguments)

    def write() -> None:
        entries = list(client._outbox)
        for at in range(0, TASKS, TOGETHER):
            tasks, _ = to_message(entries[at : at + TOGETHER])
            tasks.head()

    def take() -> None:
        ids = array("Q", client.futures)
        for at in range(0, TASKS, TOGETHER):
            part = ids[at : at + TOGETHER]
            results = wire.did_not_run(part, wire.Status.VALUE, value)
            client._take_results(results, Frames([value * len(part)]))

    found = {
        "see whether the function is still what it was; pickle arguments": _least(
            lambda: [functions.task(double, (i,), {}) for i in range(TASKS)]
        ),
        "future, outbox": _least(submit),
        "into a message": _least(write),
    }
    takes, results = [], []
    for _ in range(REPEATS):
        submit()
        futures = [entry[0] for entry in client._outbox]
        client.futures.update((future.task_id, future) for future in futures)
        takes.append(_seconds(take))
        results.append(_seconds(lambda futures=futures: [f.result() for f in futures]))  # type: ignore[misc]
    found["out of a message, future finished"] = min(takes)
    found["result, unpickled"] = min(results)
    return {step: seconds / TASKS * 1e6 for step, seconds in found.items()}


def _seconds(work: Callable[[], object]) -> float:
    start = time.process_time()
    work()
    return time.process_time() - start


def _least(work: Callable[[], object]) -> float:
    return min(_seconds(work) for _ in range(REPEATS))
