"""A block of simulated workers: a real xse-pool with its real MPI, whose runner is ``sim``."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from types import TracebackType

from xse import launch
from xse.launch.options import PoolOptions


class SimulatedPool:
    """Launches ``n_ranks`` ranks of ``n_workers`` workers each for the interchange that listens in ``directory``.

    ``stop``: makes the interchange end its blocks; called when all went well.
    """

    def __init__(self, directory: str, n_ranks: int, n_workers: int, stop: Callable[[], None]) -> None:
        self._stop = stop
        pool = launch.find_pool()
        self._connect_file = path = os.path.join(directory, "block-0.connect")
        launch.write_connect_file(
            path,
            run="scale",
            block="block-0",
            endpoints=[f"unix://{directory}/pools"],
            keys=None,
            options=PoolOptions(
                runner="sim", workers_per_rank=n_workers, log_dir=directory, start_timeout=600, probe_timeout=60
            ),
        )
        layout = launch.Layout(ranks_per_node=n_ranks)
        self.mpi = pool.mpi
        self._process = subprocess.Popen(
            [*launch.launcher("mpiexec", pool, layout), pool.path, "--connect", path],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )

    def __enter__(self) -> SimulatedPool:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is None:
            self._stop()
        for number, patience in ((None, 30 if error is None else 0.1), (signal.SIGTERM, 10), (signal.SIGKILL, 10)):
            if number is not None:
                os.killpg(self._process.pid, number)
            try:
                self._process.wait(patience)
            except subprocess.TimeoutExpired:
                continue
            return

    def pids(self) -> list[int]:
        """Of its ranks, in their order."""
        return [pid for _, pid in sorted((self._rank_of(pid), pid) for pid in self._processes())]

    def _processes(self) -> Iterator[int]:
        """Those that were given our connect file; mpiexec was, too, but has no rank."""
        for directory in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                command = (directory / "cmdline").read_bytes().split(b"\0")
                if self._connect_file.encode() in command and b"mpiexec" not in command[0]:
                    yield int(directory.name)

    @staticmethod
    def _rank_of(pid: int) -> int:
        """As MPICH and Open MPI tell it."""
        variables = dict(line.split(b"=", 1) for line in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0") if line)
        return int(variables.get(b"PMI_RANK", variables.get(b"OMPI_COMM_WORLD_RANK", b"-1")))
