"""Python's half of fuzz_codecs: a head read and written again."""

from __future__ import annotations

from dataclasses import replace

from tests.support.heads import written_anew
from xse.wire import messages as wire


def again(head: bytes, came: int) -> bytes | str:
    """The same head, or the name of the error."""
    try:
        message = wire.decode(head, came)
    except wire.WireError as e:
        return e.code
    written = written_anew(message)
    assert written == head
    return written_anew(joined(message)) if isinstance(message, wire.Tasks) else written


def joined(tasks: wire.Tasks) -> wire.Tasks:
    """Runs that follow each other and are alike as one, as the C writer has them."""
    runs: list[wire.Run] = []
    for run in tasks.runs:
        if runs and runs[-1]._replace(n_tasks=0) == run._replace(n_tasks=0):
            run = run._replace(n_tasks=runs.pop().n_tasks + run.n_tasks)
        runs.append(run)
    return replace(tasks, runs=tuple(runs))
