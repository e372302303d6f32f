"""What there is to know of a host before an executor runs on it, a dataclass for each check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xse import launch


@dataclass(frozen=True)
class Interpreter:
    """This Python, and the xse in it."""

    python: str
    executable: str
    xse: str
    directory: str


@dataclass(frozen=True)
class Job:
    """We run within a job of this scheduler."""

    scheduler: str
    number: str
    nodes: str  # a list of them, or the file that has it; "": not told


@dataclass(frozen=True)
class FoundPool:
    """An xse-pool that runs."""

    pool: launch.Executable
    ours: str  # version of xse here


@dataclass(frozen=True)
class Launcher:
    """The beginning of the line that would start a pool: of the MPI that the pool was built with, or a user's own."""

    words: tuple[str, ...]
    mpi: str
    users: bool


@dataclass(frozen=True)
class ZeroMQ:
    pyzmq: str
    libzmq: str
    curve: bool  # it can encrypt


@dataclass(frozen=True)
class Scratch:
    """Where sockets and connect files lie."""

    parent: str
    free: int  # bytes


@dataclass(frozen=True)
class Memory:
    """Where large payloads lie, and how much room there is."""

    parent: str
    free: int | None  # bytes; None: no directory can be made there


@dataclass(frozen=True)
class Descriptors:
    """How many a process may have: as it starts, and when it asks for more. -1: no limit."""

    soft: int
    hard: int
    n_cpus: int  # that a process may run on here: so many workers a node has by default


@dataclass(frozen=True)
class Addresses:
    """That ExtremeScaleExecutor offers to blocks on other hosts when it is given none. None: there is no psutil."""

    offered: tuple[str, ...] | None


@dataclass(frozen=True)
class Parsl:
    version: str | None  # None: not installed


@dataclass(frozen=True)
class Answer:
    """A pool was started, and a task in it was answered."""

    host: str
    seconds: float  # from the beginning
    address: str | None  # reached by encrypted TCP there; None: by a unix socket


@dataclass(frozen=True)
class Wrong:
    """A check failed, for a reason that says what to do: where an executor meets the same, its own."""

    check: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A check was not made."""

    check: str
    reason: str


Fact: TypeAlias = (
    Interpreter
    | Job
    | FoundPool
    | Launcher
    | ZeroMQ
    | Scratch
    | Memory
    | Descriptors
    | Addresses
    | Parsl
    | Answer
    | Wrong
    | LeftOut
)
