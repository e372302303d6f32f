"""The interchange's state machine: which block gets which task, and that every task gets exactly one answer."""

from __future__ import annotations

import base64
import random
from array import array
from collections.abc import Iterable
from typing import Any

import pytest

from tests.unit.test_queue import arrived
from xse.interchange import core
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames


class World:
    """A core, what it said, and the time."""

    def __init__(self, **settings: Any) -> None:
        self.now = 0.0
        self.core = core.Core(
            xse_version="1",
            python_version="3.11.7",
            heartbeat_period=30.0,
            heartbeat_threshold=120.0,
            **settings,
        )
        self.client: list[wire.Message] = []
        self.client_payloads: list[bytes] = []
        self.blocks: dict[object, list[wire.Message]] = {}
        self.forgotten: list[object] = []
        self.ended = False

    def settle(self) -> None:
        for effect in self.core.settle(self.now):
            match effect:
                case core.ToClient():
                    payload = b"".join(effect.payload)
                    self.client.append(wire.decode(effect.head, len(payload)))
                    self.client_payloads.append(payload)
                case core.ToBlock():
                    payload = b"".join(effect.payload)
                    self.blocks.setdefault(effect.peer, []).append(wire.decode(effect.head, len(payload)))
                case core.Forget():
                    self.forgotten.append(effect.peer)
                case core.End():
                    self.ended = True

    def register(self, block: str, **other: Any) -> str:
        fields: dict[str, Any] = {
            "block_id": block,
            "pool_id": "p" + block,
            "xse_version": "1",
            "python_version": "3.11.2",
            "mpi": "MPI",
            "zmq": "4",
            "nodes": (wire.NodeEntry(0, 1, 1, 1, 1, "host" + block),),
        }
        self.core.on_register(self.now, block, wire.Register(**(fields | other)))
        self.settle()
        return block

    def up(self, block: str, n_workers: int, capacity: int, task_us: int = 0) -> str:
        self.register(block)
        self.credit(block, n_workers, capacity, task_us)
        return block

    def credit(self, block: str, n_workers: int, capacity: int, task_us: int = 0) -> None:
        self.core.on_credit(block, wire.Credit(capacity, n_workers, task_us))
        self.settle()

    def submit(self, first: int, n: int, priority: int = 0) -> None:
        message = arrived(first, n, priority)
        self.core.on_tasks(message.tasks, message.payload)
        self.settle()

    def answer(self, block: str, ids: Iterable[int], status: int = 0) -> None:
        self.core.on_results(self.now, block, make_results(ids, status), Frames([]))
        self.settle()

    def give_back(self, block: str, first: int, n: int) -> None:
        message = arrived(first, n)
        self.core.on_tasks_back(block, message.tasks, message.payload)
        self.settle()

    def given(self, block: str) -> list[int]:
        """Ids of all tasks that this block was ever given."""
        return [i for m in self.blocks.get(block, []) if isinstance(m, wire.Tasks) for i in m.ids]

    def answered(self) -> dict[int, int]:
        """The status of each id that was answered to the client. Fails if one was answered twice."""
        reported: dict[int, int] = {}
        for message in self.client:
            if isinstance(message, wire.Results):
                for task_id, status in zip(message.ids, message.statuses, strict=True):
                    assert task_id not in reported, f"{task_id} answered twice"
                    reported[task_id] = status
        return reported

    def events(self) -> list[Any]:
        pairs = zip(self.client, self.client_payloads, strict=True)
        return [commands.loads(p, object) for m, p in pairs if isinstance(m, wire.Event)]

    def status(self) -> commands.StatusReply:
        self.core.on_request(self.now, 99, commands.Status())
        self.settle()
        return commands.loads(self.client_payloads[-1], commands.StatusReply)

    def to_block(self, block: str, kind: type) -> list[Any]:
        return [m for m in self.blocks.get(block, []) if isinstance(m, kind)]


def make_results(ids: Iterable[int], status: int = 0) -> wire.Results:
    return wire.did_not_run(array("Q", ids), wire.Status(status))


# ---- registration


def test_a_block_is_welcomed_with_the_setup_and_the_executor_is_notified() -> None:
    world = World(setup=b"initialize")
    world.register("0")
    assert world.to_block("0", wire.Welcome) == [wire.Welcome(30_000, 120_000, 0, 10)]
    assert world.events() == [
        commands.BlockUp("0", "p0", ["host0"], [1], [1], [1], "3.11.2"),
    ]


def test_a_block_id_that_is_connected_is_refused() -> None:
    world = World()
    world.register("0")
    world.core.on_register(0.0, "other", wire.Register("0", "q", "1", "3.11.0", "", "", world_nodes()))
    world.settle()
    (refusal,) = world.to_block("other", wire.Refuse)
    assert refusal.code == wire.RefuseCode.BLOCK
    assert world.forgotten == ["other"]


def world_nodes() -> tuple[wire.NodeEntry, ...]:
    return (wire.NodeEntry(0, 1, 1, 1, 1, "h"),)


@pytest.mark.parametrize(
    ("other", "expected"),
    [
        ({"xse_version": "2"}, "version 2, and the executor's xse is 1"),
        ({"python_version": "3.12.1"}, "Python 3.12.1, and the executor 3.11.7"),
    ],
)
def test_another_version_is_refused_with_both_versions(other: dict[str, str], expected: str) -> None:
    world = World()
    world.register("0", **other)
    (refusal,) = world.to_block("0", wire.Refuse)
    assert refusal.code == wire.RefuseCode.VERSION
    assert expected in refusal.reason
    assert not world.core.knows("0")


# ---- sharing tasks out


def test_tasks_wait_until_a_block_has_credit() -> None:
    world = World()
    world.submit(1, 10)
    world.register("0")
    assert world.given("0") == []
    world.credit("0", 2, 4)
    assert world.given("0") == [1, 2, 3, 4]


def test_waiting_workers_of_all_blocks_come_before_prefetch_of_any() -> None:
    world = World()
    for block in "abc":
        world.up(block, 2, 10)
    world.submit(1, 6)
    assert [len(world.given(b)) for b in "abc"] == [2, 2, 2]
    world.submit(7, 30)
    assert [len(world.given(b)) for b in "abc"] == [10, 10, 10]


def test_blocks_get_even_shares_in_one_message_each() -> None:
    world = World()
    for block in "abcd":
        world.up(block, 8, 8)
    world.submit(1, 16)
    for block in "abcd":
        (message,) = world.to_block(block, wire.Tasks)
        assert len(message.ids) == 4


def test_a_result_is_a_new_credit() -> None:
    world = World()
    world.up("0", 2, 2)
    world.submit(1, 4)
    world.answer("0", [1])
    assert world.given("0") == [1, 2, 3]


def test_prefetch_is_filled_up_when_half_of_it_is_used() -> None:
    world = World()
    world.up("0", 2, 10)
    world.submit(1, 100)
    world.answer("0", range(1, 4))
    assert len(world.given("0")) == 10, "a message for each result would cost more than it brings"
    world.answer("0", range(4, 6))
    assert len(world.given("0")) == 15


def test_a_held_block_gets_no_more_and_ends_what_it_has() -> None:
    world = World()
    world.up("0", 1, 1)
    world.submit(1, 3)
    world.core.on_request(0.0, 7, commands.Hold("0"))
    world.answer("0", [1])
    assert world.given("0") == [1]
    world.up("1", 5, 5)
    assert world.given("1") == [2, 3]


def test_one_block_can_be_stopped_and_the_others_go_on() -> None:
    world = World()
    world.up("0", 1, 1)
    world.up("1", 1, 1)
    world.submit(1, 3)
    world.core.on_request(0.0, 7, commands.Stop("0", 1000))
    world.settle()
    (asked,) = world.to_block("0", wire.Stop)
    assert (asked.now, asked.grace_ms) == (False, 1000)
    assert not world.to_block("1", wire.Stop)
    world.answer("0", [1])
    world.answer("1", [2])
    assert (world.given("0"), world.given("1")) == ([1], [2, 3])
    world.core.on_request(0.0, 8, commands.Stop("1"))
    world.settle()
    assert [stop.now for stop in world.to_block("1", wire.Stop)] == [True]


def test_a_draining_block_gets_no_more() -> None:
    world = World()
    world.up("0", 5, 5)
    world.core.on_credit("0", wire.Credit(0, 5, 0, draining=True))
    world.submit(1, 3)
    assert world.given("0") == []
    world.core.on_credit("0", wire.Credit(0, 4, 0, draining=True))
    (heard,) = world.to_block("0", wire.Stop)
    assert (heard.now, heard.grace_ms) == (False, wire.UINT32_MAX), "it hears once that nothing more comes"


def test_tasks_that_wait_in_one_block_move_when_another_is_idle() -> None:
    world = World()
    world.up("a", 1, 5, task_us=1_000_000)
    world.submit(1, 5)
    world.up("b", 1, 1)
    (recall,) = world.to_block("a", wire.Recall)
    assert recall.wanted == 2
    world.give_back("a", 4, 2)
    assert world.given("b") == [4]


def test_short_tasks_go_to_one_block_rather_than_one_by_one_to_all() -> None:
    world = World()
    blocks = [world.up(str(i), 2, 100, task_us=100) for i in range(10)]
    world.submit(1, 20)
    assert sorted(len(world.given(b)) for b in blocks) == [0] * 9 + [20]


def test_tasks_that_last_are_shared_evenly_by_all_blocks() -> None:
    world = World()
    blocks = [world.up(str(i), 2, 100, task_us=10_000) for i in range(10)]
    world.submit(1, 20)
    assert [len(world.given(b)) for b in blocks] == [2] * 10


def test_a_worker_that_waits_among_a_hundred_blocks_is_not_brought_a_task_from_each() -> None:
    world = World()
    blocks = [world.up(str(i), 1, 5, task_us=1_000_000) for i in range(100)]
    world.submit(1, 500)
    world.up("idle", 1, 1)
    world.settle()  # what was asked for is under way
    assert sum(r.wanted for b in blocks for r in world.to_block(b, wire.Recall)) == 400 // 101


def test_short_tasks_are_recalled_only_when_they_are_late() -> None:
    world = World()
    world.core.on_tick(0.0)
    world.up("a", 1, 5, task_us=10)
    world.submit(1, 5)
    world.up("b", 1, 1)
    assert world.to_block("a", wire.Recall) == []
    assert world.core.deadline() == pytest.approx(core.LATE_S)
    world.now = core.LATE_S
    world.core.on_tick(world.now)
    world.settle()
    assert len(world.to_block("a", wire.Recall)) == 1


# ---- answers


def test_results_of_several_blocks_reach_the_client_in_one_message() -> None:
    world = World()
    world.up("a", 1, 1)
    world.up("b", 1, 1)
    world.submit(1, 2)
    for block in "ab":
        world.core.on_results(0.0, block, make_results(world.given(block)), Frames([]))
    world.settle()
    results = [m for m in world.client if isinstance(m, wire.Results)]
    assert len(results) == 1
    assert sorted(results[0].ids) == [1, 2]


def test_payloads_keep_to_their_tasks_when_results_are_put_together() -> None:
    world = World()
    world.up("a", 2, 2)
    world.submit(1, 2)
    for task_id, value in ((2, b"two"), (1, b"one!")):
        one = wire.did_not_run(array("Q", [task_id]), wire.Status.VALUE, value)
        world.core.on_results(0.0, "a", one, Frames([value]))
    world.settle()
    (results,) = (m for m in world.client if isinstance(m, wire.Results))
    assert list(results.ids) == [2, 1]
    assert world.client_payloads[-1] == b"twoone!"


def test_a_result_that_comes_twice_or_was_never_asked_is_dropped() -> None:
    world = World()
    world.up("0", 3, 3)
    world.submit(1, 3)
    world.answer("0", [1])
    world.answer("0", [1, 2, 99])
    world.answer("0", [3, 3])
    assert set(world.answered()) == {1, 2, 3}
    assert world.status().n_dropped == 3


def test_a_lost_block_answers_what_it_had_and_leaves_the_queue_alone() -> None:
    world = World()
    world.up("0", 2, 2)
    world.submit(1, 5)
    world.core.on_lost("0", "its connection has ended")
    world.settle()
    assert world.answered() == {1: wire.Status.MANAGER_LOST, 2: wire.Status.MANAGER_LOST}
    record = world.client_payloads[[isinstance(m, wire.Results) for m in world.client].index(True)]
    failure = wire.Failure.unpack(record[: len(record) // 2])
    assert (failure.block, failure.host, failure.detail) == ("0", "host0", "its connection has ended")
    down = world.events()[-1]
    assert (down.block_id, down.code, down.n_lost) == ("0", -1, 2)
    world.up("1", 5, 5)
    assert world.given("1") == [3, 4, 5]


def test_a_result_of_a_lost_block_is_dropped_and_the_block_asked_to_end() -> None:
    world = World()
    world.up("0", 1, 1)
    world.submit(1, 1)
    world.core.on_lost("0", "silent")
    world.core.on_unregistered("0", make_results([1]))
    world.settle()
    assert world.answered() == {1: wire.Status.MANAGER_LOST}
    assert world.to_block("0", wire.Stop)[-1].now
    assert world.status().n_dropped == 1


def test_a_block_that_says_bye_and_had_all_answered_costs_nothing() -> None:
    world = World()
    world.up("0", 1, 1)
    world.core.on_bye("0", wire.Bye(wire.ByeCode.DRAINED, "drain_period is over"), b"")
    world.settle()
    down = world.events()[-1]
    assert (down.code, down.reason, down.n_lost, down.ever_ready) == (4, "drain_period is over", 0, True)
    assert world.forgotten == ["0"]


def test_a_block_that_loses_a_rank_goes_on_and_the_executor_is_told_why() -> None:
    world = World()
    world.register("0")
    world.credit("0", 2, 2)
    world.core.on_rank_lost("0", wire.RankLost(1, "rank 1 on host1: no memory"))
    world.settle()
    assert world.events()[-1] == commands.RankLost("0", 1, "rank 1 on host1: no memory")
    (block,) = world.status().blocks
    assert block.lost == ["rank 1 on host1: no memory"]
    world.submit(1, 2)
    assert world.given("0") == [1, 2]


def test_the_exception_of_a_setup_reaches_the_executor() -> None:
    world = World()
    world.register("0")
    world.core.on_bye("0", wire.Bye(wire.ByeCode.SETUP_RAISED, "it raised", 4), b"boom")
    world.settle()
    assert base64.b64decode(world.events()[-1].exception) == b"boom"


def test_a_silent_block_is_given_up_and_a_quiet_one_is_kept_awake() -> None:
    world = World()
    world.up("0", 1, 1)
    world.submit(1, 1)
    for now in range(15, 121, 15):
        world.now = float(now)
        world.core.on_tick(world.now)
        world.settle()
    assert len(world.to_block("0", wire.Heartbeat)) == 10  # one with its WELCOME, one when it is ready
    assert world.answered() == {}
    world.now = 150.0
    world.core.on_tick(world.now)
    world.settle()
    assert world.answered() == {1: wire.Status.MANAGER_LOST}


# ---- cancel


def test_a_queued_task_is_cancelled_at_once() -> None:
    world = World()
    world.submit(1, 5)
    world.core.on_cancel(wire.Cancel(array("Q", [2, 4])))
    world.settle()
    assert world.answered() == {2: wire.Status.CANCELLED, 4: wire.Status.CANCELLED}
    world.up("0", 9, 9)
    assert world.given("0") == [1, 3, 5]


def test_a_task_in_flight_is_asked_for_and_its_answer_passed_on() -> None:
    world = World()
    world.up("0", 2, 2)
    world.submit(1, 2)
    world.core.on_cancel(wire.Cancel(array("Q", [1, 2, 77])))
    world.settle()
    (cancel,) = world.to_block("0", wire.Cancel)
    assert list(cancel.ids) == [1, 2]
    world.core.on_started(wire.Started(array("Q", [1])))
    world.answer("0", [2], wire.Status.CANCELLED)
    assert wire.Started(array("Q", [1])) in world.client
    assert world.answered() == {2: wire.Status.CANCELLED}


def test_a_cancelled_task_that_comes_back_is_not_sent_again() -> None:
    world = World()
    world.up("0", 1, 3)
    world.submit(1, 3)
    world.core.on_cancel(wire.Cancel(array("Q", [3])))
    world.give_back("0", 2, 2)
    assert world.answered() == {3: wire.Status.CANCELLED}
    assert sorted(world.given("0")) == [1, 2, 2, 3]


# ---- the end


def test_shutdown_stops_all_blocks_and_ends_when_they_have() -> None:
    world = World()
    world.up("a", 1, 1)
    world.up("b", 1, 1)
    world.core.on_request(0.0, 5, commands.Shutdown())
    world.settle()
    for block in "ab":
        assert world.to_block(block, wire.Stop) == [wire.Stop(now=True)]
    world.core.on_bye("a", wire.Bye(wire.ByeCode.ASKED, ""), b"")
    world.settle()
    assert not world.ended
    world.core.on_lost("b", "gone")
    world.settle()
    assert world.ended
    assert [m.number for m in world.client if isinstance(m, wire.Reply)] == [5]
    world.register("late")
    assert world.to_block("late", wire.Refuse)[0].code == wire.RefuseCode.ENDING


def test_status_tells_each_block() -> None:
    world = World()
    world.up("0", 2, 4)
    world.submit(1, 9)
    status = world.status()
    (block,) = status.blocks
    assert (block.block_id, block.n_workers, block.n_tasks, block.hosts) == ("0", 2, 4, ["host0"])
    assert (status.n_queued, status.ever_connected) == (5, ["0"])


# ---- everything at once


def test_whatever_happens_each_task_gets_exactly_one_answer() -> None:
    """Blocks come, answer, give back, die and are cancelled from, at random; at last one good block does the rest."""
    for seed in range(60):
        random.seed(seed)
        world = World()
        alive: dict[str, set[int]] = {}
        submitted: set[int] = set()
        next_id, next_block = 1, 0
        for _ in range(120):
            world.now += random.random()
            action = random.random()
            if action < 0.25:
                n = random.randint(1, 20)
                world.submit(next_id, n, random.choice((0, 0, 1)))
                submitted |= set(range(next_id, next_id + n))
                next_id += n
            elif action < 0.35:
                block = str(next_block)
                next_block += 1
                workers = random.randint(1, 4)
                world.up(block, workers, workers + random.randint(0, 6), random.choice((10, 10_000_000)))
                alive[block] = set()
            elif action < 0.75 and alive:
                block = random.choice(list(alive))
                mine = held_by(world, block)
                ids = random.sample(sorted(mine), random.randint(0, len(mine)))
                if ids:
                    world.answer(block, [*ids, *([ids[0]] if random.random() < 0.2 else [])])
            elif action < 0.85 and alive:
                block = random.choice(list(alive))
                mine = sorted(held_by(world, block))
                if mine:
                    world.give_back(block, random.choice(mine), 1)
            elif action < 0.92 and submitted:
                world.core.on_cancel(wire.Cancel(array("Q", random.sample(sorted(submitted), 1))))
                world.settle()
            elif alive:
                block = random.choice(list(alive))
                del alive[block]
                world.core.on_lost(block, "random")
                world.settle()
        for block in alive:
            world.core.on_lost(block, "over")
        world.settle()
        world.up("last", 10_000, 10_000)
        world.answer("last", sorted(held_by(world, "last")))
        assert set(world.answered()) == submitted, f"seed {seed}"


def held_by(world: World, block: str) -> set[int]:
    return set(world.core._by_id[block].in_flight)


def test_a_block_of_many_long_named_hosts_that_is_lost_is_reported_in_short() -> None:
    w = World()
    nodes = tuple(wire.NodeEntry(i, 1, 1, 1, 1, f"node{i:05}.of.a.cluster.somewhere.example") for i in range(4096))
    w.register("b", nodes=nodes)
    w.credit("b", 4096, 4096)
    w.submit(1, 1000)
    w.core.on_lost("b", "its connection has ended")
    w.settle()
    assert w.answered() == dict.fromkeys(range(1, 1001), wire.Status.MANAGER_LOST)
    reported = next(p for m, p in zip(w.client, w.client_payloads, strict=True) if isinstance(m, wire.Results))
    failure = wire.Failure.unpack(reported[: len(reported) // 1000])
    assert failure.host.startswith("node00000.of.a.cluster.somewhere.example,node00001.")
    assert len(reported) < 1000 * 4096


@pytest.mark.parametrize("field", ["block_id", "xse_version", "python_version"])
def test_a_pool_with_a_name_as_long_as_a_text_may_be_is_refused_like_another(field: str) -> None:
    w = World()
    name = "z" * wire.MAX_TEXT
    w.register("b", **({"block_id": name} if field == "block_id" else {}))
    w.register("c", **{field: name})
    (refuse,) = w.to_block("c", wire.Refuse)
    assert refuse.reason.count("z") == core.MOST_NAMES
