"""Our losses as Parsl's own classes, for its users' retry handlers."""

from __future__ import annotations

from parsl.executors.high_throughput.errors import ManagerLost as ParslManagerLost
from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost

from xse import errors


class WorkerLost(errors.WorkerLost, ParslWorkerLost):
    """The worker died with the task; what Parsl calls WorkerLost, and what xse does."""

    @property
    def worker_id(self) -> str:
        return f"{self.rank}:{self.pid}"

    @property
    def hostname(self) -> str:
        return self.host

    __str__ = errors.WorkerLost.__str__


class ManagerLost(errors.ManagerLost, ParslManagerLost):
    """The block died with the task; what Parsl calls ManagerLost, and what xse does."""

    @property
    def manager_id(self) -> bytes:  # type: ignore[override]
        return self.block.encode()

    @property
    def hostname(self) -> str:  # type: ignore[override]
        return self.hosts

    __str__ = errors.ManagerLost.__str__
