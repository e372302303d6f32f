"""``xse report`` and ``xse trace``: see ``xse/report``."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence

from xse.cli.runs import RUN, checked
from xse.live.runs import NoRun, find
from xse.record import open_record
from xse.record.reader import Record
from xse.report import trace as traces
from xse.report.page import NoCharts, page
from xse.report.summary import Summary


def record_of(name: str | None) -> Record:
    """The record of the run that a user means. Raises NoRun, RecordError or OSError."""
    run = find(name)
    if not run.record:
        raise NoRun(f"run {run.id} has no record: give the executor record=...")
    return open_record(run.record)


def report(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="xse report", description="Write a page about a run: one HTML file.", allow_abbrev=False
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    parser.add_argument("-o", "--output", metavar="FILE", help="the page [beside the record, as .html]")
    parser.add_argument("--json", action="store_true", help="print the numbers instead, for programs")
    options = parser.parse_args(arguments)

    def command() -> int:
        record = record_of(options.run)
        summary = Summary(record)
        if options.json:
            print(json.dumps(summary.as_dict(), indent=2))
            return 0
        try:
            text = page(summary)
        except NoCharts as e:
            print(f"xse: {e}", file=sys.stderr)
            return 1
        path = options.output or record.path.removesuffix(".xse") + ".html"
        with open(path, "w") as file:
            file.write(text)
        print(summary.line())
        print(path)
        return 0

    return checked(command)


def trace(arguments: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="xse trace", description="Write a trace of a run, for ui.perfetto.dev.", allow_abbrev=False
    )
    parser.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    parser.add_argument(
        "-o", "--output", metavar="FILE", default="trace.json.gz", help="compressed if it ends with .gz [trace.json.gz]"
    )
    options = parser.parse_args(arguments)

    def command() -> int:
        n = traces.write(record_of(options.run), options.output)
        print(f"{options.output}: {n:,} events. Open it at https://ui.perfetto.dev")
        return 0

    return checked(command)
