"""The Python codec against tests/vectors, and what both sides of it promise."""

from __future__ import annotations

import random
import re
import struct
from array import array
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import pytest

from tests.support.heads import written_anew
from xse.wire import messages as wire

VECTORS = Path(__file__).parents[1] / "vectors"


@dataclass
class Vector:
    name: str
    head: bytes = b""
    came: int = 0
    error: str = ""
    means: list[str] = field(default_factory=list)


def read_vectors() -> list[Vector]:
    vectors: list[Vector] = []
    for path in sorted(VECTORS.glob("*.txt")):
        key = ""
        for line in path.read_text(encoding="utf-8").splitlines():
            if not line or line.startswith("#"):
                continue
            key = line[:8].strip() or key
            value = line[8:]
            match key:
                case "name":
                    vectors.append(Vector(f"{path.stem}: {value}"))
                case "head":
                    vectors[-1].head += bytes.fromhex(value)
                case "came":
                    vectors[-1].came = int(value)
                case "error":
                    vectors[-1].error = value
                case "means":
                    vectors[-1].means.append(value)
                case _:
                    raise ValueError(f"{path}: {line}")
    return vectors


def words(value: Any) -> str:
    """The fields of a dataclass or named tuple, or of an item of columns."""
    names = value._fields if isinstance(value, tuple) else [f.name for f in fields(value)]
    shown = {name: getattr(value, name) for name in names}
    return " ".join(f"{k}={v.hex() if isinstance(v, bytes) else v}" for k, v in shown.items())


def items(m: wire.Message) -> list[str]:
    """A line for each item: a column has the name of its items in the plural."""
    columns = {f.name: getattr(m, f.name) for f in fields(m)}
    columns = {n: values for n, values in columns.items() if isinstance(values, array) or n == "statuses"}
    names = [re.sub("(?<=s)es$|s$", "", name) for name in columns]
    rows = zip(*columns.values(), strict=True)
    return ["item " + " ".join(f"{n}={v}" for n, v in zip(names, row, strict=True)) for row in rows]


def body(m: wire.Message) -> list[str]:
    """A line for each field of the body, and for each node."""
    lines = []
    for name, kind in wire._SHAPES[m.type].fields:
        value = getattr(m, name)
        if name in ("node", "nodes"):
            lines += [f"node {words(node)}" for node in (value if name == "nodes" else [value])]
        elif not isinstance(kind, wire._InPreamble | wire._Column) and name != "reserved":
            lines.append(f"{name}={value}")
    return lines


def describe(m: wire.Message, head: bytes) -> list[str]:
    """What the message is, each field of its body, each item of its columns."""
    flags, count, payload = head[5], *struct.unpack_from("<IQ", head, 12)
    lines = [f"{m.type.name} flags={flags} count={count} payload={payload}"]
    if isinstance(m, wire.Tasks):
        lines += [f"function {words(f)}" for f in m.functions] + [f"run {words(r)}" for r in m.runs]
    return lines + body(m) + items(m)


@pytest.mark.parametrize("vector", read_vectors(), ids=lambda v: v.name)
def test_a_head_means_what_its_vector_says(vector: Vector) -> None:
    try:
        message = wire.decode(vector.head, vector.came)
    except wire.WireError as e:
        assert e.code == vector.error, e
    else:
        assert not vector.error, f"decoded as {describe(message, vector.head)}"
        assert describe(message, vector.head) == vector.means
        assert written_anew(message) == vector.head


def test_every_type_has_a_good_vector_and_every_error_a_bad_one() -> None:
    vectors = read_vectors()
    assert {v.means[0].split()[0] for v in vectors if v.means} == {t.name for t in wire.Type}
    codes = "SHORT MAGIC VERSION TYPE RESERVED HEAD COUNT RANGE TEXT LENGTH".split()
    assert {v.error for v in vectors if v.error} == set(codes)


def test_no_bytes_raise_anything_but_wire_error() -> None:
    random.seed(1)
    good = [v for v in read_vectors() if v.means]
    for _ in range(20_000):
        vector = random.choice(good)
        head = bytearray(vector.head)
        for _ in range(random.randint(1, 4)):
            if head:
                head[random.randrange(len(head))] = random.choice((0, 1, 8, 127, 128, 255))
        if random.random() < 0.3:
            head = head[: random.randrange(len(head) + 1)]
        try:
            message = wire.decode(bytes(head), vector.came)
        except wire.WireError:
            continue
        assert written_anew(message) == head


def test_a_failure_record_comes_back_as_it_was() -> None:
    failure = wire.Failure(3, 4711, -1, 11, 2**31, 2**31 - 1, "node01", "7", "Segmentation fault: ✓\n")
    assert wire.Failure.unpack(failure.pack()) == failure
    for n in range(len(failure.pack())):
        with pytest.raises(wire.WireError):
            wire.Failure.unpack(failure.pack()[:n])


def test_a_batch_of_the_largest_size_passes() -> None:
    ids = array("Q", range(wire.MAX_ITEMS))
    lengths = array("I", [1]) * wire.MAX_ITEMS
    functions = tuple(wire.Function(i.to_bytes(16, "big"), 1) for i in range(wire.MAX_ITEMS))
    runs = tuple(wire.Run(i, 1) for i in range(wire.MAX_ITEMS))
    tasks = wire.Tasks(functions, runs, ids, lengths)
    assert wire.decode(tasks.head(), 2 * wire.MAX_ITEMS) == tasks
