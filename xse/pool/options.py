"""The options of a PoolExecutor, checked before anything is created."""

from __future__ import annotations

import math
import os
import sys
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from xse import launch
from xse.errors import OptionError
from xse.functions import payload, script
from xse.launch import checks
from xse.launch.options import PoolOptions, accelerators_of, bytes_of, start_timeout_of
from xse.launch.placement import Placement
from xse.launch.placement import find as find_placement
from xse.record.place import record_path
from xse.worker import place

MOST_RANKS, MOST_WORKERS = 65_536, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user gave; ``PoolExecutor`` says what each means. Raises OptionError, TypeError, LaunchError or
    SerializationError."""

    max_workers: int | None = None
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    ranks: int | None = None
    nodes: int | None = None
    hosts: str | Sequence[str] | None = None
    cpu_affinity: str = "none"
    available_accelerators: int | Sequence[str] = ()
    mpi_launcher: str = "auto"
    mpi_launcher_args: str | Sequence[str] | None = None
    launch_cmd: str | None = None
    address: str | None = None
    run_dir: str | None = None
    port_range: tuple[int, int] = (54_000, 55_000)
    preload: Sequence[str] = ()
    working_dir: str | None = None
    heartbeat_period: float = 30.0
    heartbeat_threshold: float = 120.0
    start_timeout: float | None = None
    min_ranks: int | None = None
    log_dir: str | None = None
    debug: bool = False
    memory_limit: int | str | None = None
    max_tasks_per_child: int | None = None
    record: str | os.PathLike[str] | bool | None = None
    summary: bool = False

    run_id: str = field(init=False)
    record_path: str = field(init=False)  # absolute; "": no record
    setup: bytes = field(init=False)  # what each worker runs first, pickled
    placement: Placement = field(init=False)
    executable: launch.Executable = field(init=False)
    choice: launch.Choice | None = field(init=False)  # None: the user gave a launch_cmd
    accelerators: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self._check_size()
        checks.check_port_range("port_range", self.port_range)
        if self.initializer is not None and not callable(self.initializer):
            raise TypeError("initializer must be a callable")
        checks.check_heartbeat(self.heartbeat_period, self.heartbeat_threshold)
        if self.start_timeout is not None and not self.start_timeout > 0:
            raise OptionError(f"start_timeout={self.start_timeout} must be above 0, in seconds")
        if self.min_ranks is not None:
            checks.check_whole_number("min_ranks", self.min_ranks, 1, MOST_RANKS)
        checks.check_modules("preload", self.preload)
        if self.max_tasks_per_child is not None:
            checks.check_whole_number("max_tasks_per_child", self.max_tasks_per_child, 1, 2**31 - 1)
        checks.check_memory_limit(bytes_of("memory_limit", self.memory_limit))
        if self.run_dir is not None and self.address is None:
            raise OptionError(
                f"run_dir={self.run_dir!r} is for pools of other hosts, which need address= as well: give both, or none"
            )
        object.__setattr__(self, "setup", payload.Functions().setup(self.initializer, self.initargs))
        object.__setattr__(self, "run_id", uuid.uuid4().hex)
        object.__setattr__(self, "record_path", record_path(self.record, self.run_id))

    def _check_size(self) -> None:
        """How many workers and ranks, and where."""
        for name, most in (("ranks", MOST_RANKS), ("nodes", MOST_RANKS), ("max_workers", MOST_WORKERS)):
            if getattr(self, name) is not None:
                checks.check_whole_number(name, getattr(self, name), 1, most)
        place.check(self.cpu_affinity)
        placement = find_placement(
            ranks=self.ranks,
            nodes=self.nodes,
            max_workers=self.max_workers,
            hosts=self.hosts,
            mpi_launcher=self.mpi_launcher,
            launch_cmd=self.launch_cmd,
            environment=os.environ,
        )
        n_ranks = placement.n_ranks
        if self.max_workers is not None and self.max_workers % n_ranks:
            raise OptionError(
                f"max_workers={self.max_workers} cannot be shared evenly by ranks={n_ranks}: give a multiple"
            )
        executable = launch.find_pool()
        choice = launch.choose(self.mpi_launcher, executable) if self.launch_cmd is None else None
        object.__setattr__(self, "accelerators", accelerators_of(self.available_accelerators))
        object.__setattr__(self, "placement", placement)
        object.__setattr__(self, "executable", executable)
        object.__setattr__(self, "choice", choice)
        self.command(placement)  # what is wrong with it is raised now

    @property
    def beyond(self) -> bool:
        """Ranks may run on other hosts: they come by TCP, and what they are sent is encrypted."""
        return self.address is not None or self.placement.beyond

    @property
    def n_workers(self) -> int:
        """How many there will be. Without ``max_workers``: as many as there are if all nodes are like this host."""
        if self.max_workers is not None:
            return self.max_workers
        n = len(os.sched_getaffinity(0))
        of_a_node = max(self.placement.ranks_per_node, n - n % self.placement.ranks_per_node)
        return of_a_node * self.placement.n_nodes

    @property
    def _workers_per_rank(self) -> int:
        """0: what fits, as each node has cores."""
        several = self.placement.n_nodes > 1 or self.placement.beyond
        return 0 if self.max_workers is None and several else self.n_workers // self.placement.n_ranks

    def command(self, placement: Placement) -> list[str]:
        """Launcher and xse-pool, to which ``--connect FILE`` is added."""
        if self.choice is None:
            return [*launch.words(self.launch_cmd or ""), self.executable.path]
        more = launch.launcher_args(self.mpi_launcher_args)
        return [*self.choice.words(placement.layout(self.choice), more), self.executable.path]

    def probe(self) -> Callable[[str], list[str]] | None:
        """The launcher's words for one rank on a host; None: this pool's launcher cannot be asked about a host."""
        choice, placement = self.choice, self.placement
        if choice is None or not choice.launcher.hosts or choice.launcher.exclusive or len(placement.hosts) < 2:
            return None
        more = launch.launcher_args(self.mpi_launcher_args)
        return lambda host: choice.words(launch.Layout(1, 1, (host,)), more)

    def start_timeout_s(self) -> float | None:
        """Seconds for a block to come up. None: it may wait in a queue."""
        if self.start_timeout is None:
            queued = self.choice is not None and bool(self.choice.launcher.scheduler)
            return None if queued else start_timeout_of(self.placement.n_ranks)
        return self.start_timeout

    def pool_options(self, log_dir: str) -> PoolOptions:
        """What ``xse-pool`` is started with. ``log_dir``: where logs go unless the user named a directory."""
        return PoolOptions(
            workers_per_rank=self._workers_per_rank,
            ranks=self.placement.n_ranks,
            affinity=self.cpu_affinity,
            accelerators=tuple(self.accelerators),
            launcher_variables=launch.VARIABLES if self.launch_cmd else (*launch.VARIABLES, *launch.PATHS),
            python=sys.executable,
            libzmq=launch.find_libzmq(),
            preload=tuple(self.preload),
            path=script.search_path(),
            python_flags=script.python_flags(),
            working_dir=os.path.abspath(self.working_dir) if self.working_dir else "",
            log_dir=os.path.abspath(self.log_dir) if self.log_dir else log_dir,
            debug=self.debug,
            memory_limit=bytes_of("memory_limit", self.memory_limit),
            start_timeout=math.ceil(self.start_timeout or 0),
            min_ranks=self.min_ranks or 0,
            max_tasks_per_worker=self.max_tasks_per_child or 0,
        )
