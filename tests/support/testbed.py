"""The hosts of tests/testbed, from within: for tests that run on its login host (scripts/test hosts, cluster)."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import MARK

HERE = Path(__file__).parents[1] / "testbed"
LOGIN = "10.77.0.1"


def is_here() -> bool:
    """Do we run on the login host?"""
    return os.uname().nodename == "login" and "TESTBED_STATE" in os.environ


def nodes() -> list[str]:
    """Their names, without login's."""
    return [line.split()[0] for line in hosts("status").splitlines() if line.startswith("node")]


def hosts(*arguments: str) -> str:
    """``hosts.sh``: exec HOST CMD, kill, crash, boot, cut, heal."""
    return run([str(HERE / "hosts.sh"), *arguments])


def slurm(*arguments: str) -> str:
    """``slurm.sh``: boot. Its daemons are the testbed's, not ours."""
    environment = {name: value for name, value in os.environ.items() if not MARK.startswith(f"{name}=")}
    return run([str(HERE / "slurm.sh"), *arguments], environment)


def run(command: list[str], environment: dict[str, str] | None = None) -> str:
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, f"{command}: {done.stdout}{done.stderr}"
    return done.stdout


def processes_on(host: str) -> list[str]:
    """Titles of what xse has there: pools, their parts, and launchers' helpers."""
    titles = hosts("exec", host, "ps", "-ww", "-eo", "args", "--no-headers").splitlines()
    names = ("xse-pool", "hydra_pmi_proxy", "orted", "slurmstepd")
    return [t for t in titles if any(name in t for name in names)]


def pids_on(host: str) -> set[int]:
    """Of all that runs there, by the host's own numbers."""
    lines = hosts("exec", host, "ps", "-eo", "pid,comm", "--no-headers").splitlines()
    return {int(pid) for pid, name in map(str.split, lines) if name != "ps"}


def signal_on(host: str, number: int, pids: Iterable[int]) -> None:
    """To those of them that are still there."""
    hosts("exec", host, "sh", "-c", 'kill -s "$@" 2>/dev/null || true', "sh", str(int(number)), *map(str, pids))
