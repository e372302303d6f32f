"""Which xse-pool runs: the executable that was installed with this package, and what it was built with."""

from __future__ import annotations

import functools
import importlib.resources
import importlib.util
import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from xse.errors import LaunchError


@dataclass(frozen=True)
class Executable:
    """An xse-pool executable, as its ``--version`` tells it."""

    path: str
    version: str
    mpi: str  # "MPICH 4.0.2", "Open MPI 4.1.4"
    mpicc: str  # the wrapper it was built with; mpiexec lies beside it

    @property
    def python(self) -> str:
        """The version of Python that its workers run: that of this process, as 3.11."""
        return f"{sys.version_info.major}.{sys.version_info.minor}"


def find_libzmq() -> str:
    """The libzmq that pyzmq's wheel has brought; "" where pyzmq uses the system's. Imports nothing."""
    spec = importlib.util.find_spec("zmq")
    if spec is None or spec.origin is None:
        return ""
    found = sorted(Path(spec.origin).parents[1].glob("pyzmq.libs/libzmq*.so*"))  # a digest is in its name
    return str(found[0]) if found else ""


def find_pool(path: str | None = None) -> Executable:
    """The xse-pool at ``path``, or $XSE_POOL, or the one that was installed with this package.

    Raises LaunchError when there is none, or when it does not run.
    """
    if path is None:
        path = os.environ.get("XSE_POOL") or str(importlib.resources.files("xse").joinpath("xse-pool"))
    if not os.path.exists(path):
        raise LaunchError(
            f"no xse-pool at {path}: install xse with an MPI at hand (pip install . in its source), or set XSE_POOL to"
            " one that is built"
        )
    return _ask(path, os.stat(path).st_mtime_ns)


@functools.cache
def _ask(path: str, changed_ns: int) -> Executable:
    del changed_ns  # a rebuilt executable is asked again
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired) as e:
        raise LaunchError(f"{path} cannot be run: {e}") from None
    said = dict(line.split(" ", 1) for line in done.stdout.splitlines() if " " in line)
    if done.returncode or not {"xse-pool", "mpi", "mpicc"} <= said.keys():
        tail = done.stderr.strip().splitlines()[-1:] or [f"exit code {done.returncode}"]
        raise LaunchError(
            f"{path} does not run here: {tail[0]} (are the libraries of the MPI it was built with on this host? a"
            " module may have to be loaded)"
        )
    return Executable(path, said["xse-pool"], said["mpi"], said["mpicc"])
