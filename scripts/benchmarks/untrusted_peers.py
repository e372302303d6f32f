"""See scripts/untrusted-peers. Prints a table; decides nothing."""

from __future__ import annotations

import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import psutil
import zmq

from tests.support import untrusted_peers
from tests.support.by_hand import ByHand
from tests.unit import sample

SECONDS = 3.0  # of one measurement
BATCH = 200  # tasks
PAUSE_S = 0.01  # between two connections of the same untrusted peer
CROWD = 10_000


class Rate(NamedTuple):
    tasks: float  # a second
    cpu_us: float  # of the interchange, for a task: what the attack costs it is in there, and what others do is not


def rate(world: ByHand) -> Rate:
    interchange = psutil.Process(world.executor._client.interchange_pid)
    n, start, cpu = 0, time.monotonic(), sum(interchange.cpu_times()[:2])
    while time.monotonic() - start < SECONDS:
        futures = [world.executor.submit(sample.double, {}, i) for i in range(BATCH)]
        assert [f.result(60) for f in futures] == [2 * i for i in range(BATCH)]
        n += BATCH
    return Rate(n / (time.monotonic() - start), (sum(interchange.cpu_times()[:2]) - cpu) * 1e6 / n)


@contextmanager
def again_and_again(attack: Callable[[], None]) -> Iterator[None]:
    over = threading.Event()

    def work() -> None:
        while not over.wait(PAUSE_S):
            attack()

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def rubbish(world: ByHand, data: bytes) -> Any:
    return again_and_again(lambda: untrusted_peers.send_rubbish(world.port, data).close())


def connecting(world: ByHand, context: zmq.Context[Any], dress: Callable[[Any], None]) -> Any:
    """A ZeroMQ client that comes again by itself as often as it is turned away."""
    return closing(untrusted_peers.connect(context, world.endpoint, dress))


@contextmanager
def crowd(world: ByHand) -> Iterator[None]:
    people = untrusted_peers.Crowd(world.port, CROWD)
    try:
        people.wait("open")
        yield
    finally:
        people.end()


def attacks(world: ByHand, context: zmq.Context[Any]) -> dict[str, Callable[[], Any]]:
    server_key = world.fields()["server_key"]
    return {
        "alone": ExitStack,
        "plain ZeroMQ": lambda: connecting(world, context, untrusted_peers.plain),
        "a key that is not of this run": lambda: connecting(world, context, untrusted_peers.key_of_its_own(server_key)),
        "HTTP, 100 a second": lambda: rubbish(world, untrusted_peers.RUBBISH["http"]),
        "random bytes, 100 a second": lambda: rubbish(world, untrusted_peers.RUBBISH["random"]),
        f"{CROWD} that say nothing": lambda: crowd(world),
        "and have just gone, all at once": ExitStack,
    }


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    with tempfile.TemporaryDirectory() as directory:
        world, context = ByHand(Path(directory)), zmq.Context[Any]()
        try:
            world.start_pool()
            rate(world)  # warm
            seen: dict[str, list[Rate]] = {name: [] for name in attacks(world, context)}
            for _ in range(rounds):
                for name, attack in attacks(world, context).items():
                    with attack():
                        seen[name].append(rate(world))
            print(f"| {'while':31} | {'tasks/s':>24} | of alone | {'us of the interchange, a task':>29} |")
            print(f"|{'-' * 33}|{'-' * 25}:|---------:|{'-' * 30}:|")
            alone = statistics.median(r.tasks for r in seen["alone"])
            for name, rates in seen.items():
                tasks, cpu = [r.tasks for r in rates], [r.cpu_us for r in rates]
                middle = statistics.median(tasks)
                spread = f"{middle:,.0f} ({min(tasks):,.0f} to {max(tasks):,.0f})"
                cost = f"{statistics.median(cpu):.1f} ({min(cpu):.1f} to {max(cpu):.1f})"
                print(f"| {name:31} | {spread:>24} | {middle / alone:8.0%} | {cost:>29} |", flush=True)
        finally:
            context.destroy(linger=0)
            world.end()


if __name__ == "__main__":
    main()
