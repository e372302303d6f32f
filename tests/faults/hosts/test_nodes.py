"""A node of a block is lost: docs/failure.md, row 7."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.on_hosts import over_ssh
from tests.support.tasks import run_now
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
def test_a_node_that_is_lost_costs_what_its_block_had_and_no_more(
    mpi: str, all_nodes_up: None, go: Path, fault: str, took: Took
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
        running = run_now(pool, 2, go)
        waiting = pool.submit(abs, -1)
        what, beyond = TOLD[fault]
        with took(what, beyond=beyond):
            testbed.hosts(fault, "node01")
            for future in running:
                with pytest.raises(ManagerLost, match="node01"):
                    future.result(30)
        with took("then until its other node is clean"):
            eventually(lambda: not left_on("node02"), "the other rank has ended", 20, lambda: left_on("node02"))
        testbed.hosts("boot", "node01")
        assert waiting.exception(60) is None or isinstance(waiting.exception(), ManagerLost)
        assert pool.submit(abs, -2).result(60) == 2, "a new block runs what comes then"
