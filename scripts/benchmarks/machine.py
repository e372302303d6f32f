"""What was measured, and on what: a figure without that says nothing."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import date
from pathlib import Path

from xse import launch

from .environments import PACKAGES, ROOT, version


def about(environments: Iterable[str]) -> dict[str, object]:
    """``environments``: those that were made."""
    pool = launch.find_pool()
    found = {name: importlib.metadata.version(name) for name in ("xse", "parsl", "pyzmq")}
    for environment in environments:
        found[PACKAGES[environment][0]] = version(environment)
    return {
        "date": date.today().isoformat(),
        "commit": _commit(),
        "cpu": _cpu(),
        "cpus": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "mpi": pool.mpi,
        "versions": found,
    }


def _cpu() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.split(":")[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _commit() -> str:
    """With a ``+`` if files differ from it."""
    done = subprocess.run(["git", "describe", "--always", "--dirty=+"], cwd=ROOT, capture_output=True, text=True)
    return done.stdout.strip() or "unknown"
