"""The options of ExtremeScaleExecutor, checked before anything is started."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from parsl.executors.high_throughput.manager_selector import (
    BlockIdManagerSelector,
    ManagerSelector,
    RandomManagerSelector,
)
from parsl.monitoring.radios.base import RadioConfig
from parsl.monitoring.radios.filesystem import FilesystemRadio

from xse import launch
from xse.errors import OptionError
from xse.launch import checks
from xse.launch.options import bytes_of
from xse.worker import place

#: Fields: see ``Blocks._fields``. The connect file holds the address, the keys and the pool's options.
DEFAULT_LAUNCH_CMD = "{mpiexec} {xse_pool} --connect {connect}"

#: How the interchange fills blocks, for each of Parsl's selectors.
FILL_ORDERS: dict[type[ManagerSelector], str] = {
    RandomManagerSelector: "even",  # in equal shares, which is what chance comes to
    BlockIdManagerSelector: "block_id",
}


@dataclass(kw_only=True, repr=False, eq=False)
class Options:
    """All but the provider and the error handler, which are Parsl's. docs/guide/options.md describes each.

    The executor is one of these, since Parsl finds an executor's options as its attributes. Raises OptionError, a
    ValueError.
    """

    label: str = "ExtremeScaleExecutor"
    launch_cmd: str = DEFAULT_LAUNCH_CMD
    address: str | None = None
    worker_ports: tuple[int, int] | None = None
    worker_port_range: tuple[int, int] | None = (54000, 55000)
    interchange_port_range: tuple[int, int] | None = (55000, 56000)
    storage_access: list[Any] | None = None
    working_dir: str | None = None
    worker_debug: bool = False
    ranks_per_node: int = 1
    heartbeat_threshold: int = 120
    heartbeat_period: int = 30
    managed: bool = True
    worker_port: int | None = None
    encrypted: bool = True
    address_probe_timeout: int | None = None
    interchange_launch_cmd: Sequence[str] | None = None
    prefetch_capacity: int | None = None
    max_workers_per_node: int | None = None
    cores_per_worker: float = 1.0
    mem_per_worker: float | None = None
    cpu_affinity: str = "none"
    available_accelerators: Sequence[str] = ()
    drain_period: int | None = None
    worker_logdir_root: str | None = None
    workers_per_rank: int | None = None
    preload: Sequence[str] = ()
    mpi_launcher: str = "auto"
    mpi_launcher_args: str | Sequence[str] | None = None
    loopback_address: str = "127.0.0.1"
    poll_period: int = 10
    manager_selector: ManagerSelector = field(default_factory=RandomManagerSelector)
    remote_monitoring_radio: RadioConfig | None = field(default_factory=FilesystemRadio)
    max_tasks_per_worker: int | None = None
    memory_limit: int | str | None = None
    start_timeout: int | None = None
    min_ranks: int | None = None

    def __post_init__(self) -> None:
        checks.check_heartbeat(self.heartbeat_period, self.heartbeat_threshold)
        for name, least in (
            ("ranks_per_node", 1),
            ("max_workers_per_node", 1),
            ("workers_per_rank", 1),
            ("prefetch_capacity", 0),
            ("drain_period", 1),
            ("address_probe_timeout", 1),
            ("poll_period", 1),
            ("max_tasks_per_worker", 1),
            ("start_timeout", 1),
            ("min_ranks", 1),
        ):
            value = getattr(self, name)
            if value is not None and value < least:
                raise OptionError(f"{name}={value} must be at least {least}")
        if not self.label or len(self.label.split()) > 1 or "/" in self.label:
            raise OptionError(f"label={self.label!r} names a directory and jobs: no spaces, no /")
        for name in ("cores_per_worker", "mem_per_worker"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise OptionError(f"{name}={value} must be above 0")
        for name in ("worker_port_range", "interchange_port_range"):
            value = getattr(self, name)
            if value is not None:
                checks.check_port_range(name, value)
        for port in (*(self.worker_ports or ()), *([self.worker_port] if self.worker_port is not None else [])):
            if not 0 < port < 65536:
                raise OptionError(f"port {port} (worker_port, worker_ports) must be from 1 to 65535")
        checks.check_memory_limit(bytes_of("memory_limit", self.memory_limit))
        launch.launcher_args(self.mpi_launcher_args)
        if self.mpi_launcher not in launch.NAMES:
            raise OptionError(f"mpi_launcher={self.mpi_launcher!r} is none of {', '.join(launch.NAMES)}")
        if type(self.manager_selector) not in FILL_ORDERS:
            raise OptionError(
                f"manager_selector={self.manager_selector!r} is not RandomManagerSelector or BlockIdManagerSelector:"
                " the interchange runs no code of others"
            )
        checks.check_modules("preload", self.preload)
        place.check(self.cpu_affinity)
