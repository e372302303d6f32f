"""ExtremeScaleExecutor: Parsl over MPI. The only file, beside ``parsl_codec``, that imports Parsl."""

from __future__ import annotations

import base64
import concurrent.futures
import importlib.metadata
import logging
import math
import os
import shlex
import shutil
import sys
import threading
import urllib.parse
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import typeguard
from parsl.executors.errors import BadStateException, InvalidResourceSpecification, ScalingFailed
from parsl.executors.high_throughput.executor import HighThroughputExecutor
from parsl.executors.high_throughput.manager_selector import (
    BlockIdManagerSelector,
    ManagerSelector,
    RandomManagerSelector,
)
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import TERMINAL_STATES, JobState, JobStatus
from parsl.launchers import (
    AprunLauncher,
    JsrunLauncher,
    MpiExecLauncher,
    MpiRunLauncher,
    SimpleLauncher,
    SrunLauncher,
    SrunMPILauncher,
    WrappedLauncher,
)
from parsl.launchers.base import Launcher
from parsl.monitoring.message_type import MessageType
from parsl.monitoring.radios.base import RadioConfig
from parsl.monitoring.radios.filesystem import FilesystemRadio
from parsl.providers import LocalProvider
from parsl.providers.base import ExecutionProvider
from parsl.usage_tracking.api import UsageInformation
from parsl.utils import RepresentationMixin
from parsl.version import VERSION as PARSL_VERSION

from xse import errors, launch
from xse.client.client import Client
from xse.client.config import interchange_config
from xse.client.failures import another, error_of
from xse.client.future import Future
from xse.functions import payload, script
from xse.launch import addresses, checks
from xse.launch.checks import MOST_TIMEOUT_S
from xse.launch.keys import BlockKeys, ServerKeys, new_block_keys, new_server_keys
from xse.launch.options import PoolOptions, accelerators_of, bytes_of
from xse.launch.scratch import make_scratch
from xse.live.status import Status, status_of
from xse.parsl import codec as parsl_codec
from xse.parsl import errors as parsl_errors
from xse.parsl import monitoring
from xse.parsl.launch_template import fill
from xse.parsl.local_jobs import ended_within
from xse.record.place import free_path
from xse.wire import commands
from xse.worker import place

logger = logging.getLogger("parsl.executors.xse")  # so that it is in parsl.log

#: Fields: see ``ExtremeScaleExecutor._fields``. The connect file holds the address, the keys and the pool's options.
DEFAULT_LAUNCH_CMD = "{mpiexec} {xse_pool} --connect {connect}"

#: How the interchange fills blocks, for each of Parsl's selectors.
FILL_ORDERS: dict[type[ManagerSelector], str] = {
    RandomManagerSelector: "even",  # in equal shares, which is what chance comes to
    BlockIdManagerSelector: "block_id",
}

#: Launchers that run a command once a block.
ONCE = (SimpleLauncher, WrappedLauncher)

#: What mpi_launcher="auto" is where the provider has one of Parsl's launchers of MPI.
MEANT: dict[type[Launcher], str] = {
    SrunLauncher: "srun",
    SrunMPILauncher: "srun",
    MpiExecLauncher: "mpiexec",
    MpiRunLauncher: "mpiexec",
    AprunLauncher: "aprun",
    JsrunLauncher: "jsrun",
}

#: The scheduler of each provider, by the provider's label.
SCHEDULERS = {"slurm": "Slurm", "pbspro": "PBS", "torque": "PBS", "LSF": "LSF", "grid_engine": "Grid Engine"}

START_TIMEOUT_S = 120.0  # for the interchange to listen
REQUEST_TIMEOUT_S = 30.0  # for the interchange to answer
GRACE_MS, STOP_S = 1000, 1.0  # for what runs in a block that is scaled in, as after a signal; for the block to end then


class ExtremeScaleExecutor(BlockProviderExecutor, RepresentationMixin, UsageInformation):
    """Runs Parsl's tasks over MPI: one MPI job a block, one connection a block, workers forked on each node.

    Positional arguments are those of Parsl 1.2.0's executor of this name; keyword-only ones those of today's
    HighThroughputExecutor, with the same meaning, and our own. docs/guide/options.md describes each.
    """

    @typeguard.typechecked
    def __init__(
        self,
        label: str = "ExtremeScaleExecutor",
        provider: ExecutionProvider | None = None,
        launch_cmd: str | None = None,
        address: str | None = None,
        worker_ports: tuple[int, int] | None = None,
        worker_port_range: tuple[int, int] | None = (54000, 55000),
        interchange_port_range: tuple[int, int] | None = (55000, 56000),
        storage_access: list[Any] | None = None,
        working_dir: str | None = None,
        worker_debug: bool = False,
        ranks_per_node: int = 1,
        heartbeat_threshold: int = 120,
        heartbeat_period: int = 30,
        managed: bool = True,
        *,
        worker_port: int | None = None,
        encrypted: bool = True,
        address_probe_timeout: int | None = None,
        interchange_launch_cmd: Sequence[str] | None = None,
        prefetch_capacity: int | None = None,
        max_workers_per_node: int | None = None,
        cores_per_worker: float = 1.0,
        mem_per_worker: float | None = None,
        cpu_affinity: str = "none",
        available_accelerators: int | Sequence[str] = (),
        drain_period: int | None = None,
        worker_logdir_root: str | None = None,
        block_error_handler: bool | Callable[[BlockProviderExecutor, dict[str, JobStatus]], None] = True,
        workers_per_rank: int | None = None,
        preload: Sequence[str] = (),
        mpi_launcher: str = "auto",
        mpi_launcher_args: str | Sequence[str] | None = None,
        loopback_address: str = "127.0.0.1",
        poll_period: int = 10,
        manager_selector: ManagerSelector | None = None,
        remote_monitoring_radio: RadioConfig | None = None,
        max_tasks_per_worker: int | None = None,
        memory_limit: int | str | None = None,
        start_timeout: int | None = None,
        min_ranks: int | None = None,
    ) -> None:
        super().__init__(
            provider=provider or LocalProvider(launcher=SimpleLauncher()), block_error_handler=block_error_handler
        )
        self.label = label
        self.launch_cmd = launch_cmd or DEFAULT_LAUNCH_CMD
        self.address = address
        self.worker_ports = worker_ports
        self.worker_port = worker_port
        self.worker_port_range = worker_port_range
        self.interchange_port_range = interchange_port_range
        self.storage_access = storage_access
        self.working_dir = working_dir
        self.worker_debug = worker_debug
        self.ranks_per_node = ranks_per_node
        self.heartbeat_threshold = heartbeat_threshold
        self.heartbeat_period = heartbeat_period
        self.managed = managed
        self.encrypted = encrypted
        self.address_probe_timeout = address_probe_timeout
        self.interchange_launch_cmd = interchange_launch_cmd
        self.prefetch_capacity = prefetch_capacity
        self.max_workers_per_node = max_workers_per_node
        self.cores_per_worker = cores_per_worker
        self.mem_per_worker = mem_per_worker
        self.cpu_affinity = cpu_affinity
        self.available_accelerators = accelerators_of(available_accelerators)
        self.drain_period = drain_period
        self.worker_logdir_root = worker_logdir_root
        self.workers_per_rank = workers_per_rank
        self.preload = preload
        self.mpi_launcher = mpi_launcher
        self.mpi_launcher_args = mpi_launcher_args
        self.loopback_address = loopback_address
        self.poll_period = poll_period
        self.manager_selector = manager_selector or RandomManagerSelector()
        self.remote_monitoring_radio = remote_monitoring_radio or FilesystemRadio()
        self.max_tasks_per_worker = max_tasks_per_worker
        self.memory_limit = memory_limit
        self.start_timeout = start_timeout
        self.min_ranks = min_ranks
        self.run_dir = "."
        self._check()
        self._client: Client | None = None
        self._scratch = ""
        self.record = ""  # of the run, once it has started
        self._ports: list[int] = []
        self._keys: ServerKeys | None = None
        self._addresses: list[str] = []
        self._listening = threading.Event()
        self._cannot_listen: str | None = None
        self.hub_address: str | None = None  # of old: Parsl's monitoring finds its own way now
        self.hub_port: int | None = None
        self._connected: dict[str, commands.BlockUp] = {}  # every block that ever was
        self._lost_ranks: dict[str, list[str]] = {}  # why ranks of a block have failed
        self._reasons: dict[str, str] = {}  # why a block ended; the job of a lost one may still run
        self._overrides = ""  # words for the launcher, from the provider's own
        self._scaled_in: set[str] = set()  # blocks whose jobs were cancelled, whether their status says so yet or not
        self._shut = False

    def _check(self) -> None:
        """Raises OptionError, a ValueError."""
        if not 0 < self.heartbeat_period < self.heartbeat_threshold:
            raise errors.OptionError(
                f"heartbeat_period={self.heartbeat_period} must be above 0 and below"
                f" heartbeat_threshold={self.heartbeat_threshold}"
            )
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
                raise errors.OptionError(f"{name}={value} must be at least {least}")
        if not self.label or len(self.label.split()) > 1 or "/" in self.label:
            raise errors.OptionError(f"label={self.label!r} names a directory and jobs: no spaces, no /")
        for name in ("cores_per_worker", "mem_per_worker"):
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise errors.OptionError(f"{name}={value} must be above 0")
        for name in ("worker_port_range", "interchange_port_range"):
            value = getattr(self, name)
            if value is not None and not 0 < value[0] < value[1] <= 65536:
                raise errors.OptionError(f"{name}={value} must be (low, high) with 0 < low < high <= 65536")
        for port in (*(self.worker_ports or ()), *([self.worker_port] if self.worker_port is not None else [])):
            if not 0 < port < 65536:
                raise errors.OptionError(f"port {port} (worker_port, worker_ports) must be from 1 to 65535")
        checks.check_memory_limit(bytes_of("memory_limit", self.memory_limit))
        launch.launcher_args(self.mpi_launcher_args)
        if self.mpi_launcher not in launch.NAMES:
            raise errors.OptionError(f"mpi_launcher={self.mpi_launcher!r} is none of {', '.join(launch.NAMES)}")
        if type(self.manager_selector) not in FILL_ORDERS:
            raise errors.OptionError(
                f"manager_selector={self.manager_selector!r} is not RandomManagerSelector or BlockIdManagerSelector:"
                " the interchange runs no code of others"
            )
        if isinstance(self.preload, str):
            raise errors.OptionError(f"preload must be a sequence of module names, not the text {self.preload!r}")
        place.check(self.cpu_affinity)

    # ---- life

    @property
    def logdir(self) -> str:
        """Where this executor's files go."""
        return os.path.join(self.run_dir, self.label)

    @property
    def worker_logdir(self) -> str:
        """Where the logs of blocks go."""
        return os.path.join(self.worker_logdir_root or self.run_dir, self.label)

    def start(self) -> None:
        """Start the interchange. Blocks are launched by Parsl's strategy, or by hand with ``managed=False``."""
        if self._client is not None:
            return
        super().start()
        self._use_a_launcher_that_runs_once()
        self._check_paths()
        self._blocks_dir = os.path.abspath(os.path.join(self.logdir, "blocks"))
        try:
            os.makedirs(self.logdir, exist_ok=True)
            os.makedirs(self._blocks_dir, mode=0o700, exist_ok=True)
        except OSError as e:
            raise errors.LaunchError(
                f"{self.label}: blocks find the executor by files in {self._blocks_dir}, which cannot be made"
                f" ({e.strerror}): give Config(run_dir=...) on a disk that takes them"
            ) from None
        self._scratch = make_scratch()
        self.record = free_path(os.path.abspath(os.path.join(self.logdir, "record.xse")))
        self._keys = new_server_keys() if self.encrypted else None
        self._addresses = [self.address] if self.address else addresses.of_this_host()
        config = interchange_config(
            run_id=self.run_id or "",
            scratch=self._scratch,
            about={"executor": "ExtremeScaleExecutor", "label": self.label},
            heartbeat_period_s=self.heartbeat_period,
            heartbeat_threshold_s=self.heartbeat_threshold,
            addresses=self._addresses,
            ports=self._asked_ports(),
            port_range=list(self.worker_port_range or (54000, 55000)),
            server_key=self._keys.server_key if self._keys else "",
            server_secret=self._keys.server_secret if self._keys else "",
            fill_order=FILL_ORDERS[type(self.manager_selector)],
            log_dir=os.path.abspath(self.logdir),
            log_config=self._pickled_log_config(),
            scratch_dirs=[self._scratch],
            setup=base64.b64encode(payload.Functions().setup(None, ())).decode(),
            debug=self.worker_debug,
            record_path=self.record,
        )
        self._client = Client(
            load=parsl_codec.load_result,
            on_event=self._on_event,
            make_error=partial(error_of, worker_lost=parsl_errors.WorkerLost, manager_lost=parsl_errors.ManagerLost),
            name=self.label,
        )
        self._client.start(config, self.interchange_launch_cmd)
        self._wait_until_listening()
        self.initialize_scaling()
        if not self.managed:
            connect = self._write_connect_file(None)
            logger.info("managed=False: start blocks with: %s", self._command(None))
            logger.info("the connect file for blocks that are started by hand is %s", connect)

    def _pickled_log_config(self) -> str:
        """Of Config(initialize_logging=...), where the user gave one: the interchange's log is written by it."""
        return base64.b64encode(payload.dumps(self.log_config)).decode() if self.log_config else ""

    def _use_a_launcher_that_runs_once(self) -> None:
        """Replace the provider's launcher: the block's line starts MPI itself, and Parsl's other launchers would run it
        once for each node or core. What the replaced launcher says is kept: which launcher the site has, and its
        ``overrides``."""
        current = getattr(self.provider, "launcher", None)
        if current is None or isinstance(current, ONCE):
            return
        if self.mpi_launcher == "auto":
            self.mpi_launcher = next((name for kind, name in MEANT.items() if isinstance(current, kind)), "auto")
        self._overrides = getattr(current, "overrides", "")
        if not isinstance(self.provider, LocalProvider):
            logger.warning(
                "launcher_replaced was=%r by=SimpleLauncher, for the launch command starts MPI itself", current
            )
        self.provider.launcher = SimpleLauncher()  # type: ignore[union-attr]

    def _check_paths(self) -> None:
        directory = os.path.abspath(getattr(self.provider, "script_dir", None) or self.run_dir)
        if isinstance(self.provider, LocalProvider) and len(directory.split()) > 1:
            raise errors.LaunchError(
                f"Parsl's LocalProvider runs no script in a directory whose path has a space: {directory!r}. Give"
                " Config(run_dir=...) without one"
            )

    @property
    def status_polling_interval(self) -> int:
        """Seconds; 0: Parsl launches no blocks and asks for none."""
        return super().status_polling_interval if self.managed else 0

    def _asked_ports(self) -> list[int]:
        if self.worker_port is not None:
            return [self.worker_port]
        if self.worker_ports is not None:  # one connection is enough; the second is opened for a template that asks
            return list(self.worker_ports) if "{result_url}" in self.launch_cmd else [self.worker_ports[0]]
        return []

    def _wait_until_listening(self) -> None:
        assert self._client
        deadline = START_TIMEOUT_S
        while not self._listening.wait(min(0.1, deadline)):
            deadline -= 0.1
            if self._client.broken or deadline <= 0:
                break
        problem = self._client.broken or (None if self._listening.is_set() else "it did not answer in time")
        if problem or self._cannot_listen:
            reason = self._cannot_listen or str(problem)
            self.shutdown()
            raise errors.LaunchError(f"{self.label}: the interchange does not start: {reason}")

    def initialize_scaling(self) -> None:
        """Find what the launch command needs; without it no block could ever start. Raises LaunchError."""
        command = self._command("0" if self.managed else None)
        logger.debug("Launch command: %s", command)

    def shutdown(self, hub: bool = True, targets: Any = "all", block: bool = False, timeout: float = 10.0) -> None:
        """End the interchange and whatever blocks there still are, within ``timeout`` seconds. May be called again, and
        before ``start``. The first three arguments are of old, and change nothing."""
        del hub, targets, block
        if self._shut or self._client is None:
            return
        self._shut = True
        logger.info("shutdown label=%s", self.label)
        self._client.close(timeout)
        shutil.rmtree(self._scratch, ignore_errors=True)
        super().shutdown()

    # ---- blocks

    def _on_event(self, event: commands.Event) -> None:
        match event:
            case commands.Listening():
                self._ports = event.ports
                self._listening.set()
            case commands.CannotListen():
                self._cannot_listen = event.reason
                self._listening.set()
            case commands.BlockUp():
                self._connected[event.block_id] = event
                self._tell_nodes(event, active=True)
            case commands.RankLost():
                self._lost_ranks.setdefault(event.block_id, []).append(event.reason)
                logger.warning("rank_lost block=%s reason=%r: the block goes on", event.block_id, event.reason)
            case commands.BlockDown():
                self._reasons[event.block_id] = event.reason
                if event.block_id in self._connected:
                    self._tell_nodes(self._connected[event.block_id], active=False)
                logger.info(
                    "block_down block=%s code=%d lost=%d reason=%r",
                    event.block_id,
                    event.code,
                    event.n_lost,
                    event.reason,
                )

    def _tell_nodes(self, block: commands.BlockUp, active: bool) -> None:
        if self.submit_monitoring_radio:
            for record in monitoring.node_records(block, run_id=self.run_id or "", active=active):
                self.submit_monitoring_radio.send((MessageType.NODE_INFO, record))

    def _offers(self) -> list[str]:
        """Where a pool may find the interchange."""
        return launch.endpoints_of(self._scratch, self._addresses, self._ports)

    def _pool_options(self, block_id: str | None) -> PoolOptions:
        return PoolOptions(
            workers_per_rank=self.workers_per_rank or 0,
            cores_per_worker=self.cores_per_worker,
            mem_per_worker=self.mem_per_worker or 0.0,
            max_workers_per_node=self.max_workers_per_node or 0,
            accelerators=tuple(self.available_accelerators),
            affinity=self.cpu_affinity,
            environment=self._record_path(block_id),
            launcher_variables=(
                launch.VARIABLES if self.launch_cmd != DEFAULT_LAUNCH_CMD else (*launch.VARIABLES, *launch.PATHS)
            ),
            prefetch=-1 if self.prefetch_capacity is None else self.prefetch_capacity,
            python=sys.executable,
            libzmq=launch.find_libzmq(),
            preload=("xse.parsl.codec", *self.preload),
            path=script.search_path(),
            python_flags=script.python_flags(),
            working_dir=os.path.abspath(self.working_dir) if self.working_dir else "",
            log_dir=os.path.abspath(self.worker_logdir),
            probe_timeout=self.address_probe_timeout or 30,
            drain_after=self.drain_period or 0,
            max_tasks_per_worker=self.max_tasks_per_worker or 0,
            memory_limit=bytes_of("memory_limit", self.memory_limit),
            start_timeout=self.start_timeout or 0,
            min_ranks=self.min_ranks or 0,
            debug=self.worker_debug,
        )

    def _connect_path(self, block_id: str | None) -> str:
        name = "pool.connect" if block_id is None else f"block-{block_id}.connect"
        return os.path.join(self._blocks_dir, name)

    def _record_path(self, block_id: str | None) -> str:
        """Where the block's script records its environment; pools that are started by hand record none."""
        return "" if block_id is None else os.path.join(self._blocks_dir, f"block-{block_id}.environment")

    def _write_connect_file(self, block_id: str | None) -> str:
        path = self._connect_path(block_id)
        launch.write_connect_file(
            path,
            run=self.run_id or "",
            block=block_id or "",
            endpoints=self._offers(),
            keys=self._new_keys(block_id),
            options=self._pool_options(block_id),
        )
        return path

    def _new_keys(self, block_id: str | None) -> BlockKeys | None:
        """The block's own, known to the interchange before the pool comes with it; blocks started by hand share one."""
        if self._keys is None:
            return None
        keys = new_block_keys(self._keys)
        self._ask(commands.Admit(block_id or "", keys.public_key))
        return keys

    def _fields(self, block_id: str | None) -> dict[str, object]:
        """What a launch command may name. The first ten are those of Parsl 1.2.0, and block_id."""
        connect = self._connect_path(block_id)
        url = "file://" + urllib.parse.quote(connect)
        nodes = getattr(self.provider, "nodes_per_block", 1) or 1
        fields: dict[str, object] = {
            "debug": "--debug" if self.worker_debug else "",
            "task_url": url,
            "result_url": url,
            "ranks_per_node": self.ranks_per_node,
            "nodes_per_block": nodes,
            "heartbeat_period": self.heartbeat_period,
            "heartbeat_threshold": self.heartbeat_threshold,
            "logdir": os.path.abspath(self.worker_logdir),
            "cores_per_worker": self.cores_per_worker,
            "block_id": block_id or "",
            "connect": shlex.quote(connect),
            "python": shlex.quote(sys.executable),
        }
        if "{xse_pool}" in self.launch_cmd or "{mpiexec}" in self.launch_cmd:
            pool = launch.find_pool()
            fields["xse_pool"] = shlex.quote(pool.path)
            if "{mpiexec}" in self.launch_cmd:
                layout = launch.Layout(nodes, self.ranks_per_node)
                line = self._launcher(pool, layout)
                fields["mpiexec"] = line
        return fields

    def _launcher(self, pool: launch.Executable, layout: launch.Layout) -> str:
        """The beginning of the block's line, for a shell. The user's words come last and win. A text of theirs
        stays as it is: it may name variables of the job."""
        scheduler = SCHEDULERS.get(str(getattr(self.provider, "label", "")))
        choice = launch.choose(self.mpi_launcher, pool, scheduler)
        args = self.mpi_launcher_args
        users = args if isinstance(args, str) else shlex.join(args or ())
        line = (shlex.join(choice.words(layout)), choice.launcher.script, self._overrides, users)
        return " ".join(part for part in line if part)

    def _command(self, block_id: str | None) -> str:
        return fill(self.launch_cmd, self._fields(block_id))

    def _get_launch_command(self, block_id: str) -> str:
        if not self.managed:
            raise ScalingFailed(self, "managed=False: blocks are started by hand")
        self._write_connect_file(block_id)
        return launch.in_a_script(self._record_path(block_id)) + self._command(block_id)

    def status(self) -> dict[str, JobStatus]:
        """Of each block; one that ended and never connected is MISSING, with the reason as far as it is known."""
        status: dict[str, JobStatus] = super().status()
        for block_id, job in status.items():
            lost = self._lost_ranks.get(block_id)
            if lost and job.message is None and not job.terminal:
                job.message = f"{len(lost)} ranks have failed, and the block goes on without them: {'; '.join(lost)}"
            if not job.terminal or job.state == JobState.SCALED_IN:
                continue
            reason = self._reasons.get(block_id)
            if block_id not in self._connected:
                job.state = JobState.MISSING
                reason = (
                    "the block ended before its pool connected to the executor; its stdout and stderr (in the"
                    " submit_scripts directory) say why"
                )
            if job.message is None and reason:
                job.message = reason
        return status

    # ---- tasks

    def submit(
        self, func: Callable[..., Any], resource_specification: dict[str, Any], *args: Any, **kwargs: Any
    ) -> Future[Any]:
        """Run ``func(*args, **kwargs)`` in a worker. ``resource_specification``: ``priority`` (lower goes first) and
        ``timeout`` (seconds that it may run; then its worker is killed, and it fails with TaskTimeout)."""
        self.validate_resource_spec(resource_specification)
        priority = resource_specification.get("priority", 0)
        timeout_ms = math.ceil(resource_specification.get("timeout", 0) * 1000)
        if self._client is None:
            raise RuntimeError(f"{self.label} has not been started")
        if self.bad_state_is_set:
            raise another(self.executor_exception or errors.BrokenPool("the executor is in a bad state"))
        try:
            function, data = parsl_codec.dump_function(func), parsl_codec.dump_arguments(args, kwargs)
        except errors.PayloadTooLarge:
            raise
        except Exception as e:
            name = payload.name_of(func)
            raise parsl_errors.SerializationError(name, f"{name} or its arguments cannot be serialized: {e!r}") from e
        return self._client.submit(function, data, priority=priority, timeout_ms=timeout_ms)

    def validate_resource_spec(self, resource_specification: dict[str, Any]) -> None:
        """Raises Parsl's InvalidResourceSpecification for what ``submit`` would not take."""
        unknown = set(resource_specification) - {"priority", "timeout"}
        if unknown:
            raise InvalidResourceSpecification(unknown, f"{self.label} takes these: priority, timeout")
        priority = resource_specification.get("priority", 0)
        if not isinstance(priority, int) or not -(2**31) <= priority < 2**31:
            raise InvalidResourceSpecification({"priority"}, f"priority is a whole number, not {priority!r}")
        timeout = resource_specification.get("timeout", 0)
        if not isinstance(timeout, (int, float)) or not 0 <= timeout <= MOST_TIMEOUT_S:
            raise InvalidResourceSpecification({"timeout"}, f"timeout is in seconds, 0 for none, not {timeout!r}")

    def submit_payload(self, context: dict[str, Any], buffer: bytes) -> Future[Any]:
        """Have the function that ``context["task_executor"]`` names (``f``: its full import path) called in a worker
        with ``buffer``, and with that entry's ``a`` and ``k``; by default Parsl's ``execute_task``. As
        HighThroughputExecutor.submit_payload."""
        call = context.get("task_executor", {})
        name = call.get("f", "parsl.executors.execute_task.execute_task")
        return self.submit(
            parsl_codec.execute_payload,
            context.get("resource_spec", {}),
            name,
            buffer,
            tuple(call.get("a", ())),
            dict(call.get("k", {})),
        )

    def outstanding(self) -> int:
        """Tasks that have been submitted and not answered."""
        return self._client.n_open if self._client else 0

    @property
    def tasks(self) -> dict[object, concurrent.futures.Future[Any]]:
        """Open futures by task id."""
        return self._client.futures if self._client else {}  # type: ignore[return-value]

    # ---- what Parsl asks about blocks

    @property
    def workers_per_node(self) -> int | float:
        """Of a block that is connected, the true number; before, what the configuration says; at least 1."""
        for block in reversed(self._connected.values()):
            return max(1, sum(block.n_workers) // max(1, len(set(block.hosts))))
        if self.workers_per_rank:
            return self.workers_per_rank * self.ranks_per_node
        limits: list[float] = [self.max_workers_per_node] if self.max_workers_per_node else []
        cores = getattr(self.provider, "cores_per_node", None)
        if cores is None and not limits and isinstance(self.provider, LocalProvider):
            cores = len(os.sched_getaffinity(0))
        if cores is not None:
            limits.append(cores // self.cores_per_worker)
        memory = getattr(self.provider, "mem_per_node", None)
        if memory is not None and self.mem_per_worker:
            limits.append(memory // self.mem_per_worker)
        if self.available_accelerators:
            limits.append(len(self.available_accelerators))
        return max(1, int(min(limits, default=1)))

    def run_status(self) -> Status:
        """What the executor and its workers do at this moment. (``status`` is Parsl's: the state of each job.) Raises
        BrokenPool when nothing can run any more."""
        reply = self._ask(commands.Status())
        return status_of(reply, len(self._client.futures) if self._client else None)

    def _ask(self, request: commands.Request) -> Any:
        """Raises InterchangeLost, or TimeoutError: never hangs."""
        if self._client is None:
            raise RuntimeError(f"{self.label} has not been started")
        return self._client.request(request).result(REQUEST_TIMEOUT_S)

    def connected_managers(self) -> list[dict[str, Any]]:
        """One entry for each connected block, with the keys of HighThroughputExecutor's, and its hosts and ranks."""
        status: commands.StatusReply = self._ask(commands.Status())
        return [
            {
                "manager": block.pool_id,
                "block_id": block.block_id,
                "worker_count": block.n_workers,
                "tasks": block.n_tasks,
                "idle_duration": block.idle_s,
                "active": not block.held,
                "parsl_version": PARSL_VERSION,
                "python_version": block.python_version,
                "draining": block.draining,
                "hosts": list(dict.fromkeys(block.hosts)),
                "ranks": len(block.hosts),
                "lost_ranks": block.lost,
            }
            for block in status.blocks
        ]

    def connected_managers_packages(self) -> dict[str, dict[str, str]]:
        """Versions of Python packages by name, for each connected block's pool. A pool runs in this script's own
        environment, so these are what is installed here."""
        packages = {d.metadata["Name"]: d.version for d in importlib.metadata.distributions()}
        return {manager["manager"]: packages for manager in self.connected_managers()}

    def connected_blocks(self) -> list[str]:
        """Ids of all blocks that ever connected."""
        return list(self._connected)

    @property
    def connected_workers(self) -> int:
        """Workers that are connected now."""
        return sum(m["worker_count"] for m in self.connected_managers())

    def hold_worker(self, worker_id: str) -> None:
        """No more tasks to this block (by its id, or its manager's); what runs there ends normally."""
        self._ask(commands.Hold(worker_id))

    def scale_out(self, blocks: int = 1) -> list[str]:
        """Launch so many blocks more. Returns their ids."""
        return self.scale_out_facade(blocks)

    def scale_in(
        self,
        blocks: int = 1,
        block_ids: Sequence[str] = (),
        force: bool = True,
        max_idletime: float | None = None,
    ) -> list[str]:
        """End blocks: these, or the idlest. With ``force=False`` or ``max_idletime`` (seconds) only idle ones. Returns
        the ids of those that were ended."""
        idle: dict[str, tuple[float, int]] = {
            block_id: (float("inf"), 0)  # not connected: not yet, or lost
            for block_id, s in self._status.items()
            if s.state not in TERMINAL_STATES and block_id not in self._scaled_in
        }
        for manager in self.connected_managers():
            if manager["active"]:
                idle[manager["block_id"]] = (manager["idle_duration"], manager["tasks"])
        if block_ids:
            chosen = [b for b in block_ids if b in self.blocks_to_job_id]
        else:
            order = sorted(idle, key=lambda b: (idle[b][1] > 0, -idle[b][0], idle[b][1]))
            if max_idletime is not None or not force:
                order = [b for b in order if idle[b][1] == 0 and idle[b][0] >= (max_idletime or 0.0)]
            chosen = order[:blocks]
        for block_id in chosen:
            self.hold_worker(block_id)
        ended = self._ended_in_order(chosen)
        jobs = [self.blocks_to_job_id[b] for b in chosen if b in self.blocks_to_job_id and b not in ended]
        assert self.provider
        cancelled = self._filter_scale_in_ids(jobs, self.provider.cancel(jobs)) if jobs else []
        ended += [self.job_ids_to_block[job] for job in cancelled]
        self._scaled_in.update(ended)
        return ended

    def _ended_in_order(self, block_ids: Sequence[str]) -> list[str]:
        """Those that end when they are asked to. On this host that is quicker than to cancel their jobs: Open MPI's
        mpiexec takes two seconds to end when it gets a signal."""
        if not isinstance(self.provider, LocalProvider):
            return []
        jobs = {b: self.provider.resources[job] for b, job in self.blocks_to_job_id.items() if b in block_ids}
        pids = {b: job["remote_pid"] for b, job in jobs.items() if self._ask(commands.Stop(b, GRACE_MS)).found}
        return ended_within(pids, GRACE_MS / 1000 + STOP_S)

    # ---- bad state

    @property
    def bad_state_is_set(self) -> bool:
        """Can nothing run any more?"""
        return super().bad_state_is_set or bool(self._client and self._client.broken and not self._shut)

    @property
    def executor_exception(self) -> Exception | None:
        """Why nothing can run any more."""
        return self._executor_exception or (self._client.broken if self._client else None)

    def set_bad_state_and_fail_all(self, exception: Exception) -> None:
        """Nothing can run any more: every open future fails with this, and every later submit."""
        logger.error("bad_state label=%s reason=%r", self.label, exception)
        self._executor_exception = exception
        self._executor_bad_state.set()
        if self._client:
            self._client.fail_all(BadStateException(self, exception))

    @property
    def scaling_enabled(self) -> bool:
        return self.managed

    @property
    def error_management_enabled(self) -> bool:
        return True

    def get_usage_information(self) -> dict[str, Any]:
        """For Parsl's usage tracking."""
        return {"mpi": True}


# So that strategy='htex_auto_scale' scales us in when idle (parsl/jobs/strategy.py).
HighThroughputExecutor.register(ExtremeScaleExecutor)
