"""PoolExecutor as its users meet it, with both MPIs."""

from __future__ import annotations

import concurrent.futures
import itertools
import multiprocessing
import os
import random
import signal
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import as_completed, wait
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import descendants, ours, process
from tests.support.tasks import n_waiting, run_now, wait_for
from tests.support.waiting import eventually
from tests.unit import sample
from xse import BrokenPool, ManagerLost, OptionError, PoolExecutor
from xse.functions import segments
from xse.wire import commands


@pytest.fixture(scope="module")
def pool(mpi: str) -> Iterator[PoolExecutor]:
    """One pool of two workers for many tests; none of them may harm it."""
    with PoolExecutor(2) as executor:
        yield executor


# ---- what a task may be, and what comes back


def test_functions_arguments_and_values_pass(pool: PoolExecutor) -> None:
    assert pool.submit(sample.double, 21).result() == 42
    assert pool.submit(lambda a, *, b: (a, b), 1, b=2).result() == (1, 2)
    assert pool.submit(dict, x=[1, {"y": None}]).result() == {"x": [1, {"y": None}]}


@pytest.mark.parametrize("n", [0, 1, 4_000, 4_100, 10_000, 65_535, 65_536, 1_000_000, 50_000_000])
def test_results_and_arguments_of_any_size_pass(pool: PoolExecutor, n: int) -> None:
    several = [random.Random(n + i).randbytes(n) for i in range(3)]
    futures = [pool.submit(lambda x: x, data) for data in several]
    assert [f.result() for f in futures] == several


def segments_of(executor: PoolExecutor) -> list[Path]:
    directory = executor._keeper._plan.segments
    assert directory, "this machine has no shared memory"
    return list(Path(directory).iterdir())


def test_large_payloads_travel_in_shared_memory_and_leave_nothing(pool: PoolExecutor) -> None:
    large = os.urandom(3_000_000)
    assert pool.submit(sample.double, 1).result() == 2  # now its hosts are known
    assert pool.submit(lambda data: (len(data), segments.VARIABLE in os.environ), large).result() == (3_000_000, False)
    futures = [pool.submit(lambda data: data[::-1], large) for _ in range(20)]
    assert all(future.result() == large[::-1] for future in futures)
    del futures
    forgotten = pool.submit(bytes, 1_000_000)
    wait([forgotten])
    del forgotten
    eventually(lambda: not segments_of(pool), "no segment is left", seen=lambda: segments_of(pool))


def test_large_arguments_of_tasks_that_never_run_are_removed(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(1) as executor:
        running = run_now(executor, 1, tmp_path / "go")
        waiting = [executor.submit(len, bytes(1_000_000)) for _ in range(5)]
        assert len(segments_of(executor)) == 5
        assert all(future.cancel() for future in waiting)
        assert not segments_of(executor)
        (tmp_path / "go").touch()
        running[0].result()


def test_a_task_runs_in_a_worker_and_not_here(pool: PoolExecutor) -> None:
    pid, parent = pool.submit(lambda: (os.getpid(), os.getppid())).result()
    assert pid != os.getpid()
    found = process(pid)
    assert found
    assert found.title.startswith("xse-pool: worker ")
    zygote = process(parent)
    assert zygote
    assert zygote.title == "xse-pool: zygote"


def test_what_tasks_print_appears_here(pool: PoolExecutor, capfd: pytest.CaptureFixture[str]) -> None:
    pool.submit(print, "from a task").result()
    pool.submit(print, "and on stderr", file=None).result()
    pool.submit(lambda: sys.stderr.write("an error\n")).result()
    seen = ["", ""]

    def all_is_there() -> bool:
        out, err = capfd.readouterr()
        seen[0] += out
        seen[1] += err
        return "from a task\n" in seen[0] and "an error\n" in seen[1]

    eventually(all_is_there, "what the tasks printed")


def test_workers_draw_different_random_numbers(pool: PoolExecutor) -> None:
    futures = [pool.submit(lambda: (os.getpid(), random.random())) for _ in range(50)]
    numbers = [f.result()[1] for f in futures]
    assert len(set(numbers)) == 50


# ---- concurrent.futures


def test_a_hundred_thousand_submits(pool: PoolExecutor) -> None:
    futures = [pool.submit(sample.double, i) for i in range(100_000)]
    assert [f.result() for f in futures] == [2 * i for i in range(100_000)]


def test_map_is_in_order_and_raises_at_its_place(pool: PoolExecutor) -> None:
    assert list(pool.map(pow, range(1000), [2] * 1000)) == [i * i for i in range(1000)]
    results = pool.map(lambda x: 1 // x, [1, 1, 0, 1])
    assert next(results) == 1
    assert next(results) == 1
    with pytest.raises(ZeroDivisionError):
        next(results)


@pytest.mark.parametrize("chunksize", [2, 7, 1000, "auto"])
def test_map_in_chunks_is_in_order_and_raises_at_its_place(pool: PoolExecutor, chunksize: int) -> None:
    assert list(pool.map(pow, range(100), [2] * 90, chunksize=chunksize)) == [i * i for i in range(90)]
    results = pool.map(sample.reciprocal, [1, 2, 0, 4], chunksize=chunksize)
    assert [next(results), next(results)] == [1, 0.5]
    with pytest.raises(ZeroDivisionError):
        next(results)
    with pytest.raises(ValueError, match="chunksize"):
        pool.map(sample.double, [1], chunksize=0)


def test_map_takes_from_an_endless_iterable_what_is_asked_for(pool: PoolExecutor) -> None:
    results = pool.map(lambda x: -x, itertools.count(), chunksize="auto", buffersize=1000)
    assert list(itertools.islice(results, 5000)) == [-i for i in range(5000)]


def test_what_a_map_was_given_runs_though_nobody_iterates(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(2) as executor:
        executor.map(Path.touch, [tmp_path / str(i) for i in range(1000)], chunksize="auto")
    assert len(list(tmp_path.iterdir())) == 1000


def test_a_map_with_a_buffersize_does_not_hold_up_the_end(mpi: str) -> None:
    with PoolExecutor(1) as executor:
        results = executor.map(sample.double, itertools.count(), buffersize=2)
        assert next(results) == 0
    taken = []
    with pytest.raises(RuntimeError, match="shutdown"):
        for _ in range(3):
            taken.append(next(results))
    assert taken in ([], [2], [2, 4])


def test_wait_and_as_completed_and_callbacks(pool: PoolExecutor) -> None:
    futures = [pool.submit(sample.double, i) for i in range(200)]
    assert {f.result() for f in as_completed(futures)} == {2 * i for i in range(200)}
    done, not_done = wait([pool.submit(sample.double, i) for i in range(20)])
    assert (len(done), len(not_done)) == (20, 0)
    called: list[int] = []
    futures = [pool.submit(sample.double, i) for i in range(50)]
    for future in futures:
        future.add_done_callback(lambda f: called.append(f.result()))
    eventually(lambda: sorted(called) == [2 * i for i in range(50)], "every callback was called once")


def test_as_completed_gives_each_future_once_however_fast_they_come(pool: PoolExecutor) -> None:
    for _ in range(20):
        futures = [pool.submit(sample.double, i) for i in range(1000)]
        assert len(list(as_completed(futures))) == 1000


def test_a_callback_may_submit_and_may_fail(pool: PoolExecutor) -> None:
    chained: list[Any] = []

    def go_on(future: concurrent.futures.Future[int]) -> None:
        chained.append(pool.submit(sample.double, future.result()))
        raise RuntimeError("a callback's own mistake")

    pool.submit(sample.double, 3).add_done_callback(go_on)
    eventually(lambda: chained, "the callback has submitted")
    assert chained[0].result() == 12


def test_a_timeout_of_result_is_a_timeout_error(pool: PoolExecutor, tmp_path: Path) -> None:
    future = pool.submit(wait_for, tmp_path / "go")
    with pytest.raises(concurrent.futures.TimeoutError):
        future.result(timeout=0.05)
    (tmp_path / "go").touch()
    assert future.result().host == os.uname().nodename


def test_what_has_not_started_is_cancelled_and_what_runs_is_not(pool: PoolExecutor, tmp_path: Path) -> None:
    blockers = run_now(pool, 2, tmp_path / "go")
    assert not any(b.cancel() for b in blockers)
    assert all(b.running() for b in blockers)
    waiting = [pool.submit((tmp_path / f"ran-{i}").touch) for i in range(20)]
    assert all(f.cancel() for f in waiting)
    assert all(f.cancelled() for f in waiting)
    with pytest.raises(concurrent.futures.CancelledError):
        waiting[0].result()
    (tmp_path / "go").touch()
    assert len({b.result().pid for b in blockers}) == 2
    assert pool.submit(sample.double, 1).result() == 2
    assert not list(tmp_path.glob("ran-*"))


def test_several_threads_may_use_it(pool: PoolExecutor) -> None:
    wrong: list[int] = []

    def use(start: int) -> None:
        futures = [pool.submit(sample.double, i) for i in range(start, start + 2000)]
        wrong.extend(i for i, f in enumerate(futures, start) if f.result() != 2 * i)

    threads = [threading.Thread(target=use, args=(n * 10_000,)) for n in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_two_executors_at_once(mpi: str, pool: PoolExecutor) -> None:
    with PoolExecutor(1) as other:
        pids = [e.submit(os.getpid) for e in (pool, other) for _ in range(4)]
        assert {f.result() for f in pids[:4]}.isdisjoint(f.result() for f in pids[4:])


# ---- options of tasks


def test_a_lower_priority_number_goes_first(mpi: str, tmp_path: Path) -> None:
    def note(name: str) -> None:
        with open(tmp_path / "order", "a") as file:
            file.write(name)

    with PoolExecutor(1) as pool:
        running = pool.submit(wait_for, tmp_path / "go")
        eventually(lambda: n_waiting(tmp_path / "go"), "it runs")
        for priority, name in ((5, "c"), (0, "b"), (-5, "a")):
            pool.with_options(priority=priority).submit(note, name)
        (tmp_path / "go").touch()
        assert running.result(20)
    assert (tmp_path / "order").read_text() == "abc"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"timeout": 0}, "timeout=0"),
        ({"timeout": -1.0}, "timeout=-1.0"),
        ({"timeout": "5"}, "timeout='5'"),
        ({"priority": 2**31}, "priority=2147483648"),
    ],
)
def test_options_that_cannot_be_are_reported(pool: PoolExecutor, options: dict[str, Any], expected: str) -> None:
    with pytest.raises(OptionError, match=expected):
        pool.with_options(**options)


def test_a_pool_with_options_ends_with_its_pool(mpi: str) -> None:
    pool = PoolExecutor(1)
    with pool.with_options(timeout=60) as view:
        future = view.submit(sample.double, 21)
    assert future.result(0) == 42
    for executor in (pool, view):
        with pytest.raises(RuntimeError, match="after shutdown"):
            executor.submit(sample.double, 1)


# ---- beginning and end


@pytest.mark.parametrize(("ranks", "workers"), [(1, 1), (2, 2), (2, 4), (4, 8)])
def test_ranks_and_workers_are_as_many_as_asked_for(mpi: str, ranks: int, workers: int, tmp_path: Path) -> None:
    with PoolExecutor(workers, ranks=ranks) as executor:
        futures = [executor.submit(sample.double, i) for i in range(2000)]
        assert [f.result() for f in futures] == [2 * i for i in range(2000)]

        def there() -> tuple[int, int]:
            titles = [p.title for p in descendants(executor._keeper.blocks["0"].pid)]
            return titles.count("xse-pool: zygote"), sum(t.startswith("xse-pool: worker ") for t in titles)

        # One worker may have done all of it before another was there.
        eventually(lambda: there() == (ranks, workers), "all have come up", seen=there)
        at_once = run_now(executor, workers, tmp_path / "go")
        (tmp_path / "go").touch()
        assert len({f.result().pid for f in at_once}) == workers


def test_the_initializer_runs_once_in_each_worker_before_its_first_task(mpi: str) -> None:
    def initialize(text: str) -> None:
        assert not hasattr(sample, "marks")
        sample.marks = [text, os.getpid()]  # type: ignore[attr-defined]

    with PoolExecutor(2, initializer=initialize, initargs=("here",)) as executor:
        marks = [executor.submit(lambda: (sample.marks, os.getpid())) for _ in range(20)]  # type: ignore[attr-defined]
        for future in marks:
            (text, pid), own = future.result()
            assert (text, pid) == ("here", own)


def test_shutdown_waits_for_what_was_submitted_and_may_be_called_again(mpi: str) -> None:
    executor = PoolExecutor(2)
    futures = [executor.submit(sample.double, i) for i in range(1000)]
    executor.shutdown()
    assert [f.result(timeout=0) for f in futures] == [2 * i for i in range(1000)]
    executor.shutdown()
    executor.shutdown(wait=False)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(sample.double, 1)


def test_shutdown_may_cancel_what_waits(mpi: str, tmp_path: Path) -> None:
    executor = PoolExecutor(1)
    (running,) = run_now(executor, 1, tmp_path / "go")
    waiting = [executor.submit(sample.double, i) for i in range(1000)]
    executor.shutdown(wait=False, cancel_futures=True)
    eventually(lambda: all(f.cancelled() for f in waiting), "what waits is cancelled")
    (tmp_path / "go").touch()
    executor.shutdown()
    assert running.result().host == os.uname().nodename


def test_shutdown_before_the_pool_is_up(mpi: str) -> None:
    PoolExecutor(1).shutdown()
    executor = PoolExecutor(1)
    future = executor.submit(sample.double, 1)
    executor.shutdown()
    assert future.result() == 2


def test_an_executor_nobody_holds_ends(mpi: str) -> None:
    executor = PoolExecutor(1)
    assert executor.submit(sample.double, 1).result() == 2
    pids = [p.pid for p in descendants(executor._keeper.blocks["0"].pid)]
    assert pids
    del executor
    eventually(lambda: not any(process(pid) for pid in pids), "its processes have ended")


def test_preloaded_modules_and_the_working_directory(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(1, preload=["colorsys"], working_dir=str(tmp_path / "made" / "for it")) as executor:
        assert executor.submit(lambda: "colorsys" in sys.modules).result()
        assert executor.submit(os.getcwd).result() == str(tmp_path / "made" / "for it")


def test_ps_tells_what_each_process_is_and_knows_them_all(mpi: str) -> None:
    before = {p.pid for p in ours()}
    with PoolExecutor(4, ranks=2) as executor:
        eventually(lambda: len(set(executor.map(pid_of_worker, range(50)))) == 4, "all workers work")
        titles = sorted(p.title for p in ours() if p.pid not in before)
    launchers = ("mpiexec", "mpirun", "hydra", "orted")
    pool = [t for t in titles if "xse-pool" in t and not any(name in t for name in launchers)]
    assert [t for t in pool if t.startswith("xse-pool: ")] == [
        *(f"xse-pool: worker {worker} of rank {rank}" for worker in range(2) for rank in range(2)),
        *["xse-pool: zygote"] * 2,
    ]
    assert sum("xse-pool --connect" in t for t in pool) == 2
    (interchange,) = [t for t in titles if "xse.interchange" in t]
    assert interchange.endswith("-m xse.interchange") or sys.version_info < (3, 11)
    assert not [t for t in titles if t not in pool and t != interchange and not any(name in t for name in launchers)]


def pid_of_worker(_: int) -> int:
    return os.getpid()


def test_a_node_may_have_hundreds_of_workers(mpi: str) -> None:
    with PoolExecutor(300) as executor:
        eventually(lambda: [b.n_workers for b in status_of(executor).blocks] == [300], "all are up")
        assert executor.submit(sample.double, 2).result(20) == 4


def status_of(executor: PoolExecutor) -> commands.StatusReply:
    reply = executor._client.request(commands.Status()).result()
    assert isinstance(reply, commands.StatusReply)
    return reply


def test_a_child_of_a_task_ends_when_it_is_asked_to(mpi: str) -> None:
    with PoolExecutor(1) as executor:
        assert executor.submit(terminate_a_child).result(20) == -signal.SIGTERM


def terminate_a_child() -> int:
    import multiprocessing
    import time

    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(100,))
    child.start()
    child.terminate()
    child.join(10)
    code: int = child.exitcode or 0
    return code


def test_a_task_that_runs_can_be_killed_after_it_could_not_be_cancelled(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(1) as executor:
        (future,) = run_now(executor, 1, tmp_path / "go")
        assert not future.cancel()
        assert future.cancel(kill=True)
        assert future.cancelled()
        assert executor.submit(sample.double, 2).result(20) == 4


def test_tasks_start_in_the_order_in_which_they_were_submitted(mpi: str) -> None:
    """A task that comes alone goes by another socket than those that come together."""
    with PoolExecutor(1) as executor:
        for _ in range(5):
            futures = [executor.submit(time.monotonic_ns) for _ in range(20)]
            started = [future.result() for future in futures]
            assert started == sorted(started)


def test_workers_are_told_apart_by_the_name_of_their_process(mpi: str) -> None:
    with PoolExecutor(4, ranks=2) as executor:
        names: set[str] = set()
        eventually(lambda: len(names.update(executor.map(name_of_process, range(50))) or names) == 4, "all have worked")
        assert names == {f"XseWorker-0-{rank}-{worker}" for rank in range(2) for worker in range(2)}


def name_of_process(_: int) -> str:
    time.sleep(0.001)
    return multiprocessing.current_process().name


@pytest.mark.parametrize("end", ["terminate_workers", "kill_workers"])
def test_workers_are_ended_with_what_they_run(mpi: str, end: str, tmp_path: Path) -> None:
    executor = PoolExecutor(1)
    begun = tmp_path / "begun"
    running = executor.submit(touch_and_sleep, begun)
    waiting = executor.submit(abs, -1)
    eventually(begun.exists, "the task runs")
    getattr(executor, end)()
    assert isinstance(running.exception(0), ManagerLost | BrokenPool)
    assert waiting.cancelled() or isinstance(waiting.exception(0), ManagerLost | BrokenPool)
    with pytest.raises(RuntimeError, match="after shutdown"):
        executor.submit(abs, -1)
    executor.shutdown()


def touch_and_sleep(path: Path) -> None:
    path.touch()
    time.sleep(600)


def test_a_worker_is_replaced_after_max_tasks_per_child(mpi: str) -> None:
    with PoolExecutor(1, max_tasks_per_child=2) as executor:
        pids = [executor.submit(os.getpid).result() for _ in range(6)]
    assert all(pids.count(pid) == 2 for pid in pids)
