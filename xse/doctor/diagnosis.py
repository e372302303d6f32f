"""What a fact means: a line for people, and whether it is well. No host is looked at here."""

from __future__ import annotations

import enum
import shlex
from collections.abc import Iterable
from dataclasses import dataclass

from xse.doctor import facts
from xse.version import mismatch

LEAST_SCRATCH = 1 << 20  # bytes; connect files take some hundred, logs take what there is
LEAST_MEMORY = 64 << 20  # bytes; MPI takes some there, too
OF_A_RANK = 64  # descriptors, beside its workers'
OF_A_WORKER = 2  # in its rank
LEAST_BLOCKS = 256  # an executor that can have so many does not complain

_INDENT = " " * 21  # of what goes on in a second line


class Level(enum.Enum):
    OK = "ok"
    WARNING = "warning"
    WRONG = "wrong"
    LEFT_OUT = "-"


_COLOURS = {Level.OK: "32", Level.WARNING: "33", Level.WRONG: "1;31", Level.LEFT_OUT: "2"}


@dataclass(frozen=True)
class Line:
    """What is told of a check."""

    level: Level
    check: str
    text: str

    def shown(self, colour: bool) -> str:
        """As it is printed."""
        level = f"{self.level.value:<8}"
        if colour:
            level = f"\x1b[{_COLOURS[self.level]}m{level}\x1b[0m"
        return f"{level} {self.check:<11} {self.text}".replace("\n", "\n" + _INDENT)


def exit_code(lines: Iterable[Line]) -> int:
    """0: nothing is wrong."""
    return int(any(line.level is Level.WRONG for line in lines))


def summary(lines: Iterable[Line]) -> str:
    """The last line."""
    levels = [line.level for line in lines]
    counts = [
        f"{n} {'check says' if n == 1 else 'checks say'} {level.value!r}"
        for level in (Level.WRONG, Level.WARNING)
        if (n := levels.count(level))
    ]
    return (", ".join(counts) or "nothing is wrong") + "."


def line_of(fact: facts.Fact) -> Line:
    """What is told of this."""
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
            told = fact.version or "not installed; ExtremeScaleExecutor needs it: pip install 'xse[parsl]'"
            return Line(Level.OK if fact.version else Level.LEFT_OUT, "Parsl", told)
        case facts.Answer():
            way = f"encrypted TCP at {fact.address}" if fact.address else "a unix socket"
            told = f"was answered on {fact.host} in {fact.seconds:.1f} s, start included; its pool came by {way}"
            return Line(Level.OK, "a task", told)
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
        told = f"{versions} cannot encrypt, for it has no CURVE: install one that has (pip install --force pyzmq)"
        return Line(Level.WRONG, "ZeroMQ", told)
    return Line(Level.OK, "ZeroMQ", f"{versions} and CURVE")


def _of_scratch(fact: facts.Scratch) -> Line:
    told = f"in {fact.parent}, {_size(fact.free)} free"
    if fact.free < LEAST_SCRATCH:
        return Line(Level.WARNING, "sockets", f"{told}: connect files need some; set TMPDIR to a disk with room")
    return Line(Level.OK, "sockets", told)


def _of_memory(fact: facts.Memory) -> Line:
    slower = "large arguments and results take the slower way through sockets"
    if fact.free is None:
        return Line(Level.WARNING, "memory", f"nothing can be made in {fact.parent}: {slower}")
    told = f"in {fact.parent}, {_size(fact.free)} free"
    if fact.free < LEAST_MEMORY:
        told += f": where they find no room there, {slower} (a container may be given more: --shm-size)"
        return Line(Level.WARNING, "memory", told)
    return Line(Level.OK, "memory", told)


def _of_descriptors(fact: facts.Descriptors) -> Line:
    soft, hard = ("no limit" if n < 0 else str(n) for n in (fact.soft, fact.hard))
    told = f"{soft} for a process; when it asks for more, {hard}"
    wanted = OF_A_RANK + OF_A_WORKER * fact.n_cpus
    if 0 <= fact.soft < wanted:
        told += f"; a rank with {fact.n_cpus} workers needs some {wanted}: ulimit -n {wanted}"
        return Line(Level.WARNING, "descriptors", told)
    if 0 <= fact.hard < LEAST_BLOCKS:
        told += "; each block takes one: ask your administrator for more"
        return Line(Level.WARNING, "descriptors", told)
    return Line(Level.OK, "descriptors", told)


def _of_addresses(fact: facts.Addresses) -> Line:
    if fact.offered is None:
        return Line(Level.LEFT_OUT, "addresses", "not looked at, for that needs psutil, which comes with Parsl")
    if not any(not a.startswith("127.") and a != "::1" for a in fact.offered):
        told = "none that another host can reach: pools run on this host alone"
        return Line(Level.WARNING, "addresses", told)
    return Line(Level.OK, "addresses", ", ".join(fact.offered))


def _size(n: float) -> str:
    units = ["bytes", "KiB", "MiB", "GiB", "TiB"]
    while n >= 1024 and len(units) > 1:
        n /= 1024
        del units[0]
    return f"{n:.0f} {units[0]}" if n >= 10 or units[0] == "bytes" else f"{n:.1f} {units[0]}"
