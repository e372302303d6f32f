"""CPU time of a process and of all that descend from it, read from /proc."""

from __future__ import annotations

import os

TICK_S = 1 / os.sysconf("SC_CLK_TCK")


def _stat(pid: int) -> list[str] | None:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return None


def family() -> set[int]:
    """This process and its descendants."""
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit() and (fields := _stat(int(name))):
            children.setdefault(int(fields[1]), []).append(int(name))
    found: set[int] = set()
    to_see = [os.getpid()]
    while to_see:
        pid = to_see.pop()
        found.add(pid)
        to_see += children.get(pid, [])
    return found


def cpu_s(pids: set[int]) -> float:
    """User and system time that these processes have used, without that of children that ended. A tick is 10 ms."""
    total = 0
    for pid in pids:
        fields = _stat(pid)
        if fields:
            total += int(fields[11]) + int(fields[12])
    return total * TICK_S


def resident_bytes() -> int:
    """Of this process."""
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
