"""How a run is, in numbers."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from xse.record.reader import Record
from xse.wire import commands
from xse.wire.messages import Status as Outcome


@dataclass(frozen=True)
class Status:
    """What an executor and its workers do at this moment. Tasks are counted since the run began."""

    queued: int  # tasks that no worker has begun
    running: int
    done: int  # returned a value
    failed: int  # raised, or were lost
    cancelled: int
    workers: int  # that are ready
    workers_busy: int
    blocks: int
    nodes: int
    rate: float  # tasks that ended a second, over the last ten seconds
    last_error: str  # why a task or a block was lost, the last time; "": none was

    @property
    def workers_idle(self) -> int:
        """Workers that wait for a task."""
        return self.workers - self.workers_busy

    def as_dict(self) -> dict[str, Any]:
        """For JSON."""
        return {**asdict(self), "workers_idle": self.workers_idle}

    def __str__(self) -> str:
        """One line."""
        failed = f", {self.failed:,} failed" if self.failed else ""
        cancelled = f", {self.cancelled:,} cancelled" if self.cancelled else ""
        return (
            f"{self.done:,} done{failed}{cancelled}, {self.running:,} running, {self.queued:,} queued;"
            f" {self.workers_busy:,} of {_count(self.workers, 'worker')} busy, {_count(self.blocks, 'block')},"
            f" {_count(self.nodes, 'node')}; {self.rate:,.1f} tasks/s"
        )


def _count(n: int, what: str) -> str:
    return f"{n:,} {what}" if n == 1 else f"{n:,} {what}s"


def status_of(reply: commands.StatusReply, n_open: int | None = None) -> Status:
    """From what the interchange says. ``n_open``: tasks that its client waits for; some may be under way to it."""
    running = sum(min(block.n_tasks, block.n_workers) for block in reply.blocks)
    queued = reply.n_queued + sum(block.n_tasks for block in reply.blocks) - running
    if n_open is not None:
        queued = max(queued, n_open - running)
    return Status(
        queued=queued,
        running=running,
        done=reply.n_done,
        failed=reply.n_failed,
        cancelled=reply.n_cancelled,
        workers=sum(block.n_workers for block in reply.blocks),
        workers_busy=running,
        blocks=len(reply.blocks),
        nodes=len({host for block in reply.blocks for host in block.hosts}),
        rate=reply.rate,
        last_error=reply.last_error,
    )


def status_by_record(record: Record) -> Status:
    """From a record, as far as it goes: of a run that has ended, or that is on another host."""
    counts = dict.fromkeys(Outcome, 0)
    recent: list[float] = []
    for task in record.read_more():
        if task.outcome is not None:
            counts[task.outcome] += 1
            recent.append(task.answered or 0.0)
            if len(recent) > 100_000:
                del recent[:50_000]
    n_sent = sum(task.sent is not None for task in record.waiting())
    n_waiting = sum(1 for _ in record.waiting()) - n_sent
    up = [block for block in record.blocks.values() if block.down is None and not record.ended]
    now = record.seconds(record.last_us)
    workers = sum(sum(block.n_workers) for block in up)
    last = _described(list(record.failures.values())[-1]) if record.failures else ""
    return Status(
        queued=n_waiting + max(0, n_sent - workers),
        running=min(n_sent, workers),
        done=counts[Outcome.VALUE],
        failed=sum(counts.values()) - counts[Outcome.VALUE] - counts[Outcome.CANCELLED],
        cancelled=counts[Outcome.CANCELLED],
        workers=workers,
        workers_busy=min(n_sent, workers),
        blocks=len(up),
        nodes=len({host for block in up for host in block.hosts}),
        rate=sum(at > now - 10 for at in recent) / 10 if not record.ended else 0.0,
        last_error=last,
    )


def _described(failure: dict[str, Any]) -> str:
    how = f"signal {failure['signal']}" if failure["signal"] else f"exit code {failure['exit_code']}"
    lines = failure["reason"].strip().splitlines()
    status = Outcome(failure["status"]).name.lower()
    return f"task {failure['id']}: {status} on {failure['host']} ({how})" + (f": {lines[-1]}" if lines else "")


def summary_of(reply: commands.StatusReply) -> str:
    """A run that ends, in one line: tasks, worker-hours, share busy, losses."""
    n = reply.n_done + reply.n_failed + reply.n_cancelled
    share = min(1.0, reply.busy_s / reply.available_s) if reply.available_s else 0.0
    return (
        f"{_count(n, 'task')}, {reply.available_s / 3600:,.2f} worker-hours, {share:.0%} of them in tasks,"
        f" {reply.n_failed:,} failed or lost, {reply.n_cancelled:,} cancelled"
    )
