"""The network between a block and its executor is cut: docs/guide/failure.md, rows 8 and 9."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.on_hosts import over_ssh
from tests.support.tasks import run_now
from tests.support.took import Took
from tests.support.waiting import eventually
from xse import ManagerLost, PoolExecutor


@pytest.mark.row(8)
def test_a_network_that_heals_in_time_costs_nothing(mpi: str, go: Path, took: Took) -> None:
    with PoolExecutor(
        1,
        launch_cmd=over_ssh(mpi, "node01"),
        address=testbed.LOGIN,
        heartbeat_period=1,
        heartbeat_threshold=30,
    ) as pool:
        (future,) = run_now(pool, 1, go)
        testbed.hosts("cut", "node01", "login")
        go.touch()  # the answer finds no way
        with pytest.raises(TimeoutError):
            future.result(3)
        with took("its result, when it has healed"):
            testbed.hosts("heal", "node01", "login")
            assert future.result(30).host == "node01"
        assert pool.submit(abs, -1).result(30) == 1


@pytest.mark.row(9)
def test_a_network_that_stays_cut_costs_the_block_and_its_pool_ends_itself(
    mpi: str, go: Path, all_nodes_up: None, took: Took
) -> None:
    with PoolExecutor(
        1,
        launch_cmd=over_ssh(mpi, "node01"),
        address=testbed.LOGIN,
        heartbeat_period=1,
        heartbeat_threshold=4,
    ) as pool:
        (future,) = run_now(pool, 1, go)
        with took("the pool has ended", beyond=("hb", 4)):
            with took("ManagerLost", beyond=("hb", 4)):
                testbed.hosts("cut", "node01", "login")
                go.touch()  # the answer finds no way
                with pytest.raises(ManagerLost, match="heartbeat"):
                    future.result(15)
            eventually(
                lambda: not [t for t in testbed.processes_on("node01") if "xse-pool" in t],
                "the pool has ended itself",
                15,
                lambda: testbed.processes_on("node01"),
            )
        testbed.hosts("heal", "node01", "login")
        assert pool.submit(abs, -1).result(60) == 1
        with pytest.raises(ManagerLost):
            future.result(0)
