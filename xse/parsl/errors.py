"""Our errors as Parsl's own classes, for its users' retry handlers."""

from __future__ import annotations

from parsl.executors.high_throughput.errors import ManagerLost as ParslManagerLost
from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost
from parsl.serialize.errors import DeserializationError as ParslDeserializationError
from parsl.serialize.errors import SerializationError as ParslSerializationError

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


class SerializationError(errors.SerializationError, ParslSerializationError):
    """Something cannot be serialized. ``fname``: the function whose argument or result it is."""

    def __init__(self, fname: str, what: str) -> None:
        Exception.__init__(self, fname, what)
        self.fname = fname
        self.what = what

    def __str__(self) -> str:
        return self.what


class DeserializationError(errors.SerializationError, ParslDeserializationError):
    """Something cannot be read again on the other side."""

    def __init__(self, reason: str) -> None:
        Exception.__init__(self, reason)
        self.reason = reason

    __str__ = ParslDeserializationError.__str__
