"""The numbers of a report, from records of which we know what must come out; and the trace."""

from __future__ import annotations

import gzip
import json
import random
from array import array
from pathlib import Path

import pytest

from tests.unit.test_record import Written
from xse.live.status import status_by_record
from xse.record import open_record
from xse.report import trace
from xse.report.bins import MOST, OverTime, Sizes
from xse.report.page import page
from xse.report.summary import Summary
from xse.wire import messages as wire


@pytest.fixture
def two_nodes(tmp_path: Path) -> Path:
    """Ten tasks of 2 s on two nodes of two workers each; the last is lost with its worker. The run takes 10 s."""
    run = Written(tmp_path / "run.xse")
    run.recorder.function_named(b"f" * 16, "simulate")
    run.up("0", ["one", "two"])
    run.recorder.block_ready("0", n_workers=4)
    run.submit(list(range(10)), b"f" * 16)
    run.recorder.sent("0", array("Q", range(10)))
    begun_us = run.now_us
    for i in range(10):
        run.now_us = begun_us + 1_000_000 + i * 1_000_000
        start_us = begun_us + 1 + i * 500_000
        status = wire.Status.WORKER_LOST if i == 9 else wire.Status.VALUE
        run.recorder.ended(
            "0",
            wire.Results(
                array("Q", [i]), array("Q", [start_us]), array("I", [5]), array("I", [2_000_000]), array("I", [i % 4]),
                bytes([status]),
            ),
        )  # fmt: skip
    run.recorder.failure(9, wire.Status.WORKER_LOST, wire.Failure(host="two", signal=9, detail="line\nout of memory\n"))
    run.recorder.block_down("0", code=0, n_lost=0, reason="it was asked to stop")
    run.recorder.end()
    run.write()
    return run.path


def test_the_summary_adds_up(two_nodes: Path) -> None:
    found = Summary(open_record(two_nodes)).as_dict()
    assert (found["tasks"], found["done"], found["not_ended"], found["ended"]) == (10, 9, 0, True)
    assert found["seconds"] == pytest.approx(10)
    assert found["busy_s"] == pytest.approx(20)
    assert found["available_s"] == pytest.approx(40)
    assert found["share_busy"] == pytest.approx(0.5)
    (function,) = found["functions"]
    assert (function["name"], function["tasks"], function["failed"]) == ("simulate", 10, 1)
    assert function["p50_s"] == pytest.approx(2, rel=0.12)
    assert found["failures"] == {"worker lost, signal 9: out of memory": 1}
    assert {n["host"]: (n["n_workers"], n["n_tasks"]) for n in found["nodes"]} == {"one": (2, 6), "two": (2, 4)}
    assert len(found["slowest"]) == 10
    json.dumps(found)


def test_the_status_by_a_record_names_what_was_lost_last(two_nodes: Path) -> None:
    status = status_by_record(open_record(two_nodes))
    assert (status.done, status.failed, status.running, status.queued) == (9, 1, 0, 0)
    assert status.last_error == "task 9: worker_lost on two (signal 9): out of memory"


def test_a_trace_has_a_process_a_node_a_track_a_worker_and_an_event_a_task(two_nodes: Path, tmp_path: Path) -> None:
    path = tmp_path / "trace.json.gz"
    n = trace.write(open_record(two_nodes), str(path))
    events = json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]
    assert len(events) == n
    assert {e["args"]["name"] for e in events if e["name"] == "process_name"} == {"run", "one", "two"}
    assert sum(e["name"] == "thread_name" for e in events) == 4
    tasks = [e for e in events if e["ph"] == "X"]
    assert [(e["name"], e["dur"]) for e in tasks] == [("simulate", 2_000_000)] * 10
    assert {e["cat"] for e in tasks} == {"value", "worker_lost"}
    assert {e["name"] for e in events if e["ph"] == "C"} == {"busy workers", "queued tasks"}


def test_what_tasks_call_themselves_does_not_become_part_of_the_page(tmp_path: Path) -> None:
    pytest.importorskip("plotly")
    run = Written(tmp_path / "run.xse")
    run.recorder.function_named(bytes(16), "<script>alert(1)</script>")
    run.up("0", ["one"])
    run.submit([1])
    run.end("0", [1], run.now_us)
    run.flush()
    assert "<script>alert(1)" not in page(Summary(open_record(run.path)))


def test_bins_keep_their_sum_however_wide_they_become() -> None:
    dice = random.Random(1)
    busy, ended, total = OverTime(0.01), OverTime(0.01), 0.0
    for _ in range(2000):
        start = dice.random() * 10 ** dice.randrange(-2, 5)
        seconds = dice.random() * 10 ** dice.randrange(-4, 3)
        busy.add_between(start, start + seconds)
        total += seconds
        ended.add(start + seconds)
        assert len(busy.bins) <= MOST
    assert sum(busy.bins) == pytest.approx(total)
    assert sum(ended.bins) == 2000
    assert min(busy.bins) >= -1e-6


def test_percentiles_are_exact_to_the_width_of_a_bin() -> None:
    dice = random.Random(2)
    values = sorted(dice.lognormvariate(0, 2) for _ in range(5000))
    sizes = Sizes()
    for value in values:
        sizes.add(value)
    for percent in (50, 90, 99):
        assert sizes.percentile_s(percent) == pytest.approx(values[len(values) * percent // 100], rel=0.13)
    assert sizes.sum_s == pytest.approx(sum(values))
