"""What a run may leave behind: processes, zombies, shared memory, sockets."""

from __future__ import annotations

import contextlib
import ctypes
import os
import select
import stat
import time
from collections.abc import Iterable
from pathlib import Path

from tests.support.processes import ours, process

PR_SET_CHILD_SUBREAPER = 36
SHM = "/dev/shm/"


def adopt_orphans() -> None:
    """Processes whose parent ends become ours, as on a machine they become init's: so they can be seen, and buried."""
    if ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0:
        raise OSError("prctl(PR_SET_CHILD_SUBREAPER) failed")


def bury_adopted() -> None:
    """Only for a process all of whose own children have been waited for: init would do it."""
    try:
        while os.waitpid(-1, os.WNOHANG)[0]:
            pass
    except ChildProcessError:
        return


class Ends:
    """Of these processes, waited for without looking again and again, which would keep a core from them."""

    def __init__(self, pids: Iterable[int]) -> None:
        self._fds: list[int] = []
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                self._fds.append(os.pidfd_open(pid))

    def wait(self, timeout_s: float) -> None:
        """Until all have ended; or return when it takes too long."""
        deadline = time.monotonic() + timeout_s
        for fd in self._fds:
            select.select([fd], [], [], max(0.0, deadline - time.monotonic()))
            os.close(fd)


def children(pid: int) -> list[str]:
    """Of this process, dead ones that nobody has waited for too, for people to read."""
    found = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        try:
            fields = Path(f"/proc/{name}/stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        state, parent = fields.rpartition(")")[2].split()[:2]
        if int(parent) == pid:
            found.append("zombie " + name if state in "ZX" else str(process(int(name))))
    return found


def segments_mapped() -> set[str]:
    """Names in /dev/shm that our processes map now."""
    names: set[str] = set()
    for p in ours():
        try:
            lines = Path(f"/proc/{p.pid}/maps").read_text().splitlines()
        except (FileNotFoundError, ProcessLookupError, PermissionError):
            continue
        names |= {SHM + line.partition(SHM)[2] for line in lines if SHM in line and not line.endswith("(deleted)")}
    return names


def system_v_segments() -> set[str]:
    """Ids of System V segments whose creator or last user is one of our processes."""
    pids = {str(p.pid) for p in ours()}
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return {row[1] for row in rows if row[4] in pids or row[5] in pids}


def system_v_left(segments: set[str]) -> list[str]:
    """Those of these ids that are still there."""
    rows = [line.split() for line in Path("/proc/sysvipc/shm").read_text().splitlines()[1:]]
    return [f"System V segment {row[1]}" for row in rows if row[1] in segments]


def files_left(directory: Path) -> list[str]:
    """Sockets, and our own scratch directories, under a directory that only our processes have used."""
    left = []
    for path in directory.rglob("*"):
        try:
            is_socket = stat.S_ISSOCK(path.lstat().st_mode)
        except FileNotFoundError:
            continue
        if is_socket or (path.is_dir() and path.name.startswith(("xse-", "pool-"))):
            left.append(str(path))
    return left
