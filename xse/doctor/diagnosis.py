"""The meaning of each fact: its level and a line of text. Pure: looks at no host."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from xse.doctor import facts
from xse.version import mismatch

LEAST_SCRATCH = 1 << 20  # bytes; a connect file takes some hundred
LEAST_MEMORY = 64 << 20  # bytes; MPI uses some of it as well
OF_A_RANK = 64  # descriptors of a rank, without those for its workers
OF_A_WORKER = 2  # descriptors that a rank has for each worker
LEAST_BLOCKS = 256  # the limit of descriptors should allow so many blocks

_INDENT = " " * 21  # of continued lines


class Level(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    LEFT_OUT = "-"


_COLOURS = {Level.OK: "32", Level.WARNING: "33", Level.WRONG: "1;31", Level.LEFT_OUT: "2"}


@dataclass(frozen=True)
class Line:
    """The result of one check."""

    level: Level
    check: str
    text: str

    def shown(self, colour: bool) -> str:
        """The line as it is printed, with terminal colours if ``colour``."""
        level = f"{self.level.value:<8}"
        if colour:
            level = f"\x1b[{_COLOURS[self.level]}m{level}\x1b[0m"
        return f"{level} {self.check:<11} {self.text}".replace("\n", "\n" + _INDENT)


def exit_code(lines: Iterable[Line]) -> int:
    """0 if nothing is wrong, else 1."""
    return int(any(line.level is Level.WRONG for line in lines))


def summary(lines: Iterable[Line]) -> str:
    """The last line of the output: how many checks are wrong or warn."""
    levels = [line.level for line in lines]
    counts = [
        f"{n} {'check says' if n == 1 else 'checks say'} {level.value!r}"
        for level in (Level.WRONG, Level.WARNING)
        if (n := levels.count(level))
    ]
    return (", ".join(counts) or "nothing is wrong") + "."


def line_of(fact: facts.Fact) -> Line:
    """The line for a fact."""
    match fact:
        case facts.Interpreter():
            return Line(Level.OK, "Python", f"{fact.python}, {fact.executable}; xse {fact.xse}, {fact.directory}")
        case facts.Job():
            nodes = f", nodes: {fact.nodes}" if fact.nodes else ""
            return Line(Level.OK, fact.scheduler, f"this is within its job {fact.number}{nodes}")
        case facts.FoundPool():
            return _of_pool(fact)
        case facts.Launcher():
            who = "as given" if fact.users else f"of {fact.mpi}"
            return Line(Level.OK, "launcher", f"{shlex.join(fact.words)} ({who})")
        case facts.ZeroMQ():
            return _of_zeromq(fact)
        case facts.Scratch():
            return _of_scratch(fact)
        case facts.Memory():
            return _of_memory(fact)
        case facts.Descriptors():
            return _of_descriptors(fact)
        case facts.Addresses():
            return _of_addresses(fact)
        case facts.Parsl():
            reported = fact.version or "not installed; ExtremeScaleExecutor needs it: pip install 'xse[parsl]'"
            return Line(Level.OK if fact.version else Level.LEFT_OUT, "Parsl", reported)
        case facts.Answer():
            way = f"encrypted TCP at {fact.address}" if fact.address else "a unix socket"
            took = f"{fact.seconds:.1f} s, including the start"
            reported = f"was answered on {fact.host} in {took}; its block connected by {way}"
            if fact.lost_ranks:
                lost = f"; {len(fact.lost_ranks)} ranks have failed, and the block went on without them: "
                return Line(Level.WARNING, "a task", reported + lost + "; ".join(fact.lost_ranks))
            return Line(Level.OK, "a task", reported)
        case facts.Wrong():
            return Line(Level.WRONG, fact.check, fact.reason)
        case facts.LeftOut():
            return Line(Level.LEFT_OUT, fact.check, fact.reason)


def _of_pool(fact: facts.FoundPool) -> Line:
    pool = fact.pool
    if pool.version != fact.ours:
        return Line(Level.WRONG, "xse-pool", f"{mismatch(pool.version, fact.ours)} ({pool.path})")
    return Line(Level.OK, "xse-pool", f"{pool.version} for {pool.mpi}, {pool.path}")


def _of_zeromq(fact: facts.ZeroMQ) -> Line:
    versions = f"pyzmq {fact.pyzmq} with libzmq {fact.libzmq}"
    if not fact.curve:
        reported = f"{versions} cannot encrypt, for it has no CURVE: install one that has (pip install --force pyzmq)"
        return Line(Level.WRONG, "ZeroMQ", reported)
    return Line(Level.OK, "ZeroMQ", f"{versions} and CURVE")


def _of_scratch(fact: facts.Scratch) -> Line:
    reported = f"in {fact.parent}, {_size(fact.free)} free"
    if fact.free < LEAST_SCRATCH:
        return Line(Level.WARNING, "sockets", f"{reported}: connect files need some; set TMPDIR to a disk with room")
    return Line(Level.OK, "sockets", reported)


def _of_memory(fact: facts.Memory) -> Line:
    slower = "large arguments and results take the slower way through sockets"
    if fact.free is None:
        return Line(Level.WARNING, "memory", f"nothing can be made in {fact.parent}: {slower}")
    reported = f"in {fact.parent}, {_size(fact.free)} free"
    if fact.free < LEAST_MEMORY:
        reported += f": where they find no room there, {slower} (a container may be given more: --shm-size)"
        return Line(Level.WARNING, "memory", reported)
    return Line(Level.OK, "memory", reported)


def _of_descriptors(fact: facts.Descriptors) -> Line:
    soft, hard = ("no limit" if n < 0 else str(n) for n in (fact.soft, fact.hard))
    reported = f"{soft} for a process; when it asks for more, {hard}"
    wanted = OF_A_RANK + OF_A_WORKER * fact.n_cpus
    if 0 <= fact.hard < wanted:  # xse-pool raises its own soft limit
        reported += f"; a rank with {fact.n_cpus} workers needs some {wanted}: ulimit -n {wanted}"
        return Line(Level.WARNING, "descriptors", reported)
    if 0 <= fact.hard < LEAST_BLOCKS:
        reported += "; each block takes one: ask your administrator for more"
        return Line(Level.WARNING, "descriptors", reported)
    return Line(Level.OK, "descriptors", reported)


def _of_addresses(fact: facts.Addresses) -> Line:
    if fact.offered is None:
        return Line(Level.LEFT_OUT, "addresses", "not looked at, for that needs psutil, which comes with Parsl")
    if not any(not a.startswith("127.") and a != "::1" for a in fact.offered):
        reported = "none that another host can reach: blocks run on this host alone"
        return Line(Level.WARNING, "addresses", reported)
    return Line(Level.OK, "addresses", ", ".join(fact.offered))


def _size(n: float) -> str:
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while n >= 1024 and len(units) > 1:
        n /= 1024
        del units[0]
    return f"{n:.0f} {units[0]}" if n >= 10 or units[0] == "bytes" else f"{n:.1f} {units[0]}"
