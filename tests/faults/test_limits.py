"""What a task may take: time (row 4), memory (row 5); and how often it takes a worker (3) or a block (7) with it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from parsl import python_app
from parsl.executors.errors import InvalidResourceSpecification

from tests.support.executors import loaded
from tests.support.tasks import wait_for
from tests.support.took import Took
from tests.unit import sample
from xse import ExtremeScaleExecutor, ManagerLost, OptionError, PoolExecutor, TaskTimeout, WorkerLost


@pytest.fixture(scope="module")
def pool(mpi: str) -> Iterator[PoolExecutor]:
    """One worker, for tests that do not harm the pool."""
    with PoolExecutor(1) as executor:
        yield executor


# ---- time


@pytest.mark.row(4)
def test_a_task_out_of_time_is_reported_and_the_next_one_runs_in_a_new_worker(
    pool: PoolExecutor, tmp_path: Path, took: Took
) -> None:
    before = pool.submit(os.getpid).result(20)
    with took("TaskTimeout", beyond=("timeout", 0.2)):
        late = pool.with_options(timeout=0.2).submit(wait_for, tmp_path / "never")
        after = pool.submit(os.getpid)
        with pytest.raises(TaskTimeout, match=r"longer than its timeout of 0\.2 s") as caught:
            late.result(20)
    assert f"pid {before}" in str(caught.value)
    assert after.result(20) != before


@pytest.mark.row(4)
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


@pytest.mark.row(4)
def test_a_map_with_a_timeout_raises_at_the_place_of_the_task_that_is_late(pool: PoolExecutor, tmp_path: Path) -> None:
    (tmp_path / "there").touch()
    results = pool.with_options(timeout=0.5).map(wait_for, [tmp_path / "there", tmp_path / "never", tmp_path / "there"])
    assert next(results)
    with pytest.raises(TaskTimeout):
        next(results)


@pytest.mark.row(4)
def test_an_app_out_of_time_is_reported_and_the_next_one_runs(mpi: str, tmp_path: Path, took: Took) -> None:
    @python_app
    def sleep(seconds: float, parsl_resource_specification: dict[str, Any]) -> float:
        import time

        time.sleep(seconds)
        return seconds

    with loaded(tmp_path):
        assert sleep(0, parsl_resource_specification={}).result() == 0
        with took("TaskTimeout", beyond=("timeout", 0.5)):
            late = sleep(100, parsl_resource_specification={"timeout": 0.5})
            next_one = sleep(0.01, parsl_resource_specification={"timeout": 50, "priority": 1})
            with pytest.raises(TaskTimeout, match=r"it ran longer than its timeout of 0\.5 s"):
                late.result()
        assert next_one.result() == 0.01
        with pytest.raises(InvalidResourceSpecification, match="timeout is in seconds"):
            sleep(1, parsl_resource_specification={"timeout": -1}).result()


# ---- memory


def allocate(n: int) -> tuple[int, int]:
    return len(bytearray(n)), os.getpid()


def allocate_in_a_child(n: int) -> str:
    command = [sys.executable, "-c", f"bytearray({n})"]
    return subprocess.run(command, stderr=subprocess.PIPE, text=True, timeout=60).stderr.splitlines()[-1]


@pytest.mark.row(5)
def test_a_task_over_the_memory_limit_meets_a_memory_error_and_its_worker_lives_on(mpi: str, took: Took) -> None:
    with PoolExecutor(1, memory_limit="400 MB") as pool:
        little, pid = pool.submit(allocate, 100 << 20).result(60)
        assert little == 100 << 20
        with took("MemoryError"), pytest.raises(MemoryError):
            pool.submit(allocate, 500 << 20).result(60)
        assert pool.submit(allocate, 100 << 20).result(60) == (100 << 20, pid)
        assert pool.submit(allocate_in_a_child, 500 << 20).result(60) == "MemoryError"


@pytest.mark.row(3)
def test_arguments_that_do_not_fit_a_workers_memory_cost_the_worker_and_say_so(mpi: str) -> None:
    with PoolExecutor(1, memory_limit="200 MB") as pool:
        with pytest.raises(WorkerLost, match="out of memory"):
            pool.submit(len, bytes(300 << 20)).result(60)
        assert pool.submit(sample.double, 2).result(60) == 4


@pytest.mark.row(5)
def test_the_parsl_executor_has_the_memory_limit_too(mpi: str, tmp_path: Path) -> None:
    with loaded(tmp_path, memory_limit="400 MB"):
        with pytest.raises(MemoryError):
            python_app(allocate)(500 << 20).result()
        assert python_app(allocate)(100 << 20).result()[0] == 100 << 20
    with pytest.raises(OptionError, match="memory_limit='much'"):
        ExtremeScaleExecutor(memory_limit="much")


# ---- a task that takes its worker with it, or its block


def crash(notes: str) -> None:
    with open(notes, "a") as file:
        file.write("ran\n")
    os.kill(os.getpid(), signal.SIGKILL)


def runs_of(notes: Path) -> int:
    return len(notes.read_text().splitlines())


@pytest.mark.row(3)
def test_a_task_that_crashes_every_worker_it_meets_runs_once(pool: PoolExecutor, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with pytest.raises(WorkerLost):
        pool.submit(crash, str(notes)).result(20)
    assert pool.submit(sample.double, 2).result(20) == 4
    assert runs_of(notes) == 1


@pytest.mark.row(3)
@pytest.mark.parametrize("retries", [0, 2])
def test_a_task_that_crashes_every_worker_it_meets_runs_as_often_as_parsls_retries_say(
    mpi: str, tmp_path: Path, retries: int
) -> None:
    notes = tmp_path / "notes"
    with loaded(tmp_path, settings={"retries": retries}):
        with pytest.raises(WorkerLost):
            python_app(crash)(str(notes)).result()
        assert python_app(sample.double)(2).result() == 4
    assert runs_of(notes) == 1 + retries


def crash_the_rank(notes: str) -> None:
    """Of its block, whose process is the zygote's parent."""
    with open(notes, "a") as file:
        file.write("ran\n")
    with open(f"/proc/{os.getppid()}/stat") as stat:
        rank = int(stat.read().rpartition(")")[2].split()[1])
    os.kill(rank, signal.SIGKILL)
    signal.pause()


@pytest.mark.row(7)
def test_a_task_that_ends_every_block_it_meets_runs_once(mpi: str, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    with PoolExecutor(1) as pool:
        with pytest.raises(ManagerLost):
            pool.submit(crash_the_rank, str(notes)).result(60)
        assert pool.submit(sample.double, 2).result(60) == 4
    assert runs_of(notes) == 1
