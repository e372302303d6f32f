"""CPU time of the interchange's state machine for a task, by number of blocks and of waiting tasks. No socket."""

from __future__ import annotations

import random
import time
from array import array

from xse.interchange.core import Core, ToBlock
from xse.wire import messages as wire
from xse.wire.frames import Frames

from .source import ARGUMENTS, DIGEST, FUNCTION, MOST_TASKS

WORKERS = 64  # of a block


class LoadedCore:
    """A core with blocks whose workers all have a task that lasts; blocks are numbers."""

    def __init__(self, n_blocks: int) -> None:
        self.core = Core(xse_version="1", python_version="3.11", heartbeat_period=30, heartbeat_threshold=120)
        self._next = 1
        self._given: dict[object, list[int]] = {}
        for number in range(n_blocks):
            node = wire.NodeEntry(0, 1, WORKERS, WORKERS, 1, "h")
            self.core.on_register(0.0, number, wire.Register(str(number), "p", "1", "3.11", "", "", (node,)))
            self.core.on_credit(number, wire.Credit(WORKERS, WORKERS, 1_000_000))
        self.settle()

    def settle(self) -> None:
        """What goes to blocks is noted, and read as a pool would."""
        for effect in self.core.settle(0.0):
            if isinstance(effect, ToBlock):
                message = wire.decode(effect.head, sum(map(len, effect.payload)))
                if isinstance(message, wire.Tasks):
                    self._given.setdefault(effect.peer, []).extend(message.ids)

    def submit(self, n: int) -> None:
        for at in range(0, n, MOST_TASKS):
            here = min(MOST_TASKS, n - at)
            ids = array("Q", range(self._next, self._next + here))
            self._next += here
            lengths = array("I", [ARGUMENTS]) * here
            tasks = wire.Tasks((wire.Function(DIGEST, len(FUNCTION)),), (wire.Run(0, here),), ids, lengths)
            self.core.on_tasks(tasks, Frames([FUNCTION + bytes(ARGUMENTS * here)]))

    def answer(self, block: int, n: int) -> int:
        """Some of what the block has, as it comes: bytes to be decoded. Returns how many."""
        given = self._given.get(block, [])
        ids, given[:n] = array("Q", given[:n]), []
        n = len(ids)
        if n:
            head = wire.did_not_run(ids, wire.Status.VALUE, bytes(ARGUMENTS)).head()
            message = wire.decode(head, ARGUMENTS * n)
            assert isinstance(message, wire.Results)
            self.core.on_results(0.0, block, message, Frames([bytes(ARGUMENTS * n)]))
        return n


def us_a_task(n_blocks: int, n_waiting: int, n_tasks: int, *, together: int = 16) -> float:
    """``together`` tasks end in one block, and as many leave the queue (which stays as long as it is) for it."""
    loaded = LoadedCore(n_blocks)
    loaded.submit(n_blocks * WORKERS)
    loaded.settle()
    loaded.submit(n_waiting)
    loaded.settle()
    shuffle = random.Random(1)
    done = 0
    start = time.process_time()
    while done < n_tasks:
        n = loaded.answer(shuffle.randrange(n_blocks), together)
        loaded.submit(n)
        loaded.settle()
        done += n
    return (time.process_time() - start) / done * 1e6


def us_a_cancel(n_waiting: int, n_together: int, n_messages: int) -> float:
    """For each id: so many in a CANCEL, all of them waiting here among ``n_waiting``."""
    loaded = LoadedCore(1)
    loaded.submit(WORKERS)
    loaded.settle()
    loaded.submit(n_waiting)
    loaded.settle()
    ids = random.Random(1).sample(range(WORKERS + 1, WORKERS + 1 + n_waiting), n_together * n_messages)
    start = time.process_time()
    for at in range(0, len(ids), n_together):
        loaded.core.on_cancel(wire.Cancel(array("Q", ids[at : at + n_together])))
        loaded.settle()
    return (time.process_time() - start) / len(ids) * 1e6
