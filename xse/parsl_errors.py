"""Our losses as Parsl's own classes, for its users' retry handlers."""

from __future__ import annotations

from parsl.executors.high_throughput.errors import ManagerLost as ParslManagerLost
from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost

from xse import errors, wire
from xse.client import error_of


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


def parsl_error(status: wire.Status, failure: wire.Failure) -> Exception:
    """The exception for a task that got no answer of its own."""
    error = error_of(status, failure)
    if isinstance(error, errors.WorkerLost):
        error = WorkerLost(
            host=error.host,
            rank=error.rank,
            pid=error.pid,
            signal=error.signal,
            exit_code=error.exit_code,
            stderr=error.stderr,
        )
    elif isinstance(error, errors.ManagerLost):
        error = ManagerLost(block=error.block, hosts=error.hosts, reason=error.reason)
    return error
