"""map in chunks, with workers played by the test: sizes, order, what is taken from the iterable, and the end."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Generator, Iterator
from typing import Any

import pytest

from tests.unit import sample
from xse import SerializationError
from xse.client.future import Future, load_result
from xse.functions import payload
from xse.pool import chunked_map as chunks
from xse.pool.chunked_map import GROWTH, MOST_ITEMS, TARGET_S, ChunkedMap, chunk_task


class Workers:
    """Keeps what is submitted, until told to run it; a chunk then takes ``item_s`` for each of its items."""

    load = staticmethod(load_result)

    def __init__(self, fn: Callable[..., Any], several: bool = False, item_s: float = 0.0) -> None:
        self.functions = payload.Functions()
        self.task = chunk_task(fn, several)
        self.call = payload.load_function(self.functions.task(self.task, ([], None), {}).function.data)
        self.item_s = item_s
        self.given: list[tuple[Future[Any], bytes, Callable[[Future[Any]], None]]] = []
        self.sizes: list[int] = []
        self.cancelled: list[int] = []
        self.at_once = True
        self.closed: Exception | None = None

    def write(self, arguments: tuple[Any, ...]) -> payload.Task:
        return self.functions.task(self.task, arguments, {})

    def submit(self, function: payload.Function, data: Any, then: Callable[[Future[Any]], None]) -> Future[Any]:
        future: Future[Any] = Future(len(self.sizes) + 1, self)
        self.sizes.append(len(payload.loads(data)[0][0]))
        self.given.append((future, data, then))
        if self.at_once:
            self.run()
        return future

    def run(self) -> None:
        given, self.given = self.given, []
        for future, data, then in given:
            status, answer = self.call(data)
            if status == payload.Status.VALUE and self.item_s:
                _, values, error, rest = payload.loads(answer)
                answer = payload.dumps((self.item_s * len(payload.loads(values)), values, error, rest))
            future.finish(status, answer)
            then(future)

    def check_open(self) -> None:
        if self.closed:
            raise self.closed

    def check_wait(self, future: Future[Any]) -> None:
        raise AssertionError("waited for a future, where the workers are played by the same thread")

    def cancel(self, future: Future[Any], *, kill: bool, wait: bool) -> bool:
        raise NotImplementedError

    def map(self, items: Iterator[Any], **settings: Any) -> Generator[Any, None, None]:
        settings = {"size": None, "n_workers": 1, "timeout": None, "buffersize": None, **settings}
        return ChunkedMap(self.write, self.submit, self.cancelled.extend, self.check_open, items, **settings).results()


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Chunks take as long as the test says, and not as long as this machine takes."""
    monkeypatch.setattr(chunks, "PATIENCE_S", float("inf"))
    clock = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: next(clock) * 1e-9)


def test_results_are_in_order_whatever_the_size() -> None:
    for size in (None, 1, 3, 1000):
        assert list(Workers(sample.double).map(iter(range(500)), size=size)) == [2 * i for i in range(500)]
    several = Workers(pow, several=True)
    assert list(several.map(zip(range(9), [2] * 9, strict=True))) == [i * i for i in range(9)]


def test_chunks_grow_while_items_are_short_and_stop_at_the_limit() -> None:
    workers = Workers(sample.double, item_s=1e-9)
    assert len(list(workers.map(iter(range(200_000))))) == 200_000
    assert workers.sizes[0] == 1
    assert all(b <= GROWTH * max(workers.sizes[: i + 1]) for i, b in enumerate(workers.sizes[1:]))
    assert max(workers.sizes) == MOST_ITEMS


def test_chunks_last_about_as_long_as_they_should() -> None:
    workers = Workers(sample.double, item_s=TARGET_S / 50)
    list(workers.map(iter(range(10_000))))
    assert max(workers.sizes) == 50


def test_where_items_take_long_each_has_a_task_of_its_own() -> None:
    workers = Workers(sample.double, item_s=1.0)
    list(workers.map(iter(range(50))))
    assert set(workers.sizes) == {1}


def test_a_chunk_that_takes_long_gives_back_what_it_has_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = itertools.count()
    monkeypatch.setattr(time, "perf_counter", lambda: float(next(clock)))  # each look at it is a second later
    _, values, error, rest = chunks.run_chunk(sample.double, False, list(range(100)), 5.0)
    assert error is None
    n = len(payload.loads(values))
    assert 1 <= n < 10
    left = [payload.loads(data)[0] for data in rest]
    assert [item for items, _ in left for item in items] == list(range(n, 100))
    assert {patience for _, patience in left} == {5.0}
    assert len(left) <= chunks.MOST_PARTS


def test_what_is_given_back_comes_at_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "PATIENCE_S", 0.0)  # each chunk gives all but its first item back
    workers = Workers(sample.double, item_s=1e-9)
    assert list(workers.map(iter(range(300)))) == [2 * i for i in range(300)]


def test_with_a_size_of_the_users_nothing_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(chunks, "PATIENCE_S", 0.0)
    workers = Workers(sample.double)
    assert list(workers.map(iter(range(30)), size=10)) == [2 * i for i in range(30)]
    assert workers.sizes == [10, 10, 10, *[0] * (len(workers.sizes) - 3)]


def test_large_arguments_make_small_chunks() -> None:
    workers = Workers(len, item_s=1e-9)
    list(workers.map(bytes([i]) * (chunks.MOST_BYTES // 4) for i in range(100)))
    assert max(workers.sizes) <= 4


def test_what_is_taken_ahead_grows_with_what_the_iteration_has_taken() -> None:
    workers = Workers(sample.double, item_s=1e-9)
    taken = itertools.count()
    results = workers.map(taken, n_workers=2)
    at_first = next(taken)
    assert at_first == chunks.AHEAD_ITEMS * 2, "nobody has asked for a result yet"
    n_extra = 1  # taken by this test
    for given in range(1, 5000):
        next(results)
        ahead = sum(workers.sizes) - given
        assert ahead <= at_first + given // chunks.AHEAD_SHARE, "ahead of the iteration"
    assert next(taken) == sum(workers.sizes) + n_extra


def test_with_a_size_all_is_taken_at_once() -> None:
    workers = Workers(sample.double)
    workers.at_once = False
    workers.map(iter(range(95)), size=10)
    assert workers.sizes == [*[10] * 9, 5]


def test_at_most_buffersize_chunks_are_ahead() -> None:
    workers = Workers(sample.double)
    workers.at_once = False
    results = workers.map(itertools.count(), buffersize=3, size=10)
    assert workers.sizes == [10] * 3
    workers.run()
    next(results)
    assert len(workers.sizes) == 3, "the first chunk is not over"
    workers.at_once = True
    assert list(itertools.islice(results, 95)) == [2 * i for i in range(1, 96)]
    assert 10 <= len(workers.sizes) <= 13


def test_an_iterable_that_blocks_holds_up_no_result_that_is_there() -> None:
    def items() -> Iterator[int]:
        yield from range(8)
        raise AssertionError("one more was asked for")

    results = Workers(sample.double).map(items(), n_workers=2)
    assert list(itertools.islice(results, 5)) == [0, 2, 4, 6, 8]


def test_items_that_come_slowly_are_not_held_back_to_fill_a_chunk(monkeypatch: pytest.MonkeyPatch) -> None:
    workers = Workers(sample.double, item_s=1e-9)
    now = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: now[0])

    def items() -> Iterator[int]:
        yield from range(10_000)
        for i in range(50):
            now[0] += 1.0
            yield i

    list(workers.map(items()))
    assert max(workers.sizes) > 100
    assert all(size == 1 for size in workers.sizes[-40:])


def test_what_an_item_raises_comes_after_the_results_before_it() -> None:
    results = Workers(sample.reciprocal).map(iter([1, 2, 4, 0, 5]), size=10)
    assert [next(results) for _ in range(3)] == [1, 0.5, 0.25]
    with pytest.raises(ZeroDivisionError) as caught:
        next(results)
    assert "reciprocal" in str(caught.value.__cause__)


@pytest.mark.parametrize("size", [None, 1, 3, 100])
def test_an_item_that_raises_stop_iteration_is_an_error_and_no_end(size: int | None) -> None:
    results = Workers(stop_at_two).map(iter(range(5)), size=size)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(RuntimeError, match="StopIteration"):
        next(results)


def stop_at_two(x: int) -> int:
    if x == 2:
        raise StopIteration
    return x


def test_a_result_that_cannot_be_pickled_comes_after_the_results_before_it() -> None:
    results = Workers(unpicklable_from_two).map(iter([0, 1, 2, 3]), size=10)
    assert [next(results), next(results)] == [0, 1]
    with pytest.raises(SerializationError, match="Unpicklable"):
        next(results)


def unpicklable_from_two(x: int) -> Any:
    return x if x < 2 else sample.Unpicklable()


def test_an_iterable_that_raises_does_so_at_its_place() -> None:
    def items() -> Iterator[int]:
        yield from (1, 2)
        raise LookupError("no more")

    results = Workers(sample.double).map(items())
    assert [next(results), next(results)] == [2, 4]
    with pytest.raises(LookupError, match="no more"):
        next(results)


def test_an_argument_that_cannot_be_pickled_is_reported_at_its_place() -> None:
    results = Workers(sample.double).map(iter([1, sample.Unpicklable()]))
    assert next(results) == 2
    with pytest.raises(SerializationError, match="argument of double"):
        next(results)


def test_a_timeout_is_from_the_call_on() -> None:
    workers = Workers(sample.double)
    workers.at_once = False
    with pytest.raises(TimeoutError):
        next(workers.map(iter([1]), timeout=0))


@pytest.mark.parametrize("leave", [lambda results: results.close(), lambda results: None])
def test_an_iteration_that_is_left_takes_no_more_and_cancels_the_rest(leave: Callable[[Any], None]) -> None:
    workers = Workers(sample.double)
    taken = itertools.count()
    results = workers.map(taken)
    assert next(results) == 0
    workers.at_once = False
    next(results)
    n = sum(workers.sizes)
    leave(results)
    del results
    assert next(taken) == n
    assert workers.cancelled == [future.task_id for future, *_ in workers.given]


def test_after_a_shutdown_what_was_taken_comes_and_then_the_reason() -> None:
    workers = Workers(sample.double)
    items = iter(range(9))
    results = workers.map(items, buffersize=3, size=1)
    workers.closed = RuntimeError("shut")
    assert [next(results) for _ in range(3)] == [0, 2, 4]
    with pytest.raises(RuntimeError, match="shut"):
        next(results)
    assert next(items) == 3
