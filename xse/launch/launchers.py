"""Which mpiexec or srun starts a block, and the beginning of its command line.

The line is composed here and nowhere else, for PoolExecutor (which runs it) and for ExtremeScaleExecutor (whose
provider does).
"""

from __future__ import annotations

import functools
import os
import re
import shlex
import shutil
import subprocess
from dataclasses import dataclass

from xse.errors import LaunchError
from xse.launch.binary import Executable


def flavour_of(mpi: str) -> str:
    """openmpi or mpich: whose flags a launcher takes. MPICH's descendants (Intel MPI, MVAPICH, Cray) take MPICH's."""
    return "openmpi" if "Open MPI" in mpi or "OpenRTE" in mpi or "PRRTE" in mpi or "prte" in mpi else "mpich"


def find_mpiexec(pool: Executable) -> str:
    """The mpiexec that belongs to the pool's MPI: the one beside its mpicc, else the first on PATH of the same kind.

    Raises LaunchError when there is none: a pool started by another MPI's mpiexec would be many pools of one rank.
    """
    beside = os.path.join(os.path.dirname(pool.mpicc), os.path.basename(pool.mpicc).replace("mpicc", "mpiexec", 1))
    flavour = flavour_of(pool.mpi)
    tried: list[str] = []
    for name in (beside, f"mpiexec.{flavour}", "mpiexec", "mpirun"):
        path = name if os.path.isabs(name) else shutil.which(name)
        if path is None or not os.access(path, os.X_OK):
            tried.append(f"{name} (not found)")
            continue
        kind = _kind_of_mpiexec(path)
        if kind == flavour:
            return path
        tried.append(f"{path} (of another MPI)")
    raise LaunchError(
        f"no mpiexec for {pool.mpi}, the MPI that {pool.path} was built with; tried {', '.join(tried)}. Put that MPI's"
        " mpiexec on PATH (Debian: apt-get install mpich or openmpi-bin; elsewhere load its module), or give launch_cmd"
    )


@functools.cache
def _kind_of_mpiexec(path: str) -> str | None:
    try:
        done = subprocess.run([path, "--version"], capture_output=True, text=True, timeout=60, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None
    said = done.stdout + done.stderr
    if re.search(r"OpenRTE|Open MPI|PRRTE|prte", said):
        return "openmpi"
    return "mpich" if re.search(r"HYDRA|Hydra|Intel\(R\) MPI", said) else None


@dataclass(frozen=True)
class Layout:
    """How the ranks of a block lie on its nodes."""

    n_nodes: int = 1
    ranks_per_node: int = 1

    @property
    def n_ranks(self) -> int:
        return self.n_nodes * self.ranks_per_node


def _mpich(program: str, layout: Layout, _mpi: str) -> list[str]:
    return [program, "-n", str(layout.n_ranks), "-ppn", str(layout.ranks_per_node), "-bind-to", "none"]


def _openmpi(program: str, layout: Layout, mpi: str) -> list[str]:
    """--bind-to none: a rank's workers inherit its cores. Oversubscribing: ranks sleep, and workers do the work."""
    found = re.search(r"(\d+)\.", mpi)
    major = int(found[1]) if found else 4
    argv = [program, "-n", str(layout.n_ranks)]
    if major >= 5:
        argv += ["--map-by", f"ppr:{layout.ranks_per_node}:node:oversubscribe", "--bind-to", "none"]
    else:
        argv += ["--map-by", f"ppr:{layout.ranks_per_node}:node", "--oversubscribe", "--bind-to", "none"]
    return [*argv, "--allow-run-as-root"] if os.geteuid() == 0 else argv


def _srun(program: str, layout: Layout, mpi: str) -> list[str]:
    """-K: a rank that dies ends the step. --cpu-bind=none and all CPUs of the node: workers inherit the rank's."""
    kind = "pmix" if flavour_of(mpi) == "openmpi" else "pmi2"
    argv = [program, f"--nodes={layout.n_nodes}", f"--ntasks={layout.n_ranks}"]
    argv += [f"--ntasks-per-node={layout.ranks_per_node}", f"--mpi={kind}"]
    return [*argv, "--cpu-bind=none", "--kill-on-bad-exit=1"]


#: What mpi_launcher= may be.
NAMES = ("auto", "mpiexec", "srun")


def launcher(name: str, pool: Executable, layout: Layout) -> list[str]:
    """The beginning of the line: ``auto`` and ``mpiexec`` find the pool's own mpiexec. Raises LaunchError."""
    if name == "srun":
        program = shutil.which("srun")
        if program is None:
            raise LaunchError("no srun on PATH: run where Slurm's commands are, or use mpi_launcher='mpiexec'")
        return _srun(program, layout, pool.mpi)
    if name in ("auto", "mpiexec"):
        compose = _openmpi if flavour_of(pool.mpi) == "openmpi" else _mpich
        return compose(find_mpiexec(pool), layout, pool.mpi)
    raise LaunchError(f"mpi_launcher={name!r} is not known; there are {', '.join(NAMES)}")


def words(launch_cmd: str) -> list[str]:
    """The beginning of the line where a user gives it. Raises LaunchError."""
    try:
        found = shlex.split(launch_cmd)
    except ValueError as e:  # a quotation that does not end
        raise LaunchError(f"launch_cmd={launch_cmd!r} is no command line: {e}") from None
    if not found or shutil.which(found[0]) is None:
        raise LaunchError(f"launch_cmd={launch_cmd!r}: there is no command {found[0] if found else ''!r} on PATH")
    return found
