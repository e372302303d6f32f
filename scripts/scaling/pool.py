"""A block of simulated workers: a real xse-pool with its real MPI, whose runner is ``sim``."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable
from types import TracebackType

from xse import launch
from xse.options import PoolOptions


class SimulatedPool:
    """Launches ``n_ranks`` ranks of ``n_workers`` workers each for the interchange that listens in ``directory``.

    ``stop``: makes the interchange end its blocks; called when all went well.
    """

    def __init__(self, directory: str, n_ranks: int, n_workers: int, stop: Callable[[], None]) -> None:
        self._stop = stop
        pool = launch.find_pool()
        path = os.path.join(directory, "block-0.connect")
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
