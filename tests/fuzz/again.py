"""Python's half of fuzz_codecs: a head read and written again."""

from __future__ import annotations

from dataclasses import replace

from xse import wire


def again(head: bytes, came: int) -> bytes | str:
    """The same head, or the name of the error."""
    try:
        message = wire.decode(head, came)
    except wire.WireError as e:
        return e.code
    written = message.head()
    assert written == head
    return joined(message).head() if isinstance(message, wire.Tasks) else written


def joined(tasks: wire.Tasks) -> wire.Tasks:
    """Runs that follow each other and are alike as one, as the C writer has them."""
    runs: list[wire.Run] = []
    for run in tasks.runs:
        if runs and replace(runs[-1], n_tasks=0) == replace(run, n_tasks=0):
            run = replace(run, n_tasks=runs.pop().n_tasks + run.n_tasks)
        runs.append(run)
    return replace(tasks, runs=tuple(runs))
