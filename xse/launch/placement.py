"""Where the ranks of a PoolExecutor's block run: on which nodes, and how many on each."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from xse.errors import OptionError
from xse.launch import allocation
from xse.launch.launchers import LAUNCHERS, Choice, Layout

_OF_SCHEDULERS = tuple(row.name for row in LAUNCHERS if row.scheduler)


@dataclass(frozen=True)
class Placement:
    """The nodes of a block.

    ``hosts``: their names, where they are known. ``named``: the launcher must be told them, for they are the user's own
    or not all of the job's. ``scheduler``: of the job that this process runs in. ``beyond``: ranks may run on other
    hosts than this one.
    """

    n_nodes: int
    ranks_per_node: int
    hosts: tuple[str, ...] = ()
    named: bool = False
    scheduler: str | None = None
    beyond: bool = False

    @property
    def n_ranks(self) -> int:
        return self.n_nodes * self.ranks_per_node

    def on(self, hosts: Sequence[str]) -> Placement:
        """The same on these of its hosts."""
        return replace(self, n_nodes=len(hosts), hosts=tuple(hosts), named=self.named or len(hosts) < self.n_nodes)

    def layout(self, choice: Choice) -> Layout:
        """For the launcher's line. A launcher that does not find the job's hosts by itself is told them."""
        row = choice.launcher
        told = self.named or (self.hosts and row.hosts and self.scheduler and self.scheduler not in row.reads)
        return Layout(self.n_nodes, self.ranks_per_node, self.hosts if told else ())

    def shortfall(self, hosts: Sequence[str], n_workers: int, asked_workers: int | None) -> str | None:
        """What of a block that came up is fewer than was asked for; None: nothing. ``hosts``: one for each rank."""
        there = dict.fromkeys(hosts)
        if len(there) < self.n_nodes:
            what = f"{_count(len(there), 'node')} ({', '.join(there)}) came up, and {self.n_nodes} were asked for"
        elif len(hosts) < self.n_ranks:
            what = f"{_count(len(hosts), 'rank')} came up, and {self.n_ranks} were asked for"
        elif asked_workers is not None and n_workers < asked_workers:
            return f"{_count(n_workers, 'worker')} came up, and {asked_workers} were asked for"
        else:
            return None
        mend = allocation.remedy(self.scheduler, self.n_nodes, self.ranks_per_node)
        return f"{what}: {f'ask for a job with {mend}' if mend else 'see the command line of the launcher in the log'}"


def _count(n: int, what: str) -> str:
    return f"{n} {what}" if n == 1 else f"{n} {what}s"


def find(
    *,
    ranks: int | None,
    nodes: int | None,
    max_workers: int | None,
    hosts: str | Iterable[str] | None,
    mpi_launcher: str,
    launch_cmd: str | None,
    environment: Mapping[str, str],
) -> Placement:
    """Where a pool with these options runs.

    Within a job it runs on all nodes of the job, with one rank on each; else on this host. ``hosts`` or ``nodes`` say
    otherwise. Fewer nodes are used where ``ranks`` are fewer, or where all cannot have the same share of
    ``max_workers``. With a ``launch_cmd`` they say what the user expects of it. Raises OptionError.
    """
    job = allocation.find(environment)
    scheduler = job.scheduler if job else None
    if launch_cmd is not None:
        if hosts is not None:
            raise OptionError("hosts= is for launchers that xse starts: name the hosts in launch_cmd, or leave it out")
        n_nodes = nodes or 1
        return Placement(n_nodes, _per_node(ranks, n_nodes), scheduler=scheduler, beyond=n_nodes > 1)
    queued = mpi_launcher in _OF_SCHEDULERS and job is None  # the launcher asks for a job of its own
    known = allocation.hosts_of(hosts) if hosts is not None else job.hosts if job else ()
    n_nodes = nodes or len(known) or 1
    if known and n_nodes > len(known):
        where = "hosts= names" if hosts is not None else f"this job of {scheduler} has"
        mend = "" if hosts is not None else f": ask for {allocation.remedy(scheduler, n_nodes, 1)}"
        raise OptionError(f"nodes={nodes}, and {where} {len(known)}{mend}")
    if n_nodes > 1 and not known and not queued and not job:
        raise OptionError(f"nodes={nodes}, and this is no job that has nodes: give hosts=, or run in a job")
    if nodes is None and hosts is None:
        if ranks is not None:
            n_nodes = min(n_nodes, ranks)
        elif max_workers is not None:  # as many nodes as can have the same number of workers
            n_nodes = math.gcd(n_nodes, max_workers)
    chosen = known[:n_nodes]
    return Placement(
        n_nodes,
        _per_node(ranks, n_nodes),
        chosen,
        named=hosts is not None or len(chosen) < len(known),
        scheduler=scheduler,
        beyond=queued or (n_nodes > 1 and not known) or not all(map(allocation.is_here, chosen)),
    )


def _per_node(ranks: int | None, n_nodes: int) -> int:
    if ranks is None:
        return 1
    if ranks % n_nodes:
        raise OptionError(f"ranks={ranks} cannot be shared evenly by {n_nodes} nodes: give a multiple")
    return ranks // n_nodes
