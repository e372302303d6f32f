"""A block is lost (row 7) or given up (9), is ended by its scheduler (13), or gets a signal (14)."""

from __future__ import annotations

import os
import shlex
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from parsl import python_app
from parsl.executors.high_throughput.errors import ManagerLost as ParslManagerLost

from scripts.soaks.leftovers import segments_mapped
from tests.support.blocks import ranks, workers
from tests.support.by_hand import ByHand
from tests.support.executors import loaded, started
from tests.support.processes import ours, process, stopped
from tests.support.tasks import n_waiting, run_now, wait_for
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ManagerLost, PoolExecutor, launch
from xse.wire import commands


def launcher_of(executor: PoolExecutor) -> int:
    return executor._keeper.blocks["0"].pid


# ---- row 7: a part of it dies

VICTIMS: dict[str, Callable[[int], int]] = {  # from the launcher's number to theirs
    "rank 0": lambda launcher: ranks(launcher)[0].pid,
    "rank 1": lambda launcher: ranks(launcher)[1].pid,
    "mpiexec": lambda launcher: launcher,
}


@pytest.mark.row(7)
@pytest.mark.parametrize("victim", VICTIMS)
def test_a_lost_rank_fails_what_its_block_had_and_the_rest_runs_in_a_new_one(
    mpi: str, victim: str, tmp_path: Path, took: Took
) -> None:
    with PoolExecutor(2, ranks=2) as executor:
        running = run_now(executor, 2, tmp_path / "go")
        waiting = [executor.submit(sample.double, i) for i in range(20)]
        pid = VICTIMS[victim](launcher_of(executor))
        with took("ManagerLost"):
            os.kill(pid, signal.SIGKILL)
            for future in running:
                with pytest.raises(ManagerLost) as caught:
                    future.result(20)
                assert caught.value.block == "0"
                assert os.uname().nodename in caught.value.hosts
        assert [f.result(60) for f in waiting] == [2 * i for i in range(20)]


@pytest.mark.row(7)
def test_ranks_that_are_killed_leave_no_shared_memory(mpi: str) -> None:
    """Open MPI's have a file each in /dev/shm, which its mpiexec removes then."""
    with PoolExecutor(2, ranks=2) as executor:
        assert executor.submit(sample.double, 21).result(60) == 42
        block = executor._keeper.blocks["0"]
        mapped = segments_mapped()
        if mpi == "openmpi":
            assert len(mapped) >= 2, "a file for each rank"
        for rank in ranks(block.pid):
            os.kill(rank.pid, signal.SIGKILL)
        block._process.wait(20)
        eventually(lambda: not list(filter(os.path.exists, mapped)), "nothing is left", seen=lambda: mapped)


@pytest.mark.row(7)
@pytest.mark.parametrize("rank", [0, 1])
def test_a_rank_that_hangs_costs_its_block_after_heartbeat_threshold(
    mpi: str, rank: int, tmp_path: Path, took: Took
) -> None:
    with PoolExecutor(2, ranks=2, heartbeat_period=0.5, heartbeat_threshold=1.5) as executor:
        running = run_now(executor, 2, tmp_path / "go")
        with stopped(ranks(launcher_of(executor))[rank].pid):
            with took("of a rank that hangs", beyond=("hb", 1.5)):
                for future in running:
                    with pytest.raises(ManagerLost, match="heartbeat"):
                        future.result(20)
            assert executor.submit(sample.double, 4).result(60) == 8


@pytest.mark.row(7)
def test_a_pool_whose_node_comes_back_goes_on(mpi: str, tmp_path: Path) -> None:
    """The first block works and is lost; the next two attempts fail; the third finds the node again."""
    script = tmp_path / "mpiexec"
    mpiexec = shlex.join(launch.launcher("auto", launch.find_pool(), launch.Layout()))
    lines = [
        "#!/bin/sh",
        f"echo >> {tmp_path}/starts",
        f"[ -e {tmp_path}/down ] && exit 255",
        f'exec {mpiexec} "$@"',
        "",
    ]
    script.write_text("\n".join(lines))
    script.chmod(0o755)
    with PoolExecutor(1, launch_cmd=str(script)) as executor:
        assert executor.submit(sample.double, 21).result(60) == 42
        (tmp_path / "down").touch()
        os.kill(ranks(launcher_of(executor))[0].pid, signal.SIGKILL)
        eventually(lambda: (tmp_path / "starts").read_text().count("\n") >= 2, "another block was tried", 30)
        (tmp_path / "down").unlink()
        assert executor.submit(sample.double, 21).result(60) == 42


@pytest.mark.row(7)
def test_with_parsl_a_lost_block_is_reported_and_its_apps_run_again_with_retries(
    mpi: str, tmp_path: Path, took: Took
) -> None:
    seen: list[BaseException] = []

    def handler(error: BaseException, task_record: Any) -> float:
        seen.append(error)
        return 1.0

    with loaded(tmp_path, 2, settings={"retries": 2, "retry_handler": handler}):
        futures = [python_app(wait_for)(tmp_path / "go") for _ in range(2)]
        eventually(lambda: n_waiting(tmp_path / "go") == 2, "both blocks run a task", 60)
        pools = [p for p in ours() if p.title.startswith(os.environ["XSE_POOL"])]
        lost = next(p for p in pools if "block-0.connect" in p.title and str(tmp_path) in p.title)
        with took("ManagerLost"):
            os.kill(lost.pid, signal.SIGKILL)
            eventually(lambda: seen, "the retry handler was asked")
        assert isinstance(seen[0], ParslManagerLost)
        assert isinstance(seen[0], ManagerLost)
        (tmp_path / "go").touch()
        assert [f.result().block for f in futures] == ["1", "1"]


# ---- row 9: it was given up, and speaks again


@pytest.mark.row(9)
def test_a_result_of_a_block_that_was_given_up_is_dropped_and_counted_and_its_pool_ends(
    mpi: str, tmp_path: Path, took: Took
) -> None:
    def work() -> None:
        wait_for(tmp_path / "go")
        (tmp_path / "done").touch()

    world = ByHand(tmp_path, workers_per_rank=1, heartbeat_period=1, heartbeat_threshold=2)
    try:
        launcher = world.spawn_pool()
        future = world.executor.submit(work, {})
        eventually(lambda: n_waiting(tmp_path / "go"), "it runs", 60)
        (rank,), (worker,) = ranks(launcher.pid), workers(launcher.pid)
        with stopped(rank.pid):
            with pytest.raises(ManagerLost, match="heartbeat"):
                future.result(20)
            (tmp_path / "go").touch()
            eventually((tmp_path / "done").exists, "the task has ended")
            eventually(lambda: getattr(process(worker.pid), "state", "") == "S", "its worker waits for another")
        with took("a pool that speaks again has ended"):
            assert launcher.wait(20) != 0
        eventually(lambda: world.executor._ask(commands.Status()).n_dropped == 1, "its late result is counted")
        assert len(world.lines("results_dropped", "their block was given up")) == 1
        with pytest.raises(ManagerLost):
            future.result(0)
    finally:
        world.end()


# ---- row 13: its time comes to an end, and it knows


@pytest.mark.row(13)
def test_a_block_drains_after_drain_period_and_loses_nothing(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, drain_period=5) as executor:
        running = executor.submit(wait_for, {}, tmp_path / "go")
        eventually(lambda: executor.connected_managers()[0]["draining"], "it drains")
        waiting = executor.submit(sample.double, {}, 21)
        (tmp_path / "go").touch()
        assert running.result(20).block == "0"
        eventually(lambda: not executor.connected_managers(), "it has ended")
        executor.scale_out(1)
        assert waiting.result(30) == 42


@pytest.mark.row(13)
def test_draining_waits_for_a_rank_that_works_while_another_is_idle(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, drain_period=5, ranks_per_node=2) as executor:
        eventually(lambda: executor.connected_workers == 2, "both ranks work")
        running = executor.submit(time.sleep, {}, 11)  # a rank waits 3 s in MPI_Finalize for others
        assert running.result(30) is None
        eventually(lambda: not executor.connected_managers(), "it has ended")


# ---- row 14: it gets a signal


@pytest.mark.row(14)
def test_a_pool_that_is_asked_to_stop_ends_with_0(mpi: str, tmp_path: Path) -> None:
    world = ByHand(tmp_path)
    world.start_pool()
    assert world.works()
    (manager,) = world.executor.connected_managers()
    assert manager["block_id"].startswith("hand-")
    assert world.end() == [0]


@pytest.mark.row(14)
@pytest.mark.parametrize(("number", "rank"), [(signal.SIGTERM, 0), (signal.SIGINT, 0), (signal.SIGTERM, 1)])
def test_a_pool_that_gets_a_signal_gives_what_runs_a_second_and_ends_otherwise(
    mpi: str, number: int, rank: int, tmp_path: Path, took: Took
) -> None:
    with PoolExecutor(2, ranks=2) as executor:
        (short,) = run_now(executor, 1, tmp_path / "soon")
        (long,) = run_now(executor, 1, tmp_path / "never")
        block = executor._keeper.blocks["0"]
        with took("ManagerLost"):
            os.kill(ranks(block.pid)[rank].pid, number)
            (tmp_path / "soon").touch()
            assert short.result(20).block == "0"
            with pytest.raises(ManagerLost, match="asked to end by a signal"):
                long.result(20)
        assert block._process.wait(20) != 0
        assert executor.submit(sample.double, 4).result(60) == 8
