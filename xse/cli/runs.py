"""``xse runs``, ``status``, ``explain``, ``stop``, ``logs``, ``top``: see ``xse/live``."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Sequence

from xse.live.ask import NoAnswer, ask
from xse.live.explain import explain
from xse.live.runs import NoRun, Run, find, live_runs, of_record, records_under
from xse.live.status import Status, status_by_record, status_of
from xse.record import RecordError, open_record
from xse.wire import commands

RUN = "a record (*.xse), a directory with one, or the id of a run on this host; by default the only run on this host"


def _parser(name: str, description: str, *, run: bool = True) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog=f"xse {name}", description=description, allow_abbrev=False)
    if run:
        parser.add_argument("run", nargs="?", metavar="RUN", help=RUN)
    return parser


def checked(command: Callable[[], int]) -> int:
    """Runs the command; what a user can be told is one line."""
    try:
        return command()
    except (NoRun, RecordError, NoAnswer) as e:
        print(f"xse: {e}", file=sys.stderr)
    except BrokenPipeError:
        raise
    except OSError as e:
        print(f"xse: {e.filename}: {e.strerror}", file=sys.stderr)
    return 1


def _status(run: Run) -> tuple[Status, str]:
    """How it is, and whether it runs."""
    look = run.look()
    if look:
        return status_of(look.status), "running"
    if not run.record:
        raise NoRun("the run has ended, and it has no record")
    record = open_record(run.record)
    status = status_by_record(record)
    if record.ended:
        return status, "ended"
    here = run.about.get("host") == os.uname().nodename
    host = run.about.get("host")
    return status, "broken off" if here else f"on {host}, or broken off: by its record, {_age(run.record)} old"


def _age(path: str) -> str:
    return f"{time.time() - os.stat(path).st_mtime:.0f} s"


def _line(run: Run, state: str) -> str:
    at = time.strftime("%Y-%m-%d %H:%M", time.localtime(run.about.get("unix", 0)))
    what = " ".join(str(run.about.get(key) or "") for key in ("executor", "label")).strip()
    return f"{run.id:<9} {state:<10} {at}  {what:<22} {run.about.get('script') or ''}  {run.record or ''}".rstrip()


def runs(arguments: Sequence[str]) -> int:
    parser = _parser("runs", "List your runs: those on this host, and the records under DIR.", run=False)
    parser.add_argument("directory", nargs="?", metavar="DIR", help="where to look for records [the working directory]")
    options = parser.parse_args(arguments)

    def command() -> int:
        if options.directory and not os.path.isdir(options.directory):
            raise NoRun(f"{options.directory} is no directory")
        found = live_runs()
        lines = [_line(run, "running") for run in found]
        known = {run.record for run in found}
        for path in records_under(options.directory or "."):
            if path in known:
                continue
            try:
                run = of_record(path)
                lines.append(_line(run, "running" if run.control else _state_of(run)))
            except (RecordError, OSError) as e:
                lines.append(f"xse: {e}")
        print("\n".join(lines) if lines else "no run on this host, and no record under here")
        return 0

    return checked(command)


def _state_of(run: Run) -> str:
    assert run.record
    with open(run.record, "rb") as file:
        file.seek(max(0, os.fstat(file.fileno()).st_size - 4096))
        if b'{"event": "end"' in file.read():
            return "ended"
    return "broken off" if run.about.get("host") == os.uname().nodename else "elsewhere"


def status(arguments: Sequence[str]) -> int:
    parser = _parser("status", "Say how a run is: tasks, workers, blocks, rate, and the last error.")
    parser.add_argument("--json", action="store_true", help="for programs")
    options = parser.parse_args(arguments)

    def command() -> int:
        run = find(options.run)
        status, state = _status(run)
        if options.json:
            print(json.dumps({"run": run.about, "state": state, "record": run.record, **status.as_dict()}, indent=2))
            return 0
        print(_line(run, state))
        print(status)
        if status.last_error:
            print(f"last error: {status.last_error}")
        return 0

    return checked(command)


def explain_task(arguments: Sequence[str]) -> int:
    parser = _parser("explain", "Say where a task is, since when, and why it waits.", run=False)
    parser.add_argument("run", metavar="RUN", help=RUN.split(";")[0])
    parser.add_argument("task", metavar="TASK", type=int, help="the number of the task: future.task_id")
    options = parser.parse_args(arguments)

    def command() -> int:
        print(explain(find(options.run), options.task))
        return 0

    return checked(command)


def stop(arguments: Sequence[str]) -> int:
    parser = _parser("stop", "End a run in order: its tasks fail with RunStopped, and its blocks end.")
    options = parser.parse_args(arguments)

    def command() -> int:
        run = find(options.run)
        if not run.control:
            host = run.about.get("host")
            where = "" if host == os.uname().nodename else f", or it is on {host}: stop it there"
            raise NoRun(f"run {run.id} does not answer: it has ended{where}")
        ask(run.control, commands.EndRun())
        print(f"run {run.id} ends")
        return 0

    return checked(command)


def logs(arguments: Sequence[str]) -> int:
    parser = _parser("logs", "Show the logs of a run.")
    parser.add_argument("--task", type=int, metavar="ID", help="only lines that name this task")
    parser.add_argument("--follow", action="store_true", help="go on as they are written, until the run ends")
    options = parser.parse_args(arguments)

    def command() -> int:
        run = find(options.run)
        directory = str(run.about.get("log_dir") or "")
        if not directory or not os.path.isdir(directory):
            raise NoRun(f"run {run.id} kept no logs: give the executor log_dir=...")
        offsets: dict[str, int] = {}
        _print_new(directory, offsets, options.task)
        while options.follow and run.look():
            time.sleep(0.5)
            _print_new(directory, offsets, options.task)
        return 0

    return checked(command)


def _print_new(directory: str, offsets: dict[str, int], task: int | None) -> None:
    paths = [os.path.join(root, name) for root, _, names in os.walk(directory) for name in sorted(names)]
    for path in paths:
        if not path.endswith((".log", ".out", ".err", ".stdout", ".stderr")):
            continue
        with open(path, errors="replace") as file:
            file.seek(offsets.get(path, 0))
            for line in file:
                if task is None or f"id={task} " in f"{line.rstrip()} " or f"task={task} " in f"{line.rstrip()} ":
                    print(f"{os.path.relpath(path, directory)}: {line.rstrip()}", flush=True)
            offsets[path] = file.tell()


def top(arguments: Sequence[str]) -> int:
    parser = _parser("top", "Show a run, again and again, until it ends or Ctrl-C.")
    parser.add_argument("--interval", type=float, default=1.0, metavar="S", help="seconds between two looks [1]")
    parser.add_argument("--once", action="store_true", help="show it once")
    options = parser.parse_args(arguments)
    if not options.interval > 0:
        parser.error("--interval must be above 0")

    def command() -> int:
        run = find(options.run)
        while True:
            look = run.look()
            full = sys.stdout.isatty() and not options.once
            if look is None:
                status, state = _status(run)
                print(_line(run, state), status, sep="\n")
                return 0
            print(("\x1b[H\x1b[2J" if full else "") + _page(run, look), flush=True)
            if options.once:
                return 0
            time.sleep(options.interval)

    return checked(command)


def _page(run: Run, look: commands.LookReply) -> str:
    status = status_of(look.status)
    seconds = int(look.run["seconds"])
    lines = [
        f"{_line(run, 'running')}  up {seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}",
        str(status),
        f"workers  {_bar(status.workers_busy, status.workers)} {status.workers_busy:,} of {status.workers:,} busy",
        "",
        f"{'block':<8}{'workers':>9}{'tasks':>9}  {'state':<10}hosts",
    ]
    for block in look.status.blocks[:30]:
        state = "draining" if block.draining else "held" if block.held else "idle" if not block.n_tasks else "busy"
        hosts = list(dict.fromkeys(block.hosts))
        shown = ", ".join(hosts[:4]) + (f" and {len(hosts) - 4:,} more" if len(hosts) > 4 else "")
        lines.append(f"{block.block_id[:8]:<8}{block.n_workers:>9,}{block.n_tasks:>9,}  {state:<10}{shown}")
    if len(look.status.blocks) > 30:
        lines.append(f"... and {len(look.status.blocks) - 30:,} blocks more")
    if status.last_error:
        lines += ["", f"last error: {status.last_error}"]
    return "\n".join(lines)


def _bar(n: int, of: int, width: int = 40) -> str:
    full = round(width * n / of) if of else 0
    return "[" + "#" * full + " " * (width - full) + "]"
