"""What processes use, read from /proc: those of one run, wherever they come from.

The bench is a "subreaper": a process whose parent has ended becomes its child, so that all that a run starts stays
below it. It runs one measure at a time, and tells its own number in the environment.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import time
from collections.abc import Collection
from pathlib import Path

BENCH_PID = "XSE_BENCH_PID"

_PR_SET_CHILD_SUBREAPER = 36
_GONE = (FileNotFoundError, ProcessLookupError)


def adopt_orphans() -> None:
    """Whatever this process's descendants leave behind becomes its child."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_CHILD_SUBREAPER)")


def descendants(of: int) -> set[int]:
    children: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            with contextlib.suppress(*_GONE):
                stat = Path(f"/proc/{name}/stat").read_text()
                children.setdefault(int(stat.rpartition(")")[2].split()[1]), []).append(int(name))
    found: set[int] = set()
    to_see = [of]
    while to_see:
        below = children.get(to_see.pop(), [])
        found.update(below)
        to_see += below
    return found


def family() -> set[int]:
    """All processes of the run that this one belongs to; run by hand, this process and its descendants."""
    bench = int(os.environ.get(BENCH_PID, 0))
    return descendants(bench) if bench else {os.getpid()} | descendants(os.getpid())


class CpuMeter:
    """CPU time that all processes of the run use from now on.

    Reading /proc takes this process some milliseconds, so its own time is taken nearest to what is measured.
    """

    def __init__(self) -> None:
        self._others = self._cpu_of_others()
        self._own_s = time.process_time()

    def seconds(self) -> float:
        """So far. Processes that came later count with all they have used, those that have ended with nothing."""
        own_s = time.process_time() - self._own_s
        return own_s + sum(used - self._others.get(pid, 0.0) for pid, used in self._cpu_of_others().items())

    @staticmethod
    def _cpu_of_others() -> dict[int, float]:
        return {pid: sum(_thread_ns(pid)) / 1e9 for pid in family() - {os.getpid()}}


def _thread_ns(pid: int) -> list[int]:
    """CPU time of each of its threads; of those that have ended nobody knows."""
    found = []
    with contextlib.suppress(*_GONE):
        for thread in os.listdir(f"/proc/{pid}/task"):
            with contextlib.suppress(*_GONE):
                found.append(int(Path(f"/proc/{pid}/task/{thread}/schedstat").read_text().split()[0]))
    return found


def pss_bytes(pid: int) -> int:
    """Its memory, with its share of what it shares; 0 if it is gone."""
    with contextlib.suppress(*_GONE):
        return _kb(Path(f"/proc/{pid}/smaps_rollup"), "Pss:")
    return 0


def resident_bytes() -> int:
    """Of this process."""
    return _kb(Path("/proc/self/status"), "VmRSS:")


def forget_peak() -> None:
    """From now on ``peak_bytes`` tells of what comes."""
    Path("/proc/self/clear_refs").write_text("5")


def peak_bytes() -> int:
    """The most that this process has had since ``forget_peak``."""
    return _kb(Path("/proc/self/status"), "VmHWM:")


def _kb(file: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in file.read_text().splitlines() if line.startswith(name)) * 1024


def tcp_ports(pids: Collection[int], among: range) -> set[int]:
    """Those ports through which two of these processes are connected."""
    local, remote = _held_ends(pids)
    return {port for port in local & remote if port in among}


def _held_ends(pids: Collection[int]) -> tuple[set[int], set[int]]:
    """Local and remote ports of the established TCP connections that they hold."""
    established = "01"
    ports: dict[str, tuple[int, int]] = {}
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(FileNotFoundError):  # a kernel without IPv6
            for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == established:
                    near, far = (int(end.rpartition(":")[2], 16) for end in fields[1:3])
                    ports[f"socket:[{fields[9]}]"] = near, far
    held = [ports[name] for pid in pids for name in _descriptors(pid) if name in ports]
    return {near for near, _ in held}, {far for _, far in held}


def _descriptors(pid: int) -> list[str]:
    found = []
    with contextlib.suppress(*_GONE):
        for fd in os.listdir(f"/proc/{pid}/fd"):
            with contextlib.suppress(*_GONE):
                found.append(os.readlink(f"/proc/{pid}/fd/{fd}"))
    return found
