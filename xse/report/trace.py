"""A run as a trace in the Trace Event format, which ui.perfetto.dev opens: a process a node, a track a worker."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

from xse.record.reader import Record
from xse.report.bins import OverTime


def events(record: Record) -> Iterator[dict[str, Any]]:
    """As they come, for a trace of any size."""
    processes: dict[str, int] = {}
    tracks: dict[tuple[str, int], tuple[int, int]] = {}
    busy, queued = OverTime(), OverTime()
    for task in record.tasks():
        if task.submitted is not None:
            queued.add_between(task.submitted, task.started if task.started is not None else task.submitted)
        if task.started is None or task.ended is None or task.block is None or task.worker is None:
            continue
        busy.add_between(task.started, task.ended)
        key = (task.block, task.worker)
        if key not in tracks:
            block = next((b for b in reversed(record.blocks.values()) if b.block_id == task.block), None)
            host = (block.host_of(task.worker) if block else "") or "?"
            if host not in processes:
                processes[host] = len(processes) + 1
                yield {"ph": "M", "name": "process_name", "pid": processes[host], "args": {"name": host}}
            tracks[key] = (processes[host], len(tracks) + 1)
            name = f"block {task.block}, worker {task.worker}"
            pid, tid = tracks[key]
            yield {"ph": "M", "name": "thread_name", "pid": pid, "tid": tid, "args": {"name": name}}
        pid, tid = tracks[key]
        assert task.outcome is not None
        yield {
            "ph": "X",
            "name": task.function,
            "cat": task.outcome.name.lower(),
            "ts": round(task.started * 1e6),
            "dur": max(1, round((task.ended - task.started) * 1e6)),
            "pid": pid,
            "tid": tid,
            "args": {
                "id": task.id,
                "outcome": task.outcome.name,
                "bytes_in": task.bytes_in,
                "bytes_out": task.bytes_out,
            },
        }
    yield {"ph": "M", "name": "process_name", "pid": 0, "args": {"name": "run"}}
    for bins, name in ((busy, "busy workers"), (queued, "queued tasks")):
        for i, amount in enumerate(bins.per_second()):
            at = round(i * bins.width_s * 1e6)
            yield {"ph": "C", "name": name, "pid": 0, "ts": at, "args": {name: round(amount, 2)}}


def write(record: Record, path: str) -> int:
    """Write the trace, compressed if ``path`` ends with ``.gz``. Returns the number of events. Raises OSError."""
    n = 0
    with gzip.open(path, "wt", 5) if path.endswith(".gz") else open(path, "w") as file:
        file.write('{"displayTimeUnit": "ms", "traceEvents": [\n')
        for event in events(record):
            file.write((",\n" if n else "") + json.dumps(event))
            n += 1
        file.write("\n]}\n")
    return n
