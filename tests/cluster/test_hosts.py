"""Several hosts without a scheduler: mpiexec over ssh, and blocks started by hand."""

from __future__ import annotations

import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.on_hosts import over_ssh
from tests.support.tasks import meet
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ExtremeScaleExecutor, PoolExecutor, launch


def test_a_pool_executor_over_ssh_uses_all_hosts(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(4, ranks=2, launch_cmd=over_ssh(mpi, "node01,node02"), address=testbed.LOGIN) as pool:
        futures = [pool.submit(meet, tmp_path / "meeting", 4) for _ in range(4)]
        assert sorted(f.result().host for f in futures) == ["node01", "node01", "node02", "node02"]


@pytest.mark.parametrize("node_name", ["login", "node03"])
def test_a_pool_started_by_hand_on_another_host_works(mpi: str, tmp_path: Path, node_name: str) -> None:
    executor = ExtremeScaleExecutor(managed=False, workers_per_rank=2)
    executor.run_dir = str(tmp_path)
    executor.start()
    try:
        connect = tmp_path / "ExtremeScaleExecutor" / "blocks" / "pool.connect"
        line = [*shlex.split(over_ssh(mpi, "localhost")), launch.find_pool().path, "--connect", str(connect)]
        command = [str(testbed.HERE / "hosts.sh"), "exec", node_name, *line]
        with subprocess.Popen(command, stdin=subprocess.DEVNULL) as pool:
            eventually(lambda: executor.connected_workers == 2, "the pool is connected")
            (manager,) = executor.connected_managers()
            assert manager["hosts"] == [node_name]
            assert executor.submit(sample.double, {}, 21).result(20) == 42
            executor.shutdown()
            assert pool.wait(20) == 0
    finally:
        executor.shutdown()
