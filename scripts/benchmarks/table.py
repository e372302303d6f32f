"""Tables in Markdown, which a terminal shows as well. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Iterator, Mapping, Sequence
from itertools import zip_longest
from typing import Any

from .goals import judge, number
from .peers import DASK, EXECUTOR, EXECUTORLIB, HTEX, LOKY, MPI4PY, POOL, PROCESSES, in_parsl
from .results import Results
from .rows import Row


def table(lines: Sequence[Sequence[str]], n_left: int = 1) -> Iterator[str]:
    """The first line is the head. The first ``n_left`` columns are words, the others figures."""
    widths = [max(len(line[i]) for line in lines) for i in range(len(lines[0]))]
    for n, line in enumerate(lines):
        cells = [c.ljust(w) if i < n_left else c.rjust(w) for i, (c, w) in enumerate(zip(line, widths, strict=True))]
        yield f"| {' | '.join(cells)} |"
        if n == 0:
            yield (
                "|" + "|".join("-" * (w + 2) if i < n_left else "-" * (w + 1) + ":" for i, w in enumerate(widths)) + "|"
            )


def cell(values: Sequence[float]) -> str:
    """The median, and the range of the repeats."""
    if not values:
        return "-"
    middle = number(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({number(min(values))} to {number(max(values))})"


def verdicts(rows: Sequence[Row], results: Results) -> Iterator[str]:
    """A line for each goal: what is ours, what it must be, what we dream of."""
    lines = [["#", "measure", "xse", "must", "reached", "dream", "reached"]]
    for row in rows:
        turns = results.turns(row)
        for n, (must, dream) in enumerate(zip_longest(row.must, row.dream)):
            goal = must or dream
            values = turns.get((goal.subject, goal.figure))
            ours = f"{number(statistics.median(values))} {goal.figure}" if values else "-"
            line = [row.number, row.title] if n == 0 else ["", ""]
            line.append(ours)
            for g in (must, dream):
                line += [g.text, judge(g, turns).text] if g else ["", ""]
            lines.append(line)
    return table(lines, n_left=7)


def of_row(row: Row, results: Results) -> Iterator[str]:
    """All peers that were measured in this row."""
    lines = [[f"{row.number}. {row.title}", *row.figures]]
    for peer in results.shown(row):
        cells = [cell(results.values(peer, row.measure, figure)) for figure in row.figures]
        lines.append([_bold(peer), *cells])
    return table(lines)


def _bold(peer: str) -> str:
    """Ours are seen at once."""
    return f"**{peer}**" if peer.startswith("xse") else peer


def failures(results: Results) -> Iterator[str]:
    for what, why in results.failures.items():
        yield f" - not measured: {what}: {why}"


#: The peers and figures in README.md. Users of Parsl see the python_app columns, not the first one: there the
#: DataFlowKernel bounds all executors.
IN_SHORT = (POOL, PROCESSES, LOKY, EXECUTORLIB, MPI4PY, DASK, EXECUTOR, HTEX)
IN_SHORT_FIGURES = {
    "tasks/s by `submit`": ("rate", "tasks/s"),
    "tasks/s by Parsl's `python_app`": ("rate", "tasks/s"),
    "the same without Parsl's log": ("rate", "tasks/s"),
    "round trip, p50 in ms": ("latency", "ms (p50)"),
    "CPU of all processes for a task, µs": ("rate", "µs CPU/task"),
}


def _measured_as(peer: str, title: str) -> str:
    """The name under which a column of README.md was measured."""
    if "Parsl" not in title:
        return peer
    return in_parsl(peer, log="without" not in title)


def summary(results: Results) -> Iterator[str]:
    """Medians alone."""
    lines = [["", *IN_SHORT_FIGURES]]
    for peer in IN_SHORT:
        values = [results.values(_measured_as(peer, title), *figure) for title, figure in IN_SHORT_FIGURES.items()]
        if any(values):
            lines.append([_bold(peer), *(number(statistics.median(v)) if v else "-" for v in values)])
    return table(lines)


def about(about: Mapping[str, Any]) -> str:
    """In a sentence, on what it was measured."""
    versions = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
    turns = f"{about['repeats']} turn{'s' if about['repeats'] != 1 else ''}{'' if about['size'] == 1 else ', in short'}"
    return (
        f"Measured {about['date']} at commit {about['commit']}, {turns}, on {about['cpu']},"
        f" {about['cpus']} CPUs, Linux {about['kernel']}, CPython {about['python']}, {about['mpi']};\n{versions}."
    )
