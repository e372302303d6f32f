"""The wire: heads to messages and back, as docs/developers/protocol.md says. No sockets, no pickles.

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
_FUNCTIONS_AT = PREAMBLE + _TWO.size  # in TASKS

if sys.byteorder != "little":  # the columns are read in place
    raise ImportError("xse runs on little-endian machines only")

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class Type(IntEnum):
    """What a message is (docs/developers/protocol.md, 2)."""

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
    """How a task ended (docs/developers/protocol.md, 2.2)."""

    VALUE = 0
    RAISED = 1
    WORKER_LOST = 2
    MANAGER_LOST = 3
    CANCELLED = 4
    TIMEOUT = 5
    TOO_LARGE = 6
    BLOCK_FAILED = 7


_LAST_STATUS = max(Status)


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
    """Bytes that are no message. ``code`` is the name in docs/developers/protocol.md, 1.3."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


def _preamble(kind: Type, count: int, body_length: int, payload_length: int = 0, flags: int = 0) -> bytes:
    return _PREAMBLE.pack(MAGIC, VERSION, kind, flags, 0, _PREAMBLE.size + body_length, count, payload_length)


def _text(text: str) -> bytes:
    data = text.encode()
    if len(data) > MAX_TEXT or b"\0" in data:
        raise WireError("TEXT", f"{len(data)} bytes")
    return struct.pack("<I", len(data)) + data + bytes(-(4 + len(data)) % 8)


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


@dataclass(slots=True)  # not frozen: these two are made for each message on the path of a task, and it costs thrice
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
        functions = [_FUNCTION.pack(*function) for function in self.functions]
        runs = [_RUN.pack(*run, 0) for run in self.runs]
        numbers = _TWO.pack(len(functions), len(runs))
        body = b"".join((numbers, *functions, *runs, self.ids.tobytes(), self.lengths.tobytes(), bytes(-4 * n % 8)))
        return _preamble(Type.TASKS, n, len(body), self.payload_length()) + body


@dataclass(slots=True)
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
        columns = (self.ids.tobytes(), self.lengths.tobytes(), self.times.tobytes(), self.statuses)
        body = b"".join((*columns, bytes(-17 * n % 8)))
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
    head: Buffer  # all of it, as long as it says


def _by_fields(read: Callable[[_Preamble, _Reader], Message]) -> Callable[[_Preamble], Message]:
    """A body whose size only its fields tell, one by one."""

    def read_all(p: _Preamble) -> Message:
        reader = _Reader(memoryview(p.head)[PREAMBLE:])
        message = read(p, reader)
        reader.end()
        return message

    return read_all


def _column(code: str, data: Buffer) -> array[int]:
    column = array(code)
    column.frombytes(data)
    return column


def _exactly(head: Buffer, end: int) -> None:
    """A head whose size its first fields have told."""
    if len(head) < end:
        raise WireError("SHORT", "the body ends inside a field")
    if len(head) > end:
        raise WireError("HEAD", "bytes after the body")


def _ids(p: _Preamble) -> array[int]:
    end = PREAMBLE + 8 * p.n
    _exactly(p.head, end)
    return _column("Q", p.head[PREAMBLE:end])


def _within_limits(lengths: array[int], in_all: int, said: int) -> None:
    """Each item, and the sum that the preamble has told."""
    if max(lengths) > MAX_ITEM:
        raise WireError("LENGTH", f"an item of {max(lengths)} bytes")
    if in_all != said:
        raise WireError("LENGTH", f"items of {in_all} bytes, payload of {said}")


def _read_tasks(p: _Preamble) -> Tasks:
    head, n = p.head, p.n
    if len(head) < _FUNCTIONS_AT:
        raise WireError("SHORT", "the body ends inside a field")
    n_functions, n_runs = _TWO.unpack_from(head, PREAMBLE)
    if not 1 <= n_functions <= n_runs <= n:
        raise WireError("RANGE", f"{n_functions} functions, {n_runs} runs, {n} tasks")
    runs_at = _FUNCTIONS_AT + n_functions * _FUNCTION.size
    ids_at = runs_at + n_runs * _RUN.size
    lengths_at = ids_at + 8 * n
    end = lengths_at + 4 * n
    _exactly(head, end + (-end % 8))
    functions = tuple([Function(*fields) for fields in _FUNCTION.iter_unpack(head[_FUNCTIONS_AT:runs_at])])
    runs = []
    n_tasks = 0
    for function, n_run, priority, timeout_ms, codec, reserved in _RUN.iter_unpack(head[runs_at:ids_at]):
        if function >= n_functions or n_run == 0 or codec > 255:
            raise WireError("RANGE", f"run of {n_run} tasks of function {function} in codec {codec}")
        if reserved:
            raise WireError("RESERVED", "in a run")
        n_tasks += n_run
        runs.append(Run(function, n_run, priority, timeout_ms, codec))
    if n_tasks != n:
        raise WireError("RANGE", f"{n_tasks} tasks in runs, {n} in all")
    if any(head[end:]):
        raise WireError("RESERVED", "padding")
    ids, lengths = _column("Q", head[ids_at:lengths_at]), _column("I", head[lengths_at:end])
    of_functions = [f.length for f in functions]
    if max(of_functions) > MAX_ITEM:
        raise WireError("LENGTH", f"a function of {max(of_functions)} bytes")
    _within_limits(lengths, sum(of_functions) + sum(lengths), p.payload_length)
    return Tasks(functions, tuple(runs), ids, lengths, head)


def _read_results(p: _Preamble) -> Results:
    head, n = p.head, p.n
    lengths_at = PREAMBLE + 8 * n
    times_at = lengths_at + 4 * n
    statuses_at = times_at + 4 * n
    end = statuses_at + n
    _exactly(head, end + (-end % 8))
    statuses = bytes(head[statuses_at:end])
    if max(statuses) > _LAST_STATUS:
        raise WireError("RANGE", f"status {max(statuses)}")
    if any(head[end:]):
        raise WireError("RESERVED", "padding")
    ids, lengths = _column("Q", head[PREAMBLE:lengths_at]), _column("I", head[lengths_at:times_at])
    _within_limits(lengths, sum(lengths), p.payload_length)
    return Results(ids, lengths, _column("I", head[times_at:statuses_at]), statuses, head)


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
_TABLE: dict[int, tuple[int, range, int | None, Callable[[_Preamble], Message]]] = {
    Type.TASKS: (0, _ITEMS, None, _read_tasks),
    Type.RESULTS: (0, _ITEMS, None, _read_results),
    Type.CANCEL: (1, _ITEMS, 0, lambda p: Cancel(_ids(p), bool(p.flags))),
    Type.STARTED: (0, _ITEMS, 0, lambda p: Started(_ids(p))),
    Type.RECALL: (0, range(1, UINT32_MAX + 1), 0, _by_fields(lambda p, _: Recall(p.n))),
    Type.REGISTER: (0, _ITEMS, 0, _by_fields(_read_register)),
    Type.WELCOME: (0, _NONE, MAX_ITEM, _by_fields(_read_welcome)),
    Type.REFUSE: (0, range(1, 5), 0, _by_fields(lambda p, r: Refuse(RefuseCode(p.n), r.text()))),
    Type.HEARTBEAT: (0, _NONE, 0, _by_fields(lambda *_: Heartbeat())),
    Type.CREDIT: (1, _ANY, 0, _by_fields(_read_credit)),
    Type.STOP: (1, _ANY, 0, _by_fields(lambda p, _: Stop(bool(p.flags), p.n))),
    Type.BYE: (0, range(5), MAX_ITEM, _by_fields(_read_bye)),
    Type.NODE: (0, _NONE, 0, _by_fields(lambda _, r: Node(_read_node(r), r.text()))),
    Type.START: (0, _ITEMS, MAX_ITEM, _by_fields(_read_start)),
    Type.LOG: (0, range(4), 0, _by_fields(lambda p, r: Log(p.n, r.text()))),
    Type.REQUEST: (0, _ANY, MAX_ITEM, _by_fields(lambda p, _: Request(p.n, p.payload_length))),
    Type.REPLY: (0, _ANY, MAX_ITEM, _by_fields(lambda p, _: Reply(p.n, p.payload_length))),
    Type.EVENT: (0, _NONE, MAX_ITEM, _by_fields(lambda p, _: Event(p.payload_length))),
}


def sizes(buffer: Buffer, at: int = 0) -> tuple[int, int]:
    """Length of head and of payload of the message that begins there, for those who read a stream. At least its
    preamble has come.

    Raises WireError when nothing that follows can be a message; what else is wrong with it, ``decode`` will say.
    """
    magic, version, _, _, _, head_length, _, payload_length = _PREAMBLE.unpack_from(buffer, at)
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
    if len(head) < PREAMBLE:
        raise WireError("SHORT", f"{len(head)} bytes")
    magic, version, kind, flags, reserved, head_length, count, said = _PREAMBLE.unpack_from(head)
    if magic != MAGIC:
        raise WireError("MAGIC")
    if version != VERSION:
        raise WireError("VERSION", f"{version} here is {VERSION}")
    rule = _TABLE.get(kind)
    if rule is None:
        raise WireError("TYPE", str(kind))
    known_flag, counts, longest, read = rule
    if flags & ~known_flag or reserved:
        raise WireError("RESERVED", f"flags {flags}")
    if head_length > MAX_HEAD or head_length % 8 or head_length < PREAMBLE:
        raise WireError("HEAD", f"head_length {head_length}")
    if len(head) < head_length:
        raise WireError("SHORT", f"{len(head)} bytes of {head_length}")
    if len(head) > head_length:
        raise WireError("HEAD", f"{len(head)} bytes, not {head_length}")
    if count not in counts:
        raise WireError("COUNT", str(count))
    message = read(_Preamble(flags, count, said, head))
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
