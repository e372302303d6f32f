"""A node of a block is lost: docs/failure.md, row 7."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.on_hosts import over_ssh
from tests.support.tasks import n_waiting, wait_for
from tests.support.waiting import eventually
from xse import ManagerLost, PoolExecutor


@pytest.mark.parametrize("fault", ["kill", "crash"])
def test_a_node_that_is_lost_costs_what_its_block_had_and_no_more(
    mpi: str, all_nodes_up: None, go: Path, fault: str
) -> None:
    """kill: its connections close. crash: it loses power, and nothing is heard of it any more."""
    with PoolExecutor(
        2,
        ranks=2,
        launch_cmd=over_ssh(mpi, "node01,node02"),
        address=testbed.LOGIN,
        heartbeat_period=1,
        heartbeat_threshold=4,
        start_timeout=10,  # MPICH's mpiexec waits for ever for a node that refuses its ssh
    ) as pool:
        running = [pool.submit(wait_for, go) for _ in range(2)]
        eventually(lambda: n_waiting(go) == 2, "both run", 60)
        waiting = pool.submit(abs, -1)
        testbed.hosts(fault, "node01")
        for future in running:
            with pytest.raises(ManagerLost, match="node01"):
                future.result(30)
        testbed.hosts("boot", "node01")
        assert waiting.exception(60) is None or isinstance(waiting.exception(), ManagerLost)
        assert pool.submit(abs, -2).result(60) == 2, "a new block runs what comes then"
