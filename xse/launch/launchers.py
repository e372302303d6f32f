"""The table of launchers, and the beginning of the line that starts a block.

A launcher is a program that starts MPI ranks: an mpiexec, srun, flux, and others. Each is one row of ``LAUNCHERS``. To
add one, add its row here and its stand-in in ``tests/support/stand_ins.py``. The line is composed here and nowhere
else, for PoolExecutor (which runs the line) and for ExtremeScaleExecutor (whose provider does).
"""

from __future__ import annotations

import functools
import logging
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from xse.errors import LaunchError, OptionError
from xse.launch import allocation
from xse.launch.binary import Executable

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Launcher:
    """One row of the table.

    ``line``, ``hosts`` and ``root`` are words of the command line. ``{ranks}``, ``{nodes}``, ``{ranks_per_node}`` and
    ``{hosts}`` stand for what is asked.
    """

    name: str  # in messages; what mpi_launcher= may be, where the row has no ``says``
    what: str  # for people
    programs: tuple[str, ...]
    says: str = ""  # regular expression that its --version matches; "": the program's name is enough
    starts: tuple[str, ...]  # kinds of MPI, see flavour_of
    scheduler: str = ""  # the scheduler whose own launcher it is
    reads: tuple[str, ...] = ()  # schedulers whose list of hosts it finds by itself
    line: str
    hosts: str = ""  # "": it takes no list of hosts
    each_host: str = "{host}"  # one entry of {hosts}
    exclusive: bool = False  # a second command on the same nodes waits until the first has ended
    root: str = ""  # more words for root
    since: tuple[tuple[int, int], str] | None = None  # words that it takes from this version on
    script: str = ""  # more words in a batch script, in the shell's language
    sets: tuple[str, ...] = ()  # beginnings of the names of variables that it sets for a rank, and nobody else sets
    changes: tuple[str, ...] = ()  # of those that users set, too


_PMI = ("PMI_", "PMI2_", "PMIX_")
_HYDRA = (*_PMI, "HYDI_", "HYDRA_CONTROL", "MPI_LOCAL", "GFORTRAN_UNBUFFERED_PRECONNECTED")
_OPEN_MPI = (
    *_PMI,
    *("OMPI_COMM_WORLD_", "OMPI_UNIVERSE_SIZE", "OMPI_COMMAND", "OMPI_ARGV", "OMPI_APP_CTX", "OMPI_NUM_APP_CTX"),
    *("OMPI_FIRST_RANKS", "OMPI_FILE_LOCATION", "OMPI_MCA_ess", "OMPI_MCA_orte_", "OMPI_MCA_pmix"),
    *("OMPI_MCA_initial_wdir", "OMPI_MCA_shmem_RUNTIME_QUERY_hint", "OMPI_MCA_mpi_oversubscribe"),
    *("ORTE_SCHIZO_DETECTION", "PRTE_LAUNCHED", "IPATH_NO_BACKTRACE", "HFI_NO_BACKTRACE"),
)
_OPEN_MPI_USERS = ("OMPI_", "ORTE_", "PRTE_", "OPAL_")

LAUNCHERS: tuple[Launcher, ...] = (
    Launcher(
        name="hydra",
        what="MPICH's mpiexec (Hydra)",
        programs=("mpiexec", "mpirun", "mpiexec.hydra"),
        says=r"HYDRA|Hydra",
        starts=("mpich",),
        reads=("Slurm", "PBS", "LSF", "Grid Engine"),
        line="-n {ranks} -ppn {ranks_per_node} -bind-to none",
        hosts="-hosts {hosts}",
        sets=_HYDRA,
        changes=("HYDRA_", "MPIR_CVAR_", "MPICH_"),
    ),
    Launcher(  # -bind-to none is taken and ignored: see BLOCK_ENVIRONMENT
        name="intel",
        what="Intel MPI's mpiexec",
        programs=("mpiexec", "mpirun", "mpiexec.hydra"),
        says=r"Intel\(R\) MPI",
        starts=("mpich",),
        reads=("Slurm", "PBS", "LSF", "Grid Engine"),
        line="-n {ranks} -ppn {ranks_per_node}",
        hosts="-hosts {hosts}",
        sets=_HYDRA,
        changes=("I_MPI_", "HYDRA_", "MPIR_CVAR_", "MPICH_", "FI_"),
    ),
    Launcher(
        name="mvapich",
        what="MVAPICH's mpiexec",
        programs=("mpiexec", "mpirun"),
        says=r"MVAPICH",
        starts=("mpich",),
        reads=("Slurm", "PBS", "LSF", "Grid Engine"),
        line="-n {ranks} -ppn {ranks_per_node} -bind-to none",
        hosts="-hosts {hosts}",
        sets=(*_HYDRA, "MPISPAWN_", "MV2_COMM_WORLD_", "MVP_COMM_WORLD_"),
        changes=("MV2_", "MVP_", "HYDRA_", "MPIR_CVAR_"),
    ),
    Launcher(
        name="pals",
        what="Cray PALS' mpiexec",
        programs=("mpiexec", "mpirun"),
        says=r"mpiexec version \d|\bPALS\b",
        starts=("mpich",),
        reads=("PBS",),
        line="-n {ranks} --ppn {ranks_per_node} --cpu-bind none",
        hosts="--hosts {hosts}",
        sets=(*_PMI, "PALS_"),
        changes=("MPICH_", "FI_"),
    ),
    Launcher(
        name="openmpi5",
        what="Open MPI 5's mpiexec (PRRTE)",
        programs=("mpiexec", "mpirun"),
        says=r"\(Open MPI\)|PRRTE|prte",
        starts=("openmpi",),
        reads=("Slurm", "LSF"),
        line="-n {ranks} --map-by ppr:{ranks_per_node}:node:oversubscribe --bind-to none",
        hosts="--host {hosts}",
        each_host="{host}:{ranks_per_node}",
        root="--allow-run-as-root",
        # It reads no list of PBS's unless it was built with PBS's library, and none of Grid Engine's at all.
        script='${PBS_NODEFILE:+--hostfile "$PBS_NODEFILE"}'
        ' ${PE_HOSTFILE:+--host "$(awk \'{printf "%s%s:%s", s, $1, $2; s=","}\' "$PE_HOSTFILE")"}',
        sets=_OPEN_MPI,
        changes=_OPEN_MPI_USERS,
    ),
    Launcher(
        name="openmpi4",
        what="Open MPI 4's mpiexec",
        programs=("mpiexec", "mpirun"),
        says=r"OpenRTE",
        starts=("openmpi",),
        reads=("Slurm", "LSF", "Grid Engine"),
        line="-n {ranks} --map-by ppr:{ranks_per_node}:node --oversubscribe --bind-to none",
        hosts="--host {hosts}",
        each_host="{host}:{ranks_per_node}",
        root="--allow-run-as-root",
        script='${PBS_NODEFILE:+--hostfile "$PBS_NODEFILE"}',
        sets=_OPEN_MPI,
        changes=_OPEN_MPI_USERS,
    ),
    Launcher(
        name="parastation",
        what="ParaStation MPI's mpiexec",
        programs=("mpiexec",),
        says=r"ParaStation",
        starts=("mpich",),
        reads=("Slurm",),
        line="-n {ranks} -ppn {ranks_per_node}",
        sets=(*_PMI, "PSP_", "__PSI_", "__MPIEXEC_"),
        changes=("PSI_",),
    ),
    Launcher(  # ranks per node stand in the job: #PJM --mpi "max-proc-per-node=1"
        name="fujitsu",
        what="Fujitsu MPI's mpiexec",
        programs=("mpiexec",),
        says=r"(?i)fujitsu",
        starts=("openmpi",),
        reads=("PJM",),
        line="-n {ranks}",
        sets=(*_OPEN_MPI, "PLE_RANK"),
        changes=(*_OPEN_MPI_USERS, "PLE_", "FLIB_"),
    ),
    Launcher(  # ranks per node stand in the job: -N 4 --ntasks-per-node 1
        name="ibrun",
        what="TACC's ibrun",
        programs=("ibrun",),
        starts=("mpich", "openmpi"),
        scheduler="Slurm",
        reads=("Slurm",),
        line="",
        sets=(*_PMI, "IBRUN_", "MPI_LOCAL", "MPIRUN_"),
        changes=("I_MPI_", "MV2_", "SLURM_"),
    ),
    Launcher(
        name="ccc_mprun",
        what="CEA's ccc_mprun",
        programs=("ccc_mprun",),
        starts=("mpich", "openmpi"),
        scheduler="Slurm",
        reads=("Slurm",),
        line="-n {ranks} -N {nodes} -E --cpu-bind=none",
        sets=(*_PMI, "SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID"),
        changes=("SLURM_", "OMPI_", "I_MPI_"),
    ),
    Launcher(  # a rank that dies ends the step; no --mpi: the site's own default is right, or the user says another
        name="srun",
        what="Slurm's srun",
        programs=("srun",),
        starts=("mpich", "openmpi"),
        scheduler="Slurm",
        reads=("Slurm",),
        line="--nodes={nodes} --ntasks={ranks} --ntasks-per-node={ranks_per_node} --cpu-bind=none --kill-on-bad-exit=1",
        hosts="--nodelist={hosts}",
        since=((20, 11), "--overlap"),
        sets=(
            *_PMI,
            *("SLURM_STEP", "SLURM_PROCID", "SLURM_LOCALID", "SLURM_NODEID", "SLURM_GTIDS", "SLURM_TASK_PID"),
            *("SLURM_LAUNCH_NODE_IPADDR", "SLURM_SRUN_COMM", "SLURM_MPI_TYPE", "SLURM_CPU_BIND", "SLURM_UMASK"),
            *("SLURM_PMI", "SRUN_", "SLURM_DISTRIBUTION"),
        ),
        changes=("SLURM_", "OMPI_", "I_MPI_", "MPICH_"),
    ),
    Launcher(
        name="flux",
        exclusive=True,
        what="Flux' flux run",
        programs=("flux",),
        starts=("mpich", "openmpi"),
        scheduler="Flux",
        reads=("Flux",),
        line="run -N {nodes} -n {ranks} --exclusive",
        hosts="--requires=hosts:{hosts}",
        sets=(*_PMI, "FLUX_JOB_", "FLUX_TASK_", "FLUX_KVS_NAMESPACE"),
        changes=("FLUX_", "OMPI_"),
    ),
    Launcher(
        name="jsrun",
        exclusive=True,
        what="LSF's jsrun",
        programs=("jsrun",),
        starts=("openmpi", "mpich"),
        scheduler="LSF",
        reads=("LSF",),
        line="-n {nodes} -r 1 -a {ranks_per_node} -c ALL_CPUS -g ALL_GPUS -b none",
        sets=(*_PMI, "JSM_", "OMPI_COMM_WORLD_"),
        changes=("OMPI_",),
    ),
    Launcher(
        name="aprun",
        what="Cray ALPS' aprun",
        programs=("aprun",),
        starts=("mpich",),
        scheduler="PBS",
        reads=("PBS",),
        line="-n {ranks} -N {ranks_per_node} -cc none",
        hosts="-L {hosts}",
        sets=(*_PMI, "ALPS_"),
        changes=("MPICH_",),
    ),
)

#: What mpi_launcher= may be.
NAMES = ("auto", "mpiexec", *(row.name for row in LAUNCHERS if not row.says))

#: Set for the launcher of a block, where the user has not set the same. An MPI that pins its ranks would pin their
#: workers. There may be more ranks than cores: ranks sleep, and workers do the work. In a container the user is root.
BLOCK_ENVIRONMENT = {
    "I_MPI_PIN": "off",
    "I_MPI_JOB_RESPECT_PROCESS_PLACEMENT": "off",  # or -ppn is ignored within a job
    "MV2_ENABLE_AFFINITY": "0",
    "MVP_ENABLE_AFFINITY": "0",
    "OMPI_MCA_hwloc_base_binding_policy": "none",
    "OMPI_MCA_rmaps_base_oversubscribe": "1",
    "PRTE_MCA_hwloc_default_binding_policy": "none",
    "PRTE_MCA_rmaps_default_mapping_policy": ":oversubscribe",
    "OMPI_ALLOW_RUN_AS_ROOT": "1",
    "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
    "PRTE_ALLOW_RUN_AS_ROOT": "1",
    "PRTE_ALLOW_RUN_AS_ROOT_CONFIRM": "1",
}

#: The same for a block whose ranks all run on the script's host, where they speak by shared memory. By itself Open MPI
#: looks for network cards in MPI_Init, which takes 0.2 s where there are none.
ONE_HOST_ENVIRONMENT = {"OMPI_MCA_pml": "ob1"}

#: Beginnings of the names of all variables that launchers set for ranks. Workers get them as they were before.
VARIABLES = tuple(sorted({name for row in LAUNCHERS for name in (*row.sets, *row.changes)}))


#: Open MPI's mpiexec puts its own directories before the others. Where the line is ours, workers get these back, too;
#: the command of a user may have changed them on purpose.
PATHS = ("PATH=", "LD_LIBRARY_PATH=")


@dataclass(frozen=True)
class Layout:
    """How the ranks of a block lie on its nodes. ``hosts``: names of the nodes, if the launcher must be told them."""

    n_nodes: int = 1
    ranks_per_node: int = 1
    hosts: tuple[str, ...] = ()

    @property
    def n_ranks(self) -> int:
        return self.n_nodes * self.ranks_per_node


@dataclass(frozen=True)
class Choice:
    """The launcher that starts a block, and why it was chosen."""

    launcher: Launcher
    program: str  # a path, or a name for PATH
    why: str

    def words(self, layout: Layout, more: Sequence[str] = ()) -> list[str]:
        """The beginning of the line. ``more``: the user's own words; they come last, so that they win."""
        row = self.launcher
        hosts = ",".join(row.each_host.format(host=host, ranks_per_node=layout.ranks_per_node) for host in layout.hosts)
        line = row.line
        if row.since and _version(self.program) >= row.since[0]:
            line += " " + row.since[1]
        if os.geteuid() == 0:
            line += " " + row.root
        if hosts:
            if not row.hosts:
                raise LaunchError(f"{row.what} takes no list of hosts: leave hosts= out, or give launch_cmd")
            line += " " + row.hosts
        filled = line.format(
            ranks=layout.n_ranks, nodes=layout.n_nodes, ranks_per_node=layout.ranks_per_node, hosts=hosts
        )
        return [self.program, *filled.split(), *more]


def flavour_of(mpi: str) -> str:
    """openmpi or mpich. Intel MPI, MVAPICH, Cray MPICH and ParaStation MPI are MPICH's descendants; Spectrum MPI and
    Fujitsu MPI are Open MPI's."""
    return "openmpi" if re.search(r"Open MPI|OpenRTE|PRRTE|prte|Spectrum|(?i:fujitsu)", mpi) else "mpich"


def recognise(path: str) -> Launcher | None:
    """The row of the mpiexec at ``path``, by what its ``--version`` prints; None: not in the table."""
    said = _said(path)
    return next((row for row in LAUNCHERS if row.says and re.search(row.says, said)), None)


def choose(name: str, pool: Executable, scheduler: str | None = None) -> Choice:
    """The launcher for ``mpi_launcher=name``.

    ``auto``: the mpiexec that belongs to the pool's MPI if it is here, else the launcher of the job. ``scheduler``: the
    one that starts the block, where that is not the one of this process. Raises LaunchError.
    """
    choice = _automatic(pool, scheduler) if name == "auto" else _named(name, pool)
    logger.info("launcher_chosen launcher=%s program=%s why=%r", choice.launcher.name, choice.program, choice.why)
    return choice


def _named(name: str, pool: Executable) -> Choice:
    if name not in NAMES:
        raise LaunchError(f"mpi_launcher={name!r} is not known; there are {', '.join(NAMES)}")
    if name == "mpiexec":
        choice = _own_mpiexec(pool, [])
        if choice is None:
            raise LaunchError(_no_mpiexec(pool))
        return choice
    row = next(row for row in LAUNCHERS if row.name == name)
    choice = _on_path(row, "mpi_launcher names it")
    if choice is None:
        raise LaunchError(
            f"no {row.programs[0]} on PATH: run where its scheduler's commands are, or use mpi_launcher='mpiexec'"
        )
    return choice


def _automatic(pool: Executable, scheduler: str | None) -> Choice:
    choice = _own_mpiexec(pool, [])
    if choice:
        return choice
    scheduler = scheduler or allocation.scheduler_of(os.environ)
    for row in LAUNCHERS:
        if scheduler and row.scheduler == scheduler and flavour_of(pool.mpi) in row.starts:
            choice = _on_path(row, f"there is no mpiexec for {pool.mpi}, and the block runs in a job of {scheduler}")
            if choice:
                return choice
    raise LaunchError(_no_mpiexec(pool))


def launcher(name: str, pool: Executable, layout: Layout) -> list[str]:
    """The beginning of the line for ``mpi_launcher=name``. Raises LaunchError."""
    return choose(name, pool).words(layout)


def find_mpiexec(pool: Executable) -> str:
    """The path of the mpiexec that belongs to the pool's MPI. Raises LaunchError."""
    return choose("mpiexec", pool).program


def _on_path(row: Launcher, why: str) -> Choice | None:
    return next((Choice(row, path, why) for path in map(shutil.which, row.programs) if path), None)


def _own_mpiexec(pool: Executable, tried: list[str]) -> Choice | None:
    """The mpiexec beside the pool's mpicc, else the first on PATH that starts ranks of its MPI. Another MPI's would
    start many pools of one rank. ``tried`` gets what was looked at."""
    directory, wrapper = os.path.split(pool.mpicc)
    kind = flavour_of(pool.mpi)
    beside = wrapper.replace("mpicc", "mpiexec", 1) if "mpicc" in wrapper else "mpiexec"
    names = [os.path.join(directory, beside), f"mpiexec.{kind}", "mpiexec", "mpirun", "mpiexec.hydra"]
    for name in names:
        path = name if os.path.isabs(name) else shutil.which(name)
        if path is None or not os.access(path, os.X_OK) or os.path.isdir(path):
            tried.append(f"{name} (not found)")
            continue
        row = recognise(path)
        if row and kind in row.starts:
            return Choice(row, path, f"it is {row.what}, and xse-pool has {pool.mpi}")
        tried.append(f"{path} ({row.what}: of another MPI)" if row else f"{path} (of another MPI)")
    return None


def _no_mpiexec(pool: Executable) -> str:
    tried: list[str] = []
    _own_mpiexec(pool, tried)
    return (
        f"no mpiexec for {pool.mpi}, the MPI that {pool.path} was built with; tried {', '.join(tried)}. Put that MPI's"
        " mpiexec on PATH (Debian: apt-get install mpich or openmpi-bin; elsewhere load its module), run within a job"
        " of a scheduler whose launcher is on PATH (srun, flux), or give launch_cmd"
    )


def _said(path: str) -> str:
    """What ``path --version`` prints. A program that is replaced is asked again."""
    try:
        changed_ns = os.stat(path).st_mtime_ns
    except OSError:
        changed_ns = 0
    return _ask(path, changed_ns)


@functools.cache
def _ask(path: str, changed_ns: int) -> str:
    del changed_ns
    try:
        done = subprocess.run(
            [path, "--version"], stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired, UnicodeDecodeError):
        return ""
    return done.stdout + done.stderr


def _version(program: str) -> tuple[int, int]:
    """What the program says of its version; where it says none, a recent one is assumed."""
    found = re.search(r"(\d+)\.(\d+)", _said(program))
    return (int(found[1]), int(found[2])) if found else (9999, 0)


def launcher_args(value: str | Sequence[str] | None) -> list[str]:
    """mpi_launcher_args= as words: of a text as a shell splits it, or of a list. Raises OptionError."""
    if value is None:
        return []
    if not isinstance(value, str):
        if not all(isinstance(word, str) for word in value):
            raise OptionError(f"mpi_launcher_args={value!r} must be a text or a list of texts")
        return list(value)
    try:
        return shlex.split(value)
    except ValueError as e:  # a quotation that does not end
        raise OptionError(f"mpi_launcher_args={value!r} cannot be split into words: {e}") from None


def words(launch_cmd: str) -> list[str]:
    """The beginning of the line where a user gives it. Raises LaunchError."""
    try:
        found = shlex.split(launch_cmd)
    except ValueError as e:  # a quotation that does not end
        raise LaunchError(f"launch_cmd={launch_cmd!r} is no command line: {e}") from None
    if not found or shutil.which(found[0]) is None:
        raise LaunchError(f"launch_cmd={launch_cmd!r}: there is no command {found[0] if found else ''!r} on PATH")
    return found
