"""Facts about a host that matter to an executor: one dataclass for each check."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

from xse import launch


@dataclass(frozen=True)
class Interpreter:
    """This Python, and the xse that it imports."""

    python: str
    executable: str
    xse: str
    directory: str


@dataclass(frozen=True)
class Job:
    """This process runs in a job of this scheduler."""

    scheduler: str
    number: str
    nodes: str  # a list of nodes, or the file that has the list; "": unknown


@dataclass(frozen=True)
class FoundPool:
    """An xse-pool that runs."""

    pool: launch.Executable
    ours: str  # version of xse here


@dataclass(frozen=True)
class Launcher:
    """The beginning of the command line that would start a block: of xse-pool's MPI, or the user's own."""

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
    """The directory for sockets and connect files."""

    parent: str
    free: int  # bytes


@dataclass(frozen=True)
class Memory:
    """The directory in shared memory for large payloads, and its free space."""

    parent: str
    free: int | None  # bytes; None: no directory can be made there


@dataclass(frozen=True)
class Descriptors:
    """Limits of open files of a process, soft and hard. -1: no limit."""

    soft: int
    hard: int
    n_cpus: int  # CPUs that this process may use: the default number of workers of a node


@dataclass(frozen=True)
class Addresses:
    """Addresses that ExtremeScaleExecutor offers to blocks on other hosts by default. None: psutil is missing."""

    offered: tuple[str, ...] | None


@dataclass(frozen=True)
class Parsl:
    version: str | None  # None: not installed


@dataclass(frozen=True)
class Answer:
    """A block was started, and it answered a task."""

    host: str
    seconds: float  # since the executor was made
    address: str | None  # the block connected there by encrypted TCP; None: by a unix socket
    lost_ranks: tuple[str, ...] = ()  # ranks that have failed: why


@dataclass(frozen=True)
class Wrong:
    """A check failed. The reason says what to do; it is the text of the exception that an executor would raise."""

    check: str
    reason: str


@dataclass(frozen=True)
class LeftOut:
    """A check was left out."""

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
