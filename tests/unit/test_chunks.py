"""map in chunks, with workers played by the test: sizes, order, laziness, and the end."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.unit import sample
from xse import SerializationError
from xse.client.future import Future, load_result
from xse.functions import payload
from xse.pool import chunked_map as chunks
from xse.pool.chunked_map import AHEAD, GROWTH, MOST_ITEMS, TARGET_S, ChunkedMap, chunk_task
from xse.wire.messages import Buffer


class Workers:
    """Keeps what is submitted, until told to run it; a chunk then takes ``item_s`` for each of its items."""

    load = staticmethod(load_result)

    def __init__(self, fn: Callable[..., Any], several: bool = False, item_s: float = 0.0) -> None:
        self.call = payload.load_function(payload.dumps(chunk_task(fn, several)))
        self.item_s = item_s
        self.given: list[tuple[Future, Buffer]] = []
        self.sizes: list[int] = []
        self.cancelled: list[int] = []
        self.at_once = True

    def submit(self, data: Buffer) -> Future:
        future = Future(len(self.sizes) + 1, self)
        self.sizes.append(len(payload.loads(data)[0][0]))
        self.given.append((future, data))
        if self.at_once:
            self.run()
        return future

    def run(self) -> None:
        given, self.given = self.given, []
        for future, data in given:
            status, answer = self.call(data)
            if status == payload.Status.VALUE:
                _, values, error = payload.loads(answer)
                answer = payload.dumps((self.item_s * len(payload.loads(values)), values, error))
            if future.finish(status, answer):
                future.run_callbacks()

    def cancel(self, future: Future, *, kill: bool) -> bool:
        raise NotImplementedError

    def map(self, items: Iterator[Any], **settings: Any) -> ChunkedMap:
        settings = {"size": None, "n_workers": 1, "timeout": None, "buffersize": None, **settings}
        return ChunkedMap(self, self.submit, self.cancelled.extend, sample.double, items, **settings)


def test_results_are_in_order_whatever_the_size() -> None:
    for size in (None, 1, 3, 1000):
        assert list(Workers(sample.double).map(iter(range(500)), size=size).start()) == [2 * i for i in range(500)]
    several = Workers(pow, several=True)
    assert list(several.map(zip(range(9), [2] * 9, strict=True)).start()) == [i * i for i in range(9)]


def test_chunks_grow_while_items_are_short_and_stop_at_the_limit() -> None:
    workers = Workers(sample.double, item_s=1e-9)
    assert len(list(workers.map(iter(range(100_000))).start())) == 100_000
    assert workers.sizes[0] == 1
    assert all(b <= GROWTH * max(workers.sizes[: i + 1]) for i, b in enumerate(workers.sizes[1:]))
    assert max(workers.sizes) == MOST_ITEMS


def test_chunks_last_about_as_long_as_they_should() -> None:
    workers = Workers(sample.double, item_s=TARGET_S / 50)
    list(workers.map(iter(range(10_000))).start())
    assert max(workers.sizes) == 50


def test_an_item_that_takes_long_has_a_task_of_its_own() -> None:
    workers = Workers(sample.double, item_s=1.0)
    list(workers.map(iter(range(50))).start())
    assert set(workers.sizes) == {1}


def test_large_arguments_make_small_chunks() -> None:
    workers = Workers(len, item_s=1e-9)
    list(workers.map(bytes([i]) * (chunks.MOST_BYTES // 4) for i in range(100)).start())
    assert max(workers.sizes) <= 4


def test_no_more_is_taken_than_there_is_room_for() -> None:
    workers = Workers(sample.double)
    workers.at_once = False
    taken = itertools.count()
    results = workers.map(taken, n_workers=2).start()
    eventually(lambda: len(workers.given) == 2 * AHEAD, "as many chunks are under way as should be")
    assert next(taken) == 2 * AHEAD  # and no more
    workers.run()
    assert next(results) == 0
    del results


def test_the_iteration_is_at_most_buffersize_behind() -> None:
    workers = Workers(sample.double)
    results = workers.map(itertools.count(), buffersize=10).start()
    eventually(lambda: sum(workers.sizes) == 10, "ten items are taken")
    assert list(itertools.islice(results, 100)) == [2 * i for i in range(100)]
    eventually(lambda: 100 <= sum(workers.sizes) <= 110, "ten more than were iterated over, or fewer")


def test_what_an_item_raises_comes_after_the_results_before_it() -> None:
    results = Workers(sample.reciprocal).map(iter([1, 2, 4, 0, 5]), size=10).start()
    assert [next(results) for _ in range(3)] == [1, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert "reciprocal" in str(caught.value.__cause__)


def test_a_result_that_cannot_be_pickled_comes_after_the_results_before_it() -> None:
    results = Workers(unpicklable_from_two).map(iter([0, 1, 2, 3]), size=10).start()
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(SerializationError, match="Unpicklable"):
        next(results)


def unpicklable_from_two(x: int) -> Any:
    return x if x < 2 else sample.Unpicklable()


def test_an_iterable_that_raises_does_so_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise LookupError("no more")

    results = Workers(sample.double).map(items()).start()
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_an_argument_that_cannot_be_pickled_is_told_at_its_place() -> None:
    results = Workers(sample.double).map(iter([1, sample.Unpicklable()]), size=1).start()
    assert next(results) == 2
    with pytest.raises(SerializationError, match="argument of double"):
        next(results)


def test_a_timeout_is_from_the_call_on() -> None:
    workers = Workers(sample.double)
    workers.at_once = False
    with pytest.raises(TimeoutError):
        next(workers.map(iter([1]), timeout=0).start())


def test_an_iteration_that_is_left_takes_no_more_and_cancels_the_rest() -> None:
    workers = Workers(sample.double)
    chunked = workers.map(itertools.count(), size=1)
    results = chunked.start()
    assert next(results) == 0
    workers.at_once = False
    eventually(lambda: workers.given, "more is under way")
    del results
    chunked.join()
    assert set(workers.cancelled) >= {future.task_id for future, _ in workers.given[:1]}


def test_stopped_with_a_reason_what_was_taken_comes_and_then_the_reason() -> None:
    workers = Workers(sample.double)
    chunked = workers.map(itertools.count(), buffersize=3, size=1)
    results = chunked.start()
    eventually(lambda: len(workers.sizes) == 3, "three are taken")
    chunked.stop(RuntimeError("shut"))
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(RuntimeError, match="shut"):
        next(results)
