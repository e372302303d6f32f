"""The interchange's state machine under random events, in which messages of both sides cross: what must always hold."""

from __future__ import annotations

import logging
from array import array
from collections import Counter, deque

from hypothesis import given, note

from tests.support.dice import Dice, thorough, throws
from tests.unit.test_core import world_nodes
from tests.unit.test_queue_invariants import PRIORITIES, message_of
from xse.interchange import core
from xse.wire import commands
from xse.wire import messages as wire
from xse.wire.frames import Frames

PERIOD_S, THRESHOLD_S = 1.0, 4.0
MOST_BLOCKS = 4


class Block:
    """A block as the other end of the wire sees it: messages reach it when the test says so."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inbox: deque[tuple[wire.Message, bytes]] = deque()
        self.waiting: list[int] = []  # given, not begun
        self.begun: list[int] = []
        self.capacity = 0
        self.stopped = False
        self.recalled = False  # and has sent neither TASKS nor CREDIT since


class World:
    """A core between an executor and blocks, and a book of every task."""

    def __init__(self) -> None:
        self.now = 0.0
        self.core = core.Core(
            xse_version="1", python_version="3.11.7", heartbeat_period=PERIOD_S, heartbeat_threshold=THRESHOLD_S
        )
        self.alive: dict[str, Block] = {}
        self.lost: list[Block] = []
        self.last_id = 0
        self.n_blocks = 0
        self.answers: dict[int, int] = {}  # the status that was answered, by id
        self.begun: Counter[int] = Counter()
        self.killed: set[int] = set()
        self.log: list[str] = []

    # ---- what happens

    def event(self, dice: Dice) -> None:
        kinds = [
            self.pass_time,
            self.submit,
            self.connect,
            self.credit,
            self.deliver,
            self.deliver,
            self.deliver,
            self.begin,
            self.begin,
            self.answer,
            self.answer,
            self.answer_nonsense,
            self.lose,
            self.say_bye,
            self.cancel,
            self.command,
            self.answer_late,
            self.give_back_unasked,
        ]
        kind = dice.one_of(kinds)
        self.log.append(kind.__name__)
        kind(dice)
        for name in [name for name in self.alive if not self.core.knows(name)]:
            self.lost.append(self.alive.pop(name))  # whatever it sends now comes from an unregistered peer
        if dice.below(4):  # else what comes next comes in the same turn
            self.settle()
            self.check_nobody_waits_for_nothing()
        self.core.check()
        self.check_each_task_is_in_one_place()

    def pass_time(self, dice: Dice) -> None:
        self.now += dice.one_of([0.001, 0.02, 0.5, 1.0, 5.0])
        for block in self.alive.values():
            if dice.below(4):
                self.core.on_heard(self.now, block.name)
        self.core.on_tick(self.now)

    def submit(self, dice: Dice) -> None:
        runs = []
        for _ in range(1 + dice.below(2)):
            n = 1 + dice.below(6)
            runs.append((dice.one_of(PRIORITIES), list(range(self.last_id + 1, self.last_id + 1 + n))))
            self.last_id += n
        message = message_of(runs)
        self.core.on_tasks(message.tasks, message.payload)

    def connect(self, dice: Dice) -> None:
        if len(self.alive) >= MOST_BLOCKS:
            return
        taken = bool(self.alive) and dice.below(5) == 4  # a pool that claims another's block
        block_id = next(iter(self.alive)) if taken else str(self.n_blocks)
        name = f"{block_id}{'-thief' if taken else ''}"
        if not taken:
            self.n_blocks += 1
            self.alive[name] = Block(name)
        hello = wire.Register(block_id, f"p{name}", "1", "3.11.2", "", "", world_nodes())
        self.core.on_register(self.now, name, hello)
        assert self.core.knows(name) is not taken

    def some_block(self, dice: Dice) -> Block | None:
        return dice.one_of(list(self.alive.values())) if self.alive else None

    def credit(self, dice: Dice) -> None:
        block = self.some_block(dice)
        if block:
            n_workers = dice.below(4)
            block.capacity = 0 if block.stopped else n_workers + dice.below(5)
            task_us = dice.one_of([0, 50, 20_000])
            block.recalled = False
            self.core.on_credit(block.name, wire.Credit(block.capacity, n_workers, task_us, block.stopped))

    def deliver(self, dice: Dice) -> None:
        """The next message reaches a block, and it does as the protocol says."""
        block = self.some_block(dice)
        if not block or not block.inbox:
            return
        message, payload = block.inbox.popleft()
        match message:
            case wire.Tasks():
                at = sum(f.length for f in message.functions)
                for task_id, n in zip(message.ids, message.lengths, strict=True):
                    assert payload[at : at + n] == str(task_id).encode()
                    at += n
                block.waiting += message.ids
                if block.stopped:
                    self.give_back(block, len(block.waiting))
            case wire.Recall():
                if block.waiting:
                    self.give_back(block, message.wanted)
                else:
                    block.recalled = False
                    self.core.on_credit(block.name, wire.Credit(block.capacity, 1, 0))
            case wire.Cancel():
                self.obey_cancel(block, message)
            case wire.Stop():
                block.stopped = True
                self.give_back(block, len(block.waiting))

    def obey_cancel(self, block: Block, cancel: wire.Cancel) -> None:
        for task_id in cancel.ids:
            if task_id in block.waiting:
                block.waiting.remove(task_id)
                self.results(block, [task_id], wire.Status.CANCELLED)
            elif task_id in block.begun and cancel.kill:
                block.begun.remove(task_id)
                self.killed.add(task_id)
                self.results(block, [task_id], wire.Status.CANCELLED)
            elif task_id in block.begun:
                self.core.on_started(wire.Started(array("Q", [task_id])))

    def give_back(self, block: Block, n: int) -> None:
        """The newest n that have not begun."""
        n = min(n, len(block.waiting))
        back = block.waiting[len(block.waiting) - n :]
        del block.waiting[len(block.waiting) - n :]
        if back:
            message = message_of([(0, back)])
            block.recalled = False
            self.core.on_tasks_back(block.name, message.tasks, message.payload)

    def give_back_unasked(self, dice: Dice) -> None:
        block = self.some_block(dice)
        if block:
            self.give_back(block, 1 + dice.below(3))

    def begin(self, dice: Dice) -> None:
        block = self.some_block(dice)
        if block and block.waiting and not block.stopped:
            task_id = block.waiting.pop(0)
            block.begun.append(task_id)
            self.begun[task_id] += 1
            assert self.begun[task_id] == 1, f"{task_id} ran twice"

    def answer(self, dice: Dice) -> None:
        block = self.some_block(dice)
        if block and block.begun:
            n = min(len(block.begun), 1 + dice.below(3))
            done = [block.begun.pop(dice.below(len(block.begun))) for _ in range(n)]
            self.results(block, done, wire.Status.VALUE)

    def answer_nonsense(self, dice: Dice) -> None:
        """Ids that were answered already, were never given, wait elsewhere, or come twice in a message."""
        block = self.some_block(dice)
        if block:
            not_its = [i for i in range(1, self.last_id + 2) if i not in self.in_flight(block)]
            wrong = [dice.one_of(not_its) for _ in range(2)]
            done = [block.begun.pop(0)] * 2 if block.begun else []
            self.results(block, [wrong[0], *done, wrong[1]], wire.Status.VALUE)

    def results(self, block: Block, ids: list[int], status: wire.Status) -> None:
        payloads = [b"%d of %s" % (i, block.name.encode()) for i in ids]
        message = wire.did_not_run(array("Q", ids), status)
        message.lengths = array("I", map(len, payloads))
        self.core.on_heard(self.now, block.name)
        self.core.on_results(self.now, block.name, message, Frames(payloads))

    def lose(self, dice: Dice) -> None:
        block = self.some_block(dice)
        if block:
            self.core.on_lost(block.name, "lost")

    def say_bye(self, dice: Dice) -> None:
        block = self.some_block(dice)
        if block:
            self.core.on_bye(block.name, wire.Bye(wire.ByeCode.ASKED, ""), b"")

    def cancel(self, dice: Dice) -> None:
        if self.last_id:
            ids = sorted({1 + dice.below(self.last_id) for _ in range(1 + dice.below(3))})
            self.core.on_cancel(wire.Cancel(array("Q", ids), bool(dice.below(2))))

    def command(self, dice: Dice) -> None:
        block = self.some_block(dice)
        name = block.name if block else "none"
        choice: list[commands.Request] = [commands.Status(), commands.Hold(name), commands.Stop(name, dice.below(2))]
        self.core.on_request(self.now, 1, dice.one_of(choice))

    def answer_late(self, dice: Dice) -> None:
        """A block that was given up still speaks."""
        if self.lost:
            block = dice.one_of(self.lost)
            for task_id in block.begun[:1]:
                message = wire.did_not_run(array("Q", [task_id]), wire.Status.VALUE)
                self.core.on_unregistered(block.name, message)

    # ---- what the core wants

    def settle(self) -> None:
        for effect in self.core.settle(self.now):
            match effect:
                case core.ToClient():
                    self.to_client(effect)
                case core.ToBlock():
                    self.to_block(effect)

    def to_client(self, effect: core.ToClient) -> None:
        payload = b"".join(effect.payload)
        message = wire.decode(effect.head, len(payload))
        if not isinstance(message, wire.Results):
            return
        at = 0
        for task_id, n, status in zip(message.ids, message.lengths, message.statuses, strict=True):
            assert task_id not in self.answers, f"{task_id} was answered twice"
            assert 1 <= task_id <= self.last_id
            self.answers[task_id] = status
            if status == wire.Status.VALUE:
                assert payload[at : at + n].startswith(b"%d of " % task_id), "another's result"
            if status == wire.Status.CANCELLED:
                assert not self.begun[task_id] or task_id in self.killed, f"{task_id} was cancelled and had begun"
            at += n

    def to_block(self, effect: core.ToBlock) -> None:
        block = self.alive.get(str(effect.peer))
        if not block:
            return
        payload = b"".join(effect.payload)
        message = wire.decode(effect.head, len(payload))
        if isinstance(message, wire.Tasks):
            known = self.core._blocks[block.name]
            assert len(self.in_flight(block)) <= known.capacity, "more than its credit"
            assert (known.held, known.draining, known.stopping) == (False, False, False), "it takes no tasks"
        if isinstance(message, wire.Recall):
            assert not block.recalled, "a second RECALL, and the first was not answered"
            block.recalled = True
        block.inbox.append((message, payload))

    # ---- what must hold

    def in_flight(self, block: Block) -> set[int]:
        known = self.core._blocks.get(block.name)
        return known.in_flight if known else set()

    def check_each_task_is_in_one_place(self) -> None:
        waiting = [i for line in self.core._queue._by_priority.values() for piece in line for i in piece.ids()]
        flying = [i for block in self.core._blocks.values() for i in block.in_flight]
        telling = [i for results, _ in self.core._results for i in results.ids]
        effects = [e for e in self.core._effects if isinstance(e, core.ToClient)]
        for effect in effects:
            message = wire.decode(effect.head, sum(map(len, effect.payload)))
            telling += list(message.ids) if isinstance(message, wire.Results) else []
        places = Counter([*waiting, *flying, *telling, *self.answers])
        assert places == Counter(range(1, self.last_id + 1)), "a task is lost, or in two places"

    def check_nobody_waits_for_nothing(self) -> None:
        if len(self.core._queue):
            for block in self.core._blocks.values():
                assert not block.open() or len(block.in_flight) >= min(block.n_workers, block.capacity)

    def run_to_the_end(self) -> None:
        """All blocks go, a new one comes and does its work: then everything has been answered."""
        for name in list(self.alive):
            self.core.on_lost(name, "lost")
        self.alive.clear()
        self.settle()
        name = str(self.n_blocks)
        block = self.alive[name] = Block(name)
        self.core.on_register(self.now, name, wire.Register(name, "p", "1", "3.11.2", "", "", world_nodes()))
        block.capacity = self.last_id + 1
        self.core.on_credit(name, wire.Credit(block.capacity, block.capacity, 0))
        self.settle()
        nothing = Dice(b"")
        while block.inbox or block.waiting or block.begun:
            self.deliver(nothing)
            while block.waiting:
                self.begin(nothing)
            while block.begun:
                self.answer(nothing)
            self.settle()
        assert sorted(self.answers) == list(range(1, self.last_id + 1))


def test_each_task_has_exactly_one_answer_whatever_happens_when() -> None:
    n_events = 0

    logging.getLogger("xse.interchange.core").setLevel(logging.CRITICAL)  # it tells of each lost block

    @thorough
    @given(throws)
    def check(data: bytes) -> None:
        nonlocal n_events
        dice, world = Dice(data), World()
        try:
            while dice.left:
                world.event(dice)
            world.run_to_the_end()
        except BaseException:
            note(f"the events were {' '.join(world.log)}")
            raise
        n_events += len(world.log)

    check()
    print(f"{n_events:,} events")
