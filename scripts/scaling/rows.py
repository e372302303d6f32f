"""The experiments. Each gives figures by name; every result is checked by whoever sent the task."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import struct
import tempfile
import threading
import time
from array import array
from collections.abc import Iterator
from concurrent.futures import wait
from dataclasses import asdict
from pathlib import Path
from typing import NamedTuple

from xse import PoolExecutor
from xse.client.client import Client
from xse.functions.payload import Function
from xse.launch.keys import new_block_keys, new_server_keys
from xse.launch.scratch import make_scratch
from xse.wire import commands

from .blocks import Players, Spec
from .pool import SimulatedPool
from .processes import cpu_s, pss_bytes, total_cpu_s
from .source import FUNCTION, Source, configuration

Figures = dict[str, float]


@contextlib.contextmanager
def scratch() -> Iterator[str]:
    directory = make_scratch()
    try:
        yield directory
    finally:
        shutil.rmtree(directory, ignore_errors=True)


def about(mean_s: float, n: int) -> array[int]:
    """Microseconds: even between a half and one and a half of the mean, so that tasks do not end in step."""
    shuffle = random.Random(n)
    return array("Q", [int(mean_s * 1e6 * (0.5 + shuffle.random())) for _ in range(n)])


# ---- simulated workers


def simulated(ranks: int, workers: int, tasks_each: int, task_s: float) -> Figures:
    """Ranks with simulated workers, as one block: tasks a second, and the CPU of each process for a task."""
    n = ranks * workers * tasks_each
    with (
        scratch() as directory,
        Source(configuration(directory), timed=True) as source,
        SimulatedPool(directory, ranks, workers, source.stop) as pool,
    ):
        up_s = source.until_workers(ranks * workers, 600)
        pids = pool.pids()
        if len(pids) != ranks:
            raise AssertionError(f"{len(pids)} ranks, not {ranks}")
        processes = {"source": [os.getpid()], "interchange": [source.process.pid], "rank 0": pids[:1]}
        processes |= {"other ranks": pids[1:]}
        takes = about(task_s, n)
        before = {process: total_cpu_s(pids) for process, pids in processes.items()}
        start = time.monotonic()
        source.submit(takes)
        source.until(source.all_done, 1200)
        elapsed = time.monotonic() - start
        cost = {f"{process}, us/task": (total_cpu_s(p) - before[process]) / n * 1e6 for process, p in processes.items()}
        return {
            "workers": ranks * workers,
            "ranks": ranks,
            "tasks": n,
            "task, s": task_s,
            "tasks/s": n / elapsed,
            "tasks/s if nothing cost anything": min(n / (tasks_each * task_s), ranks * workers / task_s),
            **cost,
            "up, s": up_s,
            "ranks, PSS, MB": sum(map(pss_bytes, pids)) / 1e6,
            "interchange, PSS, MB": pss_bytes(source.process.pid) / 1e6,
        }


# ---- blocks


def blocks(n_blocks: int, n_tasks: int, *, curve: bool, workers: int = 64, task_us: int = 1000) -> Figures:
    """Played blocks of a node each that answer at once and say that tasks take a millisecond: what the interchange
    can do, and what it costs it."""
    server = new_server_keys()
    keys = new_block_keys(server)
    settings: dict[str, object] = {}
    if curve:
        settings = {"addresses": ["127.0.0.1"], "port_range": [54_000, 55_000], **asdict(server)}
    with scratch() as directory, Source(configuration(directory, **settings), timed=False) as source:
        endpoint = f"tcp://127.0.0.1:{source.ports[0]}" if curve else f"unix://{directory}/pools"
        if curve:
            source.admit(keys.public_key)
        spec = Spec(
            endpoint=endpoint,
            first=0,
            n_blocks=n_blocks,
            n_workers=workers,
            capacity=6 * workers,  # as a rank has it for tasks of a millisecond
            task_us=task_us,
            keys=asdict(keys) if curve else {},
        )
        with Players(spec) as players:
            up_s = source.until_workers(n_blocks * workers, 600)
            source.submit(array("Q", bytes(8 * n_blocks * workers)))  # a warm-up: one for each worker
            source.until(source.all_done, 600)
            before, before_players = cpu_s(source.process.pid), total_cpu_s(players.pids())
            start = time.monotonic()
            source.submit(array("Q", bytes(8 * n_tasks)))
            source.until(source.all_done, 1200)
            elapsed = time.monotonic() - start
            cost, played = cpu_s(source.process.pid) - before, total_cpu_s(players.pids()) - before_players
            memory = pss_bytes(source.process.pid)
            source.stop()
        return {
            "blocks": n_blocks,
            "workers": n_blocks * workers,
            "tasks": n_tasks,
            "tasks/s": n_tasks / elapsed,
            "interchange, us/task": cost / n_tasks * 1e6,
            "players, us/task": played / n_tasks * 1e6,
            "tasks/message": sum(s["tasks"] for s in players.seen) / sum(s["messages"] for s in players.seen),
            "fewest tasks of a block": min(s["fewest_tasks"] for s in players.seen),
            "most tasks of a block": max(s["most_tasks"] for s in players.seen),
            "up, s": up_s,
            "interchange, PSS, MB": memory / 1e6,
        }


# ---- the client, with a future for each task


def as_it_came(status: int, data: object) -> tuple[object, None]:
    """In place of unpickling: simulated workers know no Python."""
    return (status, bytes(data)), None  # type: ignore[call-overload]


@contextlib.contextmanager
def client_of(directory: str, **settings: object) -> Iterator[Client]:
    listening = threading.Event()
    client = Client(load=as_it_came, on_event=lambda _: listening.set())
    client.start(configuration(directory, **settings))
    try:
        if not listening.wait(30):
            raise TimeoutError("the interchange does not listen")
        yield client
    finally:
        client.close(10)


def until_workers(client: Client, n: int) -> commands.StatusReply:
    deadline = time.monotonic() + 600
    while time.monotonic() < deadline:
        reply = client.request(commands.Status()).result(60)
        assert isinstance(reply, commands.StatusReply)
        if sum(block.n_workers for block in reply.blocks) >= n:
            return reply
        time.sleep(0.1)
    raise TimeoutError(f"not {n} workers")


def with_futures(ranks: int, workers: int, tasks_each: int, task_s: float) -> Figures:
    """As ``simulated``, but from the executors' own client, which makes a future for each task."""
    n = ranks * workers * tasks_each
    with (
        scratch() as directory,
        client_of(directory) as client,
        SimulatedPool(directory, ranks, workers, lambda: client.close(30)),
    ):
        until_workers(client, ranks * workers)
        data = [struct.pack("<QQ", us, i) for i, us in enumerate(about(task_s, n))]
        function = Function(FUNCTION)
        assert client.interchange_pid
        before = cpu_s(os.getpid())
        start = time.monotonic()
        futures = [client.submit(function, d) for d in data]
        wait(futures)
        elapsed = time.monotonic() - start
        cost = cpu_s(os.getpid()) - before
        wrong = sum(f.result() != (0, d) for f, d in zip(futures, data, strict=True))
        if wrong:
            raise AssertionError(f"{wrong} of {n} results are wrong")
        return {
            "workers": ranks * workers,
            "tasks": n,
            "task, s": task_s,
            "tasks/s": n / elapsed,
            "client, us/task": cost / n * 1e6,
        }


# ---- a long queue


def queue(n: int, period_s: float = 1.0) -> Figures:
    """Tasks pile up before any block is there; then ten blocks take them. ``period_s``: of heartbeats."""
    function = Function(FUNCTION)
    with scratch() as directory, client_of(directory, heartbeat_period_ms=round(period_s * 1000)) as client:
        pid = client.interchange_pid
        assert pid
        data = [struct.pack("<QQ", 0, i) for i in range(n)]
        memory = pss_bytes(os.getpid()), pss_bytes(pid)
        start = time.monotonic()
        futures = [client.submit(function, d) for d in data]
        submitted_s = time.monotonic() - start
        while True:
            reply = client.request(commands.Status()).result(120)
            assert isinstance(reply, commands.StatusReply)
            if reply.n_queued == n:
                break
            time.sleep(0.05)
        queued_s = time.monotonic() - start
        full = pss_bytes(os.getpid()), pss_bytes(pid)
        spec = Spec(
            endpoint=f"unix://{directory}/pools", first=0, n_blocks=10, n_workers=64, capacity=64 * 6, task_us=1000
        )
        progress = [Moment(time.monotonic(), n - client.n_open, cpu_s(os.getpid()), cpu_s(pid))]
        with Players(spec) as players:
            while progress[-1].n_done < n:
                time.sleep(0.005)
                progress.append(Moment(time.monotonic(), n - client.n_open, cpu_s(os.getpid()), cpu_s(pid)))
            client.close(30)
        wrong = sum(f.result() != (0, d) for f, d in zip(futures, data, strict=True))
        if wrong:
            raise AssertionError(f"{wrong} of {n} results are wrong")
        return {
            "tasks": n,
            "client, bytes/task": (full[0] - memory[0]) / n,
            "interchange, bytes/task": (full[1] - memory[1]) / n,
            "submit, tasks/s": n / submitted_s,
            "into the queue, tasks/s": n / queued_s,
            **both_ends(progress, n),
            "heartbeat period, s": period_s,
            "longest silence of the interchange, s": max(s["longest_silence_s"] for s in players.seen),
        }


def queue_for_workers(n: int) -> Figures:
    """Tasks pile up while both workers of a PoolExecutor are busy; then these take them, to the last."""
    with tempfile.TemporaryDirectory() as directory, PoolExecutor(2) as pool:
        go = Path(directory) / "go"
        if pool.submit(abs, -1).result(60) != 1:
            raise AssertionError("the first result is wrong")
        busy = [pool.submit(wait_for, go) for _ in range(2)]
        start = time.monotonic()
        futures = [pool.submit(double, i) for i in range(n)]
        submitted_s = time.monotonic() - start
        client, pid = pool._client, pool._client.interchange_pid
        assert pid
        progress = [Moment(time.monotonic(), n - client.n_open, cpu_s(os.getpid()), cpu_s(pid))]
        go.touch()
        while progress[-1].n_done < n:
            time.sleep(0.005)
            progress.append(Moment(time.monotonic(), n - client.n_open, cpu_s(os.getpid()), cpu_s(pid)))
        if any(f.result() != 2 * i for i, f in enumerate(futures)) or not all(f.result() for f in busy):
            raise AssertionError("a result is wrong")
        return {"tasks": n, "submit, tasks/s": n / submitted_s, **both_ends(progress, n)}


def double(x: int) -> int:
    return 2 * x


def wait_for(path: Path) -> bool:
    while not path.exists():
        time.sleep(0.01)
    return True


class Moment(NamedTuple):
    """How far it was when."""

    time: float
    n_done: int
    client_s: float  # CPU so far
    interchange_s: float


def both_ends(progress: list[Moment], n: int) -> Figures:
    """How fast it was with nearly all of n tasks still waiting, and with few."""
    return {
        **{f"at the beginning, {name}": value for name, value in between(progress, n // 10, n * 3 // 10).items()},
        **{f"at the end, {name}": value for name, value in between(progress, n * 7 // 10, n * 9 // 10).items()},
    }


def between(progress: list[Moment], low: int, high: int) -> Figures:
    """From the low-th result, or the last look before it, to the high-th: a look at few may find all of them done."""
    first = [m for m in progress if m.n_done <= low][-1]
    last = next(m for m in progress if m.n_done >= high)
    n = last.n_done - first.n_done
    return {
        "tasks/s": n / (last.time - first.time),
        "client, us/task": (last.client_s - first.client_s) / n * 1e6,
        "interchange, us/task": (last.interchange_s - first.interchange_s) / n * 1e6,
    }
