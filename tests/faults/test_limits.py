"""What a task may take: time, memory, its worker's life; and how often it may take a worker with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from tests.support.tasks import n_waiting, wait_for
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ExtremeScaleExecutor, ManagerLost, OptionError, PoolExecutor, TaskTimeout, WorkerLost


@pytest.fixture(scope="module")
def pool(mpi: str) -> Iterator[PoolExecutor]:
    """One worker, for tests that do not harm the pool."""
    with PoolExecutor(1) as executor:
        yield executor


# ---- row 4: time


def test_a_task_out_of_time_is_told_and_the_next_one_runs_in_a_new_worker(pool: PoolExecutor, tmp_path: Path) -> None:
    before = pool.submit(os.getpid).result(20)
    late = pool.with_options(timeout=0.2).submit(wait_for, tmp_path / "never")
    after = pool.submit(os.getpid)
    with pytest.raises(TaskTimeout, match=r"longer than its timeout of 0\.2 s") as caught:
        late.result(20)
    assert f"pid {before}" in str(caught.value)
    assert after.result(20) != before


def test_a_task_within_its_time_is_not_harmed_and_its_options_are_not_the_next_ones(
    pool: PoolExecutor, tmp_path: Path
) -> None:
    hurried = pool.with_options(timeout=60)
    assert hurried.submit(sample.joined, b"a", "b", last="c").result(20) == "abc"
    assert list(hurried.map(pow, range(100), [2] * 100)) == [i * i for i in range(100)]
    assert list(hurried.map(pow, range(100), [2] * 100, chunksize=7)) == [i * i for i in range(100)]
    first = pool.with_options(timeout=0.3).submit(sample.double, 1)
    late = pool.with_options(timeout=0.3).submit(wait_for, tmp_path / "go")
    longer = pool.submit(wait_for, tmp_path / "go")
    assert first.result(20) == 2
    with pytest.raises(TaskTimeout):
        late.result(20)
    (tmp_path / "go").touch()
    assert longer.result(20)


def test_a_map_with_a_timeout_raises_at_the_place_of_the_task_that_is_late(pool: PoolExecutor, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    results = pool.with_options(timeout=0.5).map(wait_for, [tmp_path / "there", tmp_path / "never", tmp_path / "there"])
    assert next(results)
    with pytest.raises(TaskTimeout):
        next(results)


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
def test_options_that_cannot_be_are_told(pool: PoolExecutor, options: dict[str, Any], expected: str) -> None:
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


# ---- memory


def allocate(n: int) -> tuple[int, int]:
    return len(bytearray(n)), os.getpid()


def allocate_in_a_child(n: int) -> str:
    command = [sys.executable, "-c", f"bytearray({n})"]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60).stderr.splitlines()[-1]


def test_a_task_over_the_memory_limit_meets_a_memory_error_and_its_worker_lives_on(mpi: str) -> None:
    with PoolExecutor(1, memory_limit="400 MB") as pool:
        little, pid = pool.submit(allocate, 100 << 20).result(60)
        assert little == 100 << 20
        with pytest.raises(MemoryError):
            pool.submit(allocate, 500 << 20).result(60)
        assert pool.submit(allocate, 100 << 20).result(60) == (100 << 20, pid)
        assert pool.submit(allocate_in_a_child, 500 << 20).result(60) == "MemoryError"


def test_arguments_that_do_not_fit_a_workers_memory_cost_the_worker_and_say_so(mpi: str) -> None:
    with PoolExecutor(1, memory_limit="200 MB") as pool:
        with pytest.raises(WorkerLost, match="out of memory"):
            pool.submit(len, bytes(300 << 20)).result(60)
        assert pool.submit(sample.double, 2).result(60) == 4


def test_the_parsl_executor_has_the_memory_limit_too(mpi: str, tmp_path: Path) -> None:
    with loaded(tmp_path, memory_limit="400 MB"):
        with pytest.raises(MemoryError):
            parsl.python_app(allocate)(500 << 20).result()
        assert parsl.python_app(allocate)(100 << 20).result()[0] == 100 << 20
    with pytest.raises(OptionError, match="memory_limit='much'"):
        ExtremeScaleExecutor(memory_limit="much")


# ---- a task that takes its worker with it


def crash(notes: str) -> None:
    with open(notes, "a") as file:
        file.write("ran\n")
    os.kill(os.getpid(), signal.SIGKILL)


def runs_of(notes: Path) -> int:
    return len(notes.read_text().splitlines())


def loaded(directory: Path, retries: int = 0, **arguments: Any) -> Any:
    provider = LocalProvider(launcher=SimpleLauncher(), init_blocks=1, max_blocks=1)
    executor = ExtremeScaleExecutor(provider=provider, workers_per_rank=1, **arguments)
    return parsl.load(
        Config(
            executors=[executor],
            strategy_period=0.1,
            run_dir=str(directory / "runs"),
            initialize_logging=False,
            retries=retries,
        )
    )


def test_a_task_that_crashes_every_worker_it_meets_runs_once(pool: PoolExecutor, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with pytest.raises(WorkerLost):
        pool.submit(crash, str(notes)).result(20)
    assert pool.submit(sample.double, 2).result(20) == 4
    assert runs_of(notes) == 1


@pytest.mark.parametrize("retries", [0, 2])
def test_a_task_that_crashes_every_worker_it_meets_runs_as_often_as_parsls_retries_say(
    mpi: str, tmp_path: Path, retries: int
) -> None:
    notes = tmp_path / "notes"
    with loaded(tmp_path, retries):
        with pytest.raises(WorkerLost):
            parsl.python_app(crash)(str(notes)).result()
        assert parsl.python_app(sample.double)(2).result() == 4
    assert runs_of(notes) == 1 + retries


def crash_the_rank(notes: str) -> None:
    """Of its block, whose process is the zygote's parent."""
    with open(notes, "a") as file:
        file.write("ran\n")
    with open(f"/proc/{os.getppid()}/stat") as stat:
        rank = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(rank, signal.SIGKILL)
    signal.pause()


def test_a_task_that_ends_every_block_it_meets_runs_once(mpi: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with PoolExecutor(1) as pool:
        with pytest.raises(ManagerLost):
            pool.submit(crash_the_rank, str(notes)).result(60)
        assert pool.submit(sample.double, 2).result(60) == 4
    assert runs_of(notes) == 1
