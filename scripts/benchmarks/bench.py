"""Runs measures of peers, each in a process of its own, and prints a table: medians, with the range of the repeats."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from measures import MEASURES, WORKERS
from peers import PEERS

HERE = Path(__file__).parent
TIMEOUT_S = 180

#: What a first look wants.
FIRST = ["rate", "latency", "idle"]


def chosen(text: str, known: Sequence[str], what: str) -> list[str]:
    names = [name.strip() for name in text.split(";")] if text else list(known)
    for name in names:
        if name not in known:
            sys.exit(f"no {what} {name!r}; there are: {'; '.join(known)}")
    return names


def run(peer: str, measure: str, size: float) -> dict[str, float]:
    """Empty if it failed; why is on stderr."""
    try:
        done = subprocess.run(
            [sys.executable, str(HERE / "one.py"), peer, measure, str(size)],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(HERE)},  # HighThroughputExecutor's workers look there for the tasks
            timeout=TIMEOUT_S,
        )
    except subprocess.TimeoutExpired:
        print(f"\n{peer}, {measure}: no answer after {TIMEOUT_S} s", file=sys.stderr)
        return {}
    if done.returncode:
        print(f"\n{peer}, {measure}: failed\n{done.stderr[-500:]}", file=sys.stderr)
        return {}
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    return figures


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def cell(values: Sequence[float]) -> str:
    if not values:
        return "-"
    middle = figure(statistics.median(values))
    return middle if len(values) == 1 else f"{middle} ({figure(min(values))} to {figure(max(values))})"


def lines(rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """A Markdown table."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for n, row in enumerate(rows):
        yield (
            "| "
            + " | ".join([row[0].ljust(widths[0]), *(c.rjust(w) for c, w in zip(row[1:], widths[1:], strict=True))])
            + " |"
        )
        if n == 0:
            yield "|" + "|".join(["-" * (widths[0] + 2), *("-" * (w + 1) + ":" for w in widths[1:])]) + "|"


def machine() -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    cpu = next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown")
    pool = subprocess.run([Path(sys.executable).with_name("xse-pool"), "--version"], capture_output=True, text=True)
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=HERE, capture_output=True, text=True)
    return {
        "cpu": cpu,
        "cpus": len(os.sched_getaffinity(0)),
        "python": platform.python_version(),
        "pool": pool.stdout.strip(),
        "commit": commit.stdout.strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, allow_abbrev=False)
    parser.add_argument("--quick", action="store_true", help="one short repeat of each")
    parser.add_argument("--repeats", type=int, default=3, metavar="N", help="[3]")
    parser.add_argument("--peers", default="", metavar="NAME;...", help=f"of: {'; '.join(PEERS)} [all]")
    parser.add_argument("--measures", default=";".join(FIRST), metavar="NAME;...", help=f"of: {'; '.join(MEASURES)}")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    peers = chosen(arguments.peers, list(PEERS), "peer")
    measures = chosen(arguments.measures, list(MEASURES), "measure")
    repeats, size = (1, 0.25) if arguments.quick else (arguments.repeats, 1.0)

    about = machine()
    print(f"{about['cpu']}, {about['cpus']} CPUs; {WORKERS} workers; {repeats} repeats\n{about['pool']}\n")
    found: dict[str, dict[str, list[float]]] = {peer: {} for peer in peers}
    total, n = repeats * len(measures) * len(peers), 0
    for _ in range(repeats):  # peers take turns: what the machine does meanwhile, it does to all
        for measure in measures:
            for peer in peers:
                n += 1
                if sys.stderr.isatty():
                    print(f"\r\033[K{n}/{total} {measure}: {peer}", end="", file=sys.stderr, flush=True)
                for name, value in run(peer, measure, size).items():
                    found[peer].setdefault(name, []).append(value)
    if sys.stderr.isatty():
        print("\r\033[K", end="", file=sys.stderr)
    names = list(dict.fromkeys(name for figures in found.values() for name in figures))
    print("\n".join(lines([["", *names], *([peer, *(cell(found[peer].get(x, [])) for x in names)] for peer in peers)])))
    if arguments.json:
        arguments.json.write_text(json.dumps({**about, "workers": WORKERS, "figures": found}, indent=1))


if __name__ == "__main__":
    main()
