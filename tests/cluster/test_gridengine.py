"""ExtremeScaleExecutor under a real Grid Engine with Parsl's GridEngineProvider: two nodes a block, with both MPIs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import parsl
from parsl import python_app
from parsl.config import Config
from parsl.providers import GridEngineProvider

from tests.support import testbed
from tests.support.tasks import meet
from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor

WORKER_INIT = "export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_hwloc_base_binding_policy=none"


@contextmanager
def running(directory: Path, **arguments: object) -> Iterator[ExtremeScaleExecutor]:
    """Parsl asks for no parallel environment: what nodes_per_block says is said to qsub by scheduler_options."""
    executor = ExtremeScaleExecutor(
        workers_per_rank=1,
        provider=GridEngineProvider(
            nodes_per_block=2,
            scheduler_options="#$ -pe onepernode 2",
            init_blocks=1,
            max_blocks=1,
            walltime="00:10:00",
            worker_init=f"{WORKER_INIT} PATH={os.environ['PATH']}",
        ),
        **arguments,  # type: ignore[arg-type]
    )
    config = Config(executors=[executor], run_dir=str(directory), strategy_period=0.5, strategy="none")
    with parsl.load(config):
        yield executor


def all_connected(executor: ExtremeScaleExecutor) -> None:
    eventually(lambda: executor.connected_workers == 2, "the block works", 90, executor.connected_managers)


def test_a_block_runs_on_the_nodes_that_grid_engine_gave_it_and_its_job_ends_with_it(mpi: str, tmp_path: Path) -> None:
    with running(tmp_path) as executor:
        all_connected(executor)
        places = [f.result() for f in [python_app(meet)(tmp_path / "meeting", 2) for _ in range(2)]]
        print(testbed.run(["qstat", "-f"]))
    assert sorted(p.host for p in places) == testbed.nodes()
    eventually(lambda: testbed.run(["qstat"]) == "", "no job is left", 60, lambda: testbed.run(["qstat"]))


def test_a_job_that_is_deleted_is_noticed(mpi: str, tmp_path: Path) -> None:
    with running(tmp_path) as executor:
        all_connected(executor)
        (job,) = executor.blocks_to_job_id.values()
        testbed.run(["qdel", job])
        eventually(lambda: not executor.connected_managers(), "the loss is noticed", 30)


def test_a_launch_cmd_names_the_host_file_for_an_mpi_that_does_not_know_grid_engine(mpi: str, tmp_path: Path) -> None:
    """As Open MPI 5 does not. The guide to clusters has this line."""
    files = {"mpich": "-f {0} -n 2 -ppn 1", "openmpi": "--hostfile {0} -n 2 --map-by ppr:1:node"}
    hosts = f"{tmp_path}/hosts.$JOB_ID"
    line = f'awk "{{print \\$1}}" $PE_HOSTFILE > {hosts}; {{mpiexec}} {files[mpi].format(hosts)}'
    with running(tmp_path, launch_cmd=line + " {xse_pool} --connect {connect}") as executor:
        all_connected(executor)
