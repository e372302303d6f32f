"""Two executors, four blocks, many tasks, and faults in all of it: has each future exactly one answer, and its own?"""

from __future__ import annotations

import os
import random
import shutil
import socket
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import parsl
from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from scripts.soaks import leftovers, plan, tasks
from scripts.soaks.faults import Injector, Link
from scripts.soaks.load import Load
from tests.support import processes
from xse import ExtremeScaleExecutor, PoolExecutor, launch
from xse.client.future import Future

HERE = Path(__file__).parent
TELL_EVERY_S = 10.0
ANSWER_WITHIN_S = 400.0  # after the last fault; what takes longer is taken to hang
GONE_WITHIN_S = 20.0
HEARTBEATS = {"heartbeat_period": plan.HEARTBEAT_PERIOD_S, "heartbeat_threshold": plan.HEARTBEAT_THRESHOLD_S}


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as s:
        port: int = s.getsockname()[1]
        return port


class PoolUnderTest:
    """PoolExecutor with one block, which comes by TCP through the relay."""

    def __init__(self, directory: Path) -> None:
        port = _free_port()
        self.link = Link(port)
        before = launch.launcher("auto", launch.find_pool(), launch.Layout(ranks_per_node=2))
        relay = [sys.executable, str(HERE / "by_relay.py"), str(self.link.port)]
        self.executor = PoolExecutor(
            4,
            ranks=2,
            launch_cmd=" ".join([*relay, *before]),
            address="127.0.0.1",
            run_dir=str(directory / "pool"),
            port_range=(port, port + 1),
            **HEARTBEATS,
        )

    def submit(self, _timeout_s: float, _priority: int, *arguments: Any) -> Future[Any]:
        return self.executor.submit(tasks.task, *arguments)

    def close(self) -> None:
        self.executor.shutdown(wait=False)
        self.executor._lifetime.end()
        self.link.close()


class ParslUnderTest:
    """ExtremeScaleExecutor with three blocks, kept at that number by Parsl's strategy. Those with an odd number come by
    TCP through the relay, the others by the unix socket."""

    def __init__(self, directory: Path) -> None:
        port = _free_port()
        self.link = Link(port)
        run = "{mpiexec} {xse_pool} --connect {connect}"
        relay = f"{{python}} {HERE / 'by_relay.py'} {self.link.port}"
        self.executor = ExtremeScaleExecutor(
            label="soak",
            provider=LocalProvider(launcher=SimpleLauncher(), init_blocks=3, min_blocks=3, max_blocks=3),
            launch_cmd=f"if [ $(({{block_id}} % 2)) = 1 ]; then {relay} {run}; else {run}; fi",
            address="127.0.0.1",
            worker_port=port,
            ranks_per_node=2,
            workers_per_rank=1,
            block_error_handler=False,  # that many lost blocks are what is tried
            **HEARTBEATS,
        )
        run_dir = str(directory / "parsl")
        self._dfk = parsl.load(
            Config(executors=[self.executor], run_dir=run_dir, strategy_period=0.5, initialize_logging=False)
        )

    def submit(self, timeout_s: float, priority: int, *arguments: Any) -> Future[Any]:
        resources = {"timeout": timeout_s, "priority": priority}
        return self.executor.submit(tasks.task, resources, *arguments)

    def close(self) -> None:
        self._dfk.cleanup()
        self.link.close()


def run(*, seed: int, n_tasks: int, minutes: float, mpi: tuple[str, str], say: Callable[[str], None]) -> bool:
    """Until ``n_tasks`` are done, or, if that is 0, for so many minutes. False: something was wrong."""
    name, os.environ["XSE_POOL"] = mpi
    say(f"seed {seed}, {name}")
    random.seed(seed)
    leftovers.adopt_orphans()
    directory = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp"))
    os.environ["TMPDIR"] = os.environ["XDG_RUNTIME_DIR"] = tempfile.tempdir = str(directory)
    start = time.monotonic()
    pool, with_parsl = PoolUnderTest(directory), ParslUnderTest(directory)
    loads = [
        Load("PoolExecutor", seed, directory / "tasks-of-pool", pool.submit, has_timeouts=False),
        Load("ExtremeScaleExecutor", seed, directory / "tasks-of-parsl", with_parsl.submit, has_timeouts=True),
    ]
    for load in loads:
        load.start()
    links = pool.link, with_parsl.link
    injector = Injector(plan.faults(seed), links, fragile=lambda block: "/pool/" in block)

    def reported() -> str:
        done = ", ".join(f"{load.name} {load.n_done:,}" for load in loads)
        hits = ", ".join(f"{n} {kind}" for kind, n in sorted(injector.done.items()))
        return f"{time.monotonic() - start:5.0f} s  {done} done; {hits}"

    try:
        tell_at = start
        while sum(load.n_submitted for load in loads) < n_tasks if n_tasks else time.monotonic() - start < 60 * minutes:
            time.sleep(0.05)
            if time.monotonic() >= tell_at:
                say(reported())
                tell_at += TELL_EVERY_S
    except KeyboardInterrupt:
        say("interrupted: no more tasks; the verdict on those there were follows")
    finally:  # nothing stays stopped, however this ends
        for load in loads:
            load.stop_submitting()
        injector.stop()
    for load in loads:
        load.wait(ANSWER_WITHIN_S)
    say(reported())
    bad = [] if loads[0].n_done and loads[1].n_done else ["nothing was done"]
    answered = [load.n_done == load.n_submitted for load in loads]
    for each in (with_parsl, pool):
        each.close()
    bad += [f"{load.name}: not all futures had an answer" for load, a in zip(loads, answered, strict=True) if not a]
    bad += _left(directory)
    for load in loads:
        bad += load.verdict()
        say(str(load))
    n_faults = injector.done.total()
    if bad:
        say("\n".join(["WRONG:", *bad]))
        say(f"the logs are in {directory}; again with --seed {seed} --mpi {name}")
        return False
    shutil.rmtree(directory)
    say(f"after {n_faults} faults each future had exactly one answer and its own; nothing is left")
    return True


def _left(directory: Path) -> list[str]:
    """Processes, once they have had time to go, and files."""
    deadline = time.monotonic() + GONE_WITHIN_S
    while processes.ours() and time.monotonic() < deadline:
        leftovers.bury_adopted()
        time.sleep(0.05)
    return [f"left running: {p}" for p in processes.ours()] + [f"left: {f}" for f in leftovers.files_left(directory)]
