"""Writes the measured times of faults into docs/developers/faults.md. See scripts/fault-times."""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from scripts.benchmarks import document, machine
from scripts.benchmarks.environments import ROOT
from tests.support.pools import pools
from xse import launch

COLUMN = 2  # of the table of rows: measured


def span(seconds: Sequence[float]) -> str:
    """The shortest and the longest time as text. A heartbeat's clock may have begun before the fault: then 0."""
    low, high = max(0.0, min(seconds)), max(0.0, *seconds)
    if high < 0.1:
        ends, unit = (f"{low * 1000:.0f}", f"{high * 1000:.0f}"), "ms"
    else:
        ends, unit = (f"{low:.2f}", f"{high:.2f}"), "s"
    return f"{' to '.join(dict.fromkeys(ends))} {unit}"


def cells(times: Iterable[Mapping[str, Any]]) -> dict[int, str]:
    """The text of each row's cell: one span for each effect, over all MPIs and all runs, in the order of the tests."""
    found: dict[int, dict[tuple[str, str], list[float]]] = {}
    for entry in times:
        kind = entry["what"], entry["beyond"]
        found.setdefault(entry["row"], {}).setdefault(kind, []).append(entry["seconds"])
    return {row: "; ".join(_words(*kind, s) for kind, s in kinds.items()) for row, kinds in found.items()}


def _words(what: str, beyond: str, seconds: Sequence[float]) -> str:
    return f"{what}: {f'{beyond} + ' if beyond else ''}{span(seconds)}"


def fill(text: str, cells: Mapping[int, str]) -> str:
    """Replace the table's column. The cell of a row without measurements is empty."""

    def anew(line: str) -> str:
        row = re.match(r"\| (\d+) \|", line)
        if not row:
            return line
        parts = [part.strip() for part in line.strip("|").split("|")]
        parts[COLUMN] = cells.get(int(row[1]), "")
        return f"| {' | '.join(parts)} |"

    return "\n".join(map(anew, text.split("\n")))


def about() -> str:
    """The line that says where and when the times were measured."""
    mpis = []
    for path in pools().values():
        os.environ["XSE_POOL"] = path
        mpis.append(launch.find_pool().mpi)
    on = machine.about([])
    return (
        f"Measured {on['date']} at commit {on['commit']}, on {on['cpu']}, {on['cpus']} CPUs, Linux {on['kernel']},\n"
        f"CPython {on['python']}, {' and '.join(mpis)}."
    )


def read(file: Path) -> tuple[list[dict[str, Any]], str]:
    """The times in a file, and where they were measured. If the file does not say that, it is this machine, now: we add
    it."""
    entries = [json.loads(line) for line in file.read_text().splitlines()]
    known = [entry["about"] for entry in entries if "about" in entry]
    if not known:
        known = [about()]
        with file.open("a") as f:
            f.write(json.dumps({"about": known[0]}) + "\n")
    return [entry for entry in entries if "about" not in entry], known[0]


def main() -> None:
    times, on = read(Path(sys.argv[1]))
    file = ROOT / "docs" / "developers" / "faults.md"
    file.write_text(document.fill(fill(file.read_text(), cells(times)), "times", on))
    print(f"wrote {file.relative_to(ROOT)}: {len(times)} times of {len(cells(times))} rows")


if __name__ == "__main__":
    main()
