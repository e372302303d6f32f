"""What runs on this machine, read from /proc."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

OURS = ("xse-pool", "xse.interchange", "mpiexec", "mpirun", "hydra_pmi_proxy", "orted", "prted")


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


def everything() -> list[Process]:
    found = (process(int(name)) for name in os.listdir("/proc") if name.isdigit())
    return [p for p in found if p]


def ours() -> list[Process]:
    """Processes of xse and of the launchers it starts."""
    return [p for p in everything() if any(name in p.title for name in OURS) and "pytest" not in p.title]


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
