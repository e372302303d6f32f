"""A node of a block is lost: docs/guide/failure.md, row 7."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.executors import started
from tests.support.on_hosts import over_ssh
from tests.support.tasks import n_waiting, run_now, wait_for
from tests.support.took import Took
from tests.support.waiting import eventually
from xse import ManagerLost, PoolExecutor

pytestmark = pytest.mark.row(7)


def left_on(node: str) -> list[str]:
    """Of the first block's own processes."""
    return [title for title in testbed.processes_on(node) if "block-0.connect" in title]


TOLD = {
    "kill": ("of a node that is killed", ("", 0)),
    "crash": ("of a node without power", ("hb", 4)),
}


@pytest.mark.parametrize("fault", TOLD)
def test_a_node_that_is_lost_costs_what_its_block_had_and_its_other_node_is_left_clean(
    mpi: str, tmp_path: Path, all_nodes_up: None, go: Path, fault: str, took: Took
) -> None:
    """kill: its connections close. crash: it loses power, and nothing is heard of it any more."""
    launch_cmd = f"{over_ssh(mpi, 'node01,node02')} {{xse_pool}} --connect {{connect}}"
    with started(tmp_path, launch_cmd=launch_cmd, heartbeat_period=1, heartbeat_threshold=4) as executor:
        eventually(lambda: executor.connected_workers == 2, "both nodes work")
        running = [executor.submit(wait_for, {}, go) for _ in range(2)]
        eventually(lambda: n_waiting(go) == 2, "both run one")
        what, beyond = TOLD[fault]
        with took(what, beyond=beyond):
            testbed.hosts(fault, "node01")
            for future in running:
                with pytest.raises(ManagerLost, match="node01"):
                    future.result(30)
        with took("then until its other node is clean"):
            eventually(lambda: not left_on("node02"), "the other rank has ended", 20, lambda: left_on("node02"))


@pytest.mark.parametrize("fault", TOLD)
def test_a_pool_goes_on_in_a_new_block_when_its_lost_node_is_back(
    mpi: str, all_nodes_up: None, go: Path, fault: str
) -> None:
    """It tries for some seconds, so the node is back at once."""
    with PoolExecutor(
        2,
        ranks=2,
        launch_cmd=over_ssh(mpi, "node01,node02"),
        address=testbed.LOGIN,
        heartbeat_period=1,
        heartbeat_threshold=4,
        start_timeout=10,  # MPICH's mpiexec waits for ever for a node that refuses its ssh
    ) as pool:
        running = run_now(pool, 2, go)
        waiting = pool.submit(abs, -1)
        testbed.hosts(fault, "node01")
        for future in running:
            with pytest.raises(ManagerLost, match="node01"):
                future.result(30)
        testbed.hosts("boot", "node01")
        assert waiting.exception(60) is None or isinstance(waiting.exception(), ManagerLost)
        assert pool.submit(abs, -2).result(60) == 2, "a new block runs what comes then"


def test_a_rank_that_has_drained_ends_when_the_node_of_its_manager_is_lost(
    mpi: str, tmp_path: Path, all_nodes_up: None, took: Took
) -> None:
    """It waits for those that still work, it may be for hours; only their manager, on the lost node, ends the wait."""
    launch_cmd = f"{over_ssh(mpi, 'node01,node02')} {{xse_pool}} --connect {{connect}}"
    heartbeats = {"heartbeat_period": 1, "heartbeat_threshold": 4}
    with started(tmp_path, drain_period=5, launch_cmd=launch_cmd, **heartbeats) as executor:
        eventually(lambda: executor.connected_workers == 2, "both nodes work")
        gos = [tmp_path / "one", tmp_path / "other"]
        futures = {go: executor.submit(wait_for, {}, go) for go in gos}
        eventually(lambda: all(n_waiting(go) for go in gos), "both nodes run one")
        eventually(lambda: executor.connected_managers()[0]["draining"], "they drain")
        on_node02 = next(go for go in gos if list(go.with_suffix(".waiting").glob("node02-*")))
        on_node02.touch()
        assert futures.pop(on_node02).result(20).host == "node02"
        eventually(lambda: "xse-pool: zygote" not in testbed.processes_on("node02"), "that rank has drained", 20)
        assert left_on("node02"), "its rank waits"
        (lost,) = futures.values()
        with took("a drained rank has ended", beyond=("hb", 4)):
            testbed.hosts("crash", "node01")
            with pytest.raises(ManagerLost, match="heartbeat"):
                lost.result(30)
            eventually(lambda: not left_on("node02"), "it has ended", 20, lambda: left_on("node02"))
