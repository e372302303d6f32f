"""The blocks of an ExtremeScaleExecutor: how each is launched, what Parsl is told of it, and how it is scaled in."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import shlex
import sys
import urllib.parse
from collections.abc import Sequence
from typing import Any

from parsl.executors.errors import ScalingFailed
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
from parsl.providers import LocalProvider
from parsl.version import VERSION as PARSL_VERSION

from xse import errors, launch
from xse.client.client import Client
from xse.functions import script
from xse.launch.keys import BlockKeys, ServerKeys, new_block_keys
from xse.launch.options import PoolOptions, bytes_of
from xse.live.status import Status, status_of
from xse.parsl import monitoring
from xse.parsl.launch_template import fill
from xse.parsl.local_jobs import ended_within
from xse.parsl.options import DEFAULT_LAUNCH_CMD, Options
from xse.wire import commands

logger = logging.getLogger("parsl.executors.xse")  # so that it is in parsl.log

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

REQUEST_TIMEOUT_S = 30.0  # for the interchange to answer
GRACE_MS, STOP_S = 1000, 1.0  # for what runs in a block that is scaled in, as after a signal; for the block to end then


class Blocks(BlockProviderExecutor, Options):
    """The part of the executor that has to do with blocks. ``ExtremeScaleExecutor`` sets ``_client`` and what the
    interchange is reached by, in ``start``."""

    def _init_blocks(self) -> None:
        self._client: Client | None = None
        self._scratch = ""
        self._blocks_dir = ""
        self._ports: list[int] = []
        self._keys: ServerKeys | None = None
        self._addresses: list[str] = []
        self._connected: dict[str, commands.BlockUp] = {}  # every block that ever was
        self._lost_ranks: dict[str, list[str]] = {}  # why ranks of a block have failed
        self._reasons: dict[str, str] = {}  # why a block ended; the job of a lost one may still run
        self._overrides = ""  # words for the launcher, from the provider's own
        self._scaled_in: set[str] = set()  # blocks whose jobs were cancelled, whether their status says so yet or not

    @property
    def logdir(self) -> str:
        """Where this executor's files go."""
        return os.path.join(self.run_dir, self.label)

    @property
    def worker_logdir(self) -> str:
        """Where the logs of blocks go."""
        return os.path.join(self.worker_logdir_root or self.run_dir, self.label)

    @property
    def status_polling_interval(self) -> int:
        """Seconds; 0: Parsl launches no blocks and asks for none."""
        return super().status_polling_interval if self.managed else 0

    def initialize_scaling(self) -> None:
        """Find what the launch command needs; without it no block could ever start. Raises LaunchError."""
        command = self._command("0" if self.managed else None)
        logger.debug("Launch command: %s", command)

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

    # ---- what the interchange tells

    def _on_block_event(self, event: commands.Event) -> None:
        match event:
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
        """Parsl's monitoring. Where it fails, tasks go on."""
        if not self.submit_monitoring_radio:
            return
        try:
            for record in monitoring.node_records(block, run_id=self.run_id or "", active=active):
                self.submit_monitoring_radio.send((MessageType.NODE_INFO, record))
        except Exception:
            logger.exception("monitoring_failed block=%s", block.block_id)

    # ---- how a block is launched

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
        return status_of(reply, self._client.n_open if self._client else None)

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
        jobs = [self.blocks_to_job_id[b] for b in chosen if b in self.blocks_to_job_id]
        ended = self._ended_in_order(chosen)
        assert self.provider
        # Those that have ended, too: Parsl's providers count what they have cancelled.
        cancelled = self._filter_scale_in_ids(jobs, self.provider.cancel(jobs)) if jobs else []
        ended += [block for block in (self.job_ids_to_block[job] for job in cancelled) if block not in ended]
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
