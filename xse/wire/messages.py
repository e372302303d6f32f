"""The wire: heads to messages and back, as docs/developers/protocol.md says. No sockets, no pickles.

``decode`` turns a head into a message or raises ``WireError``; ``head()`` of a message gives its bytes. A payload is
only counted here. Columns of ids and lengths are ``array`` objects, so that thousands of tasks can be cut and summed
without a loop in Python.

To add a field or a message, change a dataclass here and the table in ``csrc/wire/fields.h``. Nothing else in this file
changes, except for TASKS and RESULTS, whose columns are read by hand because each task passes them.
"""

from __future__ import annotations

import struct
import sys
from array import array
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NamedTuple, TypeAlias, get_args, get_type_hints

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
_FUNCTION = struct.Struct("<16sQ")
_RUN = struct.Struct("<IIiIII")
_FUNCTIONS_AT = PREAMBLE + _TWO.size  # in TASKS

if sys.byteorder != "little":  # the columns are read in place
    raise ImportError("xse runs on little-endian machines only")

Buffer: TypeAlias = "bytes | bytearray | memoryview"


class Type(IntEnum):
    """The type of a message (docs/developers/protocol.md, 2)."""

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
    RANK_LOST = 23
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
    """Why a block ends."""

    ASKED = 0
    FAILED = 1
    SETUP_RAISED = 2
    SIGNAL = 3
    DRAINED = 4


class RefuseCode(IntEnum):
    """Why the interchange refuses a block."""

    VERSION = 1
    BLOCK = 2
    ENDING = 3
    NOT_UNDERSTOOD = 4


class WireError(ValueError):
    """Bytes that are no message. ``code`` is the name of the error in docs/developers/protocol.md, 1.3."""

    def __init__(self, code: str, detail: str = "") -> None:
        super().__init__(f"{code}: {detail}" if detail else code)
        self.code = code


def _preamble(kind: Type, *, count: int, body_length: int, payload_length: int, flags: int = 0) -> bytes:
    return _PREAMBLE.pack(MAGIC, VERSION, kind, flags, 0, _PREAMBLE.size + body_length, count, payload_length)


class _Reader:
    """Reads a body field by field. ``take`` checks every length that comes from a peer."""

    def __init__(self, body: memoryview, count: int = 0) -> None:
        self.count = count  # the preamble's
        self.last = 0  # the number that was read last
        self._body = body
        self._at = 0

    def take(self, n: int) -> memoryview:
        if n > len(self._body) - self._at:
            raise WireError("SHORT", "the body ends inside a field")
        self._at += n
        return self._body[self._at - n : self._at]

    def end(self, *, padded: bool = False) -> None:
        """Check that the body ends here; after columns, with zeros up to a multiple of 8."""
        padding = self.take(-self._at % 8 if padded else 0)
        if self._at != len(self._body):
            raise WireError("HEAD", "bytes after the body")
        if any(padding):
            raise WireError("RESERVED", "padding")


# ---- fields. The annotations of a message's dataclass say how each field lies on the wire.


# Each kind of field has ``write(value)`` and ``read(reader)``.


class _Number:
    """A number of struct's ``code``; ``allowed`` says whether a value may follow the number before it."""

    def __init__(self, code: str, allowed: Callable[[int, Any], bool] | None = None, error: str = "RANGE") -> None:
        self._struct = struct.Struct("<" + code)
        self._allowed = allowed
        self._error = error

    def write(self, value: int) -> bytes:
        return self._struct.pack(value)

    def read(self, r: _Reader) -> int:
        (value,) = self._struct.unpack(r.take(self._struct.size))
        if self._allowed and not self._allowed(value, r.last):
            raise WireError(self._error, f"{value} in a field of the body")
        r.last = int(value)
        return r.last


class _Text:
    def write(self, value: str) -> bytes:
        data = value.encode()
        if len(data) > MAX_TEXT or b"\0" in data:
            raise WireError("TEXT", f"{len(data)} bytes")
        return struct.pack("<I", len(data)) + data + bytes(-(4 + len(data)) % 8)

    def read(self, r: _Reader) -> str:
        (n,) = struct.unpack("<I", r.take(4))
        if n > MAX_TEXT:
            raise WireError("TEXT", f"{n} bytes")
        data = bytes(r.take(n))
        try:
            text = data.decode()
        except UnicodeDecodeError:
            raise WireError("TEXT", "not UTF-8") from None
        if "\0" in text:
            raise WireError("TEXT", "has a NUL")
        if any(r.take(-(4 + n) % 8)):
            raise WireError("RESERVED", "padding")
        return text


class _Record:
    """Fields of a dataclass inside a body."""

    def __init__(self, cls: type[Any]) -> None:
        self._cls = cls
        self.names, self.kinds = _layout(cls)

    def write(self, value: Any) -> bytes:
        return b"".join([kind.write(getattr(value, name)) for name, kind in zip(self.names, self.kinds, strict=True)])

    def read(self, r: _Reader) -> Any:
        return self._cls(*[kind.read(r) for kind in self.kinds])


class _Records:
    """As many as the preamble counts."""

    def __init__(self, cls: type[Any]) -> None:
        self._one = _Record(cls)

    def write(self, values: Sequence[Any]) -> bytes:
        return b"".join(map(self._one.write, values))

    def read(self, r: _Reader) -> tuple[Any, ...]:
        return tuple(self._one.read(r) for _ in range(r.count))


class _Column:
    """One item of struct's ``code`` for each that the preamble counts."""

    def __init__(self, code: str) -> None:
        self._code = code
        self._size = array(code).itemsize

    def write(self, value: array[int]) -> bytes:
        return value.tobytes()

    def read(self, r: _Reader) -> array[int]:
        return _column(self._code, r.take(self._size * r.count))


def _layout(cls: type[Any]) -> tuple[list[str], list[Any]]:
    """The names of a dataclass's fields and how each lies on the wire."""
    hints = {n: hint for n, hint in get_type_hints(cls, include_extras=True).items() if hasattr(hint, "__metadata__")}
    return list(hints), [hint.__metadata__[0] for hint in hints.values()]


class _InPreamble:
    """A field that lies in the preamble, as ``name`` of ``_Preamble``; ``make`` gives it its type."""

    def __init__(self, name: str, make: Callable[[int], Any] = int) -> None:
        self.name = name
        self.make = make


#: Types of fields of a body.
U32 = Annotated[int, _Number("I")]
U64 = Annotated[int, _Number("Q")]
I32 = Annotated[int, _Number("i")]
Codec = Annotated[int, _Number("I", lambda value, _: value <= 255)]
PeriodMs = Annotated[int, _Number("I", lambda value, _: value >= 1)]
AboveMs = Annotated[int, _Number("I", lambda value, before: value > before)]
Reserved = Annotated[int, _Number("I", lambda value, _: value == 0, "RESERVED")]
Text = Annotated[str, _Text()]
if TYPE_CHECKING:
    Ids = Annotated[array[int], _Column("Q")]
else:  # array is no generic type at run time
    Ids = Annotated[array, _Column("Q")]
#: Types of fields of the preamble: its count as a number, the message's one flag, the payload's length in bytes.
Count = Annotated[int, _InPreamble("count")]
Flag = Annotated[bool, _InPreamble("flags", bool)]
PayloadLength = Annotated[int, _InPreamble("payload_length")]


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


_ANY = range(UINT32_MAX + 1)
_ITEMS = range(1, MAX_ITEMS + 1)


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
        return _preamble(Type.TASKS, count=n, body_length=len(body), payload_length=self.payload_length()) + body


@dataclass(slots=True)
class Results:
    """Many results. ``starts``: when each task began, in microseconds of the sender's clock; 0: it did not. ``times``:
    microseconds in the worker. ``workers``: the worker's number in its block. ``statuses``: one byte each (``Status``).
    """

    ids: array[int]
    starts: array[int]
    lengths: array[int]
    times: array[int]
    workers: array[int]
    statuses: bytes
    received: Buffer = field(default=b"", compare=False, repr=False)  # the head it was read from
    type: ClassVar[Type] = Type.RESULTS

    def payload_length(self) -> int:
        return sum(self.lengths)

    def head(self) -> bytes:
        if self.received:
            return bytes(self.received)
        n = len(self.ids)
        columns = (self.ids, self.starts, self.lengths, self.times, self.workers, self.statuses)
        body = b"".join((*columns, bytes(-29 * n % 8)))
        return _preamble(Type.RESULTS, count=n, body_length=len(body), payload_length=self.payload_length()) + body


def did_not_run(ids: array[int], status: Status, payload: bytes = b"") -> Results:
    """Results of tasks that no worker began, each with the same status and payload."""
    zeros = array("I", bytes(4 * len(ids)))
    lengths = array("I", [len(payload)]) * len(ids)
    return Results(ids, array("Q", bytes(8 * len(ids))), lengths, zeros, zeros, bytes([status]) * len(ids))


class ByFields:
    """A message that is written and read field by field, as the annotations of its dataclass say."""

    __slots__ = ()
    type: ClassVar[Type]
    counts: ClassVar[range] = range(1)  # what the preamble's count may be
    flag: ClassVar[int] = 0  # the one flag it knows
    longest: ClassVar[int] = 0  # bytes of payload

    def head(self) -> bytes:
        preamble = {"count": 0, "flags": 0, "payload_length": 0}
        body = []
        for name, kind in _SHAPES[self.type].fields:
            value = getattr(self, name)
            if isinstance(kind, _InPreamble):
                preamble[kind.name] = int(value)
                continue
            body.append(kind.write(value))
            if isinstance(kind, _Column | _Records):
                preamble["count"] = len(value)
        data = b"".join(body)
        data += bytes(-len(data) % 8)
        return _preamble(self.type, body_length=len(data), **preamble) + data

    def check(self) -> None:
        """Raises WireError where fields do not fit together."""


@dataclass(frozen=True, slots=True)
class NodeEntry:
    """One rank of a block. ``memory`` is in bytes."""

    rank: U32
    pid: U32
    n_workers: U32
    n_cores: U32
    memory: U64
    host: Text


@dataclass(frozen=True, slots=True)
class Cancel(ByFields):
    """Drop these tasks if they have not started; with ``kill`` end them even if they have."""

    ids: Ids
    kill: Flag = False
    type: ClassVar[Type] = Type.CANCEL
    counts: ClassVar[range] = _ITEMS
    flag: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Started(ByFields):
    """These tasks run: they cannot be cancelled."""

    ids: Ids
    type: ClassVar[Type] = Type.STARTED
    counts: ClassVar[range] = _ITEMS


@dataclass(frozen=True, slots=True)
class Recall(ByFields):
    """Give back up to ``wanted`` tasks that have not started."""

    wanted: Count
    type: ClassVar[Type] = Type.RECALL
    counts: ClassVar[range] = range(1, UINT32_MAX + 1)


@dataclass(frozen=True, slots=True)
class Register(ByFields):
    """A block presents itself."""

    block_id: Text
    pool_id: Text
    xse_version: Text
    python_version: Text
    mpi: Text
    zmq: Text
    nodes: Annotated[tuple[NodeEntry, ...], _Records(NodeEntry)]
    type: ClassVar[Type] = Type.REGISTER
    counts: ClassVar[range] = _ITEMS


@dataclass(frozen=True, slots=True)
class Welcome(ByFields):
    """The interchange accepts the block. Payload: the setup, ``setup_length`` bytes."""

    heartbeat_period_ms: PeriodMs
    heartbeat_threshold_ms: AboveMs
    setup_codec: Codec = 0
    setup_length: PayloadLength = 0
    reserved: Reserved = 0
    type: ClassVar[Type] = Type.WELCOME
    longest: ClassVar[int] = MAX_ITEM


@dataclass(frozen=True, slots=True)
class Refuse(ByFields):
    """The interchange refuses the block."""

    code: Annotated[RefuseCode, _InPreamble("count", RefuseCode)]
    reason: Text
    type: ClassVar[Type] = Type.REFUSE
    counts: ClassVar[range] = range(1, 5)


@dataclass(frozen=True, slots=True)
class Heartbeat(ByFields):
    """The sender lives. ``clock_us``: its monotonic clock, in microseconds. ``echo_us``: the ``clock_us`` of the
    HEARTBEAT that this one answers; 0: it answers none."""

    clock_us: U64
    echo_us: U64 = 0
    type: ClassVar[Type] = Type.HEARTBEAT


@dataclass(frozen=True, slots=True)
class Credit(ByFields):
    """``capacity`` tasks in all may be in flight towards the sender.

    ``task_us``: microseconds that tasks took lately, 0: not known.
    """

    capacity: Count
    n_workers: U32
    task_us: U32 = 0
    draining: Flag = False
    type: ClassVar[Type] = Type.CREDIT
    counts: ClassVar[range] = _ANY
    flag: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Stop(ByFields):
    """End. ``now``: kill what runs; otherwise running tasks have ``grace_ms`` to end."""

    now: Flag = False
    grace_ms: Count = 0
    type: ClassVar[Type] = Type.STOP
    counts: ClassVar[range] = _ANY
    flag: ClassVar[int] = 1


@dataclass(frozen=True, slots=True)
class Bye(ByFields):
    """The sender ends. Payload, with SETUP_RAISED: the exception, ``exception_length`` bytes."""

    code: Annotated[ByeCode, _InPreamble("count", ByeCode)]
    reason: Text
    exception_length: PayloadLength = 0
    type: ClassVar[Type] = Type.BYE
    counts: ClassVar[range] = range(5)
    longest: ClassVar[int] = MAX_ITEM

    def check(self) -> None:
        if self.code != ByeCode.SETUP_RAISED and self.exception_length:
            raise WireError("LENGTH", "a payload with this code")


@dataclass(frozen=True, slots=True)
class RankLost(ByFields):
    """A rank of the block has failed, and the block goes on without it."""

    rank: Count
    reason: Text
    type: ClassVar[Type] = Type.RANK_LOST
    counts: ClassVar[range] = _ANY


@dataclass(frozen=True, slots=True)
class Node(ByFields):
    """A leader presents itself to its manager."""

    node: Annotated[NodeEntry, _Record(NodeEntry)]
    python_version: Text
    type: ClassVar[Type] = Type.NODE


@dataclass(frozen=True, slots=True)
class Start(ByFields):
    """A manager asks a leader to start its workers. Payload: the setup, ``setup_length`` bytes."""

    n_leaders: Count
    heartbeat_period_ms: PeriodMs
    heartbeat_threshold_ms: AboveMs
    setup_codec: Codec
    reserved: Reserved
    block_id: Text
    pool_id: Text
    setup_length: PayloadLength = 0
    type: ClassVar[Type] = Type.START
    counts: ClassVar[range] = _ITEMS
    longest: ClassVar[int] = MAX_ITEM


@dataclass(frozen=True, slots=True)
class Log(ByFields):
    """A line for the block's log. Levels: 0 debug, 1 info, 2 warning, 3 error."""

    level: Count
    line: Text
    type: ClassVar[Type] = Type.LOG
    counts: ClassVar[range] = range(4)


@dataclass(frozen=True, slots=True)
class Request(ByFields):
    """A question of the executor; the payload is JSON of ``json_length`` bytes."""

    number: Count
    json_length: PayloadLength
    type: ClassVar[Type] = Type.REQUEST
    counts: ClassVar[range] = _ANY
    longest: ClassVar[int] = MAX_ITEM


@dataclass(frozen=True, slots=True)
class Reply(ByFields):
    """The answer to the request of that number."""

    number: Count
    json_length: PayloadLength
    type: ClassVar[Type] = Type.REPLY
    counts: ClassVar[range] = _ANY
    longest: ClassVar[int] = MAX_ITEM


@dataclass(frozen=True, slots=True)
class Event(ByFields):
    """Something happened to a block; the payload is JSON."""

    json_length: PayloadLength
    type: ClassVar[Type] = Type.EVENT
    longest: ClassVar[int] = MAX_ITEM


Message: TypeAlias = (
    Tasks
    | Results
    | Cancel
    | Started
    | Recall
    | Register
    | Welcome
    | Refuse
    | Heartbeat
    | Credit
    | Stop
    | Bye
    | RankLost
    | Node
    | Start
    | Log
    | Request
    | Reply
    | Event
)


@dataclass(slots=True)
class _Preamble:
    flags: int
    count: int
    payload_length: int
    head: Buffer  # all of it, as long as it says


def _column(code: str, data: Buffer) -> array[int]:
    column = array(code)
    column.frombytes(data)
    return column


def _exactly(head: Buffer, end: int) -> None:
    """Check the size of a head against the size that its first fields give."""
    if len(head) < end:
        raise WireError("SHORT", "the body ends inside a field")
    if len(head) > end:
        raise WireError("HEAD", "bytes after the body")


def _within_limits(lengths: array[int], in_all: int, said: int) -> None:
    """Check the length of each item, and their sum against the preamble."""
    if max(lengths) > MAX_ITEM:
        raise WireError("LENGTH", f"an item of {max(lengths)} bytes")
    if in_all != said:
        raise WireError("LENGTH", f"items of {in_all} bytes, payload of {said}")


def _read_tasks(p: _Preamble) -> Tasks:
    head, n = p.head, p.count
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
    head, n = p.head, p.count
    starts_at = PREAMBLE + 8 * n
    lengths_at = starts_at + 8 * n
    times_at = lengths_at + 4 * n
    workers_at = times_at + 4 * n
    statuses_at = workers_at + 4 * n
    end = statuses_at + n
    _exactly(head, end + (-end % 8))
    statuses = bytes(head[statuses_at:end])
    if max(statuses) > _LAST_STATUS:
        raise WireError("RANGE", f"status {max(statuses)}")
    if any(head[end:]):
        raise WireError("RESERVED", "padding")
    ids, starts = _column("Q", head[PREAMBLE:starts_at]), _column("Q", head[starts_at:lengths_at])
    lengths, times = _column("I", head[lengths_at:times_at]), _column("I", head[times_at:workers_at])
    _within_limits(lengths, sum(lengths), p.payload_length)
    return Results(ids, starts, lengths, times, _column("I", head[workers_at:statuses_at]), statuses, head)


class _Shape(NamedTuple):
    """How messages of one type look."""

    flag: int  # the one flag they know
    counts: range  # that are allowed
    longest: int | None  # bytes of payload; None: the items say it
    read: Callable[[_Preamble], Message]
    fields: tuple[tuple[str, Any], ...] = ()  # of those that are read by fields


def _shape(cls: type[Any]) -> _Shape:
    """The shape of a message that is read by fields."""
    fields = tuple(zip(*_layout(cls), strict=True))
    padded = any(isinstance(kind, _Column) for _, kind in fields)

    def read(p: _Preamble) -> Any:
        reader = _Reader(memoryview(p.head)[PREAMBLE:], p.count)
        values = [
            kind.make(getattr(p, kind.name)) if isinstance(kind, _InPreamble) else kind.read(reader)
            for _, kind in fields
        ]
        reader.end(padded=padded)
        message = cls(*values)
        message.check()
        return message

    return _Shape(cls.flag, cls.counts, cls.longest, read, fields)


_SHAPES: dict[int, _Shape] = {
    Type.TASKS: _Shape(0, _ITEMS, None, _read_tasks),
    Type.RESULTS: _Shape(0, _ITEMS, None, _read_results),
    **{cls.type: _shape(cls) for cls in get_args(Message) if issubclass(cls, ByFields)},
}


def sizes(buffer: Buffer, at: int = 0) -> tuple[int, int]:
    """The lengths of head and payload of the message at ``at`` of a stream. At least its preamble must be there.

    Raises WireError if no message can begin there. All other errors are found by ``decode``.
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
    shape = _SHAPES.get(kind)
    if shape is None:
        raise WireError("TYPE", str(kind))
    if flags & ~shape.flag or reserved:
        raise WireError("RESERVED", f"flags {flags}")
    if head_length > MAX_HEAD or head_length % 8 or head_length < PREAMBLE:
        raise WireError("HEAD", f"head_length {head_length}")
    if len(head) < head_length:
        raise WireError("SHORT", f"{len(head)} bytes of {head_length}")
    if len(head) > head_length:
        raise WireError("HEAD", f"{len(head)} bytes, not {head_length}")
    if count not in shape.counts:
        raise WireError("COUNT", str(count))
    message = shape.read(_Preamble(flags, count, said, head))
    if shape.longest is not None and said > shape.longest:
        raise WireError("LENGTH", f"payload of {said} bytes")
    if said != payload_length or said > MAX_PAYLOAD:
        raise WireError("LENGTH", f"payload of {payload_length} bytes, not {said}")
    return message


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure record: what was lost, and where. -1 as exit code or 0 as signal: not so. Sizes are in bytes."""

    rank: U32 = 0
    pid: U32 = 0
    exit_code: I32 = -1
    signal: I32 = 0
    size: U64 = 0
    limit: U64 = 0
    host: Text = ""
    block: Text = ""
    detail: Text = ""

    def pack(self) -> bytes:
        return _FAILURE.write(self)

    @classmethod
    def unpack(cls, data: Buffer) -> Failure:
        """Raises WireError."""
        r = _Reader(memoryview(data))
        failure: Failure = _FAILURE.read(r)
        r.end()
        return failure


_FAILURE = _Record(Failure)
