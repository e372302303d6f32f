"""The interchange as a process, between an executor and pools that the test plays over the real wire."""

from __future__ import annotations

import contextlib
import select
import signal
import socket
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import zmq

from tests.support.processes import process
from tests.support.waiting import eventually
from xse.version import VERSION
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.stream import Stream

PYTHON = ".".join(map(str, sys.version_info[:3]))


class Executor:
    """Its end of the socket pair. ``messages``: what the interchange has said."""

    def __init__(self, before: str = "", **changed: object) -> None:
        """``before``: a shell command to run in the interchange's process before it."""
        command = f"{before or ':'}; exec {sys.executable} -m xse.interchange"
        ours, theirs = socket.socketpair()
        with theirs:
            self.interchange = subprocess.Popen(["sh", "-c", command], stdin=theirs.fileno())
        self.stream = Stream(ours)
        self.messages: list[tuple[wire.Message, bytes]] = []
        settings = {"run_id": "r", "local_path": "", "xse_version": VERSION, "python_version": PYTHON, "parent_pid": 0}
        self.ask(0, commands.Config(**{**settings, **changed}))  # type: ignore[arg-type]
        self.until(lambda: bool(self.messages), "the interchange listens")
        listening = self.events()[0]
        assert isinstance(listening, commands.Listening), listening
        self.ports = listening.ports

    def ask(self, number: int, request: commands.Request) -> None:
        data = commands.dumps(request)
        self.send([wire.Request(number, len(data)).head(), data])

    def send(self, parts: list[wire.Buffer]) -> None:
        left = self.stream.send(parts)
        while not left:
            select.select([], [self.stream], [])
            left = self.stream.flush()

    def until(self, condition: Callable[[], bool], what: str) -> None:
        def look() -> bool:
            self.messages += [
                (wire.decode(head, payload.length), bytes(payload.one(0, payload.length)))
                for head, payload in self.stream.receive()
            ]
            return condition()

        eventually(look, what)

    def events(self) -> list[commands.Event]:
        return [
            commands.loads(data, commands.Event)  # type: ignore[arg-type]
            for message, data in self.messages
            if isinstance(message, wire.Event)
        ]

    def statuses(self) -> dict[int, int]:
        """Of the results, by id."""
        found: dict[int, int] = {}
        for message, _ in self.messages:
            if isinstance(message, wire.Results):
                found.update(zip(message.ids, message.statuses, strict=True))
        return found


@pytest.fixture
def executor() -> Iterator[Executor]:
    made = Executor(addresses=["127.0.0.1"], port_range=[54_000, 55_000])
    yield made
    made.interchange.kill()
    made.interchange.wait()
    made.stream.close()


def test_what_a_pool_of_another_host_said_before_it_ended_counts(executor: Executor) -> None:
    n = 500  # far more than is read at a time
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    pool = context.socket(zmq.DEALER)
    pool.linger = -1
    pool.connect(f"tcp://127.0.0.1:{executor.ports[0]}")
    node = wire.NodeEntry(0, 1, n, 1, 1, "h")
    pool.send(wire.Register("b", "p", VERSION, PYTHON, "played", "played", (node,)).head())
    assert isinstance(wire.decode(pool.recv(), 0), wire.Welcome)
    assert isinstance(wire.decode(pool.recv(), 0), wire.Heartbeat)
    pool.send(wire.Credit(n, n).head())
    assert isinstance(wire.decode(pool.recv(), 0), wire.Heartbeat)
    ids = array("Q", range(1, n + 1))
    tasks = wire.Tasks((wire.Function(bytes(16), 0),), (wire.Run(0, n),), ids, array("I", bytes(4 * n)))
    executor.send([tasks.head()])
    assert wire.decode(pool.recv(), 0) == tasks

    executor.interchange.send_signal(signal.SIGSTOP)
    eventually(lambda: _is_stopped(executor.interchange.pid), "the interchange is stopped")
    for i in ids:
        pool.send(wire.did_not_run(array("Q", [i]), wire.Status.VALUE).head())
    pool.send(wire.Bye(wire.ByeCode.DRAINED, "").head())
    pool.close()
    context.term()  # all has left
    executor.interchange.send_signal(signal.SIGCONT)

    executor.until(lambda: any(isinstance(e, commands.BlockDown) for e in executor.events()), "the block is down")
    (down,) = [e for e in executor.events() if isinstance(e, commands.BlockDown)]
    assert (down.code, down.n_lost) == (wire.ByeCode.DRAINED, 0)
    assert executor.statuses() == dict.fromkeys(ids, wire.Status.VALUE)


def _is_stopped(pid: int) -> bool:
    found = process(pid)
    return found is not None and found.state == "T"


def test_more_pools_can_connect_than_the_usual_limit_of_descriptors(tmp_path: Path) -> None:
    n = 100
    executor = Executor("ulimit -S -n 64", local_path=f"{tmp_path}/pools")
    with contextlib.ExitStack() as stack:
        stack.callback(executor.interchange.wait)
        stack.callback(executor.stream.close)
        for i in range(n):
            pool = stack.enter_context(socket.socket(socket.AF_UNIX))
            pool.connect(f"{tmp_path}/pools")
            pool.send(
                wire.Register(
                    f"b{i}", "p", VERSION, PYTHON, "played", "played", (wire.NodeEntry(0, 1, 1, 1, 1, "h"),)
                ).head()
            )
        executor.until(lambda: sum(isinstance(e, commands.BlockUp) for e in executor.events()) == n, "all are taken")


def test_the_answer_to_shutdown_comes_however_much_waits_before_it(executor: Executor) -> None:
    n = 5000
    for number in range(1, n):
        executor.ask(number, commands.Status())
    executor.ask(n, commands.Shutdown())
    executor.until(lambda: executor.stream.ended, "the interchange has ended")
    replies = [m.number for m, _ in executor.messages if isinstance(m, wire.Reply)]
    assert replies == list(range(1, n + 1))
