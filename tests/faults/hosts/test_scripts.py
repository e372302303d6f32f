"""Row 11: a script is killed, and its ranks are on other hosts."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.on_hosts import over_ssh
from tests.support.took import Took
from tests.support.waiting import eventually

SCRIPT = """
    import subprocess, sys, time
    from xse import PoolExecutor
    launch_cmd, address, run_dir = sys.argv[1:]
    pool = PoolExecutor(2, ranks=2, launch_cmd=launch_cmd, address=address, run_dir=run_dir)
    running = [pool.submit(subprocess.run, ["sleep", "100"]) for _ in range(2)]
    time.sleep(100)
    """


@pytest.mark.row(11)
def test_a_script_that_is_killed_leaves_nothing_on_any_node(mpi: str, tmp_path: Path, took: Took) -> None:
    nodes = ("node01", "node02")
    before = {node: testbed.pids_on(node) for node in nodes}

    def left() -> dict[str, set[int]]:
        now = {node: testbed.pids_on(node) - before[node] for node in nodes}
        return {node: pids for node, pids in now.items() if pids}

    def all_sleep() -> bool:
        return all("sleep 100\n" in testbed.hosts("exec", node, "ps", "-eo", "args") for node in nodes)

    path = tmp_path / "script.py"
    path.write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, str(path), over_ssh(mpi, ",".join(nodes)), testbed.LOGIN, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as script:
        eventually(all_sleep, "a child of a task runs on each node", 60)
        with took("nothing is left on any node"):
            script.kill()
            eventually(lambda: not left(), "nothing is left", 10, left)
