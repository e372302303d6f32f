"""The queue of waiting tasks: whole messages, cut where a block's credit ends. Pure; never looks into a payload.

Consecutive small messages are merged. Each message takes more than a kilobyte, and a script that submits no faster than
the interchange reads makes one message for each task.
"""

from __future__ import annotations

import contextlib
from array import array
from bisect import bisect_left, bisect_right, insort
from collections import deque
from collections.abc import Iterable
from itertools import accumulate

from xse.wire import messages as wire
from xse.wire.frames import Frames, joined

FEW = 32  # ids: so many are searched one by one in a message of thousands; more are looked up in a set
SMALL_TASKS, SMALL_BYTES = 32, 4096  # a message up to this size is appended to the one before it,
MOST_TASKS, MOST_BYTES = 1024, 256 << 10  # until the merged message has this size


class Piece:
    """Tasks ``start`` to ``stop`` of one message, all of one run.

    ``at`` is the byte in the message's payload where their arguments begin.
    """

    __slots__ = ("at", "function", "message", "run", "start", "stop")

    def __init__(self, message: Arrived, run: wire.Run, function: int, start: int, stop: int, at: int) -> None:
        self.message = message
        self.run = run
        self.function = function
        self.start = start
        self.stop = stop
        self.at = at

    def __len__(self) -> int:
        return self.stop - self.start

    def ids(self) -> array[int]:
        return self.message.tasks.ids[self.start : self.stop]

    def n_bytes(self) -> int:
        return sum(self.message.tasks.lengths[self.start : self.stop])

    def split(self, n: int) -> tuple[Piece, Piece]:
        """The first n tasks, and the rest."""
        middle = self.start + n
        first = Piece(self.message, self.run, self.function, self.start, middle, self.at)
        rest = Piece(self.message, self.run, self.function, middle, self.stop, self.at + first.n_bytes())
        return first, rest


class Arrived:
    """A TASKS message and its payload."""

    __slots__ = ("_bounds", "_ends", "payload", "tasks")

    def __init__(self, tasks: wire.Tasks, payload: Frames) -> None:
        self.tasks = tasks
        self.payload = payload
        self._ends: list[int] | None = None  # byte where each function ends in the payload; made on demand
        self._bounds: tuple[int, int] | None = None  # lowest and highest id; made on demand, for cancellation

    def function(self, index: int) -> list[memoryview]:
        """The bytes of one function of the message."""
        if self._ends is None:
            self._ends = list(accumulate(f.length for f in self.tasks.functions))
        end = self._ends[index]
        return self.payload.cut(end - self.tasks.functions[index].length, end)

    def bounds(self) -> tuple[int, int]:
        """The lowest and the highest id."""
        if self._bounds is None:
            self._bounds = min(self.tasks.ids), max(self.tasks.ids)
        return self._bounds

    def pieces(self) -> list[Piece]:
        """One for each run."""
        tasks = self.tasks
        at = sum([f.length for f in tasks.functions])
        if len(tasks.runs) == 1:
            run = tasks.runs[0]
            return [Piece(self, run, run.function, 0, run.n_tasks, at)]
        pieces = []
        start = 0
        for run in tasks.runs:
            piece = Piece(self, run, run.function, start, start + run.n_tasks, at)
            pieces.append(piece)
            start += run.n_tasks
            at += piece.n_bytes()
        return pieces


class Merged(Arrived):
    """Small messages of one function and the same options, merged. ``add`` until ``close``; read only after
    ``close``."""

    __slots__ = ("_bytes", "is_open")

    def __init__(self, first: Arrived) -> None:
        tasks = first.tasks
        super().__init__(wire.Tasks(tasks.functions, tasks.runs, tasks.ids[:], tasks.lengths[:]), first.payload)
        self._bytes = bytearray().join(first.payload.cut(0, first.payload.length))
        self.is_open = True

    def add(self, other: Arrived) -> bool:
        """Append the tasks of ``other``. Returns False if the merged message would be too large."""
        tasks, payload = other.tasks, other.payload
        if len(self.tasks.ids) + len(tasks.ids) > MOST_TASKS or len(self._bytes) + payload.length > MOST_BYTES:
            return False
        self.tasks.ids.extend(tasks.ids)
        self.tasks.lengths.extend(tasks.lengths)
        for view in payload.cut(tasks.functions[0].length, payload.length):
            self._bytes += view
        return True

    def close(self) -> None:
        self.is_open = False
        self.tasks.runs = (self.tasks.runs[0]._replace(n_tasks=len(self.tasks.ids)),)
        self.payload = Frames([self._bytes])


def _is_small(message: Arrived) -> bool:
    tasks = message.tasks
    return len(tasks.ids) <= SMALL_TASKS and message.payload.length <= SMALL_BYTES and len(tasks.runs) == 1


class Queue:
    """Waiting tasks. Lower priority numbers go first; first come, first served among equals."""

    def __init__(self) -> None:
        self._by_priority: dict[int, deque[Piece]] = {}
        self._priorities: list[int] = []  # sorted; priorities that have pieces
        self._n = 0

    def __len__(self) -> int:
        """Tasks."""
        return self._n

    def check(self) -> None:
        """Raises AssertionError if an invariant does not hold. For tests: it visits every piece."""
        assert self._priorities == sorted(self._by_priority), "each priority with pieces, in order"
        assert all(self._by_priority.values()), "no priority without pieces"
        pieces = [piece for line in self._by_priority.values() for piece in line]
        assert self._n == sum(map(len, pieces)), "the number of waiting tasks"
        assert all(0 <= p.start < p.stop <= len(p.message.tasks.ids) for p in pieces), "no empty piece"
        for line in self._by_priority.values():
            merged = [p.message for p in line if isinstance(p.message, Merged) and p.message.is_open]
            assert merged in ([], [line[-1].message]), "only the last piece of a priority is open"

    def _line(self, priority: int) -> deque[Piece]:
        line = self._by_priority.get(priority)
        if line is None:
            line = self._by_priority[priority] = deque()
            insort(self._priorities, priority)
        return line

    def add(self, message: Arrived) -> None:
        """Put tasks at the end of their priority."""
        self._n += len(message.tasks.ids)
        if self._n > len(message.tasks.ids) and self._merge(message):
            return
        for piece in message.pieces():
            line = self._line(piece.run.priority)
            if line:
                _close(line[-1])
            line.append(piece)

    def _merge(self, message: Arrived) -> bool:
        """Merge the message into the one before it, if both are small and alike. Returns whether it did."""
        run = message.tasks.runs[0]
        line = self._by_priority.get(run.priority)
        if not line or not _is_small(message):
            return False
        last = line[-1]
        before = last.message
        if before.tasks.functions != message.tasks.functions or not _same_run(last.run, run):
            return False
        if not (isinstance(before, Merged) and before.is_open):
            if not _is_small(before) or len(last) < len(before.tasks.ids):
                return False
            before = last.message = Merged(before)
        if not before.add(message):
            return False
        last.stop = len(before.tasks.ids)
        return True

    def give_back(self, message: Arrived) -> None:
        """Put tasks at the front of their priority: they have waited before."""
        for piece in reversed(message.pieces()):
            self._line(piece.run.priority).appendleft(piece)
        self._n += len(message.tasks.ids)

    def take(self, n: int) -> list[Piece]:
        """Take the next ``n`` tasks, or as many as there are."""
        taken: list[Piece] = []
        while n and self._priorities:
            line = self._by_priority[self._priorities[0]]
            piece = line.popleft()
            _close(piece)
            if len(piece) > n:
                piece, rest = piece.split(n)
                line.appendleft(rest)
            if not line:
                del self._by_priority[self._priorities.pop(0)]
            taken.append(piece)
            n -= len(piece)
            self._n -= len(piece)
        return taken

    def n_before(self, task_id: int) -> int | None:
        """How many tasks are given out before this one; None: it is not here. Asks each piece."""
        n = 0
        for priority in self._priorities:
            line = self._by_priority[priority]
            _close(line[-1])
            for piece in line:
                low, high = piece.message.bounds()
                if low <= task_id <= high:
                    for position in _positions(piece, [task_id]):
                        return n + position - piece.start
                n += len(piece)
        return None

    def remove(self, ids: Iterable[int]) -> list[int]:
        """Remove tasks by id, wherever they wait. Returns the ids that were found. Visits each piece once."""
        wanted = sorted(set(ids))
        removed: list[int] = []
        for priority in list(self._priorities):
            line = self._by_priority[priority]
            _close(line[-1])
            for i in range(len(line) - 1, -1, -1):
                low, high = line[i].message.bounds()
                here = wanted[bisect_left(wanted, low) : bisect_right(wanted, high)]
                positions = _positions(line[i], here) if here else []
                if positions:
                    removed += [line[i].message.tasks.ids[position] for position in positions]
                    left = _without(line[i], positions)
                    del line[i]
                    for piece in reversed(left):
                        line.insert(i, piece)
            if not line:
                del self._by_priority[priority]
                self._priorities.remove(priority)
        self._n -= len(removed)
        return removed


def _close(piece: Piece) -> None:
    """Close a merged message before it is read. Only the last piece of a priority can be open."""
    if isinstance(piece.message, Merged) and piece.message.is_open:
        piece.message.close()


def _positions(piece: Piece, wanted: list[int]) -> list[int]:
    """The positions in the message of those of the ``wanted`` ids that the piece has."""
    ids = piece.message.tasks.ids
    if len(wanted) > FEW:
        among = set(wanted)
        return [i for i in range(piece.start, piece.stop) if ids[i] in among]
    positions = []
    for task_id in wanted:
        with contextlib.suppress(ValueError):
            positions.append(ids.index(task_id, piece.start, piece.stop))
    return sorted(positions)


def _without(piece: Piece, positions: list[int]) -> list[Piece]:
    """What remains of the piece without the tasks at these positions."""
    left = []
    for position in positions:
        if position > piece.start:
            before, piece = piece.split(position - piece.start)
            left.append(before)
        if len(piece) == 1:
            return left
        _, piece = piece.split(1)
    return [*left, piece]


def to_message(pieces: list[Piece]) -> tuple[wire.Tasks, list[wire.Buffer]]:
    """One TASKS message of these pieces: each function once, the payload in few frames."""
    if len(pieces) == 1 and len(pieces[0]) == len(pieces[0].message.tasks.ids):  # unchanged
        message = pieces[0].message
        return message.tasks, joined(message.payload.cut(0, message.payload.length))
    index: dict[tuple[bytes, int], int] = {}
    functions: list[wire.Function] = []
    parts: list[wire.Buffer] = []
    for piece in pieces:
        function = piece.message.tasks.functions[piece.function]
        key = (function.digest, function.length)
        if key not in index:
            index[key] = len(functions)
            functions.append(function)
            parts += piece.message.function(piece.function)
    runs: list[wire.Run] = []
    ids, lengths = array("Q"), array("I")
    for piece in pieces:
        tasks, run = piece.message.tasks, piece.run
        function = tasks.functions[piece.function]
        here = wire.Run(index[function.digest, function.length], len(piece), run.priority, run.timeout_ms, run.codec)
        if runs and _same_run(runs[-1], here):
            last = runs.pop()
            here = wire.Run(last.function, last.n_tasks + len(piece), last.priority, last.timeout_ms, last.codec)
        runs.append(here)
        ids += piece.ids()
        lengths += tasks.lengths[piece.start : piece.stop]
        parts += piece.message.payload.cut(piece.at, piece.at + piece.n_bytes())
    return wire.Tasks(tuple(functions), tuple(runs), ids, lengths), joined(parts)


def _same_run(a: wire.Run, b: wire.Run) -> bool:
    return (a.function, a.priority, a.timeout_ms, a.codec) == (b.function, b.priority, b.timeout_ms, b.codec)
