"""Rows 11 and 22: each way in which a script can end, once. ``scripts/soak --cycles 1000`` does more."""

from __future__ import annotations

import subprocess
import sys

import pytest

from scripts.soaks.cycles import EXECUTORS, WAYS
from tests.support.pools import ROOT


@pytest.mark.row(11)
@pytest.mark.row(22)
def test_a_script_that_ends_leaves_nothing_however_it_ends(mpi: str) -> None:
    """No process, zombie, socket, scratch directory or shared memory."""
    n = len(WAYS) * len(set(EXECUTORS))
    command = [sys.executable, "-m", "scripts.soaks", "--cycles", str(n), "--mpi", mpi]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert f"{n} of {n} cycles left nothing" in done.stdout, done.stdout + done.stderr
