"""Which part of its node a worker gets, and how it learns its place. The same for a worker that replaces another."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.support.tasks import exit_now, place
from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor, WorkerLost

N_CORES = len(os.sched_getaffinity(0))


@contextmanager
def block(directory: Path, **arguments: Any) -> Iterator[ExtremeScaleExecutor]:
    executor = ExtremeScaleExecutor(**arguments)
    executor.run_dir = executor.provider.script_dir = str(directory)
    executor.start()
    try:
        executor.scale_out(1)
        yield executor
    finally:
        executor.scale_in(1)
        executor.shutdown()


def places(executor: ExtremeScaleExecutor, directory: Path, n: int) -> list[dict[str, Any]]:
    eventually(lambda: executor.connected_workers == n, f"{n} workers work", 30, executor.connected_managers)
    meeting = directory / f"meeting-{len(list(directory.iterdir()))}"
    found = [f.result(30) for f in [executor.submit(place, {}, meeting, n) for _ in range(n)]]
    return sorted(found, key=lambda p: int(p["RANK"]))


@pytest.mark.parametrize("ranks", [1, 2])
def test_each_worker_knows_its_place_and_so_does_one_that_replaces_it(mpi: str, tmp_path: Path, ranks: int) -> None:
    with block(tmp_path, workers_per_rank=2, ranks_per_node=ranks) as executor:
        n = 2 * ranks
        before = places(executor, tmp_path, n)
        for _ in range(2):
            with pytest.raises(WorkerLost):
                executor.submit(exit_now, {}).result(30)
        after = places(executor, tmp_path, n)
        (manager,) = executor.connected_managers()
    for found in (before, after):
        assert [p["RANK"] for p in found] == [str(i) for i in range(n)]
        assert {p["COUNT"] for p in found} == {str(n)}
        assert {p["POOL_ID"] for p in found} == {manager["manager"]}
        assert {p["BLOCK_ID"] for p in found} == {"0"}


@pytest.fixture
def two_cores() -> Iterator[list[int]]:
    """This thread is bound to them, and so is what it starts."""
    cores = sorted(os.sched_getaffinity(0))
    assert len(cores) >= 2, "workers are bound apart only where there are two cores"
    os.sched_setaffinity(0, cores[:2])
    yield cores[:2]
    os.sched_setaffinity(0, cores)


@pytest.mark.parametrize(
    ("affinity", "expected"),  # 0 and 1 are the first and the second of the two cores
    [
        ("none", [[0, 1], [0, 1]]),
        ("block", [[0], [1]]),
        ("block-reverse", [[1], [0]]),
        ("alternating", [[0], [1]]),
        ("list:{1}:{0}", [[1], [0]]),
        ("list:{0},{1}:{1}", [[0, 1], [1]]),
    ],
)
def test_workers_are_bound_as_cpu_affinity_says(
    mpi: str, tmp_path: Path, two_cores: list[int], affinity: str, expected: list[list[int]]
) -> None:
    with block(tmp_path, workers_per_rank=2, cpu_affinity=affinity.format(*two_cores)) as executor:
        found = places(executor, tmp_path, 2)
    assert [p["cores"] for p in found] == [[two_cores[i] for i in cores] for cores in expected]
    threads = [1, 1] if affinity == "none" else [len(p["cores"]) for p in found]
    assert [p["OMP_NUM_THREADS"] for p in found] == [str(n) for n in threads]


@pytest.mark.parametrize(
    ("accelerators", "workers", "expected"),
    [
        (2, 2, ["0", "1"]),
        (["gpu-a", "gpu-b"], 2, ["gpu-a", "gpu-b"]),
        (["0,1", "2,3"], 2, ["0,1", "2,3"]),
        (["0", "0"], 2, ["0", "0"]),
        (1, 4, ["0"]),
    ],
    ids=["number", "names", "several_on_one_worker", "several_workers_on_one", "no_more_workers_than_accelerators"],
)
def test_each_worker_has_its_accelerator(
    mpi: str, tmp_path: Path, accelerators: Any, workers: int, expected: list[str]
) -> None:
    with block(
        tmp_path, max_workers_per_node=workers, cores_per_worker=0.25, available_accelerators=accelerators
    ) as executor:
        found = places(executor, tmp_path, len(expected))
    assert [p["CUDA_VISIBLE_DEVICES"] for p in found] == expected
    assert {p[name] for p in found for name in ("ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK")} == {None}


@pytest.mark.parametrize(
    ("arguments", "n"),
    [
        ({"cores_per_worker": 1.0}, N_CORES),
        ({"cores_per_worker": 0.5}, 2 * N_CORES),
        ({"cores_per_worker": 0.5, "max_workers_per_node": 3}, 3),
        (
            {
                "cores_per_worker": 0.25,
                "mem_per_worker": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30 / 2,
            },
            2,
        ),
        ({"max_workers_per_node": 1, "ranks_per_node": 1}, 1),
    ],
)
def test_a_node_has_as_many_workers_as_fit(mpi: str, tmp_path: Path, arguments: dict[str, Any], n: int) -> None:
    with block(tmp_path, **arguments) as executor:
        assert len(places(executor, tmp_path, n)) == n
        assert executor.workers_per_node == n


def test_working_dir_is_for_staged_files_and_tasks_run_where_the_block_starts(mpi: str, tmp_path: Path) -> None:
    """As with HighThroughputExecutor: Parsl's staging puts files there."""
    with block(tmp_path, workers_per_rank=1, working_dir=str(tmp_path / "staged")) as executor:
        (found,) = places(executor, tmp_path, 1)
    assert executor.working_dir == str(tmp_path / "staged")
    assert found["cwd"] == os.getcwd()
