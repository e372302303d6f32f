"""The interchange's event loop: in which order it handles messages."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import zmq

from tests.unit.test_core import make_results, world_nodes
from tests.unit.test_queue import arrived
from xse.interchange.loop import AT_A_TIME, Interchange
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream, listen_locally


class FakeListener:
    """A TCP listener that has received what the test says."""

    def __init__(self) -> None:
        self.gone: list[bytes] = []
        self.waiting: list[tuple[bytes, zmq.Frame, Frames]] = []

    def say(self, peer: bytes, message: wire.Message) -> None:
        self.waiting.append((peer, zmq.Frame(message.head()), Frames([])))

    def ended(self, at_most: int | None = None) -> Iterator[bytes]:
        while self.gone:
            yield self.gone.pop()

    def receive(self) -> Any:
        return self.waiting.pop(0) if self.waiting else None

    def remember(self, peer: bytes, head: zmq.Frame) -> None:
        pass

    def forget(self, peer: bytes) -> None:
        pass

    def send(self, peer: bytes, parts: Any) -> bool:
        return True


class World:
    """An interchange with one block that came by TCP, and what its executor hears."""

    def __init__(self) -> None:
        ours, theirs = socket.socketpair()
        self.client = Stream(ours)
        config = commands.Config(run_id="r", local_path="", xse_version="1", python_version="3.11.7", parent_pid=0)
        self.interchange = Interchange(config, Stream(theirs))
        self.listener = FakeListener()
        self.listener.say(b"p", wire.Register("0", "pool", "1", "3.11.7", "", "", world_nodes()))
        self.listener.say(b"p", wire.Credit(1000, 1000, 0))
        self.turn()

    def turn(self) -> list[wire.Message | commands.Event]:
        """What is heard of it."""
        self.interchange._from_tcp(self.listener)  # type: ignore[arg-type]
        self.interchange._do(self.interchange._core.settle(0.0))
        heard: list[wire.Message | commands.Event] = []
        for head, payload in self.client.receive():
            message = wire.decode(head, payload.length)
            heard.append(commands.read_event(payload) if isinstance(message, wire.Event) else message)
        return heard

    def submit(self, n: int) -> None:
        message = arrived(1, n)
        self.interchange._core.on_tasks(message.tasks, message.payload)
        self.turn()


def statuses(messages: list[wire.Message | commands.Event]) -> list[int]:
    return [s for m in messages if isinstance(m, wire.Results) for s in m.statuses]


def test_what_a_pool_said_before_its_connection_ended_counts() -> None:
    world = World()
    world.submit(2)
    world.listener.say(b"p", make_results([1]))
    world.listener.gone.append(b"p")
    assert statuses(world.turn()) == [wire.Status.VALUE, wire.Status.MANAGER_LOST]


def test_also_when_it_said_more_than_is_heard_at_a_time() -> None:
    world = World()
    world.submit(AT_A_TIME + 10)
    for i in range(AT_A_TIME + 10):
        world.listener.say(b"p", make_results([i + 1]))
    world.listener.gone.append(b"p")
    heard = statuses(world.turn()) + statuses(world.turn())
    assert heard == [wire.Status.VALUE] * (AT_A_TIME + 10)


def test_a_pool_that_says_bye_and_goes_has_ended_in_order() -> None:
    world = World()
    world.listener.say(b"p", wire.Bye(wire.ByeCode.ASKED, "", 0))
    world.listener.gone.append(b"p")
    (down,) = [m for m in world.turn() if isinstance(m, commands.BlockDown)]
    assert (down.code, down.reason) == (0, "it was asked to stop")


def test_what_a_block_of_this_host_sent_before_a_status_is_asked_for_counts_for_the_answer(tmp_path: Path) -> None:
    """Its launcher may have ended before the interchange looked at the connection at all."""
    world = World()
    listener = world.interchange._local_listener = listen_locally(str(tmp_path / "pools"))
    listener.setblocking(False)
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as block:
        block.connect(str(tmp_path / "pools"))
        block.sendall(wire.Register("7", "pool", "1", "3.11.7", "", "", world_nodes()).head())
        block.sendall(wire.Bye(wire.ByeCode.FAILED, "no such directory", 0).head())
    data = commands.dumps(commands.Status())
    world.client.send([wire.Request(1, len(data)).head(), data])
    world.interchange._from_client(world.interchange._client.receive())
    world.interchange._do(world.interchange._core.settle(0.0))
    heard = [(wire.decode(head, payload.length), payload) for head, payload in world.client.receive()]
    (reply,) = [commands.read_reply(payload) for message, payload in heard if isinstance(message, wire.Reply)]
    assert isinstance(reply, commands.StatusReply)
    assert "7" in reply.ever_connected
