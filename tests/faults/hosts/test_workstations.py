"""Four workstations with ssh between them, and no scheduler: PoolExecutor(hosts=[...]) alone. Rows 7 and 12."""

from __future__ import annotations

import logging
import os
import time
from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.waiting import eventually
from xse import BrokenPool, ManagerLost, PoolExecutor
from xse.pool import block_keeper, hosts

NODES = ["node01", "node02", "node03", "node04"]


def where() -> str:
    time.sleep(0.05)  # so that each worker gets some
    return os.uname().nodename


def seen(pool: PoolExecutor) -> set[str]:
    """Hosts that answer tasks. Tasks of a block that is just being lost do not count."""
    futures = [pool.submit(where) for _ in range(16)]
    return {f.result(60) for f in futures if not isinstance(f.exception(60), ManagerLost)}


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """A host that is away is noticed, and noticed to be back, within a second or two."""
    monkeypatch.setattr(block_keeper, "LOOK_S", 2.0)
    monkeypatch.setattr(hosts, "LOOK_AGAIN_S", 1.0)
    monkeypatch.setattr(hosts, "MOST_LOOK_AGAIN_S", 1.0)


@pytest.mark.row(12)
def test_four_workstations_are_one_argument(mpi: str, tmp_path: Path) -> None:
    file = tmp_path / "hosts"
    file.write_text("".join(f"{node} slots=2\n" for node in NODES))
    for named in (NODES, str(file)):
        with PoolExecutor(8, hosts=named) as pool:
            assert seen(pool) == set(NODES)


@pytest.mark.row(12)
def test_a_host_that_is_down_is_left_out_and_taken_in_when_it_is_up(
    mpi: str, all_nodes_up: None, caplog: pytest.LogCaptureFixture
) -> None:
    testbed.hosts("kill", "node03")
    with PoolExecutor(8, hosts=NODES) as pool:
        assert seen(pool) == set(NODES) - {"node03"}
        (left_out,) = (r.getMessage() for r in caplog.records if "hosts_left_out" in r.getMessage())
        assert "hosts=node03 reason=" in left_out
        testbed.hosts("boot", "node03")
        eventually(lambda: seen(pool) == set(NODES), "the host is taken in", 60)


@pytest.mark.row(7)
def test_a_pool_goes_on_with_the_other_hosts_when_one_is_lost_and_stays_down(
    mpi: str, all_nodes_up: None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    with PoolExecutor(8, hosts=NODES, heartbeat_period=1, heartbeat_threshold=4) as pool:
        assert seen(pool) == set(NODES)
        testbed.hosts("kill", "node02")
        eventually(lambda: seen(pool) == set(NODES) - {"node02"}, "the others go on", 60)
        testbed.hosts("boot", "node02")
        eventually(lambda: seen(pool) == set(NODES), "the host is taken in", 60)


@pytest.mark.row(12)
def test_a_pool_none_of_whose_hosts_is_up_is_told_so(mpi: str, all_nodes_up: None) -> None:
    for node in ("node01", "node02"):
        testbed.hosts("kill", node)
    with PoolExecutor(2, hosts=["node01", "node02"]) as pool, pytest.raises(BrokenPool, match=r"node02: \S"):
        pool.submit(abs, 1).result(60)
