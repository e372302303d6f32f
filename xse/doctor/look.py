"""The checks of ``xse doctor``. Each looks at this host through the functions that an executor uses."""

from __future__ import annotations

import concurrent.futures
import contextlib
import importlib.metadata
import io
import os
import platform
import queue
import resource
import shutil
import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import xse
from xse import launch
from xse.doctor import facts
from xse.errors import XseError
from xse.functions import segments
from xse.launch import scratch
from xse.pool.executor import PoolExecutor
from xse.version import VERSION

#: The time for one check, except the run of a task: it may wait for a file system that hangs. xse-pool and mpiexec have
#: the time limits of xse/launch.
STEP_TIMEOUT_S = 20.0
ANSWER_TIMEOUT_S = 15.0  # for the task of the run, after start_timeout


@dataclass(frozen=True)
class Wishes:
    """How a block would be started: arguments of PoolExecutor."""

    run: bool = True
    mpi_launcher: str = "auto"
    launch_cmd: str | None = None
    address: str | None = None
    run_dir: str | None = None
    port_range: tuple[int, int] = (54_000, 55_000)
    start_timeout: float = 60.0


def look(wishes: Wishes) -> Iterator[facts.Fact]:
    """Make all checks, in the order in which an executor needs them. Always ends, whatever the host does."""
    yield _interpreter()
    yield from _job()
    pool = _reported("xse-pool", _pool)
    yield pool
    launcher: facts.Fact = facts.LeftOut("launcher", "not looked for without an xse-pool")
    if isinstance(pool, facts.FoundPool):
        found = pool.pool
        launcher = _reported("launcher", lambda: _launcher(wishes, found))
    yield launcher
    yield _in_time("ZeroMQ", _zeromq)
    yield _in_time("sockets", _scratch)
    yield _in_time("memory", _memory)
    yield _descriptors()
    yield _in_time("addresses", _addresses)
    yield _in_time("Parsl", _parsl)
    if not wishes.run:
        yield facts.LeftOut("a task", "not run (--no-run)")
    elif isinstance(launcher, facts.Launcher):
        yield _reported("a task", lambda: _run(wishes))
    else:
        yield facts.LeftOut("a task", "not run: no block can be started")


def _reported(check: str, ask: Callable[[], facts.Fact]) -> facts.Fact:
    """The fact that ``ask`` finds, or the reason of the exception that it raises."""
    try:
        return ask()
    except XseError as e:
        return facts.Wrong(check, str(e))
    except Exception as e:  # a bug of ours, too: the other checks are still made
        return facts.Wrong(check, repr(e))


def _in_time(check: str, ask: Callable[[], facts.Fact]) -> facts.Fact:
    """Make a check in its own thread, and wait for it STEP_TIMEOUT_S at most."""
    answers: queue.SimpleQueue[facts.Fact] = queue.SimpleQueue()
    threading.Thread(target=lambda: answers.put(_reported(check, ask)), name=f"xse-{check}", daemon=True).start()
    try:
        return answers.get(timeout=STEP_TIMEOUT_S)
    except queue.Empty:
        return facts.Wrong(check, f"no answer within {STEP_TIMEOUT_S:g} s: does a file system of this host hang?")


# ---- one check each


def _interpreter() -> facts.Fact:
    return facts.Interpreter(platform.python_version(), sys.executable, VERSION, str(Path(xse.__file__).parent))


def _job() -> Iterator[facts.Fact]:
    environment = os.environ
    if "SLURM_JOB_ID" in environment:
        yield facts.Job("Slurm", environment["SLURM_JOB_ID"], environment.get("SLURM_JOB_NODELIST", ""))
    if "PBS_JOBID" in environment:
        yield facts.Job("PBS", environment["PBS_JOBID"], environment.get("PBS_NODEFILE", ""))


def _pool() -> facts.Fact:
    return facts.FoundPool(launch.find_pool(), VERSION)


def _launcher(wishes: Wishes, pool: launch.Executable) -> facts.Fact:
    if wishes.launch_cmd is not None:
        return facts.Launcher(tuple(launch.words(wishes.launch_cmd)), pool.mpi, users=True)
    return facts.Launcher(tuple(launch.launcher(wishes.mpi_launcher, pool, launch.Layout())), pool.mpi, users=False)


def _zeromq() -> facts.Fact:
    try:
        import zmq
    except ImportError as e:
        return facts.Wrong("ZeroMQ", f"pyzmq cannot be imported ({e}): pip install pyzmq")
    return facts.ZeroMQ(zmq.__version__, zmq.zmq_version(), bool(zmq.has("curve")))


def _scratch() -> facts.Fact:
    directory = scratch.make_scratch()
    os.rmdir(directory)
    parent = os.path.dirname(directory)
    return facts.Scratch(parent, shutil.disk_usage(parent).free)


def _memory() -> facts.Fact:
    directory = segments.make_directory()
    if directory is None:
        return facts.Memory(segments.SHARED_MEMORY, None)
    os.rmdir(directory)
    return facts.Memory(segments.SHARED_MEMORY, shutil.disk_usage(segments.SHARED_MEMORY).free)


def _descriptors() -> facts.Fact:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    return facts.Descriptors(soft, hard, len(os.sched_getaffinity(0)))


def _addresses() -> facts.Fact:
    try:
        from xse.launch.addresses import of_this_host
    except ModuleNotFoundError:
        return facts.Addresses(None)
    return facts.Addresses(tuple(of_this_host()))


def _parsl() -> facts.Fact:
    try:
        version = importlib.metadata.version("parsl")
    except importlib.metadata.PackageNotFoundError:
        return facts.Parsl(None)
    try:
        from xse import ExtremeScaleExecutor
    except Exception as e:
        reason = f"{version} is there, and ExtremeScaleExecutor cannot be imported: {e}. Try pip install 'xse[parsl]'"
        return facts.Wrong("Parsl", reason)
    del ExtremeScaleExecutor
    return facts.Parsl(version)


# ---- run one task


class _OverTcp(PoolExecutor):
    """A PoolExecutor whose block connects by TCP even from this host."""

    @staticmethod
    def _endpoints(scratch: str, hosts: Sequence[str], ports: list[int]) -> list[str]:
        return [e for e in PoolExecutor._endpoints(scratch, hosts, ports) if e.startswith("tcp://")]


def _run(wishes: Wishes) -> facts.Fact:
    """Run one task. What launcher and ranks print is hidden: the exception has the reason of a failure."""
    start = time.monotonic()
    kind = _OverTcp if wishes.address else PoolExecutor
    silence = io.StringIO()
    with contextlib.redirect_stdout(silence), contextlib.redirect_stderr(silence):
        executor = kind(
            1,
            mpi_launcher=wishes.mpi_launcher,
            launch_cmd=wishes.launch_cmd,
            address=wishes.address,
            run_dir=wishes.run_dir,
            port_range=wishes.port_range,
            start_timeout=wishes.start_timeout,
        )
        with executor:
            try:
                host = executor.submit(platform.node).result(wishes.start_timeout + ANSWER_TIMEOUT_S)
            except concurrent.futures.TimeoutError:
                raise XseError("the block came up and did not answer the task") from None
            seconds = time.monotonic() - start
    return facts.Answer(host, seconds, wishes.address, tuple(executor._keeper.lost_ranks))
