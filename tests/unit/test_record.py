"""A record: what the recorder is told, the reader gives back; at any moment, and whatever is cut off."""

from __future__ import annotations

import contextlib
import random
from array import array
from pathlib import Path

import pytest

from xse.record import RecordError, Task, open_record
from xse.record.format import CHUNK, COLUMNS, Kind, Run, columns, read_columns
from xse.record.recorder import KEEP_US, MOST_TASKS, Recorder
from xse.wire import messages as wire


class Written:
    """A run of some tasks, written by hand."""

    def __init__(self, path: Path) -> None:
        self.now_us = 5_000_000
        self.path = path
        self.recorder = Recorder(lambda: self.now_us)
        self.recorder.event("run", run_id="r", unix=1000.0)

    def submit(self, ids: list[int], digest: bytes = bytes(16), length: int = 10) -> None:
        n = len(ids)
        self.recorder.submitted(
            wire.Tasks((wire.Function(digest, 0),), (wire.Run(0, n),), array("Q", ids), array("I", [length]) * n)
        )

    def up(self, block: str, hosts: list[str], ahead_us: int = 0) -> None:
        self.recorder.block_up(block, hosts=hosts, n_workers=[2] * len(hosts))
        if ahead_us:
            self.recorder.clock(block, ahead_us)

    def end(self, block: str, ids: list[int], start_us: int, worker: int = 0) -> None:
        n = len(ids)
        self.recorder.ended(
            block,
            wire.Results(
                array("Q", ids), array("Q", [start_us]) * n, array("I", [3]) * n, array("I", [250]) * n,
                array("I", [worker]) * n, bytes(n),
            ),
        )  # fmt: skip

    def write(self) -> int:
        data = b"".join(self.recorder.take())
        with self.path.open("ab") as file:
            file.write(data)
        return len(data)

    def flush(self) -> int:
        self.recorder.flush()
        return self.write()


@pytest.fixture
def run(tmp_path: Path) -> Written:
    return Written(tmp_path / "record.xse")


def test_a_task_is_told_with_all_its_times_its_worker_and_its_bytes(run: Written) -> None:
    run.recorder.function_named(b"d" * 16, "module.double")
    run.up("7", ["one", "two"], ahead_us=40_000_000)
    run.now_us += 1_000_000
    run.submit([1], b"d" * 16)
    run.now_us += 1_000_000
    run.recorder.sent("7", array("Q", [1]))
    run.now_us += 1_000_000
    run.end("7", [1], 47_500_000, worker=2)
    run.recorder.end()
    run.write()
    record = open_record(run.path)
    (task,) = record.tasks()
    assert task == Task(1, "module.double", wire.Status.VALUE, 1.0, 2.0, 2.5, 2.50025, 3.0, "7", 2, 10, 3)
    assert task.seconds == pytest.approx(250e-6)
    assert record.blocks[0].host_of(2) == "two"
    assert record.ended
    assert record.unix(1.5) == 1001.5


def test_a_task_that_came_back_from_a_block_waits_again(run: Written) -> None:
    run.up("7", ["one"])
    run.submit([1, 2])
    run.recorder.sent("7", array("Q", [1, 2]))
    run.recorder.back("7", array("Q", [2]))
    run.flush()
    record = open_record(run.path)
    one, two = record.tasks()
    assert (one.outcome, one.block, one.sent) == (None, "7", 0.0)
    assert (two.outcome, two.block, two.sent) == (None, None, None)


def test_a_record_is_read_while_it_is_written(run: Written) -> None:
    run.up("7", ["one"])
    run.submit([1, 2, 3])
    run.write()
    record = open_record(run.path)
    assert list(record.read_more()) == []
    run.recorder.sent("7", array("Q", [1, 2, 3]))
    run.end("7", [2], 1)
    run.flush()
    assert [t.id for t in record.read_more()] == [2]
    run.end("7", [1], 1)
    run.end("7", [3], 1)
    run.flush()
    assert [t.id for t in record.read_more()] == [1, 3]
    assert list(record.waiting()) == []


def test_however_much_of_its_end_is_lost_the_rest_is_read(run: Written) -> None:
    run.up("7", ["one"])
    for i in range(20):
        run.submit([i])
        run.recorder.sent("7", array("Q", [i]))
        run.end("7", [i], 1)
        run.flush()
    whole = run.path.read_bytes()
    before = 0
    for cut in range(8, len(whole) + 1, 5):
        run.path.write_bytes(whole[:cut])
        n = sum(task.outcome is not None for task in open_record(run.path).tasks())
        assert n >= before
        before = n
    broken = bytearray(whole)
    broken[len(whole) * 3 // 4] ^= 255
    run.path.write_bytes(broken)
    assert 10 <= sum(task.outcome is not None for task in open_record(run.path).tasks()) < 20


def test_what_is_no_record_is_refused_with_its_name(tmp_path: Path) -> None:
    path = tmp_path / "other"
    path.write_bytes(b"something else")
    with pytest.raises(RecordError, match="other is no record"):
        open_record(path)
    path.write_bytes(b"xserec\0\x63")
    with pytest.raises(RecordError, match="version 99"):
        list(open_record(path).tasks())


def test_nothing_that_was_told_stays_in_memory_for_longer_than_a_second(run: Written) -> None:
    run.write()
    assert run.recorder.deadline_us() is None
    run.submit([1])
    assert run.write() == 0
    assert run.recorder.deadline_us() == run.now_us + KEEP_US
    run.now_us += KEEP_US
    assert run.write() > 0
    assert run.recorder.deadline_us() is None


def test_a_task_takes_at_most_48_bytes(run: Written) -> None:
    """As at 50,000 tasks/s: what one message carries then, and tasks that take anything from 0 to 100 us."""
    dice = random.Random(1)
    run.up("7", ["one"])
    run.write()
    n, together = 100_000, 40
    for first in range(0, n, together):
        ids = list(range(first, first + together))
        run.submit(ids)
        run.recorder.sent("7", array("Q", ids))
        dice.shuffle(ids)
        numbers = lambda most: array("I", [dice.randrange(most) for _ in ids])  # noqa: E731
        starts = array("Q", [run.now_us + dice.randrange(1000) for _ in ids])
        run.recorder.ended(
            "7", wire.Results(array("Q", ids), starts, numbers(300), numbers(100), numbers(128), bytes(together))
        )
        run.now_us += together * 20
    run.flush()
    assert run.path.stat().st_size <= 24 * n
    assert sum(task.outcome is not None for task in open_record(run.path).tasks()) == n


def test_columns_come_back_as_they_were_however_they_are_written() -> None:
    dice = random.Random(2)
    for _ in range(200):
        n = dice.randrange(1, 50)
        high = dice.choice([0, 1 << 32, 1 << 63])
        shapes = [
            lambda: array("Q", [high + 5] * n),
            lambda: array("Q", range(high, high + n)),
            lambda: array("Q", [high + dice.randrange(1 << 32) for _ in range(n)]),
            lambda: array("Q", [dice.randrange(1 << 64) for _ in range(n)]),
        ]
        items = [
            dice.choice(shapes)()
            if code == "Q"
            else array(code, [dice.randrange(dice.choice([2, 256])) for _ in range(n)])
            for _, code in COLUMNS[Kind.ENDED]
        ]
        data = columns(Kind.ENDED, 7, [Run(0, 1, n)], items)
        read = read_columns(Kind.ENDED, n, data[CHUNK.size :])
        assert list(read.items.values()) == items
        assert read.runs == [Run(0, 1, n)]


def test_bytes_that_are_no_columns_raise_value_error() -> None:
    dice = random.Random(3)
    good = columns(Kind.SENT, 7, [Run(0, 1, 3)], [array("Q", [1, 5, 9])])
    for _ in range(2000):
        bad = bytearray(good[CHUNK.size :])
        bad[dice.randrange(len(bad))] = dice.randrange(256)
        with contextlib.suppress(ValueError):
            read_columns(Kind.SENT, 3, bytes(bad))
    with pytest.raises(ValueError, match="do not fit"):
        read_columns(Kind.SENT, 4, good[CHUNK.size :])


def test_many_tasks_in_one_message_do_not_wait_for_the_second(run: Written) -> None:
    run.write()
    run.submit(list(range(MOST_TASKS)))
    assert run.write() > 0
