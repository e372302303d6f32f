"""The wire: heads to messages and back, as docs/protocol.md says. No sockets, no pickles.

A *head* is bytes; a *payload* is only ever counted here. ``decode`` turns a head into a frozen message or raises
``WireError``; each message's ``head()`` gives its bytes. Columns of ids and lengths are ``array`` objects, so that a
room can slice and sum thousands of tasks without a loop in Python.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import ClassVar, NamedTuple, TypeAlias

VERSION = 1
MAX_HEAD = 4 << 20  # bytes
MAX_ITEMS = 65_536
MAX_ITEM = 2**31 - 1  # bytes
MAX_PAYLOAD = 2**40  # bytes
MAX_TEXT = 65_536  # bytes
UINT32_MAX = 2**32 - 1

MAGIC = b"xse"
_PREAMBLE = struct.Struct("<3sBBBHIIQ")
PREAMBLE = _PREAMBLE.size  # bytes
_TWO = struct.Struct("<II")
_FOUR = struct.Struct("<IIII")
_FUNCTION = struct.Struct("<16sQ")
_RUN = struct.Struct("<IIiIII")
_NODE = struct.Struct("<IIIIQ")
_FAILURE = struct.Struct("<IIiiQQ")

if sys.byteorder != "little":  # the columns are read in place
    raise ImportError("xse runs on little-endian machines only")

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class Type(IntEnum):
    """What a message is (docs/protocol.md, 2)."""

    TASKS = 1
    RESULTS = 2
    CANCEL = 3
    STARTED = 4
    RECALL = 5
    REGISTER = 16
    WELCOME = 17
    REFUSE = 18
    HEARTBEAT = 19
    CREDIT = 20
    STOP = 21
    BYE = 22
    NODE = 32
    START = 33
    LOG = 34
    REQUEST = 48
    REPLY = 49
    EVENT = 50


class Status(IntEnum):
    """How a task ended (docs/protocol.md, 2.2)."""

    VALUE = 0
    RAISED = 1
    WORKER_LOST = 2
    MANAGER_LOST = 3
    CANCELLED = 4
    TIMEOUT = 5
    TOO_LARGE = 6
    BLOCK_FAILED = 7


class ByeCode(IntEnum):
    """Why a pool ends."""

    ASKED = 0
    FAILED = 1
    SETUP_RAISED = 2
    SIGNAL = 3
    DRAINED = 4


class RefuseCode(IntEnum):
    """Why the interchange does not take a pool."""

    VERSION = 1
    BLOCK = 2
    ENDING = 3
    NOT_UNDERSTOOD = 4


class WireError(ValueError):
    """Bytes that are no message. ``code`` is the name in docs/protocol.md, 1.3."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


def _preamble(kind: Type, count: int, body_length: int, payload_length: int = 0, flags: int = 0) -> bytes:
    return _PREAMBLE.pack(MAGIC, VERSION, kind, flags, 0, _PREAMBLE.size + body_length, count, payload_length)


def _padding(n: int) -> bytes:
    return bytes(-n % 8)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > MAX_TEXT or b"\0" in data:
        raise WireError("TEXT", f"{len(data)} bytes")
    return struct.pack("<I", len(data)) + data + _padding(4 + len(data))


def cut(text: str, most: int) -> str:
    """The beginning of a text that may be long: at most so many bytes of UTF-8."""
    data = text.encode()
    return text if len(data) <= most else data[:most].decode(errors="ignore")


class _Reader:
    """Reads a body field by field; every length from outside goes through here."""

    def __init__(self, body: memoryview) -> None:
        self._body = body
        self._at = 0

    def take(self, n: int) -> memoryview:
        if n > len(self._body) - self._at:
            raise WireError("SHORT", "the body ends inside a field")
        self._at += n
        return self._body[self._at - n : self._at]

    def unpack(self, layout: struct.Struct) -> tuple[int, ...]:
        return layout.unpack(self.take(layout.size))

    def text(self) -> str:
        (n,) = struct.unpack("<I", self.take(4))
        if n > MAX_TEXT:
            raise WireError("TEXT", f"{n} bytes")
        data = bytes(self.take(n))
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise WireError("TEXT", "not UTF-8") from None
        if "\0" in text:
            raise WireError("TEXT", "has a NUL")
        if any(self.take(-(4 + n) % 8)):
            raise WireError("RESERVED", "padding")
        return text

    def rest(self, size: int) -> memoryview:
        """What is left, which has to be so long."""
        if len(self._body) - self._at > size:
            raise WireError("HEAD", "bytes after the body")
        return self.take(size)

    def end(self) -> None:
        if self._at != len(self._body):
            raise WireError("HEAD", "bytes after the body")


class Function(NamedTuple):
    """A function's entry in TASKS: its digest (16 bytes) and the length of its bytes."""

    digest: bytes
    length: int


class Run(NamedTuple):
    """Tasks that follow each other with one function and the same options."""

    function: int
    n_tasks: int
    priority: int = 0
    timeout_ms: int = 0
    codec: int = 0


@dataclass(frozen=True, slots=True)
class Tasks:
    """Many tasks, each function once. Payload: functions, then arguments."""

    functions: tuple[Function, ...]
    runs: tuple[Run, ...]
    ids: array[int]
    lengths: array[int]
    received: Buffer = field(default=b"", compare=False, repr=False)  # the head it was read from
    type: ClassVar[Type] = Type.TASKS

    def payload_length(self) -> int:
        return sum([f.length for f in self.functions]) + sum(self.lengths)

    def head(self) -> bytes:
        if self.received:
            return bytes(self.received)
        n = len(self.ids)
        body = b"".join(
            (
                _TWO.pack(len(self.functions), len(self.runs)),
                *[_FUNCTION.pack(f.digest, f.length) for f in self.functions],
                *[_RUN.pack(r.function, r.n_tasks, r.priority, r.timeout_ms, r.codec, 0) for r in self.runs],
                self.ids.tobytes(),
                self.lengths.tobytes(),
                _padding(4 * n),
            )
        )
        return _preamble(Type.TASKS, n, len(body), self.payload_length()) + body


@dataclass(frozen=True, slots=True)
class Results:
    """Many results. ``times`` are microseconds in the worker, ``statuses`` one byte each (``Status``)."""

    ids: array[int]
    lengths: array[int]
    times: array[int]
    statuses: bytes
    received: Buffer = field(default=b"", compare=False, repr=False)  # the head it was read from
    type: ClassVar[Type] = Type.RESULTS

    def payload_length(self) -> int:
        return sum(self.lengths)

    def head(self) -> bytes:
        if self.received:
            return bytes(self.received)
        n = len(self.ids)
        body = b"".join(
            (self.ids.tobytes(), self.lengths.tobytes(), self.times.tobytes(), self.statuses, _padding(17 * n))
        )
        return _preamble(Type.RESULTS, n, len(body), self.payload_length()) + body


@dataclass(frozen=True, slots=True)
class Cancel:
    """Drop these if they have not started; with ``kill`` end them even if they have."""

    ids: array[int]
    kill: bool = False
    type: ClassVar[Type] = Type.CANCEL

    def head(self) -> bytes:
        return _preamble(Type.CANCEL, len(self.ids), 8 * len(self.ids), flags=self.kill) + self.ids.tobytes()


@dataclass(frozen=True, slots=True)
class Started:
    """These cannot be cancelled: they run."""

    ids: array[int]
    type: ClassVar[Type] = Type.STARTED

    def head(self) -> bytes:
        return _preamble(Type.STARTED, len(self.ids), 8 * len(self.ids)) + self.ids.tobytes()


@dataclass(frozen=True, slots=True)
class Recall:
    """Give back up to ``wanted`` tasks that have not started."""

    wanted: int
    type: ClassVar[Type] = Type.RECALL

    def head(self) -> bytes:
        return _preamble(Type.RECALL, self.wanted, 0)


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One rank of a block. ``memory`` is in bytes."""

    rank: int
    pid: int
    n_workers: int
    n_cores: int
    memory: int
    host: str

    def _pack(self) -> bytes:
        return _NODE.pack(self.rank, self.pid, self.n_workers, self.n_cores, self.memory) + _text(self.host)


def _read_node(r: _Reader) -> NodeEntry:
    rank, pid, n_workers, n_cores, memory = r.unpack(_NODE)
    return NodeEntry(rank, pid, n_workers, n_cores, memory, r.text())


@dataclass(frozen=True, slots=True)
class Register:
    """A block presents itself."""

    block_id: str
    pool_id: str
    xse_version: str
    python_version: str
    mpi: str
    zmq: str
    nodes: tuple[NodeEntry, ...]
    type: ClassVar[Type] = Type.REGISTER

    def head(self) -> bytes:
        texts = (self.block_id, self.pool_id, self.xse_version, self.python_version, self.mpi, self.zmq)
        body = b"".join((*map(_text, texts), *[n._pack() for n in self.nodes]))
        return _preamble(Type.REGISTER, len(self.nodes), len(body)) + body


@dataclass(frozen=True, slots=True)
class Welcome:
    """The block is taken. Payload: the setup, ``setup_length`` bytes."""

    heartbeat_period_ms: int
    heartbeat_threshold_ms: int
    setup_codec: int = 0
    setup_length: int = 0
    type: ClassVar[Type] = Type.WELCOME

    def head(self) -> bytes:
        body = _FOUR.pack(self.heartbeat_period_ms, self.heartbeat_threshold_ms, self.setup_codec, 0)
        return _preamble(Type.WELCOME, 0, len(body), self.setup_length) + body


@dataclass(frozen=True, slots=True)
class Refuse:
    """The block is not taken."""

    code: RefuseCode
    reason: str
    type: ClassVar[Type] = Type.REFUSE

    def head(self) -> bytes:
        body = _text(self.reason)
        return _preamble(Type.REFUSE, self.code, len(body)) + body


@dataclass(frozen=True, slots=True)
class Heartbeat:
    """I live."""

    type: ClassVar[Type] = Type.HEARTBEAT

    def head(self) -> bytes:
        return _preamble(Type.HEARTBEAT, 0, 0)


@dataclass(frozen=True, slots=True)
class Credit:
    """``capacity`` tasks in all may be in flight towards me. ``task_us`` is what they took lately, 0: not known."""

    capacity: int
    n_workers: int
    task_us: int = 0
    draining: bool = False
    type: ClassVar[Type] = Type.CREDIT

    def head(self) -> bytes:
        return _preamble(Type.CREDIT, self.capacity, 8, flags=self.draining) + _TWO.pack(self.n_workers, self.task_us)


@dataclass(frozen=True, slots=True)
class Stop:
    """End. ``now``: kill what runs; else it may take ``grace_ms``."""

    now: bool = False
    grace_ms: int = 0
    type: ClassVar[Type] = Type.STOP

    def head(self) -> bytes:
        return _preamble(Type.STOP, self.grace_ms, 0, flags=self.now)


@dataclass(frozen=True, slots=True)
class Bye:
    """The sender ends. Payload, with SETUP_RAISED: the exception, ``exception_length`` bytes."""

    code: ByeCode
    reason: str
    exception_length: int = 0
    type: ClassVar[Type] = Type.BYE

    def head(self) -> bytes:
        body = _text(self.reason)
        return _preamble(Type.BYE, self.code, len(body), self.exception_length) + body


@dataclass(frozen=True, slots=True)
class Node:
    """A leader presents itself to its manager."""

    node: NodeEntry
    python_version: str
    type: ClassVar[Type] = Type.NODE

    def head(self) -> bytes:
        body = self.node._pack() + _text(self.python_version)
        return _preamble(Type.NODE, 0, len(body)) + body


@dataclass(frozen=True, slots=True)
class Start:
    """A manager tells a leader to start its workers. Payload: the setup."""

    n_leaders: int
    heartbeat_period_ms: int
    heartbeat_threshold_ms: int
    setup_codec: int
    first_worker: int
    block_id: str
    pool_id: str
    setup_length: int = 0
    type: ClassVar[Type] = Type.START

    def head(self) -> bytes:
        body = _FOUR.pack(self.heartbeat_period_ms, self.heartbeat_threshold_ms, self.setup_codec, self.first_worker)
        body += _text(self.block_id) + _text(self.pool_id)
        return _preamble(Type.START, self.n_leaders, len(body), self.setup_length) + body


@dataclass(frozen=True, slots=True)
class Log:
    """A line for the block's log. Levels: 0 debug, 1 info, 2 warning, 3 error."""

    level: int
    line: str
    type: ClassVar[Type] = Type.LOG

    def head(self) -> bytes:
        body = _text(self.line)
        return _preamble(Type.LOG, self.level, len(body)) + body


@dataclass(frozen=True, slots=True)
class Request:
    """A question of the executor; the payload is JSON of ``json_length`` bytes."""

    number: int
    json_length: int
    type: ClassVar[Type] = Type.REQUEST

    def head(self) -> bytes:
        return _preamble(Type.REQUEST, self.number, 0, self.json_length)


@dataclass(frozen=True, slots=True)
class Reply:
    """The answer to the request of that number."""

    number: int
    json_length: int
    type: ClassVar[Type] = Type.REPLY

    def head(self) -> bytes:
        return _preamble(Type.REPLY, self.number, 0, self.json_length)


@dataclass(frozen=True, slots=True)
class Event:
    """Something happened to a block; the payload is JSON."""

    json_length: int
    type: ClassVar[Type] = Type.EVENT

    def head(self) -> bytes:
        return _preamble(Type.EVENT, 0, 0, self.json_length)


Message: TypeAlias = (
    "Tasks | Results | Cancel | Started | Recall | Register | Welcome | Refuse | Heartbeat | Credit | Stop | Bye"
    " | Node | Start | Log | Request | Reply | Event"
)


class _Preamble(NamedTuple):
    flags: int
    n: int  # the field `count`
    payload_length: int
    head: Buffer  # all of it


def _column(code: str, data: memoryview) -> array[int]:
    column = array(code)
    column.frombytes(data)
    return column


def _items_within_limit(longest: int) -> None:
    if longest > MAX_ITEM:
        raise WireError("LENGTH", f"an item of {longest} bytes")


def _read_tasks(p: _Preamble, r: _Reader) -> Tasks:
    n_functions, n_runs = r.unpack(_TWO)
    if not 1 <= n_runs <= p.n or not 1 <= n_functions <= n_runs:
        raise WireError("RANGE", f"{n_functions} functions, {n_runs} runs, {p.n} tasks")
    runs_at = n_functions * _FUNCTION.size
    ids_at = runs_at + n_runs * _RUN.size
    lengths_at = ids_at + 8 * p.n
    end = lengths_at + 4 * p.n
    body = r.rest(end + (-end % 8))
    functions = tuple(map(Function._make, _FUNCTION.iter_unpack(body[:runs_at])))
    runs = []
    n_tasks = 0
    for function, n, priority, timeout_ms, codec, reserved in _RUN.iter_unpack(body[runs_at:ids_at]):
        if function >= n_functions or n == 0 or codec > 255:
            raise WireError("RANGE", f"run of {n} tasks of function {function} in codec {codec}")
        if reserved:
            raise WireError("RESERVED", "in a run")
        n_tasks += n
        runs.append(Run(function, n, priority, timeout_ms, codec))
    if n_tasks != p.n:
        raise WireError("RANGE", f"{n_tasks} tasks in runs, {p.n} in all")
    if any(body[end:]):
        raise WireError("RESERVED", "padding")
    ids, lengths = _column("Q", body[ids_at:lengths_at]), _column("I", body[lengths_at:end])
    tasks = Tasks(functions, tuple(runs), ids, lengths, p.head)
    _items_within_limit(max(max(lengths), *[f.length for f in functions]))
    if tasks.payload_length() != p.payload_length:
        raise WireError("LENGTH", f"items of {tasks.payload_length()} bytes, payload of {p.payload_length}")
    return tasks


def _read_results(p: _Preamble, r: _Reader) -> Results:
    n = p.n
    body = r.rest(17 * n + (-17 * n % 8))
    statuses = bytes(body[16 * n : 17 * n])
    if max(statuses) > max(Status):
        raise WireError("RANGE", f"status {max(statuses)}")
    if any(body[17 * n :]):
        raise WireError("RESERVED", "padding")
    ids, lengths, times = (_column(c, body[a * n : b * n]) for c, a, b in (("Q", 0, 8), ("I", 8, 12), ("I", 12, 16)))
    results = Results(ids, lengths, times, statuses, p.head)
    _items_within_limit(max(lengths))
    if results.payload_length() != p.payload_length:
        raise WireError("LENGTH", f"items of {results.payload_length()} bytes, payload of {p.payload_length}")
    return results


def _read_register(p: _Preamble, r: _Reader) -> Register:
    block_id, pool_id, xse, python, mpi, zmq = (r.text() for _ in range(6))
    nodes = tuple(_read_node(r) for _ in range(p.n))
    return Register(block_id, pool_id, xse, python, mpi, zmq, nodes)


def _checked_heartbeat(period_ms: int, threshold_ms: int, codec: int) -> None:
    if not 1 <= period_ms < threshold_ms or codec > 255:
        raise WireError("RANGE", f"heartbeat {period_ms} ms, threshold {threshold_ms} ms, codec {codec}")


def _read_welcome(p: _Preamble, r: _Reader) -> Welcome:
    period_ms, threshold_ms, codec, reserved = r.unpack(_FOUR)
    _checked_heartbeat(period_ms, threshold_ms, codec)
    if reserved:
        raise WireError("RESERVED", "in WELCOME")
    return Welcome(period_ms, threshold_ms, codec, p.payload_length)


def _read_credit(p: _Preamble, r: _Reader) -> Credit:
    n_workers, task_us = r.unpack(_TWO)
    return Credit(p.n, n_workers, task_us, bool(p.flags))


def _read_bye(p: _Preamble, r: _Reader) -> Bye:
    bye = Bye(ByeCode(p.n), r.text(), p.payload_length)
    r.end()  # comes before the payload's length
    if bye.code != ByeCode.SETUP_RAISED and p.payload_length:
        raise WireError("LENGTH", "a payload with this code")
    return bye


def _read_start(p: _Preamble, r: _Reader) -> Start:
    period_ms, threshold_ms, codec, first_worker = r.unpack(_FOUR)
    _checked_heartbeat(period_ms, threshold_ms, codec)
    return Start(p.n, period_ms, threshold_ms, codec, first_worker, r.text(), r.text(), p.payload_length)


_ANY = range(UINT32_MAX + 1)
_ITEMS = range(1, MAX_ITEMS + 1)
_NONE = range(1)

# type: (the one flag it knows, counts it allows, longest payload or None where the items say it, reader)
_TABLE: dict[int, tuple[int, range, int | None, Callable[[_Preamble, _Reader], Message]]] = {
    Type.TASKS: (0, _ITEMS, None, _read_tasks),
    Type.RESULTS: (0, _ITEMS, None, _read_results),
    Type.CANCEL: (1, _ITEMS, 0, lambda p, r: Cancel(_column("Q", r.take(8 * p.n)), bool(p.flags))),
    Type.STARTED: (0, _ITEMS, 0, lambda p, r: Started(_column("Q", r.take(8 * p.n)))),
    Type.RECALL: (0, range(1, UINT32_MAX + 1), 0, lambda p, _: Recall(p.n)),
    Type.REGISTER: (0, _ITEMS, 0, _read_register),
    Type.WELCOME: (0, _NONE, MAX_ITEM, _read_welcome),
    Type.REFUSE: (0, range(1, 5), 0, lambda p, r: Refuse(RefuseCode(p.n), r.text())),
    Type.HEARTBEAT: (0, _NONE, 0, lambda *_: Heartbeat()),
    Type.CREDIT: (1, _ANY, 0, _read_credit),
    Type.STOP: (1, _ANY, 0, lambda p, _: Stop(bool(p.flags), p.n)),
    Type.BYE: (0, range(5), MAX_ITEM, _read_bye),
    Type.NODE: (0, _NONE, 0, lambda _, r: Node(_read_node(r), r.text())),
    Type.START: (0, _ITEMS, MAX_ITEM, _read_start),
    Type.LOG: (0, range(4), 0, lambda p, r: Log(p.n, r.text())),
    Type.REQUEST: (0, _ANY, MAX_ITEM, lambda p, _: Request(p.n, p.payload_length)),
    Type.REPLY: (0, _ANY, MAX_ITEM, lambda p, _: Reply(p.n, p.payload_length)),
    Type.EVENT: (0, _NONE, MAX_ITEM, lambda p, _: Event(p.payload_length)),
}


def sizes(start: Buffer) -> tuple[int, int]:
    """Length of head and of payload of a message of which at least the preamble has come, for those who read a stream.

    Raises WireError when nothing that follows can be a message; what else is wrong with it, ``decode`` will say.
    """
    magic, version, _, _, _, head_length, _, payload_length = _PREAMBLE.unpack_from(start)
    if magic != MAGIC:
        raise WireError("MAGIC")
    if version != VERSION:
        raise WireError("VERSION", f"{version} here is {VERSION}")
    if head_length > MAX_HEAD or head_length % 8 or head_length < _PREAMBLE.size:
        raise WireError("HEAD", f"head_length {head_length}")
    if payload_length > MAX_PAYLOAD:
        raise WireError("LENGTH", f"payload of {payload_length} bytes")
    return head_length, payload_length


def decode(head: Buffer, payload_length: int) -> Message:
    """Read a head that came with ``payload_length`` bytes of payload. Raises WireError, and nothing else."""
    if len(head) < _PREAMBLE.size:
        raise WireError("SHORT", f"{len(head)} bytes")
    magic, version, kind, flags, reserved, head_length, count, said = _PREAMBLE.unpack_from(head)
    if magic != MAGIC:
        raise WireError("MAGIC")
    if version != VERSION:
        raise WireError("VERSION", f"{version} here is {VERSION}")
    if kind not in _TABLE:
        raise WireError("TYPE", str(kind))
    known_flag, counts, longest, read = _TABLE[kind]
    if flags & ~known_flag or reserved:
        raise WireError("RESERVED", f"flags {flags}")
    if head_length > MAX_HEAD or head_length % 8 or head_length < _PREAMBLE.size:
        raise WireError("HEAD", f"head_length {head_length}")
    if len(head) < head_length:
        raise WireError("SHORT", f"{len(head)} bytes of {head_length}")
    if len(head) > head_length:
        raise WireError("HEAD", f"{len(head)} bytes, not {head_length}")
    if count not in counts:
        raise WireError("COUNT", str(count))
    reader = _Reader(memoryview(head)[_PREAMBLE.size :])
    message = read(_Preamble(flags, count, said, head), reader)
    reader.end()
    if longest is not None and said > longest:
        raise WireError("LENGTH", f"payload of {said} bytes")
    if said != payload_length or said > MAX_PAYLOAD:
        raise WireError("LENGTH", f"payload of {payload_length} bytes, not {said}")
    return message


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure record: what was lost, and where. -1 as exit code or 0 as signal: not so."""

    rank: int = 0
    pid: int = 0
    exit_code: int = -1
    signal: int = 0
    size: int = 0
    limit: int = 0
    host: str = ""
    block: str = ""
    detail: str = ""

    def pack(self) -> bytes:
        numbers = _FAILURE.pack(self.rank, self.pid, self.exit_code, self.signal, self.size, self.limit)
        return numbers + _text(self.host) + _text(self.block) + _text(self.detail)

    @classmethod
    def unpack(cls, data: Buffer) -> Failure:
        """Raises WireError."""
        r = _Reader(memoryview(data))
        rank, pid, exit_code, signal, size, limit = r.unpack(_FAILURE)
        failure = cls(rank, pid, exit_code, signal, size, limit, r.text(), r.text(), r.text())
        r.end()
        return failure
