"""What a task does wrong (row 1), cannot send (2) or leaves behind (5) is its own: its worker runs the next one."""

from __future__ import annotations

import functools
import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from parsl import python_app
from parsl.serialize.errors import DeserializationError as ParslDeserializationError
from parsl.serialize.errors import SerializationError as ParslSerializationError

from tests.support.executors import loaded, started
from tests.support.processes import process
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import PoolExecutor, RemoteTraceback, SerializationError, WorkerLost


@pytest.fixture(scope="module")
def one_worker(any_mpi: str) -> Iterator[PoolExecutor]:
    with PoolExecutor(1) as executor:
        yield executor


@pytest.fixture
def pool(one_worker: PoolExecutor) -> Iterator[PoolExecutor]:
    """Its worker must outlive the test."""
    pid = one_worker.submit(os.getpid).result(20)
    yield one_worker
    assert one_worker.submit(os.getpid).result(20) == pid


# ---- it raises


@pytest.mark.row(1)
def test_what_a_task_raises_is_raised_here_with_the_remote_traceback(pool: PoolExecutor, took: Took) -> None:
    def divide(a: int, b: int) -> float:
        return a / b

    with took("its exception"):
        future = pool.submit(divide, 1, 0)
        with pytest.raises(ZeroDivisionError) as caught:
            future.result(20)
    assert isinstance(caught.value.__cause__, RemoteTraceback)
    assert "return a / b" in str(caught.value.__cause__)
    assert isinstance(future.exception(), ZeroDivisionError)


# ---- what it is given, or gives, cannot make the way


@pytest.mark.row(2)
@pytest.mark.parametrize(
    ("task", "reported"),
    [
        ((functools.partial(len, sample.Unpicklable()),), r"an argument of partial of len cannot be pickled: .*not me"),
        ((len, sample.Unpicklable()), r"an argument of len cannot be pickled: .*not me"),
        ((functools.partial(repr, sample.Unreadable()),), r"the arguments cannot be unpickled in the .*an Unreadable"),
        ((repr, sample.Unreadable()), r"the arguments of repr cannot be unpickled in the worker: .*an Unreadable"),
        ((sample.Unpicklable,), r"the result of Unpicklable, Unpicklable, cannot be pickled: .*not me"),
        ((sample.Unreadable,), r"the result cannot be unpickled here: .*an Unreadable"),
        (
            (sample.throw,),
            r"the task raised tests\.unit\.sample\.Unsendable: a word, which cannot be pickled",
        ),
    ],
    ids=["partial", "argument", "partial there", "argument there", "result", "result here", "exception"],
)
def test_what_cannot_be_pickled_or_unpickled_fails_its_task_alone_and_is_named(
    pool: PoolExecutor, task: Any, reported: str, took: Took
) -> None:
    before = pool.submit(sample.double, 1)
    with took("SerializationError"), pytest.raises(SerializationError, match=reported):
        pool.submit(*task).result(20)
    assert before.result(20) == 2


@pytest.mark.row(2)
def test_what_an_app_cannot_send_or_read_is_named_by_parsls_own_errors_and_the_next_app_runs(
    any_mpi: str, tmp_path: Path
) -> None:
    with loaded(tmp_path):
        pid = python_app(os.getpid)().result()
        for reported, error, app, *arguments in (
            ("len or its arguments cannot be serialized: .*not me", ParslSerializationError, len, sample.Unpicklable()),
            ("the arguments of repr cannot be read .*Unreadable", ParslDeserializationError, repr, sample.Unreadable()),
            ("the result of .*, Unpicklable, cannot be .*not me", ParslSerializationError, sample.Unpicklable),
            ("a result cannot be read here: .*an Unreadable", ParslDeserializationError, sample.Unreadable),
        ):
            with pytest.raises(error, match=reported) as caught:
                python_app(app)(*arguments).result()
            assert isinstance(caught.value, SerializationError)
        assert python_app(os.getpid)().result() == pid


# ---- it leaves something behind


@pytest.mark.row(5)
def test_a_task_that_changes_directory_does_not_move_the_next(pool: PoolExecutor) -> None:
    def away() -> None:
        os.chdir("/")

    pool.submit(away).result(20)
    assert pool.submit(os.getcwd).result(20) == os.getcwd()


HARMFUL = (signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1)


@pytest.mark.row(5)
def test_handlers_of_signals_that_a_task_leaves_are_not_the_next_ones(pool: PoolExecutor) -> None:
    def ignore() -> None:
        for number in HARMFUL:
            signal.signal(number, signal.SIG_IGN)

    def ignored() -> list[int]:
        return [number for number in HARMFUL if signal.getsignal(number) == signal.SIG_IGN]

    pool.submit(ignore).result(20)
    assert pool.submit(ignored).result(20) == []
    assert pool.submit(subprocess.call, ["false"]).result(20) == 1  # with SIGCHLD ignored the kernel keeps no exit code


@pytest.mark.row(5)
def test_alarms_that_a_task_leaves_do_not_strike_the_next(pool: PoolExecutor) -> None:
    timers = (signal.ITIMER_REAL, signal.ITIMER_VIRTUAL, signal.ITIMER_PROF)

    def leave() -> None:
        for timer in timers:
            signal.setitimer(timer, 1000)

    def left() -> list[float]:
        return [signal.getitimer(timer)[0] for timer in timers]

    for task in (leave, lambda: signal.alarm(1000)):
        pool.submit(task).result(20)
        assert pool.submit(left).result(20) == [0, 0, 0]


@pytest.mark.row(5)
def test_a_thread_that_a_task_leaves_goes_on_and_holds_up_neither_the_next_task_nor_the_end(
    any_mpi: str, tmp_path: Path
) -> None:
    def leave() -> None:
        def go_on() -> None:
            while True:
                (tmp_path / "alive").touch()
                time.sleep(0.001)

        threading.Thread(target=go_on).start()  # no daemon: Python itself would wait for it at its end

    with PoolExecutor(1) as executor:
        executor.submit(leave).result(20)
        assert executor.submit(sample.double, 2).result(20) == 4
        (tmp_path / "alive").unlink()
        eventually((tmp_path / "alive").exists, "the thread goes on")


@pytest.mark.row(5)
def test_files_that_a_task_leaves_open_take_none_from_the_next(any_mpi: str, tmp_path: Path) -> None:
    def leave() -> int:
        return len([os.open(tmp_path / str(i), os.O_CREAT | os.O_WRONLY) for i in range(1000)])

    def write(path: Path) -> str:
        path.write_text("written")
        return path.read_text()

    with PoolExecutor(1) as executor:
        assert executor.submit(leave).result(20) == 1000
        assert executor.submit(write, tmp_path / "next").result(20) == "written"
        assert executor.submit(len, bytes(1_000_000)).result(20) == 1_000_000


@pytest.mark.row(5)
def test_children_that_a_task_leaves_do_not_harm_the_next_and_end_with_the_block(mpi: str, took: Took) -> None:
    def leave_children() -> list[int]:
        """One as it comes; one in a session of its own that ignores SIGTERM; and one whose parent has ended."""
        plain = subprocess.Popen(["sleep", "1000"])
        deaf = subprocess.Popen(["sh", "-c", "trap '' TERM; sleep 1000"], start_new_session=True)
        orphan = subprocess.check_output(["sh", "-c", "sleep 1000 >/dev/null & echo $!"], start_new_session=True)
        return [plain.pid, deaf.pid, int(orphan)]

    with PoolExecutor(1) as executor:
        children = executor.submit(leave_children).result(20)
        assert executor.submit(subprocess.call, ["false"]).result(20) == 1
        assert all(process(pid) for pid in children)
        with took("a block with children left has ended"):
            executor.shutdown()
    assert not [str(process(pid)) for pid in children if process(pid)]


@pytest.mark.row(5)
def test_children_of_a_worker_that_is_lost_end_with_it(any_mpi: str, tmp_path: Path) -> None:
    def leave_one_and_die() -> None:
        (tmp_path / "pid").write_text(str(subprocess.Popen(["sleep", "1000"]).pid))
        os._exit(1)

    with PoolExecutor(1) as executor:
        with pytest.raises(WorkerLost):
            executor.submit(leave_one_and_die).result(20)
        child = int((tmp_path / "pid").read_text())
        eventually(lambda: not process(child), "the child has ended", seen=lambda: process(child))
        assert executor.submit(sample.double, 2).result(20) == 4


@pytest.mark.row(5)
def test_a_child_that_a_task_forks_and_that_comes_back_answers_nothing(mpi: str) -> None:
    def fork_at(i: int, when: int) -> int:
        if i == when and os.fork() == 0:
            return -1
        return i

    with PoolExecutor(1) as executor:
        futures = [executor.submit(fork_at, i, 20) for i in range(100)]
        assert [f.result(20) for f in futures] == list(range(100))


@pytest.mark.row(5)
def test_a_worker_that_does_not_leave_is_replaced_all_the_same(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, max_tasks_per_worker=1) as executor:
        assert executor.submit(leave_a_process, {}).result(20)
        assert executor.submit(sample.double, {}, 2).result(20) == 4


def leave_a_process() -> bool:
    """That Python waits for when it ends."""
    import multiprocessing

    multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,)).start()
    return True
