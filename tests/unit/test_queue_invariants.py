"""The interchange's queue beside a simple model of it, under random events."""

from __future__ import annotations

from array import array

from hypothesis import given

from tests.support.dice import Dice, thorough, throws
from tests.unit.test_queue import contents, ids
from xse.interchange.queue import Arrived, Queue
from xse.wire import messages as wire
from xse.wire.frames import Frames

PRIORITIES = (0, -1, 1)


def message_of(runs: list[tuple[int, list[int]]]) -> Arrived:
    """A TASKS message: each run a priority and ids; each task's arguments are its id in decimal."""
    all_ids = [i for _, run in runs for i in run]
    arguments = [str(i).encode() for i in all_ids]
    functions = tuple(wire.Function(bytes([n]) * 16, 3) for n in range(len(runs)))
    tasks = wire.Tasks(
        functions,
        tuple(wire.Run(n, len(run), priority) for n, (priority, run) in enumerate(runs)),
        array("Q", all_ids),
        array("I", map(len, arguments)),
    )
    return Arrived(tasks, Frames([b"fun" * len(runs), b"".join(arguments)]))


class Model:
    """What waits, as a list for each priority."""

    def __init__(self) -> None:
        self.lines: dict[int, list[int]] = {priority: [] for priority in PRIORITIES}

    def next(self) -> list[int]:
        return [i for priority in sorted(self.lines) for i in self.lines[priority]]

    def remove(self, gone: set[int]) -> None:
        for line in self.lines.values():
            line[:] = [i for i in line if i not in gone]


class World:
    """The queue and its model, and what to do with both."""

    def __init__(self) -> None:
        self.queue, self.model = Queue(), Model()
        self.last_id = 0
        self.taken: list[tuple[int, int]] = []  # priority and id: what may be given back

    def event(self, dice: Dice) -> None:
        dice.one_of([self.add, self.take, self.give_back, self.remove])(dice)
        self.queue.check()
        assert len(self.queue) == len(self.model.next())

    def add(self, dice: Dice) -> None:
        runs = []
        for _ in range(1 + dice.below(3)):
            n = 1 + dice.below(5)
            runs.append((dice.one_of(PRIORITIES), list(range(self.last_id + 1, self.last_id + 1 + n))))
            self.last_id += n
        self.queue.add(message_of(runs))
        for priority, run in runs:
            self.model.lines[priority] += run

    def take(self, dice: Dice) -> None:
        n = dice.below(12)
        expected = self.model.next()[:n]
        of = {i: priority for priority, line in self.model.lines.items() for i in line}
        pieces = self.queue.take(n)
        assert ids(pieces) == expected
        if pieces:
            assert contents(pieces) == [(i, str(i).encode()) for i in expected]
        self.taken += [(of[i], i) for i in expected]
        self.model.remove(set(expected))

    def give_back(self, dice: Dice) -> None:
        n = dice.below(6)
        back, self.taken = self.taken[:n], self.taken[n:]
        runs = [(p, [i for q, i in back if q == p]) for p in sorted({q for q, _ in back})]
        if runs:
            self.queue.give_back(message_of(runs))
        for priority, run in runs:
            self.model.lines[priority][:0] = run

    def remove(self, dice: Dice) -> None:
        waiting = self.model.next()
        wanted = {dice.one_of(waiting) for _ in range(dice.below(4)) if waiting} | {self.last_id + 1}
        assert set(self.queue.remove(wanted)) == wanted.intersection(waiting)
        self.model.remove(wanted)


def test_the_queue_does_what_its_model_does() -> None:
    n_events = 0

    @thorough
    @given(throws)
    def check(data: bytes) -> None:
        nonlocal n_events
        dice, world = Dice(data), World()
        while dice.left:
            world.event(dice)
            n_events += 1

    check()
    print(f"{n_events:,} events")
