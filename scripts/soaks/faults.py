"""Does the faults of a plan to the processes and links of a run."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import os
import re
import resource
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path

from scripts.soaks.plan import KINDS, Fault
from tests.support.processes import Process, ours, process
from xse.pool.block_keeper import SHORT_LIFE_S

HERE = Path(__file__).parent


class Link:
    """The relay through which the pools of one executor come; see relay.py."""

    def __init__(self, to_port: int) -> None:
        command = [sys.executable, str(HERE / "relay.py"), str(to_port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())

    def order(self, order: str) -> None:
        assert self._process.stdin
        self._process.stdin.write(order + "\n")
        self._process.stdin.flush()

    def close(self) -> None:
        self._process.communicate()


class Found:
    """The processes of all blocks as they are now: whose rank, zygote, worker each is."""

    def __init__(self) -> None:
        self._all = {p.pid: p for p in ours()}
        self.interchanges = [p for p in self._all.values() if "-m xse.interchange" in p.title]
        self.ranks = [p for p in self._all.values() if self._is_rank(p)]
        ranks = {p.pid for p in self.ranks}
        self.zygotes = [p for p in self._all.values() if p.parent in ranks]
        zygotes = {p.pid for p in self.zygotes}
        self.workers = [p for p in self._all.values() if p.parent in zygotes]
        self.mpiexecs = [p for p in self._all.values() if "mpiexec" in p.title.split(" ")[0]]

    def _is_rank(self, p: Process) -> bool:
        # A zygote has its rank's title until it has one of its own.
        parent = self._all.get(p.parent)
        return _is_pool(p) and not (parent and _is_pool(parent))

    def block_of(self, p: Process | None) -> str:
        """The connect file, by which a block is known; empty: it is in none."""
        while p:
            named = re.search(r"--connect (\S+)", p.title)
            if named:
                return named[1]
            p = self._all.get(p.parent)
        return ""

    def of_block(self, block: str) -> list[Process]:
        """All of it, launchers before what they have launched."""
        order = [*self.mpiexecs, *self._all.values()]
        return [p for p in dict.fromkeys(order) if self.block_of(p) == block]

    def blocks_with_workers(self) -> set[str]:
        return {self.block_of(p) for p in self.workers} - {""}


def _is_pool(p: Process) -> bool:
    return "xse-pool" in p.title.split(" ")[0] and "--connect" in p.title


def _signal(p: Process, number: int) -> bool:
    """By a descriptor: the number may be another's by now. False: it has gone."""
    try:
        fd = os.pidfd_open(p.pid)
    except ProcessLookupError:
        return False
    try:
        now = process(p.pid)
        if now is None or now.title != p.title:
            return False
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    finally:
        os.close(fd)
    return True


class Injector:
    """Does the faults of ``plan`` in a thread of its own, until ``stop``; whatever was stopped or cut is healed then.

    ``fragile``: is this the block of the PoolExecutor, which gives up after a few short lives of its blocks in a row?
    It is spared while it is younger than that. Of the others one at work is spared if it is the only one.
    """

    def __init__(self, plan: Iterator[Fault], links: tuple[Link, Link], fragile: Callable[[str], bool]) -> None:
        self._plan = plan
        self._links = links
        self._fragile = fragile
        self.done: Counter[str] = Counter()
        self.n_spared = 0
        self._seen_since: dict[str, float] = {}  # blocks that have workers
        self._heals: list[tuple[float, int, Callable[[], object]]] = []
        self._order = itertools.count()
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="faults")
        self._thread.start()

    def stop(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        next_at = time.monotonic()
        for fault in self._plan:
            next_at = max(next_at, time.monotonic() - 5) + fault.pause_s
            while not self._over.is_set() and (left := next_at - time.monotonic()) > 0:
                self._over.wait(min(left, 0.1))
                self._heal(time.monotonic())
            if self._over.is_set():
                break
            self._do(fault)
        self._heal(float("inf"))

    def _heal(self, until: float) -> None:
        while self._heals and self._heals[0][0] <= until:
            heapq.heappop(self._heals)[2]()

    def _later(self, fault: Fault, heal: Callable[[], object]) -> None:
        heapq.heappush(self._heals, (time.monotonic() + fault.length_s, next(self._order), heal))

    def _spares(self, fault: Fault, found: Found, of_pool: bool) -> bool:
        """Must a block of this executor live on?"""
        ready = [b for b in found.blocks_with_workers() if self._fragile(b) == of_pool]
        youngest = min((time.monotonic() - self._seen_since[b] for b in ready), default=0.0)
        enough = youngest >= SHORT_LIFE_S + 2 if of_pool else len(ready) >= 2
        spares = KINDS[fault.kind].ends_block and not enough
        self.n_spared += spares
        return spares

    def _do(self, fault: Fault) -> None:
        found = Found()
        for block in found.blocks_with_workers():
            self._seen_since.setdefault(block, time.monotonic())
        verb, what, *_ = fault.kind.split()
        if self._cut(fault, verb, found) if what == "link" else self._hit(fault, verb, found):
            self.done[fault.kind] += 1

    def _cut(self, fault: Fault, verb: str, found: Found) -> bool:
        which = fault.which * len(self._links)
        link = self._links[int(which)]
        if self._spares(fault, found, of_pool=link is self._links[0]):
            return False
        link.order(f"{verb} {which % 1:.6f}")
        if verb == "cut":
            self._later(fault, lambda: link.order("heal"))
        return True

    def _starve(self, fault: Fault, target: Process) -> bool:
        """No new descriptors for a while. Those that are open stay so."""
        try:
            soft, hard = resource.prlimit(target.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (3, hard))
        except ProcessLookupError:
            return False

        def feed() -> None:
            with contextlib.suppress(ProcessLookupError):
                resource.prlimit(target.pid, resource.RLIMIT_NOFILE, (soft, hard))

        self._later(fault, feed)
        return True

    def _hit(self, fault: Fault, verb: str, found: Found) -> bool:
        what = fault.kind.split()[1]
        ready = found.blocks_with_workers()
        candidates = {
            "worker": found.workers,
            "zygote": found.zygotes,
            "rank": found.ranks,
            "mpiexec": found.mpiexecs,
            "block": found.mpiexecs,
            "interchange": found.interchanges,
        }[what]
        candidates = [p for p in candidates if what == "interchange" or found.block_of(p) in ready]
        if not candidates:
            return False
        target = candidates[int(fault.which * len(candidates))]
        if self._spares(fault, found, self._fragile(found.block_of(target))):
            return False
        match verb, what:
            case "kill", "block":
                return sum(_signal(p, signal.SIGKILL) for p in found.of_block(found.block_of(target))) > 0
            case "kill", _:
                return _signal(target, signal.SIGKILL)
            case "starve", _:
                return self._starve(fault, target)
            case "crash", _:
                return _signal(target, signal.SIGSEGV)
            case "end", _:
                return _signal(target, signal.SIGTERM)
            case "stop", _:
                self._later(fault, lambda: _signal(target, signal.SIGCONT))
                return _signal(target, signal.SIGSTOP)
        raise ValueError(fault.kind)
