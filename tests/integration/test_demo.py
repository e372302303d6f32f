"""What scripts/ show works: the demo's workflow on a part of its input, and a benchmark's one measure."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.pools import ROOT

SCRIPTS = ROOT / "scripts"


def test_the_demo_shows_its_table_and_that_the_answer_is_right(mpi: str, tmp_path: Path) -> None:
    command = [sys.executable, str(SCRIPTS / "demo_workflow.py"), "--files", "40", "--tasks", "300"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    rows = {
        line.split("  ")[1].strip(): line.split()[-2:] for line in done.stdout.splitlines() if line.startswith("  ")
    }
    assert rows["tasks"] == ["40", "300"]
    assert rows["same answer"] == ["yes", "yes"]
    assert "40/40" in done.stderr
    assert "300/300" in done.stderr


@pytest.mark.parametrize(
    "peer",
    [
        "xse PoolExecutor",
        "xse PoolExecutor, encrypted TCP",
        "ProcessPoolExecutor",
        "xse ExtremeScaleExecutor in Parsl",
        "HighThroughputExecutor",
    ],
)
@pytest.mark.parametrize("measure", ["rate", "sleeps"])
def test_a_measure_gives_figures(mpi: str, tmp_path: Path, peer: str, measure: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.one", peer, measure, "0.02"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    figures = json.loads(done.stdout.splitlines()[-1])
    assert figures
    assert all(value > 0 for value in figures.values())
