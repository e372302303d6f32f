"""The state machine of the interchange: events and the time go in, effects come out. No socket, no clock, no pickle.

Tasks wait in one queue and go to blocks by credit. Idle workers of all blocks get tasks first; then tasks are
prefetched. The core knows the ids that are in flight to each block. So each id gets exactly one answer, even when a
block is lost, and a second answer is dropped.
"""

from __future__ import annotations

import base64
import contextlib
import logging
from array import array
from collections import deque
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from xse.interchange.clock import Clock
from xse.interchange.queue import Arrived, Queue, to_message
from xse.record.recorder import Recorder
from xse.version import mismatch
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames, joined

logger = logging.getLogger(__name__)

#: When a worker is idle, a block with more tasks than workers is asked to give some back: at once if its waiting tasks
#: last longer than WORTH_S, and in any case when it has answered nothing for LATE_S. Shorter work is not worth the
#: messages.
WORTH_S = 0.005
LATE_S = 0.010
RATE_OVER_S = 10  # seconds
LOOK_AGAIN_S = 0.002  # after all blocks were asked and none could be
#: The least work in one TASKS message: so much time for each worker of the block, about one round trip. With many
#: blocks an even share may be a few short tasks, and the messages would cost more than the tasks.
WORTH_A_MESSAGE_S = 0.001
MOST_BYTES = 16 << 20  # of results that are merged into one message
#: Texts from a block, such as the hosts of thousands of nodes, are cut to this many bytes before they go into a failure
#: record: a lost block sends one record for each of its tasks.
MOST_NAMES = 2048

Peer: TypeAlias = Hashable  # the loop's name for a connection


@dataclass(slots=True)  # this one and the next are not frozen: frozen ones take three times as long to make
class ToBlock:
    """Send a message to a block."""

    peer: Peer
    head: bytes
    payload: Sequence[wire.Buffer]


@dataclass(slots=True)
class ToClient:
    """Send a message to the executor."""

    head: bytes
    payload: Sequence[wire.Buffer]


@dataclass(frozen=True, slots=True)
class Forget:
    """Close this connection."""

    peer: Peer


@dataclass(frozen=True, slots=True)
class End:
    """The interchange ends."""


Effect: TypeAlias = "ToBlock | ToClient | Forget | End | commands.Admit"


@dataclass(eq=False, slots=True)
class Block:
    """A connected block and the tasks that are in flight to it."""

    peer: Peer
    hello: wire.Register
    last_heard: float
    last_answer: float
    clock: Clock = field(default_factory=Clock)
    n_workers: int = 0
    capacity: int = 0
    task_s: float = 0.0
    least: int = 1  # tasks: less are not worth a message
    in_flight: set[int] = field(default_factory=set)
    # Its part of the core's sums: idle workers, tasks beyond its workers, and its workers if there are such tasks.
    idle: int = 0
    ahead: int = 0
    workers_ahead: int = 0
    recalled: int = 0  # tasks that it was asked to give back, until it answers
    lost: list[str] = field(default_factory=list)  # ranks that have failed: why
    held: bool = False
    draining: bool = False
    ever_ready: bool = False
    ready_since: float = 0.0  # when it had its first worker
    stopping: bool = False

    @property
    def id(self) -> str:
        return self.hello.block_id

    @property
    def hosts(self) -> str:
        return ",".join(dict.fromkeys(n.host for n in self.hello.nodes))

    def open(self) -> bool:
        """May the block be given tasks?"""
        return not (self.held or self.draining or self.stopping)


class Core:
    """The state machine. Call an ``on_`` method for each event, then ``settle`` for the effects.

    Several events before one ``settle`` lead to fewer messages. ``now`` is in seconds of any monotonic clock.
    """

    def __init__(
        self,
        *,
        xse_version: str,
        python_version: str,
        heartbeat_period: float,
        heartbeat_threshold: float,
        setup: bytes = b"",
        setup_codec: int = 0,
        fill_order: str = "even",
        recorder: Recorder | None = None,
    ) -> None:
        """``heartbeat_period`` and ``heartbeat_threshold`` are in seconds.

        ``fill_order``: ``even`` gives all blocks equal shares. ``block_id`` fills the highest block id first, so that
        other blocks become idle and can be scaled in. ``recorder`` is told what happens to tasks and blocks.
        """
        self._xse_version = xse_version
        self._python_version = python_version
        self._period = heartbeat_period
        self._threshold = heartbeat_threshold
        self._setup = setup
        self._setup_codec = setup_codec
        self._highest_first = fill_order == "block_id"
        self._recorder = recorder
        self._n_done = self._n_failed = self._n_cancelled = 0
        self._marks: deque[tuple[float, int]] = deque()  # when so many tasks had ended: one a second, of the last ones
        self._last_error = ""
        self._busy_us = 0  # in tasks, of all workers
        self._available_s = 0.0  # worker-seconds of blocks that are gone
        self._queue = Queue()
        self._blocks: dict[Peer, Block] = {}
        self._by_id: dict[str, Block] = {}
        self._idle: dict[Block, None] = {}  # blocks with idle workers
        self._with_credit: dict[Block, None] = {}  # blocks with credit, but no idle worker
        self._ahead: dict[Block, None] = {}  # blocks with more tasks than workers
        # Sums over all blocks, so that no message looks at every block: idle workers, tasks ahead, workers of those
        # blocks.
        self._n_idle = self._n_ahead = self._n_workers_ahead = 0
        self._n_recalled = 0
        self._cancelling: set[int] = set()  # CANCEL was sent to a block and is not answered
        self._ever_connected: dict[str, None] = {}
        self._n_dropped = 0
        self._beat_at = 0.0
        self._balance_at: float | None = None
        self._looked_at = -LOOK_AGAIN_S
        self._shutdown: int | None = None  # number of the request
        self._effects: list[Effect] = []
        self._results: list[tuple[wire.Results, Frames]] = []  # for the client

    def check(self) -> None:
        """Raises AssertionError if an invariant does not hold. For tests: it looks at every block and task."""
        self._queue.check()
        blocks = list(self._blocks.values())
        assert self._by_id == {b.id: b for b in blocks}, "blocks by id and by connection are the same"
        in_flight = [task for b in blocks for task in b.in_flight]
        assert len(in_flight) == len(set(in_flight)), "a task is in flight to one block"
        assert self._cancelling <= set(in_flight), "a cancelled task is in flight"
        for block in blocks:
            n, open_ = len(block.in_flight), block.open()
            assert (block in self._idle) == (open_ and n < min(block.n_workers, block.capacity)), "idle blocks"
            assert block not in self._with_credit or (open_ and block.n_workers <= n < block.capacity), "with credit"
            assert (block in self._ahead) == bool(block.ahead), "blocks with more tasks than workers"
            assert block.idle == (block.n_workers - n if block in self._idle else 0), "idle workers of a block"
        assert {*self._idle, *self._with_credit, *self._ahead} <= set(blocks), "no lost block is in a ring"
        sums = (self._n_idle, self._n_ahead, self._n_workers_ahead, self._n_recalled)
        assert sums == (
            sum(b.idle for b in blocks),
            sum(b.ahead for b in blocks),
            sum(b.workers_ahead for b in blocks),
            sum(b.recalled for b in blocks),
        ), "the sums over all blocks"

    # ---- effects

    def settle(self, now: float) -> list[Effect]:
        """The effects of all events since the last call."""
        if self._queue and (self._idle or self._with_credit):
            self._dispatch()
        self._balance(now)
        if self._results:
            self._flush_results()
        effects, self._effects = self._effects, []
        if self._shutdown is not None and not self._blocks:
            effects.append(End())
        return effects

    @property
    def unsettled(self) -> bool:
        """Are there effects that ``settle`` has not returned yet?"""
        return bool(self._effects or self._results)

    def _flush_results(self) -> None:
        """Send the answers of all blocks to the client, in as few messages as possible."""
        pending, self._results = self._results, []
        while pending:
            batch, n, n_bytes = 0, 0, 0
            while batch < len(pending) and n_bytes < MOST_BYTES:
                results, payload = pending[batch]
                if n and n + len(results.ids) > wire.MAX_ITEMS:
                    break
                n += len(results.ids)
                n_bytes += payload.length
                batch += 1
            self._effects.append(_merged(pending[:batch]))
            del pending[:batch]

    def _to_block(self, block: Block, message: wire.Message, payload: Sequence[wire.Buffer]) -> None:
        self._effects.append(ToBlock(block.peer, message.head(), payload))

    def _results_to_client(
        self, ids: array[int], status: wire.Status, record: bytes = b"", block: Block | None = None
    ) -> None:
        """Answer tasks that no worker answers."""
        for i in range(0, len(ids), wire.MAX_ITEMS):
            part = ids[i : i + wire.MAX_ITEMS]
            results = wire.did_not_run(part, status, record)
            self._results.append((results, Frames([record * len(part)])))
            self._note_ended(block, results)

    def _event(self, event: commands.Event) -> None:
        self._flush_results()  # keep the order: answers first
        data = commands.dumps(event)
        self._effects.append(ToClient(wire.Event(len(data)).head(), [data]))

    def _reply(self, number: int, reply: commands.Reply) -> None:
        self._flush_results()
        data = commands.dumps(reply)
        self._effects.append(ToClient(wire.Reply(number, len(data)).head(), [data]))

    # ---- which blocks can take tasks

    def _place(self, block: Block) -> None:
        """Update the sums and put the block at the end of its ring. Called after every change of the block's
        numbers."""
        n, n_workers, capacity = len(block.in_flight), block.n_workers, block.capacity
        n_idle = 0
        self._idle.pop(block, None)
        self._with_credit.pop(block, None)
        if n < capacity and block.open():
            if n < n_workers:
                self._idle[block] = None
                n_idle = n_workers - n
            # Prefetched tasks are refilled when half of them are done: one message for each would cost more.
            elif n - n_workers <= (capacity - n_workers) // 2:
                self._with_credit[block] = None
        ahead = n - n_workers if n > n_workers > 0 and not block.stopping else 0
        if ahead:
            self._ahead[block] = None
        elif block.ahead:
            del self._ahead[block]
        if n_idle != block.idle:
            self._n_idle += n_idle - block.idle
            block.idle = n_idle
        if ahead != block.ahead or n_workers != block.workers_ahead:
            self._n_ahead += ahead - block.ahead
            self._n_workers_ahead -= block.workers_ahead
            block.ahead, block.workers_ahead = ahead, n_workers if ahead else 0
            self._n_workers_ahead += block.workers_ahead

    def _recalled(self, block: Block, n: int) -> None:
        """Note how many tasks the block was asked to give back; 0: it has answered."""
        self._n_recalled += n - block.recalled
        block.recalled = n

    def _dispatch(self) -> None:
        """Send waiting tasks, in rounds: each block of the ring gets its share, in one message."""
        queue = self._queue
        while queue and (self._idle or self._with_credit):
            ring = self._idle or self._with_credit
            share = -(-len(queue) // len(ring))
            blocks = list(ring)
            if self._highest_first:
                share = len(queue)
                blocks.sort(key=lambda b: (len(b.id), b.id), reverse=True)
            for block in blocks:
                if not queue:
                    break
                full = block.capacity
                most = full if ring is self._with_credit else min(max(block.n_workers, block.least), full)
                pieces = queue.take(min(max(share, block.least), most - len(block.in_flight), wire.MAX_ITEMS))
                tasks, payload = to_message(pieces)
                block.in_flight.update(tasks.ids)
                if self._recorder:
                    self._recorder.sent(block.id, tasks.ids)
                self._to_block(block, tasks, payload)
                self._place(block)

    def _balance(self, now: float) -> None:
        """If workers are idle while other blocks have waiting tasks, ask as few blocks as possible for a fair share."""
        self._balance_at = None
        if not self._n_idle or not self._ahead or self._queue:
            return
        if now < self._looked_at + LOOK_AGAIN_S:
            self._balance_at = self._looked_at + LOOK_AGAIN_S
            return
        idle = self._n_idle
        wanted = max(1, self._n_ahead * idle // (idle + self._n_workers_ahead)) - self._n_recalled
        in_vain = wanted > 0
        for block in self._ahead:
            if wanted <= 0:
                break
            if block.recalled:
                continue
            late = now - block.last_answer >= LATE_S
            if not late and block.ahead * block.task_s / block.n_workers < WORTH_S:
                self._balance_at = now + LATE_S
                continue
            here = min(wanted, max(1, block.ahead * idle // (idle + block.n_workers)))
            wanted -= here
            in_vain = False
            self._recalled(block, here)
            self._to_block(block, wire.Recall(here), [])
        if in_vain:
            self._looked_at = now

    # ---- messages of the executor

    def on_tasks(self, tasks: wire.Tasks, payload: Frames) -> None:
        """The executor submits tasks."""
        if self._recorder:
            self._recorder.submitted(tasks)
        self._queue.add(Arrived(tasks, payload))

    def on_cancel(self, cancel: wire.Cancel) -> None:
        """Drop the tasks that wait here; send CANCEL to the blocks that have the others."""
        here = self._queue.remove(cancel.ids)
        self._results_to_client(array("Q", here), wire.Status.CANCELLED)
        rest = set(cancel.ids).difference(here)
        for block in self._blocks.values():
            there = rest & block.in_flight
            if there:
                self._cancelling |= there
                self._to_block(block, wire.Cancel(array("Q", sorted(there)), cancel.kill), [])

    def on_request(self, now: float, number: int, request: commands.Request) -> None:
        """The executor sends a command."""
        match request:
            case commands.Status():
                self._reply(number, self._status(now))
            case commands.NameFunction():
                if self._recorder:
                    self._recorder.function_named(bytes.fromhex(request.digest), request.function)
            case commands.Admit():
                self._effects.append(request)
                self._reply(number, commands.Done())
            case commands.Hold():
                block = self._find(request.block_id)
                if block:
                    block.held = True
                    self._place(block)
                self._reply(number, commands.Done(block is not None))
            case commands.Stop():
                block = self._find(request.block_id)
                if block:
                    self._stop(block, wire.Stop(now=not request.grace_ms, grace_ms=request.grace_ms))
                self._reply(number, commands.Done(block is not None))
            case commands.Shutdown():
                self._shutdown = number
                for block in self._blocks.values():
                    self._stop(block, wire.Stop(now=True))
                self._done_if_over()

    def _find(self, name: str) -> Block | None:
        """The block with this block id or pool id."""
        return self._by_id.get(name) or next((b for b in self._blocks.values() if b.hello.pool_id == name), None)

    def _stop(self, block: Block, how: wire.Stop) -> None:
        block.stopping = True
        self._place(block)
        self._to_block(block, how, [])

    def _status(self, now: float) -> commands.StatusReply:
        blocks = [self._info(now, b) for b in self._blocks.values()]
        return commands.StatusReply(
            blocks,
            list(self._ever_connected),
            len(self._queue),
            self._n_dropped,
            n_done=self._n_done,
            n_failed=self._n_failed,
            n_cancelled=self._n_cancelled,
            rate=self._rate(now),
            last_error=self._last_error,
            busy_s=self._busy_us / 1e6,
            available_s=self._available_s + sum(_available_s(block, now) for block in self._blocks.values()),
        )

    def _rate(self, now: float) -> float:
        """Tasks that ended a second, since the oldest mark."""
        while len(self._marks) > 1 and now - self._marks[0][0] > RATE_OVER_S:
            self._marks.popleft()
        if not self._marks or now <= self._marks[0][0]:
            return 0.0
        at, n = self._marks[0]
        return (self._n_done + self._n_failed - n) / (now - at)

    def answer(self, now: float, request: commands.Request) -> commands.Reply | None:
        """To a question that came by the control socket. None: it is no such question."""
        match request:
            case commands.Status():
                return self._status(now)
            case commands.Explain():
                block = next((b for b in self._blocks.values() if request.task_id in b.in_flight), None)
                before = None if block else self._queue.n_before(request.task_id)
                info = self._info(now, block) if block else None
                return commands.Explained(self._status(now), before, info)
        return None

    @staticmethod
    def _info(now: float, b: Block) -> commands.BlockInfo:
        return commands.BlockInfo(
            block_id=b.id,
            pool_id=b.hello.pool_id,
            hosts=[n.host for n in b.hello.nodes],
            n_workers=b.n_workers,
            n_tasks=len(b.in_flight),
            idle_s=0.0 if b.in_flight else now - b.last_answer,
            held=b.held,
            draining=b.draining,
            python_version=b.hello.python_version,
            lost=b.lost,
        )

    # ---- messages of blocks

    def knows(self, peer: Peer) -> bool:
        """Has this connection registered?"""
        return peer in self._blocks

    def on_register(self, now: float, peer: Peer, hello: wire.Register, *, owner: str = "") -> None:
        """Accept the block, or refuse it with the reason.

        ``owner`` is the block id of the connection's key; "": the shared key, which any block may have.
        """
        refusal = self._refusal(hello, owner)
        if refusal:
            logger.warning("block_refused block=%s pool=%s reason=%r", hello.block_id, hello.pool_id, refusal.reason)
            self._effects += [ToBlock(peer, refusal.head(), []), Forget(peer)]
            return
        block = Block(peer, hello, last_heard=now, last_answer=now)
        self._blocks[peer] = self._by_id[hello.block_id] = block
        self._ever_connected[hello.block_id] = None
        logger.info("block_up block=%s pool=%s hosts=%s mpi=%r", block.id, hello.pool_id, block.hosts, hello.mpi)
        welcome = wire.Welcome(
            round(self._period * 1000), round(self._threshold * 1000), self._setup_codec, len(self._setup)
        )
        self._to_block(block, welcome, [self._setup] if self._setup else [])
        self._to_block(block, wire.Heartbeat(_us(now)), [])
        nodes = hello.nodes
        if self._recorder:
            self._recorder.block_up(
                block.id,
                pool_id=hello.pool_id,
                hosts=[n.host for n in nodes],
                n_workers=[n.n_workers for n in nodes],
                n_cores=[n.n_cores for n in nodes],
                memory=[n.memory for n in nodes],
                mpi=hello.mpi,
                python_version=hello.python_version,
            )
        self._event(
            commands.BlockUp(
                block_id=hello.block_id,
                pool_id=hello.pool_id,
                hosts=[n.host for n in nodes],
                n_cores=[n.n_cores for n in nodes],
                memory=[n.memory for n in nodes],
                n_workers=[n.n_workers for n in nodes],
                python_version=hello.python_version,
            )
        )

    def _refusal(self, hello: wire.Register, owner: str) -> wire.Refuse | None:
        if self._shutdown is not None:
            return wire.Refuse(wire.RefuseCode.ENDING, "the executor is shutting down")
        if owner and hello.block_id != owner:
            return wire.Refuse(
                wire.RefuseCode.BLOCK, f"it has the key of block {owner} and registers as block {hello.block_id}"
            )
        if hello.block_id in self._by_id:
            return wire.Refuse(wire.RefuseCode.BLOCK, f"block {_cut(hello.block_id)} is connected already")
        if hello.xse_version != self._xse_version:
            return wire.Refuse(wire.RefuseCode.VERSION, mismatch(_cut(hello.xse_version), self._xse_version))
        if hello.python_version and _minor(hello.python_version) != _minor(self._python_version):
            return wire.Refuse(
                wire.RefuseCode.VERSION,
                f"the block runs Python {_cut(hello.python_version)}, and the executor {self._python_version}: both"
                " must be of one minor version",
            )
        return None

    def on_heard(self, now: float, peer: Peer) -> None:
        """A message of this block has arrived: it lives."""
        self._blocks[peer].last_heard = now

    def on_heartbeat(self, now: float, peer: Peer, beat: wire.Heartbeat) -> None:
        """A pool lives, and may tell its clock."""
        if not beat.echo_us:
            return
        block = self._blocks[peer]
        before_us = block.clock.ahead_us
        block.clock.learn(beat.echo_us, beat.clock_us, _us(now))
        if self._recorder and block.clock.ahead_us != before_us:
            self._recorder.clock(block.id, block.clock.ahead_us)

    def on_credit(self, peer: Peer, credit: wire.Credit) -> None:
        block = self._blocks[peer]
        block.n_workers, block.capacity = credit.n_workers, credit.capacity
        block.task_s = credit.task_us / 1e6
        block.least = max(1, int(block.n_workers * WORTH_A_MESSAGE_S / block.task_s)) if block.task_s else 1
        self._recalled(block, 0)
        if credit.draining and not block.draining:
            block.draining = True  # the block ends when it knows that no more tasks follow
            self._to_block(block, wire.Stop(grace_ms=wire.UINT32_MAX), [])
        if credit.n_workers and not block.ever_ready:
            block.ever_ready, block.ready_since = True, block.last_heard
            self._event(commands.BlockReady(block.id, credit.n_workers))
            self._to_block(block, wire.Heartbeat(_us(block.last_heard)), [])  # while it started, answers were slow
            if self._recorder:
                self._recorder.block_ready(block.id, n_workers=credit.n_workers)
        self._place(block)

    def on_results(self, now: float, peer: Peer, results: wire.Results, payload: Frames) -> None:
        """Pass on results of tasks that are in flight; drop all others."""
        block = self._blocks[peer]
        before = len(block.in_flight)
        asked = block.in_flight.intersection(results.ids)
        block.in_flight.difference_update(asked)
        if before - len(block.in_flight) == len(results.ids):
            self._results.append((results, payload))
            self._note_ended(block, results, payload)
        else:
            self._pass_on_some(block, results, payload, set(asked))
        if self._cancelling:
            self._cancelling -= asked
        block.last_answer = now
        if not self._marks or now - self._marks[-1][0] >= 1:
            self._marks.append((now, self._n_done + self._n_failed - len(results.ids)))
            if len(self._marks) > RATE_OVER_S:
                self._marks.popleft()
        self._place(block)

    def _note_ended(self, block: Block | None, results: wire.Results, payload: Frames | None = None) -> None:
        """Tasks have their answers: count them and record them."""
        statuses = results.statuses
        n_ok = statuses.count(wire.Status.VALUE)
        self._n_done += n_ok
        self._busy_us += sum(results.times)
        if n_ok != len(statuses):
            n_cancelled = statuses.count(wire.Status.CANCELLED)
            self._n_cancelled += n_cancelled
            self._n_failed += len(statuses) - n_ok - n_cancelled
        if self._recorder:
            self._recorder.ended(block.id if block else None, results)
        if payload and n_ok != len(statuses) and max(statuses) > wire.Status.RAISED:
            self._note_failures(results, payload)

    def _note_failures(self, results: wire.Results, payload: Frames) -> None:
        """Why tasks were lost."""
        at = 0
        for task_id, length, status in zip(results.ids, results.lengths, results.statuses, strict=True):
            if length and status > wire.Status.RAISED:
                with contextlib.suppress(wire.WireError):  # the client says so
                    failure = wire.Failure.unpack(payload.one(at, at + length))
                    self._last_error = _described(task_id, wire.Status(status), failure)
                    if self._recorder:
                        self._recorder.failure(task_id, wire.Status(status), failure)
            at += length

    def _pass_on_some(self, block: Block, results: wire.Results, payload: Frames, asked: set[int]) -> None:
        at, n = 0, 0
        for i, (task_id, length) in enumerate(zip(results.ids, results.lengths, strict=True)):
            if task_id in asked:
                asked.discard(task_id)
                here = slice(i, i + 1)
                one = wire.Results(
                    results.ids[here],
                    results.starts[here],
                    results.lengths[here],
                    results.times[here],
                    results.workers[here],
                    results.statuses[here],
                )
                frames = Frames(payload.cut(at, at + length))
                self._results.append((one, frames))
                self._note_ended(block, one, frames)
                n += 1
            at += length
        dropped = len(results.ids) - n
        self._n_dropped += dropped
        logger.warning("results_dropped n=%d reason='nobody waits for them: answered already, or never asked'", dropped)

    def on_unregistered(self, peer: Peer, message: wire.Message) -> None:
        """A message of a block that was given up: tell it to end, and drop its results."""
        if isinstance(message, wire.Results):
            self._n_dropped += len(message.ids)
            logger.warning("results_dropped n=%d reason='their block was given up'", len(message.ids))
        self._effects += [ToBlock(peer, wire.Stop(now=True).head(), []), Forget(peer)]

    def on_tasks_back(self, peer: Peer, tasks: wire.Tasks, payload: Frames) -> None:
        """A block gives back tasks that it has not started."""
        block = self._blocks[peer]
        self._recalled(block, 0)
        if not block.in_flight.issuperset(tasks.ids) or len(set(tasks.ids)) != len(tasks.ids):
            logger.error("tasks_back_dropped block=%s reason='not in flight there'", block.id)
            return
        block.in_flight.difference_update(tasks.ids)
        if self._recorder:
            self._recorder.back(block.id, tasks.ids)
        self._queue.give_back(Arrived(tasks, payload))
        if self._cancelling:
            mine = self._cancelling.intersection(tasks.ids)
            self._cancelling -= mine
            self._results_to_client(array("Q", self._queue.remove(mine)), wire.Status.CANCELLED)
        self._place(block)

    def on_started(self, started: wire.Started) -> None:
        self._cancelling.difference_update(started.ids)
        self._effects.append(ToClient(started.head(), []))

    def on_rank_lost(self, peer: Peer, lost: wire.RankLost) -> None:
        """A rank of the block has failed. Its tasks are answered or given back by the block; here it is only told."""
        block = self._blocks[peer]
        block.lost.append(_cut(lost.reason))
        logger.warning("rank_lost block=%s rank=%d reason=%r", block.id, lost.rank, lost.reason)
        self._event(commands.RankLost(block.id, lost.rank, _cut(lost.reason)))

    def on_bye(self, peer: Peer, bye: wire.Bye, payload: bytes) -> None:
        block = self._blocks[peer]
        self._remove(block, int(bye.code), bye.reason or "it was asked to stop", payload)
        self._effects.append(Forget(peer))

    def on_lost(self, peer: Peer, reason: str) -> None:
        """The connection has ended, or has sent bytes that are no message."""
        block = self._blocks.get(peer)
        if block:
            self._remove(block, -1, reason, b"")
            self._effects.append(Forget(peer))

    def _remove(self, block: Block, code: int, reason: str, exception: bytes) -> None:
        """A block is gone. Its tasks may have started, so they are answered with MANAGER_LOST, and not run again."""
        del self._blocks[block.peer], self._by_id[block.id]
        block.stopping = True
        self._recalled(block, 0)
        self._place(block)
        self._available_s += _available_s(block, block.last_heard)
        lost = array("Q", sorted(block.in_flight))
        (logger.warning if code < 0 or lost else logger.info)(
            "block_down block=%s code=%d lost=%d reason=%r", block.id, code, len(lost), reason
        )
        record = wire.Failure(host=_cut(block.hosts), block=_cut(block.id), detail=_cut(reason)).pack()
        self._cancelling.difference_update(lost)
        self._results_to_client(lost, wire.Status.MANAGER_LOST, record, block)
        if code != wire.ByeCode.ASKED:
            self._last_error = f"block {_cut(block.id)}: {_cut(reason)}"
        if self._recorder:
            self._recorder.block_down(block.id, code=code, n_lost=len(lost), reason=reason)
        self._event(
            commands.BlockDown(
                block_id=block.id,
                code=code,
                reason=reason,
                n_lost=len(lost),
                exception=base64.b64encode(exception).decode(),
                ever_ready=block.ever_ready,
            )
        )
        self._done_if_over()

    def _done_if_over(self) -> None:
        if self._shutdown is not None and not self._blocks:
            self._reply(self._shutdown, commands.Done())

    # ---- the time

    def on_tick(self, now: float) -> None:
        """Send heartbeats and find silent blocks. Call at ``deadline``; earlier calls do no harm."""
        if now >= self._beat_at:
            self._beat_at = now + self._period / 2
            for block in list(self._blocks.values()):
                if now - block.last_heard > self._threshold:
                    reason = f"it was silent for {self._threshold:g} s (heartbeat_threshold)"
                    self.on_lost(block.peer, reason)
                else:  # however busy it is: its answer tells its clock
                    self._to_block(block, wire.Heartbeat(_us(now)), [])

    def deadline(self) -> float:
        """When ``on_tick`` is to be called, or an earlier ``settle`` may have something to do."""
        return self._beat_at if self._balance_at is None else min(self._beat_at, self._balance_at)


def _merged(batch: list[tuple[wire.Results, Frames]]) -> ToClient:
    """Merge several RESULTS messages into one."""
    if len(batch) == 1:
        results, payload = batch[0]
        return ToClient(results.head(), payload.cut(0, payload.length))
    ids, starts, lengths, times, workers = array("Q"), array("Q"), array("I"), array("I"), array("I")
    parts: list[wire.Buffer] = []
    for results, payload in batch:
        ids += results.ids
        starts += results.starts
        lengths += results.lengths
        times += results.times
        workers += results.workers
        parts += payload.cut(0, payload.length)
    statuses = b"".join(results.statuses for results, _ in batch)
    return ToClient(wire.Results(ids, starts, lengths, times, workers, statuses).head(), joined(parts))


def _described(task_id: int, status: wire.Status, failure: wire.Failure) -> str:
    how = f"signal {failure.signal}" if failure.signal else f"exit code {failure.exit_code}"
    lines = failure.detail.strip().splitlines()
    said = f": {lines[-1]}" if lines else ""
    return f"task {task_id}: {status.name.lower()} on {failure.host} ({how}){said}"


def _available_s(block: Block, now: float) -> float:
    """Worker-seconds that a block has had, by the number of workers that it has now."""
    return block.n_workers * (now - block.ready_since) if block.ever_ready else 0.0


def _us(now: float) -> int:
    return round(now * 1e6)


def _minor(version: str) -> list[str]:
    return version.split(".")[:2]


def _cut(names: str) -> str:
    """The beginning of a text, in at most MOST_NAMES bytes of UTF-8."""
    data = names.encode()
    return names if len(data) <= MOST_NAMES else data[:MOST_NAMES].decode(errors="ignore")
