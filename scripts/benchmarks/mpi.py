"""mpi4py with the MPI that xse has: started by its mpiexec, and loading its library."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from xse import launch

from .environments import HOME

_NAMES = HOME / "mpi"  # libraries by the names that mpi4py's wheel has for them


def mpiexec(n_ranks: int) -> list[str]:
    """All on this host."""
    return launch.launcher("mpiexec", launch.find_pool(), launch.Layout(ranks_per_node=n_ranks))


def settings() -> dict[str, str]:
    """Environment variables for mpi4py."""
    pool = launch.find_pool()
    flavour = launch.flavour_of(pool.mpi)
    chosen = {"MPI4PY_MPIABI": flavour}
    if flavour == "mpich" and (library := _debians_mpich(pool.path)):
        _NAMES.mkdir(parents=True, exist_ok=True)
        link = _NAMES / "libmpi.so.12"
        link.unlink(missing_ok=True)
        link.symlink_to(library)
        chosen["LD_LIBRARY_PATH"] = ":".join(filter(None, [str(_NAMES), os.environ.get("LD_LIBRARY_PATH")]))
    return chosen


def _debians_mpich(program: str) -> Path | None:
    """The libmpich.so.12 that a program loads: what MPICH and its kin elsewhere call libmpi.so.12."""
    reported = subprocess.run(["ldd", program], capture_output=True, text=True).stdout
    found = re.search(r"libmpich\.so\.12 => (\S+)", reported)
    return Path(found[1]) if found else None
