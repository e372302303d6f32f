"""The numbers of a run. One pass over its record; memory for functions, nodes and workers, not for tasks."""

from __future__ import annotations

import heapq
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from xse.record.reader import Block, Record, Task
from xse.report.bins import OverTime, Sizes
from xse.wire.messages import Status

SLOWEST = 20
GAPS = 10
LEAST_GAP_S = 0.1


@dataclass
class Function:
    """The tasks of one function."""

    name: str
    outcomes: Counter[Status] = field(default_factory=Counter)
    ran: Sizes = field(default_factory=Sizes)

    def as_dict(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "tasks": sum(self.outcomes.values()),
            "failed": sum(n for outcome, n in self.outcomes.items() if outcome != Status.VALUE),
            "seconds": round(self.ran.sum_s, 6),
            "mean_s": self.ran.sum_s / self.ran.n if self.ran.n else None,
            **{f"p{p}_s": self.ran.percentile_s(p) for p in (50, 90, 99)},
            "longest_s": self.ran.most_s,
        }


@dataclass
class Node:
    """What one host did."""

    host: str
    n_workers: int = 0
    n_tasks: int = 0
    busy_s: float = 0.0


class Summary:
    """See the module. ``Summary(record)`` reads it."""

    def __init__(self, record: Record) -> None:
        self.record = record
        self.functions: dict[str, Function] = {}
        self.nodes: dict[str, Node] = {}
        self.waited = Sizes()  # from submitted to started
        self.busy = OverTime()  # worker-seconds
        self.ended = OverTime()  # tasks
        self.slowest: list[tuple[float, int, Task]] = []
        self.gaps: list[tuple[float, float, str, int]] = []  # seconds, since when, block, worker
        self.reasons: Counter[str] = Counter()
        self.n_open = 0
        self._last_end: dict[tuple[str, int], float] = {}
        self._workers: dict[tuple[str, int], Node] = {}
        for task in record.tasks():
            if task.outcome is None:
                self.n_open += 1
            else:
                self._add(task)
        self.seconds = record.seconds(record.last_us)
        for block in record.blocks.values():
            for host, n in zip(block.hosts, block.n_workers, strict=False):
                self._node(host).n_workers += n

    def _node(self, host: str) -> Node:
        if host not in self.nodes:
            self.nodes[host] = Node(host)
        return self.nodes[host]

    def _add(self, task: Task) -> None:
        assert task.outcome is not None
        function = self.functions.get(task.function)
        if function is None:
            function = self.functions[task.function] = Function(task.function)
        function.outcomes[task.outcome] += 1
        self.ended.add(task.answered or 0.0)
        if task.outcome != Status.VALUE:
            self.reasons[self._reason(task)] += 1
        if task.started is None or task.ended is None or task.block is None or task.worker is None:
            return
        seconds = task.ended - task.started
        function.ran.add(seconds)
        self.busy.add_between(task.started, task.ended)
        if task.submitted is not None:
            self.waited.add(max(0.0, task.started - task.submitted))
        key = (task.block, task.worker)
        node = self._workers.get(key)
        if node is None:
            block = self._block(task.block)
            node = self._workers[key] = self._node(block.host_of(task.worker) if block else "?")
        node.n_tasks += 1
        node.busy_s += seconds
        before = self._last_end.get(key)
        self._last_end[key] = task.ended
        if before is not None and task.started - before > LEAST_GAP_S:
            _keep(self.gaps, (task.started - before, before, *key), GAPS)
        _keep(self.slowest, (seconds, task.id, task), SLOWEST)

    def _block(self, block_id: str) -> Block | None:
        return next((b for b in reversed(self.record.blocks.values()) if b.block_id == block_id), None)

    def _reason(self, task: Task) -> str:
        assert task.outcome is not None
        words = task.outcome.name.lower().replace("_", " ")
        failure = self.record.failures.get(task.id)
        if failure:
            how = f"signal {failure['signal']}" if failure["signal"] else f"exit code {failure['exit_code']}"
            lines = failure["reason"].strip().splitlines()
            return f"{words}, {how}" + (f": {lines[-1][:200]}" if lines else "")
        if task.outcome == Status.MANAGER_LOST and task.block:
            block = self._block(task.block)
            return f"{words}: {block.reason[:200]}" if block and block.reason else words
        return words

    # ---- what follows from it

    @property
    def n_tasks(self) -> int:
        """That have ended."""
        return sum(sum(f.outcomes.values()) for f in self.functions.values())

    @property
    def n_done(self) -> int:
        return sum(f.outcomes[Status.VALUE] for f in self.functions.values())

    @property
    def busy_s(self) -> float:
        """Worker-seconds in tasks."""
        return sum(f.ran.sum_s for f in self.functions.values())

    @property
    def available_s(self) -> float:
        """Worker-seconds between a block's first worker and its end."""
        total = 0.0
        for block in self.record.blocks.values():
            if block.ready is not None:
                end = self.seconds if block.down is None else block.down
                total += sum(block.n_workers) * max(0.0, end - block.ready)
        return total

    def share_busy(self) -> float:
        """Of the worker-seconds that there were, from 0 to 1."""
        return min(1.0, self.busy_s / self.available_s) if self.available_s else 0.0

    def line(self) -> str:
        """The run in one line."""
        lost = self.n_tasks - self.n_done
        return (
            f"{self.n_tasks:,} tasks in {self.seconds:,.1f} s, {self.busy_s / 3600:,.2f} worker-hours in tasks,"
            f" {self.share_busy():.0%} of {self.available_s / 3600:,.2f} busy, {lost:,} failed or lost"
            + (f", {self.n_open:,} not ended" if self.n_open else "")
        )

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        run = self.record.run
        return {
            "run": {k: v for k, v in run.items() if k not in ("event", "time_us")},
            "ended": self.record.ended,
            "seconds": self.seconds,
            "tasks": self.n_tasks,
            "done": self.n_done,
            "not_ended": self.n_open,
            "busy_s": self.busy_s,
            "available_s": self.available_s,
            "share_busy": self.share_busy(),
            "waited": {f"p{p}_s": self.waited.percentile_s(p) for p in (50, 90, 99)},
            "functions": [f.as_dict() for f in self.by_time()],
            "failures": dict(self.reasons.most_common()),
            "slowest": [
                {"id": t.id, "function": t.function, "seconds": s, "block": t.block, "worker": t.worker,
                 "host": self.host_of(t)} for s, _, t in sorted(self.slowest, reverse=True)
            ],
            "idle_gaps": [
                {"seconds": s, "since_s": since, "block": block, "worker": worker}
                for s, since, block, worker in sorted(self.gaps, reverse=True)
            ],
            "blocks": [
                {"block_id": b.block_id, "hosts": b.hosts, "workers": sum(b.n_workers), "up_s": b.up,
                 "ready_s": b.ready, "down_s": b.down, "reason": b.reason} for b in self.record.blocks.values()
            ],
            "nodes": [vars(node) for node in self.nodes.values()],
        }  # fmt: skip

    def by_time(self) -> list[Function]:
        """The functions, those first that took most."""
        return sorted(self.functions.values(), key=lambda f: -f.ran.sum_s)

    def host_of(self, task: Task) -> str:
        block = self._block(task.block) if task.block else None
        return block.host_of(task.worker) if block and task.worker is not None else ""


def _keep(heap: list[Any], item: Any, most: int) -> None:
    """The largest ones."""
    if len(heap) < most:
        heapq.heappush(heap, item)
    elif item > heap[0]:
        heapq.heapreplace(heap, item)
