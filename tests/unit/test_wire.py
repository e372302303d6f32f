"""The Python codec against tests/vectors, and what both sides of it promise."""

from __future__ import annotations

import random
from array import array
from dataclasses import dataclass, field
from pathlib import Path

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


def node_line(n: wire.NodeEntry) -> str:
    return f"node rank={n.rank} pid={n.pid} n_workers={n.n_workers} n_cores={n.n_cores} memory={n.memory} host={n.host}"


def describe(m: wire.Message) -> list[str]:
    flags, payload, more, lines = 0, 0, "", []
    match m:
        case wire.Tasks():
            payload = m.payload_length()
            lines = [f"function digest={f.digest.hex()} length={f.length}" for f in m.functions]
            lines += [
                f"run function={r.function} n_tasks={r.n_tasks} priority={r.priority}"
                f" timeout_ms={r.timeout_ms} codec={r.codec}"
                for r in m.runs
            ]
            lines += [f"task id={i} length={n}" for i, n in zip(m.ids, m.lengths, strict=True)]
        case wire.Results():
            payload = m.payload_length()
            columns = zip(m.ids, m.lengths, m.times, m.statuses, strict=True)
            lines = [f"result id={i} length={n} time={t} status={s}" for i, n, t, s in columns]
        case wire.Cancel():
            flags, lines = int(m.kill), [f"id {i}" for i in m.ids]
        case wire.Started():
            lines = [f"id {i}" for i in m.ids]
        case wire.Recall():
            more = f" count={m.wanted}"
        case wire.Register():
            lines = [f"block_id {m.block_id}", f"pool_id {m.pool_id}", f"xse {m.xse_version}"]
            lines += [f"python {m.python_version}", f"mpi {m.mpi}", f"zmq {m.zmq}", *map(node_line, m.nodes)]
        case wire.Welcome():
            payload = m.setup_length
            more = f" period={m.heartbeat_period_ms} threshold={m.heartbeat_threshold_ms} codec={m.setup_codec}"
        case wire.Refuse():
            more, lines = f" count={m.code}", [f"text {m.reason}"]
        case wire.Credit():
            flags = int(m.draining)
            more = f" capacity={m.capacity} n_workers={m.n_workers} task_us={m.task_us}"
        case wire.Stop():
            flags, more = int(m.now), f" count={m.grace_ms}"
        case wire.Bye():
            payload, more, lines = m.exception_length, f" count={m.code}", [f"text {m.reason}"]
        case wire.Node():
            lines = [node_line(m.node), f"python {m.python_version}"]
        case wire.Start():
            payload = m.setup_length
            more = (
                f" count={m.n_leaders} period={m.heartbeat_period_ms} threshold={m.heartbeat_threshold_ms}"
                f" codec={m.setup_codec} first_worker={m.first_worker}"
            )
            lines = [f"block_id {m.block_id}", f"pool_id {m.pool_id}"]
        case wire.Log():
            more, lines = f" count={m.level}", [f"text {m.line}"]
        case wire.Request() | wire.Reply():
            payload, more = m.json_length, f" count={m.number}"
        case wire.Event():
            payload = m.json_length
    return [f"{m.type.name} flags={flags} payload={payload}{more}", *lines]


@pytest.mark.parametrize("vector", read_vectors(), ids=lambda v: v.name)
def test_a_head_means_what_its_vector_says(vector: Vector) -> None:
    try:
        message = wire.decode(vector.head, vector.came)
    except wire.WireError as e:
        assert e.code == vector.error, e
    else:
        assert not vector.error, f"decoded as {describe(message)}"
        assert describe(message) == vector.means
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
