"""Row 21: a second answer, or one to no question, is counted, logged and dropped. No future is set twice."""

from __future__ import annotations

import sys
import threading
from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.faults.test_untrusted_peers import hello
from tests.support.by_hand import ByHand
from tests.support.waiting import eventually
from tests.unit import sample
from xse.parsl import codec as parsl_codec
from xse.wire import commands
from xse.wire import messages as wire

pytestmark = pytest.mark.row(21)


@pytest.fixture
def world(any_mpi: str, tmp_path: Path) -> Iterator[ByHand]:
    world = ByHand(tmp_path)
    yield world
    world.end()


def results(ids: list[int], value: bytes) -> list[bytes]:
    return [wire.did_not_run(array("Q", ids), wire.Status.VALUE, value).head(), value * len(ids)]


def value_of(obj: object) -> bytes:
    """As a worker writes it."""
    function = parsl_codec.load_function(parsl_codec.dump_function(lambda: obj).data)
    status, data = function(parsl_codec.dump_arguments((), {}))
    assert status == wire.Status.VALUE
    return data


def test_a_pool_that_answers_twice_and_what_it_was_not_asked_is_heard_once(
    world: ByHand, context: zmq.Context[Any]
) -> None:
    set_count: list[int] = []
    pool = world.friend(context)
    pool.send(hello("hand-mad").head())
    welcome, setup = pool.recv_multipart()
    assert isinstance(wire.decode(welcome, len(setup)), wire.Welcome)
    pool.send(wire.Credit(10, 1, 0).head())
    futures = [world.executor.submit(sample.double, {}, i) for i in range(3)]
    for future in futures:
        future.add_done_callback(lambda f: set_count.append(f.task_id))
    ids: list[int] = []
    while len(ids) < 3:
        head, *payload = pool.recv_multipart()
        message = wire.decode(head, sum(map(len, payload)))
        if isinstance(message, wire.Tasks):
            ids += message.ids
    assert sorted(ids) == [f.task_id for f in futures]
    pool.send_multipart(results([ids[0], ids[0], 777_777], value_of("first")))
    pool.send_multipart(results([ids[0]], value_of("again")))
    pool.send_multipart(results([ids[0], ids[1]], value_of("second")))
    pool.send_multipart(results([ids[2]], value_of("third")))
    by_id = {f.task_id: f for f in futures}
    assert [by_id[i].result(20) for i in ids] == ["first", "second", "third"]
    eventually(lambda: len(set_count) == 3, "each callback was called")
    assert world.executor._ask(commands.Status()).n_dropped == 4
    assert len(world.lines("results_dropped")) == 3
    assert sorted(set_count) == sorted(ids)
    assert len(world.executor.connected_managers()) == 1


#: An interchange that says each result twice, and one that nobody asked for.
STAMMERER = """
import dataclasses, sys
from array import array
from xse.wire import messages as wire
from xse.interchange import __main__ as program, loop
do = loop.Interchange._do
unasked = wire.did_not_run(array("Q", [999_999]), wire.Status.CANCELLED)
def is_results(effect):
    return isinstance(effect, loop.core.ToClient) and effect.head[4] == wire.Type.RESULTS
def twice(self, effects):
    for effect in effects:
        again = [effect, loop.core.ToClient(unasked.head(), [])] if is_results(effect) else []
        do(self, [effect, *again])
loop.Interchange._do = twice
sys.exit(program.main())
"""


def test_an_interchange_that_says_each_result_twice_sets_no_future_twice(
    mpi: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = ByHand(tmp_path, interchange_launch_cmd=[sys.executable, "-c", STAMMERER])
    called: list[int] = []
    lock = threading.Lock()

    def note(future: Any) -> None:
        with lock:
            called.append(future.task_id)

    try:
        world.start_pool()
        futures = [world.executor.submit(sample.double, {}, i) for i in range(100)]
        for future in futures:
            future.add_done_callback(note)
        assert [f.result(20) for f in futures] == [2 * i for i in range(100)]
        assert world.works()
        eventually(lambda: len(called) >= 100, "each callback was called")
        assert sorted(called) == [f.task_id for f in futures]
        eventually(lambda: caplog.text.count("result_dropped id=999999"), "a line in the log")
        eventually(lambda: caplog.text.count("result_dropped") > 100, "and each that came twice")
    finally:
        world.end()
