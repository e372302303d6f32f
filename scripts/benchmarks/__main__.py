"""The whole of a run: what is wanted, in turns, then tables, JSON and the picture."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from . import document, environments, machine, mpi, processes, results, runs, table
from .environments import HOME, ROOT
from .peers import PEERS
from .progress import Progress, say
from .rows import Row, chosen

PICTURE = "performance.svg"


def arguments() -> argparse.Namespace:
    """``scripts/bench --help`` tells what they mean."""
    parser = argparse.ArgumentParser("scripts/bench", allow_abbrev=False, add_help=False)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--rows", default="", metavar="N,...")
    parser.add_argument("--peers", default="", metavar="WORD,...")
    parser.add_argument("--repeats", type=int, default=0, metavar="N")
    parser.add_argument("--json", type=Path, metavar="FILE")
    parser.add_argument("--from", type=Path, metavar="FILE", dest="source")
    parser.add_argument("--write", action="store_true")
    given = parser.parse_args()
    if given.write and (given.quick or given.rows or given.peers):
        parser.error("documents get the figures of a full run: --write goes with no --quick, --rows or --peers")
    return given


def installed(peers: Iterable[str]) -> tuple[set[str], dict[str, str]]:
    """Environments that these peers need: those that are there now, and why others cannot be had."""
    there, lacking = {""}, {}
    for name in dict.fromkeys(e for peer in peers for e in needs(peer) if e):
        try:
            environments.make(name, say, mpi.settings() if name == "mpi4py" else {})
            there.add(name)
        except environments.CannotMakeError as e:
            say(f"cannot install {name}, which is left out: {e}")
            lacking[name] = str(e)
    return there, lacking


def needs(peer: str) -> set[str]:
    return {PEERS[peer].environment, PEERS[peer].packages}


def measured(rows: Sequence[Row], n_turns: int, size: float) -> results.Results:
    wanted = list(dict.fromkeys((row.measure, peer) for row in rows for peer in row.peers))
    there, lacking = installed(peer for _, peer in wanted)
    jobs = [(measure, peer) for measure, peer in wanted if needs(peer) <= there]
    about = {**machine.about(sorted(there - {""})), "repeats": n_turns, "size": size}
    found = results.Results(about, failures=lacking)
    progress = Progress(len(jobs) * n_turns)
    for turn in range(n_turns):  # peers take turns: what the machine does meanwhile, it does to all
        for measure, peer in jobs:
            name = f"{peer}, {measure}"
            progress.step(f"turn {turn + 1} of {n_turns}, {measure}: {peer}")
            if name in found.failures:
                continue
            try:
                found.add(peer, measure, runs.run(peer, measure, size))
            except runs.FailedError as e:
                say(f"{name}: {e}")
                found.failures[name] = str(e)
    progress.clear()
    return found


def draw(source: Path, picture: Path) -> bool:
    """With matplotlib, in an environment of its own."""
    try:
        environments.make("picture", say, {})
    except environments.CannotMakeError as e:
        say(f"no picture is drawn, for matplotlib cannot be installed: {e}")
        return False
    command = [str(environments.python_of("picture")), "-m", "benchmarks.picture", str(source), str(picture)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(runs.SCRIPTS)})
    return True


def shown(rows: Sequence[Row], found: results.Results) -> str:
    """What is printed, and what stands in docs/guide/performance.md."""
    parts = [
        table.about(found.about),
        "\n".join(table.verdicts(rows, found)),
        *("\n".join(table.of_row(row, found)) for row in rows if found.shown(row)),
        "\n".join(table.failures(found)),
    ]
    return "\n\n".join(part for part in parts if part)


def write(rows: Sequence[Row], found: results.Results, source: Path) -> None:
    lacking = list(dict.fromkeys(row.number for row in rows if not found.shown(row)))
    if lacking or found.about["size"] != 1:
        sys.exit(
            f"scripts/bench: documents get the figures of a full run; {source} lacks {', '.join(lacking) or 'length'}"
        )
    for file, place, content in (
        (ROOT / "docs" / "guide" / "performance.md", "rows", shown(rows, found)),
        (ROOT / "README.md", "summary", "\n".join(table.summary(found))),
    ):
        file.write_text(document.fill(file.read_text(), place, content))
        say(f"wrote {file.relative_to(ROOT)}")
    draw(source, ROOT / "docs" / "guide" / PICTURE)


def main() -> int:
    given = arguments()
    processes.adopt_orphans()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler)
    HOME.mkdir(parents=True, exist_ok=True)
    try:
        rows = chosen(given.rows, given.peers, given.quick)
    except ValueError as e:
        sys.exit(f"scripts/bench: {e}")
    source = given.source or given.json or HOME / "results.json"
    try:
        if given.source:
            found = results.read(given.source)
        else:
            turns, size = (1, 0.25) if given.quick else (3, 1.0)
            found = measured(rows, given.repeats or turns, size)
            found.write(source)
        print(shown(rows, found))
        if given.write:
            write(rows, found, source)
        elif not given.source and draw(source, HOME / PICTURE):
            say(f"figures in {source}, picture in {HOME / PICTURE}")
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        runs.end_all()
        say("broken off; nothing is left running")
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
