"""Each way in which a script can end, once. ``scripts/soak --cycles 1000`` does more, and looks at the clock."""

from __future__ import annotations

import subprocess
import sys

from scripts.soaks.cycles import EXECUTORS, WAYS
from tests.support.pools import ROOT


def test_a_script_that_ends_leaves_nothing_however_it_ends(mpi: str) -> None:
    """No process, zombie, socket, scratch directory or shared memory."""
    n = len(WAYS) * len(set(EXECUTORS))
    command = [sys.executable, "-m", "scripts.soaks", "--cycles", str(n), "--mpi", mpi]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=500, check=False)
    assert f"{n} of {n} cycles left nothing" in done.stdout, done.stdout + done.stderr
