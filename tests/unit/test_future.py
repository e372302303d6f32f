"""Futures that make their lock on demand: whoever waits sees the end, and it comes once."""

from __future__ import annotations

import concurrent.futures
import pickle
import threading
from collections.abc import Callable
from typing import Any

import pytest

from xse import SerializationError
from xse.client.future import Future, load_result
from xse.functions import payload
from xse.wire.messages import Status


class Owner:
    load = staticmethod(load_result)

    def check_wait(self, future: Future[Any]) -> None:
        pass

    def cancel(self, future: Future[Any], *, kill: bool, wait: bool) -> bool:
        future.drop()
        return True


def finish(future: Future[Any], value: Any) -> None:
    end(future, lambda: future.finish(Status.VALUE, payload.dumps(value)))


def end(future: Future[Any], how: Callable[[], bool]) -> None:
    """As the client does it, whose threads each do their part."""
    if how():
        if future.watched:
            future.tell_watchers()
        future.run_callbacks()


def test_it_is_a_future_and_has_its_value() -> None:
    future = Future(7, Owner())
    assert isinstance(future, concurrent.futures.Future)
    assert (future.done(), future.running(), future.cancelled()) == (False, False, False)
    assert future.parsl_executor_task_id == 7
    finish(future, [1, 2])
    assert future.result(timeout=0) == [1, 2]
    assert future.result() is future.result(), "it is unpickled once"
    assert future.exception() is None


def test_an_exception_is_raised_each_time() -> None:
    future = Future(1, Owner())
    future.finish(Status.RAISED, payload.dump_exception(KeyError("x")))
    for _ in range(2):
        with pytest.raises(KeyError):
            future.result()
    assert isinstance(future.exception(), KeyError)


def test_nobody_misses_the_end_whenever_they_begin_to_wait() -> None:
    for _ in range(300):
        future = Future(1, Owner())
        got: list[Any] = []
        threads = [
            threading.Thread(target=lambda f=future: got.append(f.result(timeout=10))),
            threading.Thread(target=lambda f=future: f.add_done_callback(lambda g: got.append(g.result()))),
            threading.Thread(target=lambda f=future: got.extend(g.result() for g in concurrent.futures.wait([f])[0])),
            threading.Thread(target=lambda f=future: finish(f, 5)),
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert got == [5, 5, 5]


@pytest.mark.parametrize("with_a_callback", [False, True])
def test_everybody_who_waits_is_notified_of_the_end_whatever_it_is(with_a_callback: bool) -> None:
    ends: list[Callable[[Future[Any]], object]] = [
        lambda f: finish(f, 5),
        lambda f: end(f, lambda: f.fail(KeyError())),
        lambda f: end(f, f.drop),
    ]
    for how in ends:
        future = Future(1, Owner())
        if with_a_callback:
            future.add_done_callback(lambda f: None)
        started = threading.Barrier(4)
        reported: list[Any] = []

        def wait(
            future: Future[Any] = future, started: threading.Barrier = started, reported: list[Any] = reported
        ) -> None:
            started.wait()
            try:
                reported.append(future.result(10))
            except (KeyError, concurrent.futures.CancelledError) as e:
                reported.append(type(e))

        threads = [threading.Thread(target=wait) for _ in range(3)]
        for thread in threads:
            thread.start()
        started.wait()
        how(future)
        for thread in threads:
            thread.join()
        assert len(reported) == 3
        assert len(set(reported)) == 1


def test_callbacks_run_once_before_and_after() -> None:
    future = Future(1, Owner())
    called: list[int] = []
    future.add_done_callback(lambda f: called.append(1))
    finish(future, None)
    future.add_done_callback(lambda f: called.append(2))
    assert called == [1, 2]


def test_a_waiter_times_out() -> None:
    future = Future(1, Owner())
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.01)
    with pytest.raises(concurrent.futures.TimeoutError):
        future.exception(timeout=0.01)


def test_a_cancelled_one_says_so() -> None:
    future = Future(1, Owner())
    assert future.cancel()
    assert future.cancelled()
    assert future.cancel()
    with pytest.raises(concurrent.futures.CancelledError):
        future.result()
    done, _ = concurrent.futures.wait([future])
    assert future in done


def test_its_repr_tells_what_is_in_it() -> None:
    future = Future(1, Owner())
    assert "pending" in repr(future)
    finish(future, 3)
    assert "state=finished>" in repr(future), "what has come is not unpickled for it"
    future.result()
    assert "returned int" in repr(future)


def test_it_cannot_be_pickled() -> None:
    with pytest.raises(TypeError, match="pass its result"):
        pickle.dumps(Future(1, Owner()))


def test_a_value_that_could_not_be_unpickled_is_unpickled_when_it_is_asked_for_again() -> None:
    class Moody(Owner):
        moods = iter([True, False])

        def load(self, status: int, data: Any) -> Any:  # type: ignore[override]
            return (None, SerializationError("not now")) if next(self.moods) else load_result(status, data)

    future: Future[int] = Future(1, Moody())
    finish(future, 3)
    with pytest.raises(SerializationError):
        future.result()
    assert future.result() == 3


def test_the_state_that_who_counts_futures_sees_does_not_change_while_it_counts() -> None:
    """concurrent.futures.wait holds the locks of its futures while it counts and enters itself."""
    future: Future[int] = Future(1, Owner())
    with future._condition:
        finished = threading.Thread(target=lambda: finish(future, 3))
        finished.start()
        while not future.done():
            pass
        assert future._state == "RUNNING" or future._state == "PENDING"
    finished.join()
    assert future._state == "FINISHED"


def test_asyncio_of_python_3_14_sees_a_future_that_is_not_unpickled() -> None:
    future: Future[int] = Future(1, Owner())
    assert future._get_snapshot() == (False, False, None, None)
    finish(future, 3)
    assert future._get_snapshot() == (True, False, 3, None)
    dropped: Future[int] = Future(2, Owner())
    end(dropped, dropped.drop)
    assert dropped._get_snapshot() == (True, True, None, None)


def test_waiting_in_vain_leaves_nothing_in_the_future() -> None:
    future: Future[int] = Future(1, Owner())
    for _ in range(5):
        with pytest.raises(concurrent.futures.TimeoutError):
            future.result(timeout=0)
    assert not future._extras["bells"]  # type: ignore[index]
