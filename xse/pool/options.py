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
from xse.launch.options import PoolOptions, bytes_of, start_timeout_of
from xse.record.place import record_path

MOST_RANKS, MOST_WORKERS = 65_536, 1_000_000


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a user gave; ``PoolExecutor`` says what each means. Raises OptionError, TypeError, LaunchError or
    SerializationError."""

    max_workers: int
    initializer: Callable[..., object] | None = None
    initargs: tuple[Any, ...] = ()
    ranks: int = 1
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

    run_id: str = field(init=False)
    record_path: str = field(init=False)  # absolute; "": no record
    setup: bytes = field(init=False)  # what each worker runs first, pickled
    command: list[str] = field(init=False)  # launcher and xse-pool

    def __post_init__(self) -> None:
        checks.check_whole_number("ranks", self.ranks, 1, MOST_RANKS)
        checks.check_whole_number("max_workers", self.max_workers, 1, MOST_WORKERS)
        if self.max_workers % self.ranks:
            raise OptionError(
                f"max_workers={self.max_workers} cannot be shared evenly by ranks={self.ranks}: give a multiple"
            )
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
        object.__setattr__(self, "command", self._command())
        object.__setattr__(self, "run_id", uuid.uuid4().hex)
        object.__setattr__(self, "record_path", record_path(self.record, self.run_id))

    def _command(self) -> list[str]:
        pool = launch.find_pool()
        if self.launch_cmd is not None:
            return [*launch.words(self.launch_cmd), pool.path]
        choice = launch.choose(self.mpi_launcher, pool)
        layout = launch.Layout(ranks_per_node=self.ranks)
        return [*choice.words(layout, launch.launcher_args(self.mpi_launcher_args)), pool.path]

    def start_timeout_s(self) -> float | None:
        """Seconds for a block to come up. None: it may wait in a queue."""
        if self.start_timeout is None:
            return None if self.mpi_launcher == "srun" else start_timeout_of(self.ranks)
        return self.start_timeout

    def pool_options(self, log_dir: str) -> PoolOptions:
        """What ``xse-pool`` is started with. ``log_dir``: where logs go unless the user named a directory."""
        return PoolOptions(
            workers_per_rank=self.max_workers // self.ranks,
            ranks=self.ranks,
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


def default_workers(ranks: int) -> int:
    """As many workers as this process has CPUs, and a multiple of ``ranks``."""
    n = len(os.sched_getaffinity(0))
    return max(ranks, n - n % ranks) if isinstance(ranks, int) and ranks > 0 else n
