"""The job that this process runs in: its scheduler, and the nodes that it has.

Read from the environment and from the files that it names, except for Flux, which is asked.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from xse.errors import OptionError

#: The variable by which each scheduler says that a process is in one of its jobs. Flux first: its jobs may run within
#: another scheduler's.
SCHEDULERS = {
    "Flux": "FLUX_URI",
    "Slurm": "SLURM_JOB_ID",
    "PBS": "PBS_JOBID",
    "LSF": "LSB_JOBID",
    "PJM": "PJM_JOBID",
    "Grid Engine": "PE_HOSTFILE",
    "OAR": "OAR_NODEFILE",
}

#: How to ask for a job of N nodes with one rank on each: what a pool that has fewer tells its user.
REMEDIES = {
    "Slurm": "salloc or sbatch with --nodes={nodes} --ntasks-per-node={ranks_per_node} --exclusive",
    "PBS": "qsub -l select={nodes}:ncpus=CORES -l place=scatter:excl",
    "LSF": 'bsub -nnodes {nodes}, or -n CORES with -R "span[ptile=CORES_OF_A_NODE]"',
    "Grid Engine": "a parallel environment with allocation_rule 1: qsub -pe NAME {nodes}",
    "Flux": "flux alloc -N {nodes} --exclusive",
    "PJM": '#PJM -L node={nodes} and #PJM --mpi "max-proc-per-node={ranks_per_node}"',
    "OAR": "oarsub -l nodes={nodes}",
}

TIMEOUT_S = 10.0  # for flux to answer


@dataclass(frozen=True)
class Allocation:
    """A job. ``hosts``: its nodes, each once, in the scheduler's order; empty where they cannot be known."""

    scheduler: str
    number: str
    hosts: tuple[str, ...]


def scheduler_of(environment: Mapping[str, str]) -> str | None:
    """The scheduler of the job that has this environment."""
    return next((name for name, variable in SCHEDULERS.items() if environment.get(variable)), None)


def find(environment: Mapping[str, str]) -> Allocation | None:
    """The job that has this environment; None: none."""
    scheduler = scheduler_of(environment)
    if scheduler is None:
        return None
    number = environment.get("JOB_ID" if scheduler == "Grid Engine" else SCHEDULERS[scheduler], "")
    return Allocation(scheduler, number, tuple(dict.fromkeys(_hosts(scheduler, environment))))


def _hosts(scheduler: str, environment: Mapping[str, str]) -> Iterable[str]:
    match scheduler:
        case "Slurm":
            return expand(environment.get("SLURM_JOB_NODELIST") or environment.get("SLURM_NODELIST", ""))
        case "PBS":
            return _first_words(environment.get("PBS_NODEFILE", ""))
        case "Grid Engine":
            return _first_words(environment["PE_HOSTFILE"])
        case "OAR":
            return _first_words(environment["OAR_NODEFILE"])
        case "LSF":
            if environment.get("LSB_MCPU_HOSTS"):  # host cores host cores ...
                return environment["LSB_MCPU_HOSTS"].split()[::2]
            return environment.get("LSB_HOSTS", "").split()
        case "PJM":
            return _first_words(environment.get("PJM_O_NODEINF", ""))
        case _:
            return expand(_ask_flux())


def _first_words(path: str) -> list[str]:
    """Of each line. An unreadable file is none: then the nodes are not known."""
    try:
        with open(path) as lines:
            return [words[0] for words in map(str.split, lines) if words]
    except (OSError, UnicodeDecodeError):
        return []


def _ask_flux() -> str:
    try:
        done = subprocess.run(
            ["flux", "getattr", "hostlist"], capture_output=True, text=True, timeout=TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def expand(hostlist: str) -> list[str]:
    """``node[01-03,7],login`` as Slurm and Flux write it: node01, node02, node03, node7, login."""
    found: list[str] = []
    for entry in re.findall(r"(?:[^,\[]|\[[^\]]*\])+", hostlist):
        parts = re.split(r"\[([^\]]*)\]", entry)
        names = [parts[0]]
        for numbers, rest in zip(parts[1::2], parts[2::2], strict=True):
            names = [name + number + rest for name in names for number in _numbers(numbers)]
        found += [name.strip() for name in names if name.strip()]
    return found


def _numbers(listed: str) -> Iterable[str]:
    for part in listed.split(","):
        first, dash, last = part.partition("-")
        if dash and first.isdigit() and last.isdigit():
            yield from (f"{i:0{len(first)}}" for i in range(int(first), int(last) + 1))
        else:
            yield part


def hosts_of(value: str | Iterable[str]) -> tuple[str, ...]:
    """hosts= as names, each once: of a list, or of a host file with one on each line (``host``, ``host:4``,
    ``host slots=4``; # begins a comment). Raises OptionError."""
    names: Iterable[str] = value
    if isinstance(value, str):
        try:
            with open(value) as lines:
                names = [line.split("#")[0].strip() for line in lines]
        except (OSError, UnicodeDecodeError) as e:
            reason = getattr(e, "strerror", None) or e
            raise OptionError(
                f"hosts={value!r} is read as the path of a host file, and cannot be ({reason}): give a list of names,"
                " hosts=['a', 'b'], or a file with one on each line"
            ) from None
    found: dict[str, None] = {}
    for name in names:
        if not isinstance(name, str):
            raise OptionError(f"hosts={value!r} must be a list of names, or the path of a host file")
        words = name.split()
        if words:
            found[re.sub(r":\d+$", "", words[0]) if words[0].count(":") == 1 else words[0]] = None
    for name in found:
        if "," in name or name.startswith("-"):
            raise OptionError(f"hosts={value!r}: {name!r} is no name of a host")
    if not found:
        raise OptionError(f"hosts={value!r} names no host")
    return tuple(found)


def is_here(host: str) -> bool:
    """Does this name mean the host of this process?"""
    mine = os.uname().nodename
    return host in ("localhost", "127.0.0.1", "::1", mine) or host.partition(".")[0] == mine.partition(".")[0]


def remedy(scheduler: str | None, n_nodes: int, ranks_per_node: int) -> str:
    """What to ask the scheduler for, to have so many nodes; "": no scheduler that is known."""
    return REMEDIES.get(scheduler or "", "").format(nodes=n_nodes, ranks_per_node=ranks_per_node)
