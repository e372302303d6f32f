"""The demo's workflow: what does this Python's standard library consist of? One task parses one source file, a reducing
app puts the figures together, and a plain loop checks the answer. Then the same for single functions, 20,000 of them.

usage: python scripts/demo_workflow.py [--files N] [--tasks N]
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import sysconfig
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, as_completed
from pathlib import Path
from typing import Any, TypeVar

import parsl
from parsl import python_app
from parsl.config import Config

from xse import ExtremeScaleExecutor

T = TypeVar("T")

BAR = 44  # characters of the longest bar
REDRAW_S = 0.1  # between two states of the progress line


# ---- what the tasks do, as plain functions


def figures_of(path: str) -> dict[str, Any]:
    """Lines, functions, classes and imports of one source file, and where its top-level functions are."""
    import ast
    import warnings

    with open(path, "rb") as file:
        source = file.read()
    figures: dict[str, Any] = {"lines": source.count(b"\n"), "functions": 0, "classes": 0, "imports": 0, "spans": []}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the standard library's tests hold much that the compiler warns of,
        try:
            tree = ast.parse(source)
        except (SyntaxError, ValueError):  # and errors, on purpose
            return figures
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    for node in ast.walk(tree):
        if isinstance(node, functions):
            figures["functions"] += 1
        elif isinstance(node, ast.ClassDef):
            figures["classes"] += 1
        elif isinstance(node, (ast.Import, ast.ImportFrom)):
            figures["imports"] += 1
    figures["spans"] = [(node.lineno, node.end_lineno) for node in tree.body if isinstance(node, functions)]
    return figures


def package_totals(names: Sequence[str], inputs: Sequence[dict[str, Any]]) -> dict[str, dict[str, int]]:
    """Figures of files added up by the package that each belongs to."""
    keys = ("lines", "functions", "classes", "imports")
    totals: dict[str, dict[str, int]] = {}
    for name, one in zip(names, inputs, strict=True):
        total = totals.setdefault(name, dict.fromkeys(keys, 0))
        for key in keys:
            total[key] += one[key]
    return totals


def branches_of(source: str) -> int:
    """Places where a function's path forks."""
    import ast

    forks = (ast.If, ast.For, ast.While, ast.ExceptHandler, ast.IfExp, ast.BoolOp, ast.comprehension)
    return sum(isinstance(node, forks) for node in ast.walk(ast.parse(source)))


def counts_of(inputs: Sequence[int]) -> dict[str, int]:
    """How many functions have so many branches."""
    names = ["0", "1", "2", "3", "4", "5 to 9", "10 to 19", "20 or more"]
    counts = dict.fromkeys(names, 0)
    for n in inputs:
        counts[names[n if n < 5 else 5 if n < 10 else 6 if n < 20 else 7]] += 1
    return counts


# ---- the real input


def source_files(limit: int | None) -> list[Path]:
    """The standard library's."""
    root = Path(sysconfig.get_path("stdlib"))
    found = (p for p in sorted(root.rglob("*.py")) if not {"site-packages", "dist-packages"} & set(p.parts))
    return list(itertools.islice(found, limit))


def package_of(path: Path) -> str:
    """The top-level package or module."""
    return path.relative_to(sysconfig.get_path("stdlib")).parts[0].removesuffix(".py")


def function_sources(files: Sequence[Path], figures: Sequence[dict[str, Any]], n: int) -> list[str]:
    """The source of the first ``n`` functions; from the beginning again if there are fewer."""

    def each() -> Iterator[str]:
        for path, one in zip(files, figures, strict=True):
            try:
                with open(path, encoding="utf-8") as file:
                    lines = file.readlines()
            except UnicodeDecodeError:
                continue
            for first, last in one["spans"]:
                yield "".join(lines[first - 1 : last])

    found = list(itertools.islice(each(), n))
    if not found:
        sys.exit("these files hold no function: give more --files")
    return list(itertools.islice(itertools.cycle(found), n))


# ---- what is seen


def progress(name: str, futures: Sequence[Future[Any]]) -> None:
    """Wait for all, with a line that moves."""
    start = last = time.monotonic()
    redraws = sys.stderr.isatty()
    for done, _ in enumerate(as_completed(futures), start=1):
        now = time.monotonic()
        if done == len(futures) or (redraws and now - last >= REDRAW_S) or (not redraws and now - last >= 10):
            last = now
            filled = BAR * done // len(futures)
            rate = done / (now - start) if now > start else 0.0
            line = f"{name:8} {'█' * filled}{'·' * (BAR - filled)} {done:>6,}/{len(futures):,} {rate:>7,.0f}/s"
            print(f"\r{line}" if redraws else line, end="" if redraws else "\n", file=sys.stderr, flush=True)
    if redraws:
        print(file=sys.stderr)


def bar_chart(title: str, rows: Sequence[tuple[str, int]]) -> None:
    print(f"\n{title}")
    most = max(n for _, n in rows) or 1
    width = max(len(name) for name, _ in rows)
    for name, n in rows:
        print(f"  {name:>{width}} {'█' * max(round(BAR * n / most), n > 0)} {n:,}")


def table(rows: Sequence[Sequence[str]]) -> None:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    for row in rows:
        print(
            "  " + row[0].ljust(widths[0]),
            *(cell.rjust(w) for cell, w in zip(row[1:], widths[1:], strict=True)),
            sep="  ",
        )


def timed(work: Callable[[], T]) -> tuple[T, float]:
    start = time.monotonic()
    return work(), time.monotonic() - start


# ---- the workflow


def run(name: str, app: Any, reduce: Any, items: Sequence[Any], *reduce_arguments: Any) -> tuple[Any, list[Any]]:
    """What ``reduce`` makes of the results of ``app``, and these."""
    futures = [app(item) for item in items]
    reduced = reduce(*reduce_arguments, inputs=futures)  # Parsl calls it when what is in ``inputs`` is there
    progress(name, futures)
    return reduced.result(), [future.result() for future in futures]


def check(what: str, found: object, expected: object) -> None:
    if found != expected:
        sys.exit(f"the {what} of the workflow differ from the plain loop's:\n{found}\n{expected}")


def main() -> None:
    parser = argparse.ArgumentParser(
        description="A Parsl workflow over an MPI pool, checked against a plain loop.", allow_abbrev=False
    )
    parser.add_argument("--files", type=int, metavar="N", help="at most so many source files [all]")
    parser.add_argument("--tasks", type=int, metavar="N", default=20_000, help="small tasks [20000]")
    arguments = parser.parse_args()

    shutil.rmtree(".cache/demo", ignore_errors=True)
    executor = ExtremeScaleExecutor()
    files = source_files(arguments.files)
    paths = [str(path) for path in files]
    names = [package_of(path) for path in files]
    print(f"{len(files):,} files of Python {sys.version.split()[0]}'s standard library; one task parses one")
    # Parsl starts the first block in the second round of its strategy: after 5 s by default.
    config = Config(executors=[executor], run_dir=".cache/demo", initialize_logging=False, strategy_period=0.5)
    with parsl.load(config):
        parse = python_app(figures_of)
        total = python_app(package_totals)
        branch = python_app(branches_of)
        count = python_app(counts_of)
        (packages, figures), files_s = timed(lambda: run("files", parse, total, paths, names))
        functions = function_sources(files, figures, arguments.tasks)
        (counts, _), small_s = timed(lambda: run("small", branch, count, functions))
        workers = executor.connected_workers
    print("the same by a plain loop, to check", flush=True)
    plain_packages, plain_files_s = timed(lambda: package_totals(names, [figures_of(path) for path in paths]))
    plain_counts, plain_small_s = timed(lambda: counts_of([branches_of(source) for source in functions]))
    check("figures", packages, plain_packages)
    check("counts", counts, plain_counts)

    largest = sorted(packages.items(), key=lambda item: -item[1]["lines"])[:10]
    bar_chart("Lines of Python in the ten largest packages", [(name, f["lines"]) for name, f in largest])
    bar_chart("Branches in a function", list(counts.items()))
    print(f"\nExtremeScaleExecutor: one block, {workers} workers")
    table(
        [
            ("", "files", "small tasks"),
            ("tasks", f"{len(files):,}", f"{len(functions):,}"),
            ("seconds", f"{files_s:.1f}", f"{small_s:.1f}"),
            ("tasks/s", f"{len(files) / files_s:,.0f}", f"{len(functions) / small_s:,.0f}"),
            ("seconds of a plain loop", f"{plain_files_s:.1f}", f"{plain_small_s:.1f}"),
            ("same answer", "yes", "yes"),
        ]
    )
    print("\nA small task takes less than Parsl needs to pass it on: it is here to show that rate, not to be fast.")


if __name__ == "__main__":
    main()
