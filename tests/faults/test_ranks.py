"""A rank that fails costs what it ran, and no more (row 23); one that does not start is left out, or ended (row 24)."""

from __future__ import annotations

import os
import resource
import shlex
import signal
from concurrent.futures import CancelledError
from pathlib import Path

import pytest

from tests.support.blocks import ranks, workers, zygotes
from tests.support.executors import started
from tests.support.processes import ours, process
from tests.support.tasks import run_now
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import BrokenPool, ManagerLost, PoolExecutor, WorkerLost, launch
from xse.doctor.diagnosis import Level, line_of
from xse.doctor.look import Wishes, look
from xse.wire import commands


def launcher_of(executor: PoolExecutor) -> int:
    return executor._keeper.blocks["0"].pid


def mpiexec(n: int, *, rank_1: str) -> str:
    """Of so many ranks, of which rank 1 runs this line of a shell first."""
    before = launch.choose("auto", launch.find_pool()).words(launch.Layout(ranks_per_node=n))
    script = f'if [ "${{PMI_RANK:-$OMPI_COMM_WORLD_RANK}}" = 1 ]; then {rank_1}; fi; exec "$0" "$@"'
    return shlex.join([*before, "sh", "-c", script])


# ---- row 23: a rank fails


def kill_its_zygote(launcher: int, rank: int = 1) -> None:
    (mine,) = [p for p in zygotes(launcher) if p.parent == ranks(launcher)[rank].pid]
    os.kill(mine.pid, signal.SIGKILL)


def lost_ranks(executor: PoolExecutor) -> list[str]:
    status = executor._client.request(commands.Status()).result(30)
    assert isinstance(status, commands.StatusReply)
    return [reason for block in status.blocks for reason in block.lost]


@pytest.mark.row(23)
def test_a_rank_whose_zygote_is_killed_costs_what_it_ran_and_the_block_goes_on(
    mpi: str, tmp_path: Path, took: Took
) -> None:
    with PoolExecutor(3, ranks=3) as executor:
        running = run_now(executor, 3, tmp_path / "go")
        waiting = [executor.submit(sample.double, i) for i in range(20)]
        with took("WorkerLost"):
            kill_its_zygote(launcher_of(executor))
            eventually(lambda: any(f.done() for f in running), "its task has an answer", 20)
        (lost,) = [f for f in running if f.done()]
        error = lost.exception()
        assert isinstance(error, WorkerLost)
        assert (error.host, error.rank) == (os.uname().nodename, 1)
        assert "the task was lost with its rank, which has failed: rank 1 on" in str(error)
        (tmp_path / "go").touch()
        assert len([f.result(60) for f in running if f is not lost]) == 2
        assert [f.result(60) for f in waiting] == [2 * i for i in range(20)]
        assert list(executor._keeper.blocks) == ["0"]  # it has not been replaced


@pytest.mark.row(23)
def test_a_rank_without_descriptors_is_left_out(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(2, ranks=2) as executor:
        running = run_now(executor, 2, tmp_path / "go")
        rank = ranks(launcher_of(executor))[1].pid
        resource.prlimit(rank, resource.RLIMIT_NOFILE, (3, 3))
        for worker in workers(launcher_of(executor)):
            os.kill(worker.pid, signal.SIGKILL)  # only rank 0 can put another in its place
        for future in running:
            with pytest.raises(WorkerLost, match="SIGKILL"):
                future.result(30)
        assert executor.submit(sample.double, 21).result(60) == 42
        eventually(lambda: lost_ranks(executor), "the rank is left out", 30)
        (reason,) = lost_ranks(executor)
        assert "rank 1 on" in reason
        assert "Too many open files" in reason


@pytest.mark.row(23)
def test_a_rank_that_can_start_no_worker_is_left_out(mpi: str) -> None:
    command = mpiexec(2, rank_1="export PYTHONHOME=/nowhere")
    with PoolExecutor(2, ranks=2, launch_cmd=command) as executor:
        assert executor.submit(sample.double, 21).result(60) == 42
        assert list(executor._keeper.blocks) == ["0"]


@pytest.mark.row(23)
def test_with_fewer_ranks_than_min_ranks_the_block_ends_and_says_why(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(2, ranks=2, min_ranks=2) as executor:
        running = run_now(executor, 2, tmp_path / "go")
        kill_its_zygote(launcher_of(executor))
        errors = [f.exception(20) for f in running]
        assert {type(e) for e in errors} == {WorkerLost, ManagerLost}
        (told,) = [str(e) for e in errors if isinstance(e, ManagerLost)]
        assert "1 of 2 ranks are lost, and the block needs 2 (min_ranks)" in told
        assert executor.submit(sample.double, 21).result(60) == 42  # in a new one


@pytest.mark.row(23)
def test_with_parsl_a_lost_rank_is_told(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, ranks_per_node=2) as executor:
        eventually(lambda: executor.connected_workers == 2, "both ranks have a worker", 30)
        mine = {p.pid for p in ours() if p.title.startswith(os.environ["XSE_POOL"]) and str(tmp_path) in p.title}
        of_ranks = [p.pid for p in ours() if p.title == "xse-pool: zygote" and p.parent in mine]
        os.kill(of_ranks[1], signal.SIGKILL)
        eventually(lambda: executor.connected_workers == 1, "the rank is left out", 30)
        (told,) = executor.connected_managers()[0]["lost_ranks"]
        assert "the zygote, which holds Python and the workers, has died" in told
        (status,) = executor.status().values()
        assert "the block goes on without them" in (status.message or "")


@pytest.mark.row(23)
def test_doctor_reports_a_rank_that_has_failed(mpi: str) -> None:
    command = mpiexec(2, rank_1="export PYTHONHOME=/nowhere")
    lines = [line_of(fact) for fact in look(Wishes(launch_cmd=command))]
    (line,) = [line for line in lines if line.check == "a task"]
    assert line.level == Level.WARNING
    assert "1 ranks have failed, and the block went on without them: rank 1 on" in line.text


# ---- row 24: a rank does not start


@pytest.mark.row(24)
def test_a_rank_whose_python_does_not_come_up_is_left_out_before_start_timeout(mpi: str, tmp_path: Path) -> None:
    (tmp_path / "sitecustomize.py").write_text("import time\ntime.sleep(600)\n")
    command = mpiexec(2, rank_1=f"export PYTHONPATH={tmp_path}")
    with PoolExecutor(2, ranks=2, launch_cmd=command, start_timeout=12) as executor:
        assert executor.submit(sample.double, 21).result(60) == 42


@pytest.mark.row(24)
def test_a_rank_that_hangs_in_mpi_init_ends_with_sigterm(mpi: str, took: Took) -> None:
    """The other rank never gets there."""
    command = mpiexec(2, rank_1="sleep 60")
    with PoolExecutor(2, ranks=2, launch_cmd=command) as executor:
        future = executor.submit(sample.double, 21)
        eventually(lambda: "0" in executor._keeper.blocks, "its launcher runs", 30)
        eventually(lambda: bool(zygotes(launcher_of(executor))), "the rank has a zygote", 30)
        (rank,) = [p for p in ranks(launcher_of(executor)) if process(p.pid)]
        with took("it has ended"):
            os.kill(rank.pid, signal.SIGTERM)
            eventually(lambda: process(rank.pid) is None, "it has ended", 20)
        executor.shutdown(wait=False, cancel_futures=True)
        with pytest.raises((BrokenPool, CancelledError)):
            future.result(30)
