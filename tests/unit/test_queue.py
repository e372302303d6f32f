"""The interchange's queue: tasks in the order they should run, messages cut and put together without a loss."""

from __future__ import annotations

import random
from array import array

from xse.interchange.queue import FEW, SMALL_TASKS, Arrived, Piece, Queue, to_message
from xse.wire import messages as wire
from xse.wire.frames import Frames


def arrived(first: int, n: int, priority: int = 0, function: bytes = b"f") -> Arrived:
    """n tasks with ids from ``first``; each one's arguments are its id in decimal."""
    arguments = [str(i).encode() for i in range(first, first + n)]
    tasks = wire.Tasks(
        (wire.Function(function * 16, 3),),
        (wire.Run(0, n, priority),),
        array("Q", range(first, first + n)),
        array("I", map(len, arguments)),
    )
    return Arrived(tasks, Frames([b"fun", b"".join(arguments)]))


def ids(pieces: list[Piece]) -> list[int]:
    return [i for piece in pieces for i in piece.ids()]


def contents(pieces: list[Piece]) -> list[tuple[int, bytes]]:
    """Each task with its arguments, as a receiver would read them."""
    tasks, parts = to_message(pieces)
    payload = b"".join(parts)
    assert wire.decode(tasks.head(), len(payload)) == tasks
    at = sum(f.length for f in tasks.functions)
    read = []
    for task_id, n in zip(tasks.ids, tasks.lengths, strict=True):
        read.append((task_id, payload[at : at + n]))
        at += n
    return read


def test_tasks_come_out_in_the_order_they_came_however_they_are_taken() -> None:
    queue = Queue()
    for first in (0, 10, 25):
        queue.add(arrived(first, 10 if first < 25 else 5))
    taken: list[int] = []
    while queue:
        pieces = queue.take(random.randint(1, 7))
        assert all(data == str(i).encode() for i, data in contents(pieces))
        taken += ids(pieces)
    assert taken == [*range(20), *range(25, 30)]


def test_small_messages_that_wait_behind_each_other_become_one() -> None:
    queue = Queue()
    for first in range(100):
        queue.add(arrived(first, 1))
    pieces = queue.take(100)
    assert len(pieces) == 1
    assert contents(pieces) == [(i, str(i).encode()) for i in range(100)]
    assert not queue.take(1)


def test_what_is_taken_while_small_messages_come_is_as_it_was_then() -> None:
    queue = Queue()
    queue.add(arrived(0, 2))
    queue.add(arrived(2, 2))
    first = queue.take(3)
    queue.add(arrived(4, 2))
    assert contents(first) == [(i, str(i).encode()) for i in range(3)]
    assert contents(queue.take(9)) == [(i, str(i).encode()) for i in range(3, 6)]


def test_messages_that_are_large_or_not_alike_are_not_put_together() -> None:
    for second in (arrived(1, SMALL_TASKS + 1), arrived(1, 1, function=b"g"), arrived(1, 1, priority=1)):
        queue = Queue()
        queue.add(arrived(0, 1))
        queue.add(second)
        assert len(queue.take(100)) == 2


def test_lower_priority_numbers_go_first_and_equals_in_order() -> None:
    queue = Queue()
    queue.add(arrived(0, 3, priority=5))
    queue.add(arrived(10, 3, priority=-1))
    queue.add(arrived(20, 3, priority=5))
    assert ids(queue.take(100)) == [10, 11, 12, 0, 1, 2, 20, 21, 22]


def test_what_is_given_back_goes_before_what_came_later() -> None:
    queue = Queue()
    queue.add(arrived(10, 3))
    queue.give_back(arrived(0, 3))
    assert ids(queue.take(100)) == [0, 1, 2, 10, 11, 12]


def test_removed_tasks_never_come_out() -> None:
    random.seed(3)
    queue = Queue()
    for first in range(0, 100, 10):
        queue.add(arrived(first, 10, priority=first % 3))
    queue.take(7)
    waiting = {i for p in range(0, 100, 10) for i in range(p, p + 10)}
    gone = set(random.sample(range(200), 60))
    before = len(queue)
    removed = set(queue.remove(gone))
    assert removed <= gone
    assert len(queue) == before - len(removed)
    left = ids(queue.take(1000))
    assert not gone & set(left)
    assert removed | set(left) <= waiting
    assert len(left) == before - len(removed)


def test_a_function_of_several_messages_travels_once() -> None:
    queue = Queue()
    queue.add(arrived(0, 2, function=b"f"))
    queue.add(arrived(10, 2, function=b"g"))
    queue.add(arrived(20, 2, function=b"f"))
    tasks, _ = to_message(queue.take(6))
    assert [f.digest for f in tasks.functions] == [b"f" * 16, b"g" * 16]
    assert [(r.function, r.n_tasks) for r in tasks.runs] == [(0, 2), (1, 2), (0, 2)]


def test_pieces_of_one_run_are_one_run_again() -> None:
    queue = Queue()
    queue.add(arrived(0, 10))
    tasks, _ = to_message([*queue.take(3), *queue.take(4)])
    assert len(tasks.runs) == 1
    assert tasks.runs[0].n_tasks == 7


def test_a_message_that_loses_one_task_stays_in_two_pieces() -> None:
    """Or thousands of cancels, one by one, would make a task of each of what is left."""
    queue = Queue()
    queue.add(arrived(0, 1000))
    assert queue.remove([500, 500, 5000]) == [500]
    assert [len(piece) for piece in queue.take(999)] == [500, 499]


def test_a_few_are_removed_and_many_alike() -> None:
    for n in (1, FEW, FEW + 1, 200):
        queue = Queue()
        for first in (0, 1000, 100):
            queue.add(arrived(first, 100))
        gone = random.Random(n).sample([*range(200), *range(1000, 1100)], n)
        assert sorted(queue.remove(gone)) == sorted(gone)
        assert len(queue) == 300 - n
        assert ids(queue.take(300)) == [i for i in (*range(100), *range(1000, 1100), *range(100, 200)) if i not in gone]
