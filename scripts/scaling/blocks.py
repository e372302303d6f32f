"""Plays blocks: each a connection of its own to a real interchange, over the real wire, that answers tasks at once.

``python -m scaling.blocks SPEC`` plays until the interchange stops them all, and prints what it saw as JSON. One
process plays many, since a pool of one node each would be too much for one machine.
"""

from __future__ import annotations

import heapq
import json
import os
import select
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from types import TracebackType

import zmq

from xse.version import VERSION
from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream

PACKAGE = Path(__file__).parent
PERIOD_S = 1.0  # how often it is looked whether a heartbeat is due


@dataclass(frozen=True)
class Spec:
    """What is played. Each block says that it has ``n_workers`` and takes ``capacity`` tasks, of ``task_us`` each."""

    endpoint: str  # unix://PATH, or tcp://HOST:PORT
    first: int
    n_blocks: int
    n_workers: int
    capacity: int
    task_us: int = 1
    keys: dict[str, str] = field(default_factory=dict)  # CURVE's; empty: not encrypted


class Local:
    """A connection by a unix socket, as pools of the interchange's host have it."""

    def __init__(self, spec: Spec) -> None:
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(spec.endpoint.removeprefix("unix://"))
        self._stream = Stream(sock)
        self.fd = sock.fileno()

    def send(self, parts: Sequence[wire.Buffer]) -> None:
        if not self._stream.send(parts):
            select.select([], [self.fd], [])
            self._stream.flush()

    def receive(self) -> list[tuple[wire.Buffer, Frames]] | None:
        messages = self._stream.receive()
        return None if self._stream.ended and not messages else list(messages)


class Far:
    """A connection by ZeroMQ over TCP, as blocks on other hosts have it."""

    context: zmq.Context[zmq.Socket[bytes]] | None = None

    def __init__(self, spec: Spec) -> None:
        if Far.context is None:
            Far.context = zmq.Context()
            Far.context.set(zmq.MAX_SOCKETS, 65_536)
        self._socket = Far.context.socket(zmq.DEALER)
        self._socket.linger = 500
        self._socket.sndhwm = self._socket.rcvhwm = 0
        if spec.keys:
            self._socket.curve_serverkey = spec.keys["server_key"].encode()
            self._socket.curve_publickey = spec.keys["public_key"].encode()
            self._socket.curve_secretkey = spec.keys["secret_key"].encode()
        self._socket.connect(spec.endpoint)
        self.fd = int(self._socket.get(zmq.FD))

    def send(self, parts: Sequence[wire.Buffer]) -> None:
        self._socket.send_multipart(parts, zmq.NOBLOCK)

    def receive(self) -> list[tuple[wire.Buffer, Frames]]:
        """All there is: the descriptor tells of it once."""
        messages: list[tuple[wire.Buffer, Frames]] = []
        while int(self._socket.get(zmq.EVENTS)) & zmq.POLLIN:
            head, *frames = self._socket.recv_multipart(zmq.NOBLOCK)
            messages.append((head, Frames(frames)))
        return messages


class Block:
    """One played block."""

    def __init__(self, spec: Spec, number: int) -> None:
        self._spec = spec
        self._connection = Local(spec) if spec.endpoint.startswith("unix://") else Far(spec)
        self.fd = self._connection.fd
        self.over = False
        self.n_tasks = self.n_messages = 0
        self.longest_silence_s = 0.0
        self._heard = self._sent = time.monotonic()
        self._period_s = 0.0
        python = ".".join(map(str, sys.version_info[:3]))
        node = wire.NodeEntry(0, os.getpid(), spec.n_workers, spec.n_workers, 1 << 30, f"node-{number}")
        hello = wire.Register(f"block-{number}", f"{number:012x}", VERSION, python, "played", "played", (node,))
        self._send([hello.head()])

    def _send(self, parts: Sequence[wire.Buffer]) -> None:
        self._connection.send(parts)
        self._sent = time.monotonic()

    def serve(self) -> None:
        """Whatever has come."""
        while messages := self._connection.receive():
            for head, payload in messages:
                self._take(wire.decode(head, payload.length), payload)
        if messages is None:
            self.over = True

    def _take(self, message: wire.Message, payload: Frames) -> None:
        now = time.monotonic()
        if self._period_s:
            self.longest_silence_s = max(self.longest_silence_s, now - self._heard)
        self._heard = now
        match message:
            case wire.Tasks():
                self._answer(message, payload)
            case wire.Welcome():
                self._period_s = message.heartbeat_period_ms / 1000
                credit = wire.Credit(self._spec.capacity, self._spec.n_workers, self._spec.task_us)
                self._send([credit.head()])
            case wire.Recall():
                credit = wire.Credit(self._spec.capacity, self._spec.n_workers, self._spec.task_us)
                self._send([credit.head()])
            case wire.Stop():
                self._send([wire.Bye(wire.ByeCode.ASKED, "").head()])
                self.over = True
            case wire.Refuse():
                raise RuntimeError(f"refused: {message.reason}")

    def _answer(self, tasks: wire.Tasks, payload: Frames) -> None:
        n = len(tasks.ids)
        self.n_tasks += n
        self.n_messages += 1
        functions = sum(f.length for f in tasks.functions)
        results = wire.did_not_run(tasks.ids, wire.Status.VALUE)
        results.lengths = tasks.lengths
        self._send([results.head(), *payload.cut(functions, payload.length)])

    def beat(self, now: float) -> float:
        """Say that it lives, if it has said nothing for long. Returns when to look again."""
        if self._period_s and now - self._sent >= self._period_s / 2:
            self._send([wire.Heartbeat(time.monotonic_ns() // 1000).head()])
        return now + (self._period_s / 2 or PERIOD_S)


def play(spec: Spec) -> dict[str, float]:
    poll = select.epoll()
    blocks: dict[int, Block] = {}
    beats: list[tuple[float, int]] = []
    for number in range(spec.first, spec.first + spec.n_blocks):
        block = Block(spec, number)
        blocks[block.fd] = block
        poll.register(block.fd, select.EPOLLIN)
        heapq.heappush(beats, (time.monotonic() + PERIOD_S, block.fd))
    everyone = list(blocks.values())
    parent = os.getppid()
    while blocks and os.getppid() == parent:  # nobody plays on for a run that was broken off
        ready = [fd for fd, _ in poll.poll(min(PERIOD_S, max(0.0, beats[0][0] - time.monotonic())), 256)]
        while beats and beats[0][0] <= (now := time.monotonic()):
            _, fd = heapq.heappop(beats)
            if fd in blocks:
                heapq.heappush(beats, (blocks[fd].beat(now), fd))
                ready.append(fd)  # a send may have consumed the edge of the descriptor
        for fd in ready:
            if fd not in blocks:
                continue
            blocks[fd].serve()
            if blocks[fd].over:
                poll.unregister(fd)
                del blocks[fd]
    if Far.context is not None:
        Far.context.destroy(linger=2000)
    return {
        "tasks": sum(b.n_tasks for b in everyone),
        "messages": sum(b.n_messages for b in everyone),
        "fewest_tasks": min(b.n_tasks for b in everyone),
        "most_tasks": max(b.n_tasks for b in everyone),
        "longest_silence_s": max(b.longest_silence_s for b in everyone),
    }


class Players:
    """Processes that play blocks, a few thousand each. ``seen`` is what they saw, once they have ended."""

    MOST = 2500  # blocks in a process: two descriptors each

    def __init__(self, spec: Spec) -> None:
        self.seen: list[dict[str, float]] = []
        self.processes = []
        for first in range(spec.first, spec.first + spec.n_blocks, self.MOST):
            part = {**asdict(spec), "first": first, "n_blocks": min(self.MOST, spec.n_blocks - first)}
            self.processes.append(
                subprocess.Popen(
                    [sys.executable, "-m", f"{PACKAGE.name}.blocks", json.dumps(part)],
                    stdout=subprocess.PIPE,
                    text=True,
                    env={**os.environ, "PYTHONPATH": f"{PACKAGE.parent}:{os.environ.get('PYTHONPATH', '')}"},
                )
            )

    def __enter__(self) -> Players:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        for process in self.processes:
            if error is not None:
                process.kill()
            said, _ = process.communicate(timeout=60)
            if said:
                self.seen.append(json.loads(said))

    def pids(self) -> list[int]:
        return [process.pid for process in self.processes]


if __name__ == "__main__":
    print(json.dumps(play(Spec(**json.loads(sys.argv[1])))))
