"""Row 13: what a scheduler does to a block at the end of its time, or of a node; and a block that ends before."""

from __future__ import annotations

import shlex
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from parsl import python_app

from tests.support import testbed
from tests.support.executors import loaded, started
from tests.support.on_hosts import over_ssh
from tests.support.tasks import n_waiting, wait_for
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ManagerLost

pytestmark = pytest.mark.row(13)

FIRST, SECOND = ("node01", "node02"), ("node03", "node04")  # nodes of block 0, and of block 1
THRESHOLD = 4
KILL_WAIT_S = 5  # between the two signals of a scheduler


def on_its_nodes(mpi: str) -> str:
    """A launch command whose mpiexec runs on the first node of the block, as in the script of a job."""
    begins = [
        shlex.join([str(testbed.HERE / "hosts.sh"), "exec", nodes[0], *shlex.split(over_ssh(mpi, ",".join(nodes)))])
        for nodes in (FIRST, SECOND)
    ]
    rest = "{xse_pool} --connect {connect}"
    return f"if [ {{block_id}} = 0 ]; then {begins[0]} {rest}; else {begins[1]} {rest}; fi"


class Job:
    """Block 0's: whatever runs on its nodes and did not before."""

    def __init__(self) -> None:
        self._before = {node: testbed.pids_on(node) for node in FIRST}

    def processes(self) -> dict[str, set[int]]:
        now = {node: testbed.pids_on(node) - before for node, before in self._before.items()}
        return {node: pids for node, pids in now.items() if pids}

    def signal(self, number: int) -> None:
        for node, pids in self.processes().items():
            testbed.signal_on(node, number, pids)


@pytest.fixture
def job(all_nodes_up: None) -> Job:
    return Job()


def its_time_is_up(job: Job) -> None:
    job.signal(signal.SIGTERM)


def it_is_killed(job: Job) -> None:
    job.signal(signal.SIGKILL)


def a_node_goes_down(job: Job) -> None:
    del job
    testbed.hosts("crash", FIRST[1])


@pytest.mark.parametrize(
    ("end", "what", "beyond"),
    [
        (its_time_is_up, "ManagerLost after SIGTERM", ("", 0)),
        (it_is_killed, "after SIGKILL", ("", 0)),
        (a_node_goes_down, "of a node that goes down", ("hb", THRESHOLD)),
    ],
)
def test_a_job_that_its_scheduler_ends_costs_what_it_ran_and_that_runs_again_in_another(
    mpi: str,
    tmp_path: Path,
    go: Path,
    job: Job,
    end: Callable[[Job], None],
    what: str,
    beyond: tuple[str, float],
    took: Took,
) -> None:
    seen: list[BaseException] = []

    def handler(error: BaseException, task_record: Any) -> float:
        seen.append(error)
        return 1.0

    settings = {"retries": 1, "retry_handler": handler, "strategy": "none"}
    heartbeats = {"heartbeat_period": 1, "heartbeat_threshold": THRESHOLD}
    with loaded(tmp_path, 2, settings=settings, launch_cmd=on_its_nodes(mpi), **heartbeats) as executor:
        running = [python_app(wait_for)(go) for _ in range(4)]
        eventually(lambda: n_waiting(go) == 4, "all workers of both blocks run one", 60, executor.connected_managers)
        waiting = [python_app(sample.double)(i) for i in range(20)]
        with took(what, beyond=beyond):
            end(job)
            eventually(lambda: len(seen) == 2, "the tasks that the block ran are answered", 30, lambda: seen)
        assert all(isinstance(error, ManagerLost) and error.block == "0" for error in seen)
        go.touch()
        assert {future.result().host for future in running} == set(SECOND)
        assert [future.result() for future in waiting] == [2 * i for i in range(20)]
        if end is its_time_is_up:
            with suppress(AssertionError):
                eventually(lambda: not job.processes(), "all of the job has ended", KILL_WAIT_S)
        job.signal(signal.SIGKILL)


def test_a_block_that_drains_before_its_time_is_up_loses_nothing(mpi: str, tmp_path: Path, go: Path, job: Job) -> None:
    """Its nodes work and hold more when it begins to drain; nothing of it is left when its scheduler comes."""
    with started(tmp_path, drain_period=5, launch_cmd=on_its_nodes(mpi)) as executor:
        eventually(lambda: executor.connected_workers == 2, "both nodes work")
        for future in [executor.submit(sample.double, {}, i) for i in range(200)]:  # so that they are known to be short
            future.result(20)
        running = [executor.submit(wait_for, {}, go) for _ in range(2)]
        waiting = [executor.submit(sample.double, {}, i) for i in range(200)]
        eventually(lambda: executor.connected_managers()[0]["draining"], "it drains")
        go.touch()
        assert {future.result(20).host for future in running} == set(FIRST)
        eventually(lambda: not job.processes(), "nothing of it is left", 30, job.processes)
        executor.scale_out(1)
        assert [future.result(60) for future in waiting] == [2 * i for i in range(200)]
