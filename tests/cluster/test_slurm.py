"""ExtremeScaleExecutor under a real Slurm with four nodes, with both MPIs and both launchers."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import parsl
import psutil
import pytest
from parsl import python_app
from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import SlurmProvider

from tests.conftest import pools
from tests.support import testbed
from tests.support.tasks import exit_now, meet, place, wait_for
from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor, ManagerLost, WorkerLost, launch

WORKER_INIT = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none"


@contextmanager
def running(
    directory: Path,
    launcher: str,
    *,
    blocks: int = 2,
    retries: int = 2,
    walltime: str = "00:10:00",
    **arguments: object,
) -> Iterator[ExtremeScaleExecutor]:
    """Two nodes a block, one worker a node."""
    if launcher == "srun":  # Debian's Slurm has no default for it
        kind = "pmix" if launch.flavour_of(launch.find_pool().mpi) == "openmpi" else "pmi2"
        arguments = {"mpi_launcher_args": f"--mpi={kind}", **arguments}
    executor = ExtremeScaleExecutor(
        mpi_launcher=launcher,
        heartbeat_period=1,
        heartbeat_threshold=5,
        provider=SlurmProvider(
            partition="debug",
            nodes_per_block=2,
            init_blocks=blocks,
            max_blocks=2,
            walltime=walltime,
            exclusive=True,
            launcher=SimpleLauncher(),
            worker_init=WORKER_INIT,
        ),
        **{"workers_per_rank": 1, **arguments},  # type: ignore[arg-type]
    )
    config = Config(executors=[executor], run_dir=str(directory), strategy_period=0.5, retries=retries, strategy="none")
    with parsl.load(config):
        yield executor


def all_connected(executor: ExtremeScaleExecutor, blocks: int) -> None:
    eventually(
        lambda: executor.connected_workers == 2 * blocks, f"{blocks} blocks work", 60, executor.connected_managers
    )


@python_app
def work(i: int, seconds: float) -> int:
    import time

    time.sleep(seconds)
    return i


def nodes_of(job: str) -> list[str]:
    """As Slurm has allocated them."""
    return testbed.run(
        ["scontrol", "show", "hostnames", testbed.run(["squeue", "-h", "-j", job, "-o", "%N"]).strip()]
    ).split()


@pytest.mark.parametrize("launcher", ["srun", "mpiexec"])
def test_two_blocks_run_on_their_nodes_with_one_connection_each(mpi: str, tmp_path: Path, launcher: str) -> None:
    with running(tmp_path, launcher) as executor:
        all_connected(executor, 2)
        places = [f.result() for f in [python_app(meet)(tmp_path / "meeting", 4) for _ in range(4)]]
        hosts = [m["hosts"] for m in executor.connected_managers()]
        allocated = [nodes_of(job) for job in executor.blocks_to_job_id.values()]
        (port,) = executor._ports
        connections = [
            c for c in psutil.net_connections("tcp") if c.laddr.port == port and c.status == psutil.CONN_ESTABLISHED
        ]
    assert sorted(p.host for p in places) == ["node01", "node02", "node03", "node04"]
    assert sorted(map(sorted, hosts)) == sorted(allocated)
    assert len(connections) == 2
    assert len({c.raddr.ip for c in connections}) == 2


def test_each_worker_knows_its_place_on_its_node_and_so_does_one_that_replaces_it(mpi: str, tmp_path: Path) -> None:
    settings = {"workers_per_rank": 2, "available_accelerators": 2, "cpu_affinity": "block"}
    with running(tmp_path, "srun", blocks=1, retries=0, **settings) as executor:
        all_connected(executor, 2)  # four workers
        before = [f.result() for f in [python_app(place)(tmp_path / "before", 4) for _ in range(4)]]
        for _ in range(4):
            assert isinstance(python_app(exit_now)().exception(), WorkerLost)
        all_connected(executor, 2)
        after = [f.result() for f in [python_app(place)(tmp_path / "after", 4) for _ in range(4)]]
        (manager,) = executor.connected_managers()
    nodes = sorted(manager["hosts"])
    for found in (before, after):
        reported = sorted((p["host"], p["RANK"], p["COUNT"], p["CUDA_VISIBLE_DEVICES"], p["BLOCK_ID"]) for p in found)
        assert reported == [(node, str(i), "2", str(i), "0") for node in nodes for i in range(2)]
        for node in nodes:
            cores = [set(p["cores"]) for p in found if p["host"] == node]
            assert cores[0].isdisjoint(cores[1])


def test_blocks_are_scaled_out_and_the_idle_one_is_scaled_in(mpi: str, tmp_path: Path, go: Path) -> None:
    with running(tmp_path, "srun", blocks=1) as executor:
        all_connected(executor, 1)
        executor.scale_out(1)
        all_connected(executor, 2)
        (busy,) = {m["block_id"] for m in executor.connected_managers() if m["tasks"] > 0} or {None}
        assert busy is None
        task = python_app(wait_for)(go)
        eventually(lambda: [m for m in executor.connected_managers() if m["tasks"]], "it runs")
        (busy,) = {m["block_id"] for m in executor.connected_managers() if m["tasks"] > 0}
        (ended,) = executor.scale_in(1)
        assert ended != busy
        go.touch()
        assert task.result().block == busy
        eventually(lambda: len(executor.connected_managers()) == 1, "one block is left")


def scancel(executor: ExtremeScaleExecutor, block: str) -> None:
    testbed.run(["scancel", executor.blocks_to_job_id[block]])


def crash(executor: ExtremeScaleExecutor, block: str) -> None:
    testbed.hosts("crash", next(m["hosts"][1] for m in executor.connected_managers() if m["block_id"] == block))


def requeue(executor: ExtremeScaleExecutor, block: str) -> None:
    testbed.run(["scontrol", "requeue", executor.blocks_to_job_id[block]])


@pytest.mark.parametrize("fault", [scancel, crash, requeue])
def test_a_lost_block_costs_no_answer_with_retries(
    mpi: str, tmp_path: Path, all_nodes_up: None, fault: Callable[[ExtremeScaleExecutor, str], None]
) -> None:
    with running(tmp_path, "srun") as executor:
        all_connected(executor, 2)
        futures = [work(i, 0.02) for i in range(500)]
        eventually(lambda: sum(f.done() for f in futures) >= 50, "work is under way")
        fault(executor, "1")
        start = time.monotonic()
        eventually(lambda: "1" not in {m["block_id"] for m in executor.connected_managers()}, "the loss is noticed", 30)
        noticed = time.monotonic() - start
        assert sorted(f.result() for f in futures) == list(range(500))
        done = time.monotonic() - start
        retried = Counter(f.task_record["fail_count"] for f in futures)
        print(
            f"{fault.__name__}: noticed after {noticed:.1f} s, all answers after {done:.1f} s, retries {dict(retried)}"
        )
        if fault is requeue:
            eventually(lambda: executor.connected_workers == 4, "the requeued block is back", 60)


def test_a_block_whose_time_is_up_costs_no_answer_with_retries(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, all_nodes_up: None
) -> None:
    """Slurm counts in minutes and ends it after 60 to 85 s: once, with one MPI, is enough."""
    monkeypatch.setenv("XSE_POOL", next(iter(pools().values())))
    with running(tmp_path, "srun") as executor:
        all_connected(executor, 2)
        testbed.run(["scontrol", "update", f"jobid={executor.blocks_to_job_id['1']}", "timelimit=1"])
        futures = [work(i, 0.8) for i in range(500)]
        eventually(lambda: len(executor.connected_managers()) == 1, "the block's time is up", 110)
        assert not all(f.done() for f in futures)
        executor.scale_out(1)
        assert sorted(f.result() for f in futures) == list(range(500))


def test_without_retries_what_a_lost_block_had_fails_with_manager_lost(mpi: str, tmp_path: Path, go: Path) -> None:
    with running(tmp_path, "srun", retries=0) as executor:
        all_connected(executor, 2)
        futures = [python_app(wait_for)(go) for _ in range(4)]
        eventually(lambda: sum(m["tasks"] for m in executor.connected_managers()) == 4, "each worker has a task")
        scancel(executor, "1")
        eventually(lambda: sum(f.done() for f in futures) == 2, "the block's tasks are answered", 30)
        go.touch()
        failures = [f.exception() for f in futures if f.exception()]
        assert [type(e).__mro__[1] for e in failures] == [ManagerLost] * 2
        assert all("block 1" in str(e) for e in failures)
