"""What happens in a run, gathered into chunks of a record. No input, no output: its bytes are taken from it.

The interchange tells it of whole messages: each costs a few copies of columns, and nothing is done for a single task.
"""

from __future__ import annotations

import json
from array import array
from collections.abc import Callable, Sequence
from typing import Any

from xse.record.format import COLUMNS, MAGIC, Kind, Run, chunk, columns
from xse.wire import messages as wire

MOST_TASKS = 16_384  # in one chunk
KEEP_US = 1_000_000  # nothing that is told stays in memory for longer
TOGETHER_US = 200  # messages that come within such a time count as having come together
MOST_FUNCTIONS = 100_000  # that are known by their digests
MOST_FAILURES = 10_000  # whose reasons are written; later ones are counted only


class Recorder:
    """``clock`` gives the time, in microseconds, of a clock that never goes back.

    Blocks and functions are numbered in the order in which they come; events say which number is which.
    """

    def __init__(self, clock: Callable[[], int]) -> None:
        self._clock = clock
        self._out: list[bytes] = [MAGIC]
        self._pending = {kind: _Pending(kind) for kind in COLUMNS}
        self._since_us: int | None = None  # of the oldest that is pending
        self._functions: dict[bytes, int] = {}  # digest to number; those that were named last
        self._names: dict[str, int] = {}
        self._n_functions = 0
        self._blocks: dict[str, int] = {}
        self._n_failures = 0

    # ---- events

    def event(self, name: str, /, **fields: Any) -> None:
        """Something that happens seldom: a JSON object of its own."""
        body = json.dumps({"event": name, "time_us": self._clock(), **fields}).encode()
        self._out.append(chunk(Kind.EVENT, 1, body))

    def block_up(self, block_id: str, **fields: Any) -> None:
        """A block has registered. A block id may come again, after its block is down."""
        self._blocks[block_id] = number = len(self._blocks)
        self.event("block", number=number, block_id=block_id, **fields)

    def block_ready(self, block_id: str, **fields: Any) -> None:
        self.event("block_ready", number=self._blocks[block_id], block_id=block_id, **fields)

    def block_down(self, block_id: str, **fields: Any) -> None:
        self.event("block_down", number=self._blocks[block_id], block_id=block_id, **fields)

    def clock(self, block_id: str, ahead_us: int) -> None:
        """What the starts of this block's tasks are ahead of our clock from now on."""
        self._flush(Kind.ENDED)
        self.event("clock", number=self._blocks[block_id], ahead_us=ahead_us)

    def function_named(self, digest: bytes, name: str) -> None:
        """How the function of this digest is called. Functions of one name share a number: to people, a function that
        captures other values each time is one function."""
        if digest in self._functions:  # a task came before its function's name
            self.event("function", number=self._functions[digest], name=name)
            return
        if name not in self._names:
            self._names[name] = self._n_functions
            self._n_functions += 1
            self.event("function", number=self._names[name], name=name)
        self._remember(digest, self._names[name])

    def _remember(self, digest: bytes, number: int) -> None:
        self._functions[digest] = number
        if len(self._functions) > MOST_FUNCTIONS:
            del self._functions[next(iter(self._functions))]

    def failure(self, task_id: int, status: wire.Status, failure: wire.Failure) -> None:
        """Why a task was lost."""
        self._n_failures += 1
        if self._n_failures <= MOST_FAILURES:
            fields = {"host": failure.host, "block_id": failure.block, "reason": failure.detail[-2000:]}
            self.event("failure", id=task_id, status=int(status), exit_code=failure.exit_code, signal=failure.signal,
                       pid=failure.pid, **fields)  # fmt: skip

    # ---- tasks

    def submitted(self, tasks: wire.Tasks) -> None:
        """New tasks have come."""
        pending = self._pending[Kind.SUBMITTED]
        for run in tasks.runs:
            digest = tasks.functions[run.function].digest
            if digest not in self._functions:
                self._remember(digest, self._n_functions)
                self._n_functions += 1
            self._told(pending, self._functions[digest], run.n_tasks)
        pending.columns[0] += tasks.ids
        pending.columns[1] += tasks.lengths
        if len(pending.columns[0]) >= MOST_TASKS:
            self._flush(Kind.SUBMITTED)

    def sent(self, block_id: str, ids: array[int]) -> None:
        self._moved(Kind.SENT, block_id, ids)

    def back(self, block_id: str, ids: array[int]) -> None:
        self._flush(Kind.SENT)  # a task may go back and forth
        self._moved(Kind.BACK, block_id, ids)
        self._flush(Kind.BACK)

    def _moved(self, kind: Kind, block_id: str, ids: array[int]) -> None:
        pending = self._pending[kind]
        self._told(pending, self._blocks[block_id], len(ids))
        pending.columns[0] += ids
        if len(pending.columns[0]) >= MOST_TASKS:
            self._flush(kind)

    def ended(self, block_id: str | None, results: wire.Results) -> None:
        """Results have come from a block; or tasks are answered that never reached one (None)."""
        pending = self._pending[Kind.ENDED]
        number = wire.UINT32_MAX if block_id is None else self._blocks[block_id]
        self._told(pending, number, len(results.ids))
        for column, more in zip(
            pending.columns,
            (results.ids, results.starts, results.lengths, results.times, results.workers),
            strict=False,
        ):
            column += more
        pending.columns[5].frombytes(results.statuses)
        if len(pending.columns[0]) >= MOST_TASKS:
            self._flush(Kind.ENDED)

    def _told(self, pending: _Pending, what: int, n: int) -> None:
        now_us = self._clock()
        if pending.runs:
            last = pending.runs[-1]
            since_us = now_us - pending.time_us
            if last[1] == what and since_us - last[0] < TOGETHER_US:
                last[2] += n
            else:
                pending.runs.append([since_us, what, n])
            return
        pending.time_us = now_us
        pending.runs.append([0, what, n])
        if self._since_us is None:
            self._since_us = now_us

    # ---- bytes

    def _flush(self, kind: Kind) -> None:
        if kind == Kind.ENDED:  # what happened first stands first
            self._flush(Kind.SENT)
        elif kind == Kind.SENT:
            self._flush(Kind.SUBMITTED)
        pending = self._pending[kind]
        if pending.runs:
            runs = [Run(*run) for run in pending.runs]
            self._out.append(columns(kind, pending.time_us, runs, pending.columns))
            self._pending[kind] = _Pending(kind)

    def flush(self) -> None:
        """What is pending becomes bytes."""
        self._flush(Kind.ENDED)
        self._since_us = None

    def end(self) -> None:
        """The run has ended, in order."""
        self.flush()
        self.event("end")

    def take(self) -> Sequence[bytes]:
        """Bytes that are to be written, which may be none."""
        if self._since_us is not None and self._clock() - self._since_us >= KEEP_US:
            self.flush()
        out, self._out = self._out, []
        return out

    def deadline_us(self) -> int | None:
        """When ``take`` wants to be called; None: nothing is pending."""
        return None if self._since_us is None else self._since_us + KEEP_US


class _Pending:
    """Columns that grow."""

    __slots__ = ("columns", "runs", "time_us")

    def __init__(self, kind: Kind) -> None:
        self.columns: list[array[int]] = [array(code) for _, code in COLUMNS[kind]]
        self.runs: list[list[int]] = []
        self.time_us = 0
