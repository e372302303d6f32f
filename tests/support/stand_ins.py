"""Stand-ins for the launchers of machines that are not here: one row for each row of xse/launch/launchers.py.

A stand-in takes the words that the real launcher takes and refuses others, sets what the real one sets for its ranks,
and has a real mpiexec start them. It shows that our line fits the documents of the real one, and no more than that.
"""

from __future__ import annotations

import os
import shlex
import shutil
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.support.pools import pools
from xse import launch


@dataclass(frozen=True)
class StandIn:
    """One launcher. ``takes``: its words, each with the number of values that follow it; ``--name=*`` is one word."""

    program: str
    mpi: str  # what xse-pool says of the MPI there
    version: str
    takes: Mapping[str, int]
    exports: tuple[str, ...]  # names of variables
    ranks: tuple[str, ...] = ("-n",)  # which of its words says how many ranks
    starts: str = "mpich"  # the MPI of this machine that the ranks have
    command: str = ""  # a first word that it needs
    job: Mapping[str, str] = field(default_factory=dict)  # what the scheduler has set in the job


_PMI = ("PMI_RANK", "PMI_SHARED_SECRET")
_OPEN_MPI = ("OMPI_COMMAND", "OMPI_APP_CTX_NUM_PROCS", "OMPI_MCA_rmaps_x", "PMIX_NAMESPACE_X")
_HYDRA = {"-n": 1, "-np": 1, "-ppn": 1, "-bind-to": 1, "-hosts": 1, "-f": 1}
_SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NUM_NODES": "1"}

STAND_INS: dict[str, StandIn] = {
    "hydra": StandIn("mpiexec", "MPICH 4.3.0", "HYDRA build details:\\n    Version: 4.3.0", _HYDRA, ("HYDI_X", *_PMI)),
    "intel": StandIn(
        "mpiexec",
        "Intel(R) MPI Library 2021.19 for Linux* OS",
        "Intel(R) MPI Library for Linux* OS, Version 2021.19 Build 20260101",
        _HYDRA,
        ("I_MPI_HYDRA_UUID", "MPI_LOCALRANKID_X", *_PMI),
    ),
    "mvapich": StandIn("mpiexec", "MVAPICH Version : 4.0", "MVAPICH 4.0 HYDRX", _HYDRA, ("MV2_COMM_WORLD_X", *_PMI)),
    "pals": StandIn(
        "mpiexec",
        "CRAY MPICH version 8.1.31.9 (ANL base 3.4a2)",
        "mpiexec version 1.8.0 revision 0",
        {"-n": 1, "--np": 1, "-ppn": 1, "--ppn": 1, "--cpu-bind": 1, "--hosts": 1, "--no-vni": 0, "--hostfile": 1},
        ("PALS_RANKID", "PALS_APID", *_PMI),
        job={"PBS_JOBID": "7.head"},
    ),
    "openmpi5": StandIn(
        "mpiexec",
        "Open MPI 5.0.11",
        "mpiexec (Open MPI) 5.0.11",
        {"-n": 1, "--map-by": 1, "--bind-to": 1, "--allow-run-as-root": 0, "--host": 1, "--hostfile": 1},
        ("PRTE_LAUNCHED", *_OPEN_MPI),
        starts="openmpi",
    ),
    "openmpi4": StandIn(
        "mpiexec",
        "Open MPI 4.1.4",
        "mpiexec (OpenRTE) 4.1.4",
        {"-n": 1, "--map-by": 1, "--bind-to": 1, "--oversubscribe": 0, "--allow-run-as-root": 0, "--host": 1},
        _OPEN_MPI,
        starts="openmpi",
    ),
    "parastation": StandIn(
        "mpiexec", "ParaStation MPI 5.11", "mpiexec (ParaStation) 5.11", {"-n": 1, "-ppn": 1}, ("PSP_X", "__PSI_X")
    ),
    "fujitsu": StandIn(
        "mpiexec",
        "FUJITSU MPI 4.0",
        "mpiexec (Fujitsu MPI) 4.0",
        {"-n": 1},
        ("PLE_RANK_ON_NODE", *_OPEN_MPI),
        starts="openmpi",
        job={"PJM_JOBID": "7"},
    ),
    "ibrun": StandIn("ibrun", "MVAPICH Version : 4.0", "", {"-n": 1, "-o": 1}, ("IBRUN_X", "MPIRUN_RANK"), job=_SLURM),
    "ccc_mprun": StandIn(
        "ccc_mprun",
        "Open MPI 4.1.7",
        "",
        {"-n": 1, "-N": 1, "-c": 1, "-E": 1},
        ("SLURM_PROCID", "SLURM_STEP_ID"),
        starts="openmpi",
        job=_SLURM,
    ),
    "srun": StandIn(
        "srun",
        "CRAY MPICH version 8.1.31.9 (ANL base 3.4a2)",
        "slurm 24.11.5",
        {
            **dict.fromkeys(("--overlap", "--nodes=*", "--ntasks=*", "--ntasks-per-node=*", "--cpu-bind=*"), 0),
            **dict.fromkeys(("--kill-on-bad-exit=*", "--mpi=*", "--nodelist=*", "--gpus-per-node=*", "--no-vni"), 0),
        },
        ("SLURM_PROCID", "SLURM_STEP_ID", "SLURM_CPU_BIND", *_PMI),
        ranks=("--ntasks=*",),
        job=_SLURM,
    ),
    "flux": StandIn(
        "flux",
        "CRAY MPICH version 8.1.31.9 (ANL base 3.4a2)",
        "commands: 0.66.0",
        {"-N": 1, "-n": 1, "--exclusive": 0, "--requires=*": 0},
        ("FLUX_TASK_RANK", "FLUX_JOB_ID", *_PMI),
        command="run",
        job={"FLUX_URI": "local:///run/flux"},
    ),
    "jsrun": StandIn(
        "jsrun",
        "IBM Spectrum MPI 10.4",
        "jsrun 10.4",
        {"-n": 1, "-r": 1, "-a": 1, "-c": 1, "-g": 1, "-b": 1},
        ("JSM_NAMESPACE_RANK", "OMPI_COMM_WORLD_X"),
        ranks=("-a",),  # on one node
        starts="openmpi",
        job={"LSB_JOBID": "7"},
    ),
    "aprun": StandIn(
        "aprun",
        "CRAY MPICH version 7.7.20",
        "aprun 6.6",
        {"-n": 1, "-N": 1, "-cc": 1, "-L": 1},
        ("ALPS_APP_PE", "PMI_FORK_RANK"),
        job={"PBS_JOBID": "7.head"},
    ),
}

_SCRIPT = """\
#!/bin/bash
printf '%s ' {program} "$@" >> {log}; echo >> {log}
n={default}
case "$1" in --version|-V) printf '{version}\\n'; exit 0;; esac
if [ "$1" = --mpi=list ]; then printf 'MPI plugin types are...\\n\\tnone\\n\\tcray_shasta\\n\\tpmi2\\n'; exit 0; fi
if [ -n "{command}" ]; then
  [ "$1" = "{command}" ] || exit 1
  shift
fi
while [ $# -gt 0 ]; do
  case "$1" in
{cases}
    -*) echo "{program}: unrecognized option '$1'" >&2; exit 1;;
    *) break;;
  esac
done
export {exports}
if [ -z "$STAND_IN_ALONE" ]; then exec {start} -n $n "$@"; fi
pids=()
for ((i = 0; i < n; i++)); do "$@" & pids+=($!); done
trap 'kill ${{pids[@]}} 2>/dev/null' TERM INT
code=0
for ((i = 0; i < n; i++)); do
  wait -n || {{ code=$?; echo "{program}: task exited with code $code" >&2; kill ${{pids[@]}} 2>/dev/null; break; }}
done
wait
exit $code
"""

_POOL = """\
#!/bin/sh
if [ "$1" = --version ]; then
  printf 'xse-pool {version}\\nmpi {mpi}\\nmpicc /opt/site/bin/mpicc\\nzmq 4.3.5\\n'
  exit
fi
exec {path} "$@"
"""

#: What scripts of ours need on PATH at such a site.
TOOLS = "awk bash cat date dirname env hostname id ls mkdir ps rm sh true".split()


def script_of(name: str, log: Path, start: Iterable[str]) -> str:
    """The text of a stand-in. ``start``: a real mpiexec, with the words that this machine needs."""
    it = STAND_INS[name]
    cases: list[str] = []
    for word, n_values in it.takes.items():
        value = "n=${1#*=}; " if word.endswith("=*") else "n=$2; "
        cases.append(f"    {word}) {value if word in it.ranks else ''}shift {1 + n_values};;")
    return _SCRIPT.format(
        program=it.program,
        log=shlex.quote(str(log)),
        default=2 if not it.ranks or name == "ibrun" else 1,
        version=it.version,
        command=it.command,
        cases="\n".join(cases),
        exports=" ".join(f"{variable}=stand-in" for variable in it.exports),
        start=shlex.join(start),
    )


@dataclass(frozen=True)
class Site:
    """A machine that has this launcher, and no other."""

    launcher: StandIn
    log: Path

    def lines(self) -> list[str]:
        """The command lines that the launcher was given, but for questions."""
        said = self.log.read_text().splitlines() if self.log.exists() else []
        return [line for line in said if not any(word in line for word in ("--version", "--mpi=list", "getattr"))]


def site(name: str, directory: Path, patch: pytest.MonkeyPatch) -> Site:
    """Make this process one that runs in a job on such a machine."""
    it = STAND_INS[name]
    log = directory / "launched"
    bin_directory = directory / "bin"
    bin_directory.mkdir()
    real = launch.find_pool(pools()[it.starts])
    start = [launch.find_mpiexec(real), *"--oversubscribe --allow-run-as-root --mca plm isolated".split()]
    for tool in TOOLS:
        path = shutil.which(tool)
        if path:
            (bin_directory / tool).symlink_to(path)
    (bin_directory / "ssh").symlink_to("true")  # Open MPI looks for it, and does not run it here
    pool = _POOL.format(version=real.version, mpi=it.mpi, path=shlex.quote(real.path))
    for program, text in (
        (it.program, script_of(name, log, start if it.starts == "openmpi" else start[:1])),
        ("xse-pool", pool),
    ):
        path = bin_directory / program
        path.write_text(text)
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
    for variable in [v for v in os.environ if v.startswith(("SLURM_", "PBS_", "FLUX_", "LSB_", "PJM_"))]:
        patch.delenv(variable)
    for variable, value in it.job.items():
        patch.setenv(variable, value)
    patch.setenv("PATH", str(bin_directory))
    patch.setenv("XSE_POOL", str(bin_directory / "xse-pool"))
    return Site(it, log)
