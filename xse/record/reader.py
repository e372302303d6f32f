"""Reading a record: chunk by chunk, while it is written, and after a crash."""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from xse.record.format import CHUNK, MAGIC, MOST_BODY, Columns, Kind, read_columns
from xse.wire.messages import UINT32_MAX, Status


class RecordError(ValueError):
    """The file is no record, or one of another version."""


class Task(NamedTuple):
    """A task of a run. Times are seconds since the run began; None: that did not happen, or not yet."""

    id: int
    function: str
    outcome: Status | None  # None: it has not ended
    submitted: float | None
    sent: float | None  # to a block, the last time if it came back from one
    started: float | None
    ended: float | None  # in the worker
    answered: float | None  # when the interchange had the result
    block: str | None
    worker: int | None  # its number in the block
    bytes_in: int
    bytes_out: int

    @property
    def seconds(self) -> float | None:
        """How long the task ran."""
        return self.ended - self.started if self.started is not None and self.ended is not None else None


@dataclass
class Block:
    """A block of a run, as far as it was read."""

    number: int
    block_id: str
    hosts: list[str]
    n_workers: list[int]  # one for each rank, as the hosts are
    up: float  # seconds since the run began
    ready: float | None = None  # when its first worker was
    down: float | None = None
    reason: str = ""
    ahead_us: int = 0  # its clock minus ours

    def host_of(self, worker: int) -> str:
        """The host of a worker by its number; "" if there is none."""
        for host, n in zip(self.hosts, self.n_workers, strict=False):
            if worker < n:
                return host
            worker -= n
        return ""


class _Waiting(NamedTuple):
    function: int
    submitted_us: int
    sent_us: int  # 0: waits in the queue
    block: int
    bytes_in: int


@dataclass
class Record:
    """A record that is read from its beginning: ``read_more`` goes as far as it is written, and may be called again.

    ``run``: what is known of the run. ``blocks`` by number, ``functions`` by number, ``failures`` by task id.
    """

    path: str
    run: dict[str, Any] = field(default_factory=dict)
    blocks: dict[int, Block] = field(default_factory=dict)
    functions: dict[int, str] = field(default_factory=dict)
    failures: dict[int, dict[str, Any]] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)
    ended: bool = False  # the run ended in order
    last_us: int = 0  # of what was read last
    _offset: int = 0
    _waiting: dict[int, _Waiting] = field(default_factory=dict)

    def _begun_us(self) -> int:
        return int(self.run.get("time_us", 0))

    def seconds(self, time_us: int) -> float:
        """Seconds since the run began."""
        return (time_us - self._begun_us()) / 1e6

    def unix(self, seconds: float) -> float:
        """The time of day, in seconds since 1970, that is so many seconds after the beginning."""
        return float(self.run.get("unix", 0.0)) + seconds

    def chunks(self) -> Iterator[dict[str, Any] | Columns]:
        """What was written since the last call: an event as a dict, or columns. Ends where the file ends, or is being
        written, or was broken off."""
        with open(self.path, "rb") as file:
            if self._offset == 0:
                magic = file.read(len(MAGIC))
                if magic[:-1] != MAGIC[: len(magic)][: len(MAGIC) - 1]:
                    raise RecordError(f"{self.path} is no record of xse")
                if len(magic) < len(MAGIC):
                    return
                if magic != MAGIC:
                    raise RecordError(f"{self.path} is a record of version {magic[-1]}; this xse reads {MAGIC[-1]}")
                self._offset = len(MAGIC)
            size = os.fstat(file.fileno()).st_size
            while self._offset + CHUNK.size <= size:
                file.seek(self._offset)
                kind, _, _, count, length, crc = CHUNK.unpack(file.read(CHUNK.size))
                if length > MOST_BODY or self._offset + CHUNK.size + length > size:
                    return
                body = file.read(length)
                if zlib.crc32(body) != crc:
                    return
                self._offset += CHUNK.size + length
                if kind == Kind.EVENT:
                    yield json.loads(body)
                elif kind in iter(Kind):
                    yield read_columns(Kind(kind), count, body)
                # what a later minor version adds is passed over

    def read_more(self) -> Iterator[Task]:
        """Tasks that have ended, in that order, as far as the file goes."""
        for chunk in self.chunks():
            if isinstance(chunk, dict):
                self._event(chunk)
                continue
            ids = chunk.items["ids"]
            if chunk.kind == Kind.ENDED:
                yield from self._ended(chunk)
            elif chunk.kind == Kind.SUBMITTED:
                lengths = chunk.items["lengths"]
                i = 0
                for since_us, function, n in chunk.runs:
                    time_us = chunk.time_us + since_us
                    for i in range(i, i + n):  # noqa: B020, goes on where the last run ended
                        self._waiting[ids[i]] = _Waiting(function, time_us, 0, 0, lengths[i])
                    i += 1
            else:
                i = 0
                for since_us, block, n in chunk.runs:
                    time_us = chunk.time_us + since_us if chunk.kind == Kind.SENT else 0
                    for task_id in ids[i : i + n]:
                        task = self._waiting.get(task_id)
                        if task:
                            self._waiting[task_id] = task._replace(sent_us=time_us, block=block)
                    i += n
            if chunk.runs:
                self.last_us = max(self.last_us, chunk.time_us + chunk.runs[-1].since_us)

    def tasks(self) -> Iterator[Task]:
        """All tasks: those that have ended, in that order, and then those that have not."""
        yield from self.read_more()
        yield from self.waiting()

    def waiting(self) -> Iterator[Task]:
        """The tasks that were read and have not ended."""
        for task_id in self._waiting:
            yield self.task(task_id)

    def task(self, task_id: int) -> Task:
        """A task that has not ended. Raises KeyError."""
        t = self._waiting[task_id]
        sent = self.seconds(t.sent_us) if t.sent_us else None
        block = self.blocks[t.block].block_id if t.sent_us and t.block in self.blocks else None
        return Task(task_id, self.name_of(t.function), None, self.seconds(t.submitted_us), sent, None, None, None,
                    block, None, t.bytes_in, 0)  # fmt: skip

    def name_of(self, function: int) -> str:
        """A function's name by its number; "?" if it was not told."""
        return self.functions.get(function, "?")

    def _event(self, event: dict[str, Any]) -> None:
        time_us = event.get("time_us", 0)
        self.last_us = max(self.last_us, time_us)
        match event["event"]:
            case "run":
                self.run = event
            case "function":
                self.functions[event["number"]] = event["name"]
            case "block":
                self.blocks[event["number"]] = Block(
                    event["number"], event["block_id"], event["hosts"], event["n_workers"], self.seconds(time_us)
                )
            case "block_ready":
                self.blocks[event["number"]].ready = self.seconds(time_us)
            case "block_down":
                block = self.blocks[event["number"]]
                block.down, block.reason = self.seconds(time_us), event["reason"]
            case "clock":
                self.blocks[event["number"]].ahead_us = event["ahead_us"]
            case "failure":
                self.failures[event["id"]] = event
            case "end":
                self.ended = True
        if event["event"] not in ("failure", "function", "clock"):
            self.events.append(event)

    def _ended(self, chunk: Columns) -> Iterator[Task]:
        items = chunk.items
        ids, starts, lengths = items["ids"], items["starts"], items["lengths"]
        times, workers, statuses = items["times"], items["workers"], items["statuses"]
        begun_us = self._begun_us()
        i = 0
        for since_us, number, n in chunk.runs:
            block = None if number == UINT32_MAX else self.blocks.get(number)
            ahead_us = block.ahead_us if block else 0
            answered = (chunk.time_us + since_us - begun_us) / 1e6
            for i in range(i, i + n):  # noqa: B020
                w = self._waiting.pop(ids[i], None)
                started = (starts[i] - ahead_us - begun_us) / 1e6 if starts[i] else None
                yield Task(
                    ids[i],
                    self.name_of(w.function) if w else "",
                    Status(statuses[i]),
                    (w.submitted_us - begun_us) / 1e6 if w else None,
                    (w.sent_us - begun_us) / 1e6 if w and w.sent_us else None,
                    started,
                    started + times[i] / 1e6 if started is not None else None,
                    answered,
                    block.block_id if block else None,
                    workers[i] if started is not None else None,
                    w.bytes_in if w else 0,
                    lengths[i],
                )
            i += 1


def open_record(path: str | os.PathLike[str]) -> Record:
    """The record in this file, with nothing read yet. Raises RecordError, or OSError."""
    record = Record(os.fspath(path))
    with open(record.path, "rb") as file:
        if file.read(len(MAGIC) - 1) != MAGIC[:-1]:
            raise RecordError(f"{record.path} is no record of xse")
    return record
