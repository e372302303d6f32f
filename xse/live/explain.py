"""Where a task is, since when, and why it waits."""

from __future__ import annotations

from xse.live.ask import NoAnswer, ask
from xse.live.runs import Run
from xse.record import open_record
from xse.record.reader import Record, Task
from xse.wire import commands
from xse.wire.messages import Status as Outcome


def explain(run: Run, task_id: int) -> str:
    """In some lines."""
    lines = []
    record = open_record(run.record) if run.record else None
    task = _in_record(record, task_id) if record else None
    if record and task:
        lines.append(_said(record, task))
    if task is None or task.outcome is None:
        lines += _asked(run, task_id, known=task is not None)
    return "\n".join(lines)


def _in_record(record: Record, task_id: int) -> Task | None:
    for task in record.read_more():
        if task.id == task_id:
            return task
    try:
        return record.task(task_id)
    except KeyError:
        return None


def _said(record: Record, task: Task) -> str:
    name = f"task {task.id}, {task.function}"
    at = f"submitted {task.submitted:.3f} s after the run began" if task.submitted is not None else "of unknown age"
    if task.outcome is None:
        age = record.seconds(record.last_us) - (task.submitted or 0.0)
        return f"{name}: has not ended; {at}, at least {age:.1f} s ago by the record."
    where = ""
    if task.block is not None:
        block = next((b for b in reversed(record.blocks.values()) if b.block_id == task.block), None)
        host = block.host_of(task.worker) if block and task.worker is not None else ""
        where = f" on {host} (block {task.block}, worker {task.worker})" if host else f" in block {task.block}"
    if task.started is not None and task.ended is not None:
        waited = max(0.0, task.started - (task.submitted or 0.0))
        ran = f"; it waited {waited:.3f} s and ran {task.ended - task.started:.3f} s{where}"
    else:
        ran = f"; it never ran{where}"
    text = f"{name}: {_WORDS[task.outcome]}; {at}{ran}."
    failure = record.failures.get(task.id)
    if failure:
        how = f"signal {failure['signal']}" if failure["signal"] else f"exit code {failure['exit_code']}"
        said = failure["reason"].strip() or "(none)"
        text += f"\nIts worker ended with {how} on {failure['host']}. Its last lines: {said}"
    return text


_WORDS = {
    Outcome.VALUE: "done",
    Outcome.RAISED: "raised an exception, which its future has",
    Outcome.WORKER_LOST: "lost with its worker",
    Outcome.MANAGER_LOST: "lost with its block",
    Outcome.CANCELLED: "cancelled",
    Outcome.TIMEOUT: "killed after its timeout",
    Outcome.TOO_LARGE: "failed, for its result is too large",
    Outcome.BLOCK_FAILED: "failed, for no worker could be started",
}


def _asked(run: Run, task_id: int, *, known: bool) -> list[str]:
    if not run.control:
        return [] if known else [f"task {task_id} is not in the record; and the run does not answer, so it has ended."]
    try:
        reply = ask(run.control, commands.Explain(task_id))
    except NoAnswer as e:
        return [f"The run does not answer ({e})."]
    assert isinstance(reply, commands.Explained)
    workers = sum(b.n_workers for b in reply.status.blocks)
    busy = sum(min(b.n_tasks, b.n_workers) for b in reply.status.blocks)
    if reply.block:
        b = reply.block
        host = f" on {', '.join(dict.fromkeys(b.hosts))}" if len(b.hosts) <= 4 else f" on {len(b.hosts)} nodes"
        if b.n_tasks <= b.n_workers:
            return [f"It runs at block {b.block_id}{host}."]
        return [
            f"It is at block {b.block_id}{host}, which has {b.n_tasks:,} tasks for {b.n_workers:,} workers:"
            " it runs, or is among the next."
        ]
    if reply.n_before is None:
        return [] if known else [f"task {task_id} is not under way: it has ended, or there is no such task."]
    if not reply.status.blocks:
        return [
            f"It waits in the queue behind {reply.n_before:,} tasks, and no block is connected: its job is starting,"
            " stands in the batch system's queue, or has failed. Look at squeue or qstat, and at 'xse logs'."
        ]
    if not workers:
        return [
            f"It waits behind {reply.n_before:,} tasks: no worker of {len(reply.status.blocks)} blocks is ready yet."
        ]
    held = sum(b.held or b.draining for b in reply.status.blocks)
    text = f"It waits in the queue behind {reply.n_before:,} tasks; {busy:,} of {workers:,} workers are busy"
    return [f"{text}, and {held} blocks take no more tasks." if held else f"{text}."]
