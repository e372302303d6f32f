"""Finding runs: those that answer on this host, and records."""

from __future__ import annotations

import glob
import os
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from xse.live.ask import NoAnswer, ask
from xse.record import open_record
from xse.record.reader import Record
from xse.wire import commands

DEPTH = 5  # of directories that are searched for records
ANSWER_S = 2.0


class NoRun(Exception):
    """No run is meant by what the user gave; the text says what to give."""


@dataclass
class Run:
    """A run. ``about``: as its record has it. ``control``: where it answers, or None. ``record``: a path, or None."""

    about: dict[str, Any]
    control: str | None
    record: str | None

    @property
    def id(self) -> str:
        """Eight characters of the run's id, or all of a shorter one."""
        return str(self.about.get("run_id", "?"))[:8]

    def look(self) -> commands.LookReply | None:
        """What the interchange says; None: it does not answer."""
        if not self.control:
            return None
        try:
            reply = ask(self.control, commands.Look())
        except NoAnswer:
            return None
        return reply if isinstance(reply, commands.LookReply) else None


def live_runs() -> list[Run]:
    """The runs of this user that answer on this host, the oldest first."""
    runs = []
    places = dict.fromkeys((os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"))
    for path in sorted({p for place in places if place for p in glob.glob(f"{glob.escape(place)}/xse-*/control")}):
        try:
            if os.stat(path).st_uid != os.geteuid():
                continue
            reply = ask(path, commands.Look(), ANSWER_S)
        except (NoAnswer, OSError):
            continue
        if isinstance(reply, commands.LookReply):
            runs.append(Run(reply.run, path, reply.run.get("record_path") or None))
    return sorted(runs, key=lambda run: run.about.get("unix", 0.0))


def records_under(directory: str) -> Iterator[str]:
    """Paths of records in this directory and those below it."""
    base = os.path.abspath(directory)
    for root, directories, files in os.walk(base):
        if root[len(base) :].count(os.sep) >= DEPTH:
            directories.clear()
        directories[:] = sorted(d for d in directories if not d.startswith("."))
        yield from (os.path.join(root, name) for name in sorted(files) if name.endswith(".xse"))


def of_record(path: str) -> Run:
    """The run of a record. Raises RecordError or OSError."""
    about = about_of(open_record(path))
    control = str(about.get("control_path") or "")
    run = Run(about, control if about.get("host") == os.uname().nodename and control else None, os.path.abspath(path))
    look = run.look()
    if look is None or look.run.get("run_id") != about.get("run_id"):
        run.control = None
    return run


def about_of(record: Record) -> dict[str, Any]:
    """What a record says of its run, by its first chunk."""
    for chunk in record.chunks():
        return chunk if isinstance(chunk, dict) else {}
    return {}


def find(name: str | None) -> Run:
    """The run that a user means. ``name``: a record, a directory with one (the newest), or the beginning of the id of a
    run on this host; None: the only run on this host. Raises NoRun, RecordError or OSError."""
    if name and os.path.isfile(name):
        return of_record(name)
    if name and os.path.isdir(name):
        paths = sorted(records_under(name), key=os.path.getmtime)
        if not paths:
            raise NoRun(f"there is no record (*.xse) under {name}")
        return of_record(paths[-1])
    runs = live_runs()
    if name:
        runs = [run for run in runs if str(run.about.get("run_id", "")).startswith(name)]
        if not runs:
            raise NoRun(f"{name!r} is no file, no directory, and no run on this host. 'xse runs' lists them")
    if len(runs) == 1:
        return runs[0]
    if not runs:
        raise NoRun("no run of yours is on this host. Name a record (a file *.xse), or a directory with one")
    several = "\n".join(f"  {run.id}  {run.about.get('script')}" for run in runs)
    raise NoRun(f"which one? Name its id:\n{several}")
