"""Where tasks come from: an executor's end of an interchange that sends columns of tasks and keeps no future for each.

The processes behind it get more tasks than a client could make. Every result is checked: it equals the arguments of its
task, it came once, and (where the workers are simulated) it took the time that was written in it.
"""

from __future__ import annotations

import itertools
import os
import select
import socket
import subprocess
import sys
import time
from array import array
from collections.abc import Callable, Sequence
from hashlib import blake2b
from types import TracebackType

from xse.version import VERSION
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames
from xse.wire.stream import Stream

MOST_TASKS = 4096  # in one message, as a client has it
FUNCTION = b"sim"
DIGEST = blake2b(FUNCTION, digest_size=16).digest()
ARGUMENTS = 16  # bytes: how long it takes (us), and its id


def configuration(directory: str, **changed: object) -> commands.Config:
    """Of an interchange that listens on a unix socket in ``directory``; it ends with this process."""
    settings: dict[str, object] = {
        "run_id": "scale",
        "local_path": f"{directory}/pools",
        "xse_version": VERSION,
        "python_version": ".".join(map(str, sys.version_info[:3])),
        "parent_pid": os.getpid(),
        "log_dir": directory,
        **changed,
    }
    return commands.Config(**settings)  # type: ignore[arg-type]


class Source:
    """One thread; ``until`` lets it work. ``progress``: (time, results so far), a pair for each message."""

    def __init__(self, config: commands.Config, *, timed: bool) -> None:
        """``timed``: workers tell the time that is written in a task as what it took."""
        ours, theirs = socket.socketpair()
        with theirs:
            self.process = subprocess.Popen([sys.executable, "-m", "xse.interchange"], stdin=theirs.fileno())
        self._stream = Stream(ours)
        self._poll = select.poll()
        self._poll.register(ours, select.POLLIN)
        self._timed = timed
        self._takes = array("Q", [0])  # by id, from 1
        self._seen = bytearray(1)  # by id: how many results
        self._numbers = itertools.count(1)
        self._replies: dict[int, commands.Reply] = {}
        self._pending: list[Sequence[wire.Buffer]] = []
        self.events: list[commands.Event] = []
        self.n_done = 0
        self.progress: list[tuple[float, int]] = []
        self._ask(0, config)
        self.until(lambda: bool(self.events), 30)
        if not isinstance(self.events[0], commands.Listening):
            raise RuntimeError(f"the interchange does not listen: {self.events[0]}")
        self.ports = self.events[0].ports

    def __enter__(self) -> Source:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._stream.close()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()

    def admit(self, public_key: str) -> None:
        """Who holds this key may come, as any block."""
        self._request(commands.Admit("", public_key))

    def stop(self) -> None:
        """All blocks, and then the interchange."""
        self._request(commands.Shutdown())

    def _request(self, request: commands.Request) -> None:
        """Returns when it is answered."""
        number = next(self._numbers)
        self._ask(number, request)
        self.until(lambda: number in self._replies, 30)

    # ---- out

    def _ask(self, number: int, request: commands.Request) -> None:
        data = commands.dumps(request)
        self._send([wire.Request(number, len(data)).head(), data])

    def _send(self, parts: Sequence[wire.Buffer]) -> None:
        self._stream.send(parts)
        self._poll.modify(self._stream, select.POLLIN | (0 if self._stream.flush() else select.POLLOUT))

    def submit(self, takes_us: array[int]) -> None:
        """A task for each."""
        first = len(self._takes)
        self._takes += takes_us
        self._seen += bytes(len(takes_us))
        for at in range(0, len(takes_us), MOST_TASKS):
            takes = takes_us[at : at + MOST_TASKS]
            n = len(takes)
            ids = array("Q", range(first + at, first + at + n))
            arguments = array("Q", bytes(ARGUMENTS * n))
            arguments[0::2], arguments[1::2] = takes, ids
            tasks = wire.Tasks(
                (wire.Function(DIGEST, len(FUNCTION)),), (wire.Run(0, n),), ids, array("I", [ARGUMENTS]) * n
            )
            self._send([tasks.head(), FUNCTION, arguments.tobytes()])

    # ---- in

    def until(self, condition: Callable[[], bool], timeout: float) -> None:
        """Work until it is so. Raises TimeoutError."""
        deadline = time.monotonic() + timeout
        while not condition():
            if time.monotonic() > deadline:
                raise TimeoutError(f"not so after {timeout:g} s; {self.n_done} of {len(self._takes) - 1} results")
            for _, events in self._poll.poll(100):
                if events & select.POLLOUT and self._stream.flush():
                    self._poll.modify(self._stream, select.POLLIN)
                if events & ~select.POLLOUT:
                    for head, payload in self._stream.receive():
                        self._take(head, payload)
            if self._stream.ended and self.process.poll() not in (None, 0):
                raise RuntimeError(f"the interchange ended with {self.process.returncode}")

    def _take(self, head: bytes, payload: Frames) -> None:
        match message := wire.decode(head, payload.length):
            case wire.Results():
                self._check(message, payload)
                self.n_done += len(message.ids)
                self.progress.append((time.monotonic(), self.n_done))
            case wire.Event():
                self.events.append(commands.read_event(payload))
            case wire.Reply():
                self._replies[message.number] = commands.read_reply(payload)
            case _:
                raise AssertionError(f"{message.type.name} came from the interchange")

    def _check(self, results: wire.Results, payload: Frames) -> None:
        n, seen, takes = len(results.ids), self._seen, self._takes
        if results.statuses != bytes(n) or results.lengths != array("I", [ARGUMENTS]) * n:
            raise AssertionError(f"a result is no value of ours: statuses {set(results.statuses)}")
        words = array("Q", bytes(payload.one(0, payload.length)))
        took = array("Q", [takes[i] for i in results.ids])
        if words[1::2] != results.ids or words[0::2] != took:
            raise AssertionError("a result is another task's")
        if self._timed and array("Q", results.times) != took:
            raise AssertionError("a task took another time than was written in it")
        for i in results.ids:
            seen[i] += 1

    def all_done(self) -> bool:
        """Raises AssertionError if a task was answered twice."""
        n = len(self._takes) - 1
        if self.n_done >= n and self._seen.count(1) != n:
            raise AssertionError(f"{n - self._seen.count(1)} of {n} tasks were not answered once")
        return self.n_done >= n

    def status(self) -> commands.StatusReply:
        number = next(self._numbers)
        self._ask(number, commands.Status())
        self.until(lambda: number in self._replies, 60)
        reply = self._replies.pop(number)
        assert isinstance(reply, commands.StatusReply)
        return reply

    def until_workers(self, n: int, timeout: float) -> float:
        """Until so many are there. Returns how long it took, in seconds."""
        start = time.monotonic()
        while True:
            asked = time.monotonic()
            if sum(block.n_workers for block in self.status().blocks) >= n:
                return time.monotonic() - start
            if asked - start > timeout:
                raise TimeoutError(f"not {n} workers after {timeout:g} s")
            time.sleep(0.1 + 5 * (time.monotonic() - asked))  # asking is no small thing where there are many blocks
