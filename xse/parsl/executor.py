"""ExtremeScaleExecutor: Parsl over MPI. The only file, beside ``parsl_codec``, that imports Parsl."""

from __future__ import annotations

import base64
import concurrent.futures
import logging
import math
import os
import threading
from collections.abc import Callable, Sequence
from dataclasses import fields
from functools import partial
from typing import Any

import typeguard
from parsl.executors.errors import BadStateException, InvalidResourceSpecification
from parsl.executors.high_throughput.executor import HighThroughputExecutor
from parsl.executors.high_throughput.manager_selector import (
    ManagerSelector,
)
from parsl.executors.status_handling import BlockProviderExecutor
from parsl.jobs.states import JobStatus
from parsl.launchers import (
    SimpleLauncher,
)
from parsl.monitoring.radios.base import RadioConfig
from parsl.providers import LocalProvider
from parsl.providers.base import ExecutionProvider
from parsl.usage_tracking.api import UsageInformation
from parsl.utils import RepresentationMixin

from xse import directories, errors
from xse.client.client import Client
from xse.client.config import interchange_config
from xse.client.failures import another, error_of
from xse.client.future import Future
from xse.functions import payload
from xse.launch import addresses
from xse.launch.checks import MOST_TIMEOUT_S
from xse.launch.keys import new_server_keys
from xse.launch.options import accelerators_of
from xse.launch.scratch import make_scratch
from xse.parsl import codec as parsl_codec
from xse.parsl import errors as parsl_errors
from xse.parsl.options import FILL_ORDERS, Options
from xse.parsl.scaling import Blocks
from xse.record.place import free_path
from xse.wire import commands

logger = logging.getLogger("parsl.executors.xse")  # so that it is in parsl.log

START_TIMEOUT_S = 120.0  # for the interchange to listen


class ExtremeScaleExecutor(Blocks, RepresentationMixin, UsageInformation):
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
        arguments = locals()
        given = {option.name: arguments[option.name] for option in fields(Options)}
        given["available_accelerators"] = accelerators_of(available_accelerators)
        for name in ("launch_cmd", "manager_selector", "remote_monitoring_radio"):
            if not given[name]:
                del given[name]  # the default is made there
        BlockProviderExecutor.__init__(
            self,
            provider=provider or LocalProvider(launcher=SimpleLauncher()),
            block_error_handler=block_error_handler,
        )
        Options.__init__(self, **given)
        self._init_blocks()
        self.run_dir = "."
        self.record = ""  # of the run, once it has started
        self._listening = threading.Event()
        self._cannot_listen: str | None = None
        self.hub_address: str | None = None  # of old: Parsl's monitoring finds its own way now
        self.hub_port: int | None = None
        self._shut = False

    # ---- life

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

    def shutdown(self, hub: bool = True, targets: Any = "all", block: bool = False, timeout: float = 10.0) -> None:
        """End the interchange and whatever blocks there still are, within ``timeout`` seconds. May be called again, and
        before ``start``. The first three arguments are of old, and change nothing."""
        del hub, targets, block
        if self._shut or self._client is None:
            return
        self._shut = True
        logger.info("shutdown label=%s", self.label)
        self._client.close(timeout)
        directories.remove(self._scratch)
        super().shutdown()

    def _on_event(self, event: commands.Event) -> None:
        match event:
            case commands.Listening():
                self._ports = event.ports
                self._listening.set()
            case commands.CannotListen():
                self._cannot_listen = event.reason
                self._listening.set()
            case _:
                self._on_block_event(event)

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
        """Open futures by task id, as they are now."""
        if self._client is None:
            return {}
        return dict(self._client.open_futures().items())

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
