"""Row 12: a user tries the line that is to start blocks on other hosts, before a script does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.on_hosts import over_ssh

pytestmark = pytest.mark.row(12)

NODES = "node01,node02"


def doctor(*options: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("xse")), "doctor", *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=100)


def test_doctor_has_a_pool_on_other_hosts_answer_a_task(mpi: str, tmp_path: Path) -> None:
    done = doctor("--launch-cmd", over_ssh(mpi, NODES), "--address", testbed.LOGIN, "--run-dir", str(tmp_path))
    assert done.returncode == 0, done.stdout + done.stderr
    (task,) = (line for line in done.stdout.splitlines() if line.startswith("ok       a task"))
    assert any(f"was answered on {node} in" in task for node in NODES.split(","))
    assert task.endswith(f"its block connected by encrypted TCP at {testbed.LOGIN}")


def test_doctor_tells_why_a_pool_on_other_hosts_cannot_come_without_an_address(mpi: str) -> None:
    done = doctor("--launch-cmd", over_ssh(mpi, NODES))
    assert done.returncode == 1
    (wrong,) = (line for line in done.stdout.splitlines() if line.startswith("wrong"))
    assert "cannot read the connect file" in wrong
    assert "every host of the block must see it" in wrong
