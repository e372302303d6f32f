"""The bytes of a record (docs/guide/record.md). A file is MAGIC and then chunks; a chunk is events or columns.

Columns are written as they lie in memory, without a loop over their items: a task costs some nanoseconds. What is the
same for all items of a column, or counts up by one, is written once.
"""

from __future__ import annotations

import struct
import zlib
from array import array
from collections.abc import Sequence
from enum import IntEnum
from typing import NamedTuple

MAGIC = b"xserec\x00\x01"  # the last byte is the format's version
CHUNK = struct.Struct("<BBHIII")  # kind, reserved, reserved, count, length of the body, CRC-32 of the body
RUN = struct.Struct("<III")  # microseconds since the chunk's time, which function or block, tasks
COLUMN = struct.Struct("<BBHIQ")  # encoding, bytes an item, reserved, length of the data, base
HEAD = struct.Struct("<QII")  # of a chunk of columns: time in microseconds, runs, reserved
MOST_BODY = 64 << 20  # bytes


class Kind(IntEnum):
    """What a chunk holds."""

    EVENT = 1  # a JSON object
    SUBMITTED = 2
    SENT = 3
    ENDED = 4
    BACK = 5  # given back by a block, which had not started them: they wait again


class Encoding(IntEnum):
    """How a column's items lie in its data."""

    RAW = 0  # each item
    SAME = 1  # nothing: each item is the base
    RANGE = 2  # nothing: the base, and then always one more
    LOW = 3  # the low part of each item, narrower than the item; the base has the high part


#: The columns of each kind: name, and the code of array.array.
COLUMNS: dict[Kind, tuple[tuple[str, str], ...]] = {
    Kind.SUBMITTED: (("ids", "Q"), ("lengths", "I")),
    Kind.SENT: (("ids", "Q"),),
    Kind.ENDED: (("ids", "Q"), ("starts", "Q"), ("lengths", "I"), ("times", "I"), ("workers", "I"), ("statuses", "B")),
    Kind.BACK: (("ids", "Q"),),
}


class Run(NamedTuple):
    """Tasks that follow each other: ``what`` is their function (SUBMITTED) or block (all others), by number."""

    since_us: int
    what: int
    n: int


def chunk(kind: Kind, count: int, body: bytes) -> bytes:
    """A whole chunk."""
    return CHUNK.pack(kind, 0, 0, count, len(body), zlib.crc32(body)) + body


def columns(kind: Kind, time_us: int, runs: Sequence[Run], items: Sequence[array[int]]) -> bytes:
    """A chunk of columns."""
    parts = [HEAD.pack(time_us, len(runs), 0), *[RUN.pack(*run) for run in runs]]
    for column in items:
        parts += _encoded(column)
    return chunk(kind, len(items[0]), b"".join(parts))


def _encoded(column: array[int]) -> list[bytes]:
    """Header and data. Looks at all items at the speed of C, or not at all."""
    n, size, first = len(column), column.itemsize, column[0]
    data = column.tobytes()
    if data == data[:size] * n:
        return [COLUMN.pack(Encoding.SAME, size, 0, 0, first)]
    if size == 8 and column[-1] - first == n - 1 and column == array("Q", range(first, first + n)):
        return [COLUMN.pack(Encoding.RANGE, size, 0, 0, first)]
    if size > 1:
        halves = memoryview(data).cast("I" if size == 8 else "H")
        high = halves[1::2].tobytes()
        if high == high[: size // 2] * n:
            low = halves[::2].tobytes()
            base = int.from_bytes(high[: size // 2], "little") << 4 * size
            return [COLUMN.pack(Encoding.LOW, size // 2, 0, len(low), base), low]
    return [COLUMN.pack(Encoding.RAW, size, 0, len(data), 0), data]


class Columns(NamedTuple):
    """A chunk of columns, read."""

    kind: Kind
    time_us: int
    runs: list[Run]
    items: dict[str, array[int]]


_LOW_CODES = {2: "H", 4: "I"}


def read_columns(kind: Kind, count: int, body: bytes) -> Columns:
    """Raises ValueError for bytes that are no columns."""
    try:
        time_us, n_runs, _ = HEAD.unpack_from(body)
        at = HEAD.size
        runs = [Run(*RUN.unpack_from(body, at + i * RUN.size)) for i in range(n_runs)]
        at += n_runs * RUN.size
        if sum(run.n for run in runs) != count:
            raise ValueError(f"runs that do not fit a count of {count}")
        items: dict[str, array[int]] = {}
        for name, code in COLUMNS[kind]:
            encoding, size, _, length, base = COLUMN.unpack_from(body, at)
            at += COLUMN.size
            items[name] = _decoded(code, Encoding(encoding), size, body[at : at + length], base, count)
            at += length
    except (struct.error, KeyError, OverflowError) as e:
        raise ValueError(f"not a chunk of columns: {e!r}") from None
    if at != len(body):
        raise ValueError(f"{len(body) - at} bytes after the columns")
    return Columns(kind, time_us, runs, items)


def _decoded(code: str, encoding: Encoding, size: int, data: bytes, base: int, count: int) -> array[int]:
    match encoding:
        case Encoding.SAME:
            return array(code, [base]) * count
        case Encoding.RANGE:
            return array(code, range(base, base + count))
        case Encoding.LOW:
            low = array(_LOW_CODES[size], data)
            column = array(code, [base | item for item in low] if base else low)
        case Encoding.RAW:
            column = array(code, data)
    if len(column) != count:
        raise ValueError(f"a column of {len(column)} items, not {count}")
    return column
