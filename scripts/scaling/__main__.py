"""Measures how the cost of each process grows, at sizes that exist here only as simulations.

Prints tables; writes JSON and SVG.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from xse import launch

from . import rows
from .plot import Line, plot
from .state_machine import us_a_cancel, us_a_task

ROOT = Path(__file__).parents[2]
DECADES = (1, 10, 100, 1000, 10_000)
QUEUES = (1000, 10_000, 100_000, 1_000_000)


def figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


def show(title: str, found: Sequence[rows.Figures]) -> None:
    """A Markdown table, a column for each; printed at once, for the next may take long."""
    print(f"\n{title}\n")
    print("|" + "|".join(["", *([" "] * len(found)), ""]))
    print("|" + "|".join(["---", *(["--:"] * len(found)), ""]))
    for name in dict.fromkeys(name for figures in found for name in figures):
        print("| " + " | ".join([name, *(figure(f[name]) if name in f else "" for f in found)]) + " |", flush=True)


def median(measure: Callable[[], rows.Figures], repeats: int) -> rows.Figures:
    """Of each figure."""
    found = [measure() for _ in range(repeats)]
    return {name: statistics.median(f[name] for f in found) for name in found[0]}


# ---- experiments: each prints, and returns what goes into the JSON


def row13(quick: bool) -> object:
    ranks, workers, each = (8, 512, 5) if quick else (64, 4096, 10)
    found = [rows.simulated(ranks, workers, each, 1.0)]
    show("Row 13: simulated workers under one interchange", found)
    futures = rows.with_futures(ranks, workers, each, 1.0)
    show("The same from an executor's client, a future for each task", [futures])
    dream = rows.simulated(ranks, 4 * workers, each, 1.0)
    show("Row 13, the dream", [dream])
    return {"row 13": found, "futures": futures, "dream": dream}


def row14(quick: bool) -> object:
    sizes = (1, 100) if quick else (1, 1000)
    n, repeats = (100_000, 1) if quick else (1_000_000, 3)
    found = {}
    for curve in (False, True):
        name = "TCP with CURVE" if curve else "unix sockets"
        found[name] = [median(lambda b=b, c=curve: rows.blocks(b, n, curve=c), repeats) for b in sizes]  # type: ignore[misc]
        show(f"Row 14: blocks connected by {name}", found[name])
    if not quick:
        found["dream"] = [rows.blocks(10_000, n, curve=False)]
        show("Row 14, the dream: by unix sockets", found["dream"])
    return found


def queue(quick: bool) -> object:
    n = 100_000 if quick else 1_000_000
    played = rows.queue(n)
    show("A long queue, for ten played blocks", [played])
    real = median(lambda: rows.queue_for_workers(n), 1 if quick else 3)
    show("A long queue, for two workers", [real])
    return {"played": played, "real": real}


def state_machines(n_tasks: int) -> dict[str, list[tuple[float, float]]]:
    """Of manager and leader, microseconds for a task: C, in a program of its own."""
    build = ROOT / "build" / "scale"
    if not (build / "build.ninja").exists():
        subprocess.run(["meson", "setup", build, ROOT, "--buildtype=release"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run(["meson", "compile", "-C", build, "xse-state-machines"], check=True, stdout=subprocess.DEVNULL)
    done = subprocess.run([build / "xse-state-machines", str(n_tasks)], check=True, capture_output=True, text=True)
    found: dict[str, list[tuple[float, float]]] = {}
    for line in done.stdout.splitlines():
        name, size, ns = line.split()
        found.setdefault(name, []).append((float(size), float(ns) / 1000))
    return found


def growth(quick: bool) -> object:
    n = 10_000 if quick else 30_000
    in_c = state_machines(n)
    core: dict[str, list[tuple[float, float]]] = {
        "blocks": [(b, us_a_task(b, 0, n)) for b in DECADES],
        "queue": [(q, us_a_task(10, q, n)) for q in QUEUES],
    }
    scale: dict[str, Line] = {
        "interchange, by blocks": core["blocks"],
        "manager, by ranks": in_c["manager-ranks"],
        "leader, by workers": in_c["leader-workers"],
    }
    queues: dict[str, Line] = {"interchange": core["queue"], "leader": in_c["leader-queue"]}
    events: dict[str, Line] = {
        "leader, by workers: a task with a timeout": in_c["leader-timed"],
        "leader, by workers: a task out of time": in_c["leader-late"],
        "leader, by workers: cancel of a task that runs": in_c["leader-cancel-running"],
        "leader, by workers: RECALL of none": in_c["leader-recall"],
        "manager, by ranks: CREDIT": in_c["manager-credit"],
        "manager, by ranks: a task that moves": in_c["manager-balance"],
    }
    cancels: dict[str, Line] = {
        "interchange, one in a message": [(q, us_a_cancel(q, 1, 100)) for q in QUEUES],
        "interchange, 100": [(q, us_a_cancel(q, 100, 10)) for q in QUEUES],
        "leader, one in a message": in_c["leader-cancel-one"],
        "leader, 1,000": in_c["leader-cancel-many"],
        "manager, one in a message": in_c["manager-cancel-one"],
        "manager, 1,000": in_c["manager-cancel-many"],
    }
    for title, lines in (
        ("By size, us for a task", scale),
        ("By tasks that wait, us for a task", queues),
        ("What is not every task's, us", events),
        ("Cancel, by tasks that wait, us for a task", cancels),
    ):
        sizes = sorted({size for line in lines.values() for size, _ in line})
        found = [{name: us for name, line in lines.items() for at, us in line if at == size} for size in sizes]
        show(title, [{"size": size, **figures} for size, figures in zip(sizes, found, strict=True)])
    if not quick:
        docs = ROOT / "docs" / "guide"
        us = "CPU of one state machine for a task, µs"
        (docs / "scaling-size.svg").write_text(plot("What a task costs, by size", "blocks, ranks, workers", us, scale))
        (docs / "scaling-queue.svg").write_text(plot("What a task costs, by queue", "tasks that wait", us, queues))
    ranks = [rows.simulated(r, 256, 10 if quick else 40, 0.5) for r in ((1, 4) if quick else (1, 4, 16, 64))]
    show("By ranks: 256 simulated workers each, tasks of 0.5 s", ranks)
    return {"size": scale, "queue": queues, "events": events, "cancels": cancels, "ranks": ranks}


EXPERIMENTS = {"row13": row13, "row14": row14, "queue": queue, "growth": growth}


def conditions() -> dict[str, object]:
    cpuinfo = Path("/proc/cpuinfo").read_text().splitlines()
    commit = subprocess.run(["git", "rev-parse", "--short", "HEAD"], cwd=ROOT, capture_output=True, text=True)
    return {
        "cpu": next((line.split(":")[1].strip() for line in cpuinfo if line.startswith("model name")), "unknown"),
        "cpus": len(os.sched_getaffinity(0)),
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "mpi": launch.find_pool().mpi,
        "commit": commit.stdout.strip(),
    }


def main() -> None:
    parser = argparse.ArgumentParser(prog="scripts/scale", description=__doc__, allow_abbrev=False)
    parser.add_argument("experiments", nargs="*", metavar="EXPERIMENT", help=f"of: {', '.join(EXPERIMENTS)} [all]")
    parser.add_argument("--quick", action="store_true", help="small sizes, to see that it works")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there")
    arguments = parser.parse_args()
    chosen = arguments.experiments or list(EXPERIMENTS)
    for name in chosen:
        if name not in EXPERIMENTS:
            sys.exit(f"scripts/scale: no experiment {name!r}; there are: {', '.join(EXPERIMENTS)}")
    found: dict[str, object] = {"conditions": conditions()}
    print(", ".join(f"{name} {value}" for name, value in found["conditions"].items()))  # type: ignore[attr-defined]
    for name in chosen:
        found[name] = EXPERIMENTS[name](arguments.quick)
        if arguments.json:
            arguments.json.write_text(json.dumps(found, indent=1))


if __name__ == "__main__":
    main()
