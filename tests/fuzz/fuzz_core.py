"""Messages from hostile pools to the interchange, in any order, good ones and others: each task that was submitted gets
at most one answer, and is waiting or answered when all pools are gone."""

from __future__ import annotations

import logging
import sys
from array import array

import atheris

with atheris.instrument_imports(include=["xse.interchange.core", "xse.interchange.queue"]):
    from xse.interchange import core

from tests.fuzz.feed import Feed
from xse.interchange.loop import Interchange
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames

PEERS = ("a", "b", "c")


class World:
    """The core behind the interchange's own way of handing it messages, and what the client was told."""

    def __init__(self, fill_order: str) -> None:
        self.now = 0.0
        self.core = core.Core(
            xse_version="1",
            python_version="3.11.7",
            heartbeat_period=30.0,
            heartbeat_threshold=120.0,
            fill_order=fill_order,
        )
        self.interchange = Interchange.__new__(Interchange)  # no sockets: _take alone is used
        self.interchange._core = self.core
        self.next_id = 100
        self.answered: set[int] = set()

    def settle(self) -> None:
        for effect in self.core.settle(self.now):
            if isinstance(effect, (core.ToClient, core.ToBlock)):
                length = sum(map(len, effect.payload))
                message = wire.decode(effect.head, length)  # whatever came, what leaves is right
                if isinstance(effect, core.ToClient) and isinstance(message, wire.Results):
                    self.reported(message)

    def reported(self, results: wire.Results) -> None:
        for task_id in results.ids:
            assert 100 <= task_id < self.next_id, f"{task_id} was never submitted"
            assert task_id not in self.answered, f"{task_id} is answered twice"
            self.answered.add(task_id)

    def hear(self, peer: str, message: wire.Message, payload: Frames) -> None:
        try:
            self.interchange._take(peer, message, payload)
        except wire.WireError:  # as loop._bad
            self.core.on_lost(peer, "it sent bytes that are no message")

    def end(self) -> None:
        """All pools go; what waits is cancelled."""
        for peer in PEERS:
            self.core.on_lost(peer, "gone")
        self.settle()
        self.core.on_cancel(wire.Cancel(array("Q", range(100, self.next_id))))
        self.settle()
        assert len(self.answered) == self.next_id - 100, "tasks without an answer"


def some_ids(feed: Feed, world: World) -> array[int]:
    first = max(0, world.next_id - feed.byte())
    return array("Q", range(first, first + 1 + feed.byte() % 12))


def tasks_of(feed: Feed, ids: array[int]) -> tuple[wire.Tasks, Frames]:
    shape = feed.byte()
    functions = [wire.Function(bytes([shape & 3]) * 16, 3), wire.Function(bytes([shape & 1]) * 16, 2)][: len(ids)]
    runs = [wire.Run(i % len(functions), 1, shape >> i % 8 & 1, shape & 16) for i in range(len(ids))]
    tasks = wire.Tasks(tuple(functions), tuple(runs), ids, array("I", [shape >> 6]) * len(ids))
    return tasks, Frames([bytes(tasks.payload_length())])


def message_of(feed: Feed, world: World, kind: int) -> tuple[wire.Message, Frames]:
    nothing = Frames([])
    match kind % 9:
        case 0:
            node = wire.NodeEntry(0, 1, feed.byte(), 1, 1, "host" * feed.byte())
            name = str(feed.byte() % 3) * (1 + feed.number() % 70000)
            return wire.Register(name, "p", "1", "3.11.2", "MPI", "4", (node,) * (1 + feed.byte())), nothing
        case 1 | 2:
            return wire.Credit(feed.number(), feed.number(), feed.number(), feed.byte() == 1), nothing
        case 3 | 4:
            ids = some_ids(feed, world)
            payload = bytes(feed.byte())
            results = wire.did_not_run(ids, wire.Status(feed.byte() % 8), payload)
            return results, Frames([bytes(results.payload_length())])
        case 5:
            return tasks_of(feed, some_ids(feed, world))
        case 6:
            return wire.Started(some_ids(feed, world)), nothing
        case 7:
            return wire.Bye(wire.ByeCode(feed.byte() % 5), "why" * feed.byte()), nothing
        case _:
            head = feed.bytes(feed.byte())
            return wire.decode(head, int.from_bytes(head[16:24], "little")), nothing


def client_acts(feed: Feed, world: World, op: int) -> None:
    match op % 6:
        case 0 | 1 | 2:
            ids = array("Q", range(world.next_id, world.next_id + 1 + feed.byte() % 12))
            world.next_id += len(ids)
            world.core.on_tasks(*tasks_of(feed, ids))
        case 3:
            ids = array("Q", [i for i in some_ids(feed, world) if i < world.next_id])
            if ids:
                world.core.on_cancel(wire.Cancel(ids, bool(op & 8)))
        case 4:
            world.now += feed.number() / 100
            world.core.on_tick(world.now)
        case _:
            requests = (commands.Status(), commands.Hold("0"), commands.Stop("0"), None)
            request = requests[feed.byte() % len(requests)]
            if request:
                world.core.on_request(world.now, 1, request)


def one_input(data: bytes) -> None:
    feed = Feed(data)
    world = World("even" if feed.byte() & 1 else "block_id")
    while feed:
        op = feed.byte()
        peer = PEERS[op % 3]
        if op < 150:
            try:
                message, payload = message_of(feed, world, op // 3)
            except wire.WireError:
                world.core.on_lost(peer, "it sent bytes that are no message")
            else:
                world.hear(peer, message, payload)
        elif op < 160:
            world.core.on_lost(peer, "its connection has ended")
        elif op < 220:
            client_acts(feed, world, op)
        else:
            world.settle()
    world.settle()
    world.end()


if __name__ == "__main__":
    logging.disable()
    atheris.Setup(sys.argv, one_input)
    atheris.Fuzz()
