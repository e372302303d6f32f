"""Row 25: code of users that runs beside ours, in callbacks and in handlers of signals, stops nothing."""

from __future__ import annotations

import gc
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.support.strikes import at_place, places
from tests.support.waiting import eventually
from tests.unit import sample
from xse import PoolExecutor
from xse.client.future import Future

pytestmark = pytest.mark.row(25)

PATIENCE_S = 60.0  # of a machine that has much else to do


@pytest.fixture(scope="module")
def pool(mpi: str) -> Iterator[PoolExecutor]:
    with PoolExecutor(2) as executor:
        executor.submit(abs, -1).result()
        yield executor


def works(pool: PoolExecutor) -> None:
    """Tasks, callbacks and maps."""
    called = threading.Event()
    future = pool.submit(sample.double, 4)
    future.add_done_callback(lambda _: called.set())
    assert future.result(PATIENCE_S) == 8
    assert called.wait(PATIENCE_S)
    for chunksize in (1, 10, "auto"):
        assert list(pool.map(abs, range(100), chunksize=chunksize, timeout=PATIENCE_S)) == list(range(100))


def end_by(error: BaseException) -> Callable[[Any], None]:
    def callback(_: Any) -> None:
        raise error

    return callback


@pytest.mark.parametrize("error", [ValueError(), SystemExit(3), KeyboardInterrupt(), GeneratorExit()], ids=repr)
def test_a_callback_may_raise_anything(pool: PoolExecutor, error: BaseException) -> None:
    future = pool.submit(time.sleep, 0.05)
    future.add_done_callback(end_by(error))
    future.result()
    works(pool)


def test_while_a_callback_waits_for_a_task_a_lost_block_is_replaced_and_both_go_on(mpi: str) -> None:
    with PoolExecutor(2) as pool:
        lost, asked, answers = threading.Event(), threading.Event(), []

        def try_again(_: Any) -> None:
            asked.set()
            lost.wait()
            answers.append(pool.submit(sample.double, 21).result(PATIENCE_S))

        pool.submit(time.sleep, 0.05).add_done_callback(try_again)
        assert asked.wait(PATIENCE_S)
        os.killpg(pool._keeper.blocks["0"].pid, signal.SIGKILL)
        eventually(lambda: len(pool._keeper.blocks) == 2, "another block is launched", PATIENCE_S)
        lost.set()
        assert list(pool.map(sample.double, range(100), chunksize=10)) == [2 * i for i in range(100)]
        eventually(lambda: answers, "the callback has its answer", PATIENCE_S)
        assert answers == [42]


def test_while_a_callback_sleeps_maps_and_results_go_on(pool: PoolExecutor) -> None:
    awake = threading.Event()
    pool.submit(abs, -1).add_done_callback(lambda _: awake.wait(PATIENCE_S))
    assert list(pool.map(abs, range(1000), chunksize="auto")) == list(range(1000))
    awake.set()
    works(pool)


def test_a_callback_may_shut_the_pool_down(mpi: str) -> None:
    pool = PoolExecutor(1)
    future = pool.submit(time.sleep, 0.05)
    future.add_done_callback(lambda _: pool.shutdown(wait=True))
    eventually(lambda: pool._lifetime.ended, "the pool has ended", PATIENCE_S)
    pool.shutdown()


def test_a_handler_that_raises_anywhere_in_submit_leaves_a_pool_that_works_and_ends(mpi: str) -> None:
    with PoolExecutor(1) as pool:
        pool.submit(abs, -1).result()
        assert places(lambda: pool.submit(abs, -1)) > 10
        works(pool)


@pytest.mark.parametrize("chunksize", [1, 3, "auto"])
def test_a_handler_that_raises_anywhere_in_a_map_leaves_a_pool_that_works(pool: PoolExecutor, chunksize: int) -> None:
    assert places(lambda: list(pool.map(abs, range(6), chunksize=chunksize)), step=7) > 10
    works(pool)


def test_a_handler_that_raises_anywhere_in_result_leaves_a_future_that_works(pool: PoolExecutor) -> None:
    future = pool.submit(time.sleep, 0.0)

    def ask() -> None:
        nonlocal future
        future = pool.submit(time.sleep, 0.01)
        future.result()

    assert places(ask, step=3) > 10
    assert future.result(PATIENCE_S) is None
    works(pool)


def test_a_shutdown_that_a_handler_has_interrupted_anywhere_is_completed_by_the_next(mpi: str) -> None:
    for number in (1, 3, 8, 20, 45, 80):
        pool = PoolExecutor(1, launch_cmd="sleep 1000 #")
        at_place(number, pool.shutdown)
        pool.shutdown(wait=True, cancel_futures=True)
        assert pool._lifetime.ended


def test_a_handler_may_ask_futures_and_wait_for_them_anywhere_in_submit(pool: PoolExecutor) -> None:
    done = pool.submit(abs, -1)
    done.result()

    def ask() -> None:
        assert done.done()
        assert done.result() == 1
        other = pool.submit(sample.double, 4)
        other.cancel()
        assert other.cancelled() or other.result(PATIENCE_S) == 8

    assert places(lambda: pool.submit(abs, -2).result(PATIENCE_S), ask, step=5) > 10


def test_a_finalizer_may_ask_cancel_and_wait_wherever_the_collector_runs_it(pool: PoolExecutor) -> None:
    class Job:
        def __init__(self, future: Future[Any]) -> None:
            self.future, self.me = future, self

        def __del__(self) -> None:
            self.future.done()
            self.future.cancel()

    threshold = gc.get_threshold()
    gc.set_threshold(5)
    try:
        for _ in range(10):
            futures = [pool.submit(abs, i) for i in range(100)]
            for future in futures:
                Job(future)
            del future, futures
    finally:
        gc.set_threshold(*threshold)
    works(pool)


def test_a_forked_child_may_ask_futures_and_is_refused_to_wait_for_ever(pool: PoolExecutor) -> None:
    finished = pool.submit(abs, -1)
    finished.result()
    running = pool.submit(time.sleep, 0.5)
    over = threading.Event()

    def load() -> None:
        while not over.is_set():
            all(future.done() for future in [pool.submit(abs, i) for i in range(200)])

    thread = threading.Thread(target=load)
    thread.start()
    try:
        for _ in range(20):
            pid = os.fork()
            if pid == 0:
                code = 1
                try:
                    assert not running.cancel()
                    assert finished.result() == 1
                    running.done()
                    if not running.done():
                        with pytest.raises(RuntimeError, match="the process that submitted it"):
                            running.result()
                    code = 0
                finally:
                    os._exit(code)
            assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
    finally:
        over.set()
        thread.join()
    works(pool)
