"""What runs on this machine, read from /proc."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

#: Whatever these tests start has it in its environment, and nobody else's processes do.
MARK = f"XSE_TEST_RUN={uuid.uuid4().hex}"


@dataclass(frozen=True)
class Process:
    pid: int
    parent: int
    state: str
    title: str  # as ps shows it

    def __str__(self) -> str:
        return f"{self.pid} (of {self.parent}) {self.state} {self.title}"


def process(pid: int) -> Process | None:
    """None when it is gone, or a zombie that somebody will bury."""
    try:
        title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return None if fields[0] in "ZX" else Process(pid, int(fields[1]), fields[0], title)


@contextmanager
def stopped(pid: int) -> Iterator[None]:
    """It hangs, as long as the block lasts; it may be ended meanwhile."""
    fd = os.pidfd_open(pid)
    try:
        signal.pidfd_send_signal(fd, signal.SIGSTOP)
        yield
    finally:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(fd, signal.SIGCONT)
        os.close(fd)


def everything() -> list[Process]:
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [p for p in found if p]


def mark_what_is_started() -> None:
    name, _, value = MARK.partition("=")
    os.environ[name] = value


def ours() -> list[Process]:
    """Processes that descend from these tests, wherever they hang in the tree; not the tests' own."""
    return [p for p in everything() if p.pid != os.getpid() and _is_marked(p.pid)]


def ours_but(before: set[int]) -> list[str]:
    """Those that are not of these numbers, for people to read."""
    return [str(p) for p in ours() if p.pid not in before]


def _is_marked(pid: int) -> bool:
    try:
        return MARK.encode() in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def descendants(pid: int) -> list[Process]:
    """Children of a process, their children, and so on."""
    all_now = everything()
    family, found = {pid}, []
    grown = True
    while grown:
        grown = False
        for p in all_now:
            if p.parent in family and p.pid not in family:
                family.add(p.pid)
                found.append(p)
                grown = True
    return found
