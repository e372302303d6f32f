"""Tasks on their way out, and how many of them become one TASKS message."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from itertools import groupby
from operator import itemgetter
from typing import Any, TypeAlias

from xse.client.future import Future
from xse.functions.payload import Function, Scattered
from xse.wire import messages as wire

Data: TypeAlias = "wire.Buffer | Scattered"
#: A task that is to be sent: its future, function, arguments, priority, and timeout in milliseconds.
Entry: TypeAlias = tuple[Future[Any], Function, Data, int, int]
_run_of = itemgetter(1, 3, 4)  # tasks that follow each other and have the same of these are a run


def to_message(entries: Sequence[Entry]) -> tuple[wire.Tasks, list[wire.Buffer]]:
    """Entries as one TASKS message: each function once, and the parts of its payload."""
    index: dict[bytes, int] = {}
    functions: list[wire.Function] = []
    parts: list[wire.Buffer] = []
    runs: list[wire.Run] = []
    for (function, priority, timeout_ms), run in groupby(entries, _run_of):
        number = index.get(function.digest)
        if number is None:
            number = index[function.digest] = len(functions)
            functions.append(wire.Function(function.digest, len(function.data)))
            parts.append(function.data)
        runs.append(wire.Run(number, sum(1 for _ in run), priority, timeout_ms, function.codec))
    data: list[Any] = [entry[2] for entry in entries]
    ids = array("Q", [entry[0].task_id for entry in entries])
    lengths = array("I", map(len, data))
    if Scattered in map(type, data):
        data = [part for d in data for part in (d.parts if type(d) is Scattered else (d,))]
    return wire.Tasks(tuple(functions), tuple(runs), ids, lengths), parts + data
