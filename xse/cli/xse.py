"""``xse``: for people at a prompt."""

from __future__ import annotations

import difflib
import os
import signal
import sys
from collections.abc import Callable, Sequence

from xse.cli import dashboard, doctor, report, runs
from xse.version import VERSION

#: Each takes its arguments and returns an exit code.
COMMANDS: dict[str, tuple[Callable[[Sequence[str]], int], str]] = {
    "doctor": (doctor.main, "what an executor would find on this host, and what is wrong"),
    "runs": (runs.runs, "your runs on this host, and the records under a directory"),
    "status": (runs.status, "how a run is"),
    "top": (runs.top, "how a run is, again and again"),
    "explain": (runs.explain_task, "where a task is, and why it waits"),
    "report": (report.report, "a page about a run: charts, slowest tasks, failures"),
    "dashboard": (dashboard.main, "the page of a run in a browser, while the run goes on"),
    "trace": (report.trace, "a run as a trace for ui.perfetto.dev"),
    "logs": (runs.logs, "what a run has logged"),
    "stop": (runs.stop, "end a run in order"),
}

HELP = """\
usage: xse [--help | --version] COMMAND ...

The Extreme-Scale Executor: many small Python tasks through MPI.

commands:
{commands}

'xse COMMAND --help' tells more of it. In Python: PoolExecutor and ExtremeScaleExecutor, from xse.
"""


def main() -> None:
    try:
        code = run(sys.argv[1:])
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 128 + signal.SIGINT
    except BrokenPipeError:  # who reads has enough: | head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = 128 + signal.SIGPIPE
    sys.exit(code)


def run(arguments: Sequence[str]) -> int:
    """Returns the exit code."""
    name, *rest = arguments or [""]
    if name in ("-h", "--help"):
        print(_help(), end="")
        return 0
    if name == "--version":
        print(f"xse {VERSION}")
        return 0
    if not name:
        print(_help(), end="", file=sys.stderr)
        return 1
    if name not in COMMANDS:
        print(_unknown(name), file=sys.stderr)
        return 1
    command, _ = COMMANDS[name]
    return command(rest)


def _help() -> str:
    return HELP.format(commands="\n".join(f"  {name:<10} {what}" for name, (_, what) in COMMANDS.items()))


def _unknown(name: str) -> str:
    """As git says it."""
    kind = "option" if name.startswith("-") else "command"
    text = f"xse: '{name}' is not an xse {kind}. See 'xse --help'."
    similar = difflib.get_close_matches(name, COMMANDS)
    return f"{text}\n\nThe most similar command is\n\t{similar[0]}" if similar else text
