"""The whole of a run: what is wanted, in turns, then tables, JSON and the picture."""

from __future__ import annotations

import argparse
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from . import document, environments, machine, processes, results, runs, table
from .environments import HOME, ROOT
from .peers import PEERS
from .progress import Progress
from .rows import ROWS, Row

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
    if given.write and not given.source and (given.quick or given.rows or given.peers):
        parser.error("documents get the figures of a full run: --write goes with no --quick, --rows or --peers")
    return given


def chosen(numbers: str, words: str, quick: bool) -> list[Row]:
    """Rows with the peers that are wanted."""
    known = list(dict.fromkeys(row.number for row in ROWS))
    wanted = numbers.split(",") if numbers else known
    parts = [word.strip().lower() for word in words.split(",") if word.strip()]
    for number in wanted:
        if number not in known:
            sys.exit(f"scripts/bench: no row {number}; there are {', '.join(known)}")
    for part in parts:
        if not any(part in peer.lower() for peer in PEERS):
            sys.exit(f"scripts/bench: no peer has {part!r} in its name; there are: {'; '.join(PEERS)}")
    rows = []
    for row in ROWS:
        if parts:
            peers = tuple(peer for peer in row.peers if any(part in peer.lower() for part in parts))
        else:
            peers = row.needed() if quick else row.peers
        if row.number in wanted and peers:
            rows.append(replace(row, peers=peers))
    return rows


def measured(rows: Sequence[Row], n_turns: int, size: float) -> results.Results:
    jobs = list(dict.fromkeys((row.measure, peer) for row in rows for peer in row.peers))
    progress = Progress(len(jobs) * n_turns)
    failed: dict[str, str] = {}
    made = [""]
    for name in dict.fromkeys(e for _, p in jobs for e in (PEERS[p].environment, PEERS[p].packages) if e):
        try:
            environments.make(name, progress.say, machine.mpi_settings() if name == "mpi4py" else {})
        except environments.CannotMakeError as e:
            progress.say(f"cannot install {name}, which is left out: {e}")
            failed[name] = str(e)
        else:
            made.append(name)
    found = results.Results({**machine.about(made[1:]), "repeats": n_turns, "size": size}, failures=failed)
    for turn in range(n_turns):  # peers take turns: what the machine does meanwhile, it does to all
        for measure, peer in jobs:
            progress.step(f"turn {turn + 1} of {n_turns}, {measure}", peer)
            if PEERS[peer].environment not in made or PEERS[peer].packages not in made:
                continue
            try:
                found.add(peer, measure, runs.run(peer, measure, size))
            except runs.FailedError as e:
                progress.say(f"{peer}, {measure}: {e}")
                found.failures[f"{peer}, {measure}"] = str(e)
    progress.clear()
    return found


def draw(source: Path, picture: Path) -> bool:
    """With matplotlib, in an environment of its own."""
    progress = Progress(0)
    try:
        environments.make("picture", progress.say, {})
    except environments.CannotMakeError as e:
        progress.say(f"no picture is drawn, for matplotlib cannot be installed: {e}")
        return False
    command = [str(environments.python_of("picture")), "-m", "benchmarks.picture", str(source), str(picture)]
    subprocess.run(command, check=True, env={**os.environ, "PYTHONPATH": str(runs.SCRIPTS)})
    return True


def shown(rows: Sequence[Row], found: results.Results) -> str:
    """What is printed, and what stands in docs/performance.md."""
    parts = [
        table.about(found.about),
        "\n".join(table.verdicts(rows, found)),
        *("\n".join(table.of_row(row, found)) for row in rows if found.shown(row)),
        "\n".join(table.failures(found)),
    ]
    return "\n\n".join(part for part in parts if part)


def write(rows: Sequence[Row], found: results.Results, source: Path) -> None:
    for file, place, content in (
        (ROOT / "docs" / "performance.md", "rows", shown(rows, found)),
        (ROOT / "README.md", "summary", "\n".join(table.summary(found))),
    ):
        file.write_text(document.fill(file.read_text(), place, content))
        print(f"bench: wrote {file.relative_to(ROOT)}", file=sys.stderr)
    draw(source, ROOT / "docs" / PICTURE)


def main() -> int:
    given = arguments()
    processes.adopt_orphans()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    HOME.mkdir(parents=True, exist_ok=True)
    rows = chosen(given.rows, given.peers, given.quick)
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
            print(f"\nbench: figures in {source}, picture in {HOME / PICTURE}", file=sys.stderr)
    except KeyboardInterrupt:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        runs.end_all()
        print("\nbench: broken off; nothing is left running", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
