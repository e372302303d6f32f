"""A block that is lost (row 7)."""

from __future__ import annotations

import os
import shlex
import signal
from pathlib import Path

import pytest

from tests.support.waiting import eventually
from tests.unit import sample
from xse import PoolExecutor, launch


@pytest.mark.row(7)
def test_a_pool_whose_node_comes_back_goes_on(mpi: str, tmp_path: Path) -> None:
    """The first block works and is lost; the next two attempts fail; the third finds the node again."""
    script = tmp_path / "mpiexec"
    mpiexec = shlex.join(launch.launcher("auto", launch.find_pool(), launch.Layout(ranks_per_node=1)))
    lines = [
        "#!/bin/sh",
        f"echo >> {tmp_path}/starts",
        f"[ -e {tmp_path}/down ] && exit 255",
        f'exec {mpiexec} "$@"',
        "",
    ]
    script.write_text("\n".join(lines))
    script.chmod(0o755)
    with PoolExecutor(1, launch_cmd=str(script)) as executor:
        zygote = executor.submit(os.getppid).result(60)
        rank = int(Path(f"/proc/{zygote}/stat").read_text().rpartition(")")[2].split()[1])
        (tmp_path / "down").touch()
        os.kill(rank, signal.SIGKILL)
        eventually(lambda: (tmp_path / "starts").read_text().count("\n") >= 2, "another block was tried", 30)
        (tmp_path / "down").unlink()
        assert executor.submit(sample.double, 21).result(60) == 42
