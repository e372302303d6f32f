"""What scripts/ show works: the demo on a part of its input, a measure of the bench, the experiments of growth."""

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


@pytest.mark.parametrize(
    "experiment",
    [
        "rows.simulated(2, 8, 3, 0.01)",
        "rows.with_futures(2, 8, 3, 0.01)",
        "rows.blocks(3, 1000, curve=False)",
        "rows.blocks(3, 1000, curve=True)",
        "rows.queue(100_000)",
        "rows.queue_for_workers(100_000)",
        "{'us': state_machine.us_a_task(3, 100, 1000)}",
    ],
)
def test_an_experiment_of_growth_gives_figures(any_mpi: str, tmp_path: Path, experiment: str) -> None:
    """Its rows check each result."""
    done = subprocess.run(
        [
            sys.executable,
            "-c",
            f"import json; from scaling import rows, state_machine; print(json.dumps({experiment}))",
        ],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(SCRIPTS)},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])
