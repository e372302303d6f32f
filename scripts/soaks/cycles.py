"""Cycles of start, ten tasks and stop, in every way in which a script can end; after each nothing may be left."""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import parsl
from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from scripts.soaks import leftovers
from tests.support import processes
from xse import ExtremeScaleExecutor, PoolExecutor

MOST_STOP_S = 2.0  # what docs/guide/failure.md promises
HANG_S = 120.0  # what takes longer is taken to hang
EXECUTORS = ("pool", "parsl", "pool", "pool")  # Parsl takes seconds to start: a cycle of its for three of the pool's

#: How a script ends, and by which signal: rows 22 (the first four, with SIGINT) and 11 of docs/guide/failure.md.
WAYS: dict[str, int] = {
    "with": 0,
    "exception in with": 0,
    "shutdown(wait=False)": 0,
    "end of script": 0,
    "SIGINT": signal.SIGINT,
    "SIGTERM": signal.SIGTERM,
    "SIGKILL": signal.SIGKILL,
}
IDLE = ("with", "shutdown(wait=False)", "end of script")  # these wait for what is under way, so nothing is


class BadCycle(Exception):
    """A cycle that did not end as it should."""


# ---- the script: a forked child, so that Python and Parsl need be imported only once


def _make(kind: str, directory: Path) -> tuple[Any, Callable[..., Any], Callable[[], None]]:
    """The executor's context, its submit, and what ``shutdown(wait=False)`` is there."""
    if kind == "pool":
        pool = PoolExecutor(2, ranks=2)
        return pool, pool.submit, lambda: pool.shutdown(wait=False)
    provider = LocalProvider(launcher=SimpleLauncher())
    executor = ExtremeScaleExecutor(provider=provider, ranks_per_node=2, workers_per_rank=1)
    config = Config(executors=[executor], strategy_period=0.1, run_dir=str(directory), initialize_logging=False)
    context = parsl.load(config)
    return context, lambda f, *args: executor.submit(f, {}, *args), context.cleanup


def _script(kind: str, way: str, directory: Path, say: Callable[[str], None], until: int) -> None:
    """Says ``up`` and stops when it may; if it lives on without the executor it says ``stopped``, and its children."""
    context, submit, shutdown = _make(kind, directory)
    done = [f.result(HANG_S) for f in [submit(abs, -i) for i in range(10)]]
    if done != list(range(10)):
        say(f"wrong results {done}")
        return
    if way not in IDLE:
        for _ in range(4):
            submit(time.sleep, 600.0)
    say("up")
    os.read(until, 1)
    if WAYS[way]:
        with context:
            time.sleep(600)
    match way:
        case "end of script":
            return
        case "shutdown(wait=False)":
            shutdown()
        case "with":
            with context:
                pass
        case "exception in with":
            with contextlib.suppress(ZeroDivisionError), context:
                raise ZeroDivisionError
    say("stopped")
    os.read(until, 1)  # nothing else is left
    left_by = time.monotonic() + MOST_STOP_S  # a thread of the executor's may be about to wait for one that has ended
    while (children := leftovers.children(os.getpid())) and time.monotonic() < left_by:
        time.sleep(0.01)
    say(f"children {', '.join(children)}")


class Script:
    """The child, seen from its parent."""

    def __init__(self, kind: str, way: str, directory: Path) -> None:
        said, say = os.pipe()
        until, self._go = os.pipe()
        environment = {**os.environ, "TMPDIR": str(directory), "XDG_RUNTIME_DIR": str(directory)}
        mark, _, value = processes.MARK.partition("=")
        environment[mark] = value
        self.pid = os.fork()
        if self.pid == 0:
            os.close(said)
            os.close(self._go)
            os.environ.update(environment)
            tempfile.tempdir = None
            signal.signal(signal.SIGINT, signal.default_int_handler)
            log = os.open(directory / "script.log", os.O_WRONLY | os.O_CREAT, 0o600)
            os.dup2(log, 1)
            os.dup2(log, 2)
            _script(kind, way, directory, lambda text: (os.write(say, text.encode() + b"\n"), None)[1], until)
            sys.exit()
        os.close(say)
        os.close(until)
        self._said = os.fdopen(said, "rb", buffering=0)

    def hear(self) -> str:
        """What it says next; empty: it has ended, or its standard pipe has. Raises BadCycle when it hangs."""
        if not select.select([self._said], [], [], HANG_S)[0]:
            raise BadCycle(f"the script says nothing for {HANG_S:g} s")
        return self._said.readline().decode().strip()

    def expect(self, what: str) -> None:
        said = self.hear()
        if said != what:
            raise BadCycle(f"the script was to say {what!r}, and said {said!r}")

    def go(self) -> None:
        """It may do the next step."""
        os.write(self._go, b"x")

    def ended(self) -> bool:
        """Reaps it."""
        return os.waitpid(self.pid, os.WNOHANG)[0] != 0

    def close(self) -> None:
        os.close(self._go)
        self._said.close()


def _seconds_until(condition: Callable[[], bool], start: float, seen: Callable[[], object]) -> float:
    while not condition():
        if time.monotonic() - start > HANG_S:
            raise BadCycle(f"after {HANG_S:g} s there is still: {seen()}")
        time.sleep(0.01)
    return time.monotonic() - start


@contextlib.contextmanager
def _directory() -> Iterator[Path]:
    """A new one, with a short path, since sockets will lie there."""
    directory, owner = Path(tempfile.mkdtemp(prefix="soak-", dir="/tmp")), os.getpid()
    try:
        yield directory
    finally:
        if os.getpid() == owner:  # the script, a fork of ours, ends through here, too
            shutil.rmtree(directory, ignore_errors=True)


def cycle(kind: str, way: str) -> float:
    """One. Returns the seconds from the order to end until nothing was left but the script itself, whose interpreter
    takes its own time, half a second with Parsl's modules in it. Raises BadCycle."""
    before = {p.pid for p in processes.ours()}
    with _directory() as directory:
        script = Script(kind, way, directory)
        try:
            script.expect("up")
            known = leftovers.Ends(p.pid for p in processes.ours() if p.pid not in before)
            segments, system_v = leftovers.segments_mapped(), leftovers.system_v_segments()
            script.go()
            start = time.monotonic()
            if WAYS[way]:
                os.kill(script.pid, WAYS[way])
            stays = not WAYS[way] and way != "end of script"
            if stays:
                script.expect("stopped")
            known.wait(HANG_S)
            seconds = _seconds_until(lambda: not processes.ours_but(before), start, lambda: processes.ours_but(before))
            if stays:
                script.go()
                script.expect("children")
            _seconds_until(script.ended, time.monotonic(), lambda: "the script")
            left = leftovers.files_left(directory) + leftovers.system_v_left(system_v)
            left += sorted(name for name in segments if os.path.exists(name))
            if left:
                raise BadCycle(f"left behind: {', '.join(left)}")
        except BadCycle as e:
            with contextlib.suppress(ProcessLookupError):
                os.kill(script.pid, signal.SIGKILL)
            log = (directory / "script.log").read_text(errors="replace")[-2000:]
            raise BadCycle(f"{kind}, {way}: {e}\n{log}") from None
        finally:
            script.close()
            leftovers.bury_adopted()
    return seconds


def _nothing_takes_s() -> float:
    """How long a program that does nothing takes here, just now: how busy the machine is with others."""
    start = time.monotonic()
    subprocess.run(["true"], check=True)
    return time.monotonic() - start


def run(n: int, mpis: dict[str, str], say: Callable[[str], None]) -> bool:
    """n cycles in all, evenly of each kind, and a table of how long the stops took. False: something was wrong."""
    leftovers.adopt_orphans()
    kinds = [(mpi, kind, way) for mpi in mpis for kind in EXECUTORS for way in WAYS]
    seconds: dict[tuple[str, str, str], list[float]] = {}
    bad, start, reported = 0, time.monotonic(), 0.0
    for i in range(n):
        mpi, kind, way = kinds[i % len(kinds)]
        os.environ["XSE_POOL"] = mpis[mpi]
        try:
            took = cycle(kind, way)
            seconds.setdefault((mpi, kind, way), []).append(took)
            if took > MOST_STOP_S:
                busy = f"just now `true` takes {_nothing_takes_s():.2f} s, and the load is {os.getloadavg()[0]:.0f}"
                say(f"SLOW cycle {i}, {mpi}, {kind}, {way}: {took:.2f} s; {busy}")
        except BadCycle as e:
            bad += 1
            say(f"BAD  cycle {i}, {mpi}, {e}")
        if time.monotonic() - reported >= 5:
            reported = time.monotonic()
            longest = max((max(s) for s in seconds.values()), default=0.0)
            say(f"{reported - start:6.0f} s  {i + 1} of {n} cycles, {bad} bad, longest stop {longest:.2f} s")
    for (mpi, kind, way), each in seconds.items():
        each.sort()
        say(f"{mpi:8} {kind:6} {way:21} {len(each):5}   median {each[len(each) // 2]:.2f} s   longest {each[-1]:.2f} s")
    slow = sum(s > MOST_STOP_S for each in seconds.values() for s in each)
    n_good = sum(map(len, seconds.values()))
    say(f"{n_good} of {n} cycles left nothing; {slow} took more than {MOST_STOP_S:g} s to stop")
    return not bad and not slow and n_good == n
