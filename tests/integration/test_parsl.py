"""ExtremeScaleExecutor in real Parsl scripts, with both MPIs."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl import python_app
from parsl.config import Config
from parsl.executors.high_throughput.manager_selector import BlockIdManagerSelector
from parsl.launchers import SimpleLauncher, SrunLauncher
from parsl.providers import LocalProvider, SlurmProvider

from tests.support.tasks import n_waiting, wait_for
from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor, launch

WORKFLOW = Path(__file__).with_name("parsl_workflow.py")


def run_workflow(executor: str, directory: Path, n_noops: int) -> dict[str, Any]:
    directory.mkdir()
    command = [sys.executable, str(WORKFLOW), executor, str(directory), str(n_noops)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    answers: dict[str, Any] = json.loads(done.stdout)
    return answers


@pytest.fixture(scope="session")
def what_htex_answers(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    return run_workflow("HighThroughputExecutor", tmp_path_factory.mktemp("htex") / "run", 500)


def test_one_script_has_the_same_answers_with_htex_and_with_us(
    mpi: str, what_htex_answers: dict[str, Any], tmp_path: Path
) -> None:
    ours = run_workflow("ExtremeScaleExecutor", tmp_path / "run", 50_000)
    assert ours == what_htex_answers
    assert ours["raised"] == ["LookupError", ["deep down"], True, True]
    assert ours["noops"]


@pytest.fixture
def load(tmp_path: Path) -> Iterator[Any]:
    """Load a configuration with this executor, and clean up after the test."""

    def load_it(executor: Any, **settings: Any) -> Any:
        config = Config(
            executors=[executor],
            strategy_period=0.1,
            run_dir=str(tmp_path / "runinfo"),
            initialize_logging=False,
            **settings,
        )
        return parsl.load(config)

    yield load_it
    parsl.dfk().cleanup()
    parsl.clear()


def local(n_blocks: int = 1, **settings: Any) -> ExtremeScaleExecutor:
    provider = LocalProvider(launcher=SimpleLauncher(), init_blocks=n_blocks, max_blocks=n_blocks)
    return ExtremeScaleExecutor(provider=provider, **settings)


@python_app
def where() -> Any:
    import os

    return os.environ["PARSL_WORKER_BLOCK_ID"], os.environ["PARSL_WORKER_RANK"], os.getpid()


def test_two_blocks_at_once(mpi: str, load: Any, tmp_path: Path) -> None:
    executor = local(2, max_workers_per_node=2)
    load(executor)
    futures = [python_app(wait_for)(tmp_path / "go") for _ in range(4)]
    eventually(lambda: n_waiting(tmp_path / "go") == 4, "four workers of two blocks run at once")
    (tmp_path / "go").touch()
    assert sorted(f.result().block for f in futures) == ["0", "0", "1", "1"]
    assert sorted(executor.connected_blocks()) == ["0", "1"]
    assert executor.connected_workers == 4
    assert executor.workers_per_node == 2


@pytest.mark.parametrize(("ranks", "workers"), [(1, 2), (2, 2), (4, 1)])
def test_ranks_and_workers_are_as_many_as_asked_for(mpi: str, load: Any, ranks: int, workers: int) -> None:
    executor = local(ranks_per_node=ranks, workers_per_rank=workers)
    load(executor)
    assert len({where().result()[0] for _ in range(10)}) == 1
    eventually(lambda: executor.connected_workers == ranks * workers, "all workers are there")
    (manager,) = executor.connected_managers()
    assert manager["ranks"] == ranks
    assert manager["hosts"] == [os.uname().nodename]


def test_a_worker_is_replaced_after_max_tasks_per_worker(mpi: str, tmp_path: Path) -> None:
    @python_app
    def pid(i: int) -> int:
        import os

        return os.getpid()

    executor = ExtremeScaleExecutor(workers_per_rank=1, max_tasks_per_worker=3)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path), strategy_period=0.1)):
        pids = [future.result() for future in [pid(i) for i in range(9)]]
    assert [pids.count(p) for p in dict.fromkeys(pids)] == [3, 3, 3]


def test_the_block_id_selector_fills_the_highest_block_first(mpi: str, tmp_path: Path) -> None:
    @python_app
    def block() -> str:
        import os

        return os.environ["PARSL_WORKER_BLOCK_ID"]

    provider = LocalProvider(init_blocks=2, max_blocks=2, launcher=SimpleLauncher())
    executor = ExtremeScaleExecutor(workers_per_rank=1, provider=provider, manager_selector=BlockIdManagerSelector())
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path), strategy_period=0.1)):
        eventually(lambda: executor.connected_workers == 2, "both blocks work")
        assert [block().result() for _ in range(10)] == ["1"] * 10


def test_a_launcher_that_would_start_the_block_several_times_is_replaced(mpi: str, tmp_path: Path) -> None:
    provider = LocalProvider(nodes_per_block=2)  # with SingleNodeLauncher, which runs a command twice then
    executor = ExtremeScaleExecutor(workers_per_rank=1, provider=provider, launch_cmd=None)
    executor.run_dir = str(tmp_path)
    executor.provider.script_dir = str(tmp_path)
    executor.start()
    executor.shutdown()
    assert isinstance(provider.launcher, SimpleLauncher)
    slurm = SlurmProvider(launcher=SrunLauncher())
    executor = ExtremeScaleExecutor(provider=slurm)
    executor._use_a_launcher_that_runs_once()
    assert isinstance(slurm.launcher, SimpleLauncher)
    assert executor.mpi_launcher == "srun"


OLD_EXAMPLE = (  # Parsl 1.2.0's documentation, to the letter
    "mpiexec -np {ranks_per_node} mpi_worker_pool.py {debug} --task_url={task_url} --result_url={result_url}"
)


@pytest.mark.parametrize(
    "command",
    [
        OLD_EXAMPLE,
        "N=${XSE_UNSET:-2}; mpiexec -n $N {xse_pool} --connect {connect}",
        "mpiexec -n 2 mpi_worker_pool.py -d -l {logdir} -t {task_url} -r {result_url} --hb_period={heartbeat_period} "
        "--hb_threshold={heartbeat_threshold}",
    ],
    ids=["old_example", "shell", "all_old_options"],
)
def test_a_launch_command_of_the_users_own_works(
    mpi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    (tmp_path / "bin").mkdir()
    mpiexec = tmp_path / "bin" / "mpiexec"  # no link: MPICH looks for its helpers beside it
    mpiexec.write_text(f'#!/bin/sh\nexec {launch.find_mpiexec(launch.find_pool())} "$@"\n')
    mpiexec.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:{Path(sys.executable).parent}:{os.environ['PATH']}")
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM", "OMPI_MCA_rmaps_base_oversubscribe"):
        monkeypatch.setenv(name, "1")
    executor = ExtremeScaleExecutor(launch_cmd=command, ranks_per_node=2, workers_per_rank=1, worker_debug=True)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy_period=0.1)):
        assert python_app(abs)(-5).result(timeout=30) == 5
        eventually(lambda: executor.connected_workers == 2, "both ranks work")
        (manager,) = executor.connected_managers()
        assert (manager["block_id"], manager["ranks"]) == ("0", 2)


def test_pools_may_be_started_by_hand_under_parsl(mpi: str, tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor(managed=False, workers_per_rank=1)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path), strategy_period=0.1)) as dfk:
        future = python_app(abs)(-5)
        log = Path(dfk.run_dir) / "parsl.log"
        (line,) = [x for x in log.read_text().splitlines() if "start blocks with: " in x]
        with subprocess.Popen(line.partition("start blocks with: ")[2], shell=True, stdin=subprocess.DEVNULL) as pool:
            assert future.result(timeout=20) == 5
            executor.shutdown()
            assert pool.wait(20) == 0


@pytest.mark.parametrize("tasks", [20])
def test_tasks_of_a_lower_priority_number_run_first(mpi: str, tmp_path: Path, tasks: int) -> None:
    @python_app
    def note(path: str, number: int, parsl_resource_specification: dict[str, int]) -> None:
        with open(path, "a") as file:
            file.write(f"{number}\n")

    executor = ExtremeScaleExecutor(workers_per_rank=1, prefetch_capacity=0)
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path), strategy_period=0.1)):
        first = python_app(wait_for)(tmp_path / "go")
        eventually(lambda: sum(m["tasks"] for m in executor.connected_managers()) == 1, "the worker has a task")
        numbers = [(7 * i) % tasks for i in range(tasks)]
        futures = [note(str(tmp_path / "order"), n, parsl_resource_specification={"priority": n}) for n in numbers]
        eventually(lambda: executor.outstanding() == tasks + 1, "all are submitted")
        (tmp_path / "go").touch()
        for future in [first, *futures]:
            future.result()
    assert (tmp_path / "order").read_text().split() == [str(n) for n in range(tasks)]
