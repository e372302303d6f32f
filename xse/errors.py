"""What can go wrong, as users meet it. Each says what happened, why, and what to do."""

from __future__ import annotations

import signal
from concurrent.futures import BrokenExecutor


class XseError(Exception):
    """Base of all errors of xse."""


class LaunchError(XseError):
    """A pool cannot be launched: no mpiexec, no xse-pool, or one that does not fit."""


class OptionError(XseError, ValueError):
    """An argument of a wrong type or out of its range."""


class SerializationError(XseError):
    """A function, an argument, a result or an exception cannot be pickled, or not be unpickled on the other side."""


class PayloadTooLarge(XseError):
    """Arguments or a result over the limit of one message.

    ``size`` and ``limit`` are in bytes.
    """

    def __init__(self, message: str, size: int = 0, limit: int = 0) -> None:
        super().__init__(message, size, limit)
        self.size = size
        self.limit = limit

    def __str__(self) -> str:
        return str(self.args[0])


class TaskTimeout(XseError):
    """The task ran longer than its timeout and was killed.

    It is no TimeoutError: that is what ``future.result(timeout)`` raises while the task still runs, and who waits for
    that in a loop would wait for ever.
    """


class WorkerLost(XseError):
    """The worker process died with the task: a crash, os._exit, the out-of-memory killer.

    ``host``, ``rank`` and ``pid`` say where; ``signal`` (0: none) and ``exit_code`` (-1: none) how; ``stderr`` holds
    the last lines that the worker wrote there. Where the whole rank has failed, ``signal`` is 0, ``exit_code`` -1,
    ``pid`` the rank's, and ``stderr`` the reason.
    """

    def __init__(self, *, host: str, rank: int, pid: int, signal: int, exit_code: int, stderr: str) -> None:
        Exception.__init__(self, host, rank, pid, signal, exit_code, stderr)  # a subclass may have other bases
        self.host = host
        self.rank = rank
        self.pid = pid
        self.signal = signal
        self.exit_code = exit_code
        self.stderr = stderr

    def __reduce__(self) -> tuple[object, ...]:
        return _worker_lost, self.args

    def __str__(self) -> str:
        if not self.signal and self.exit_code < 0:
            return f"the task was lost with its rank, which has failed: {self.stderr.rstrip()}"
        how = f"signal {self.signal} ({signal_name(self.signal)})" if self.signal else f"exit code {self.exit_code}"
        tail = f"; the last it wrote to stderr:\n{self.stderr.rstrip()}" if self.stderr.strip() else ""
        return f"the worker that ran this task (pid {self.pid}, rank {self.rank} on {self.host}) ended by {how}{tail}"


def _worker_lost(host: str, rank: int, pid: int, sig: int, exit_code: int, stderr: str) -> WorkerLost:
    return WorkerLost(host=host, rank=rank, pid=pid, signal=sig, exit_code=exit_code, stderr=stderr)


def signal_name(number: int) -> str:
    """SIGSEGV for 11; the number where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return str(number)


class ManagerLost(XseError):
    """The block died with the task: a rank was killed, a node failed, the scheduler ended the job.

    ``block`` is the block's id, ``hosts`` where it ran. The task may have run, in part or whole.
    """

    def __init__(self, *, block: str, hosts: str, reason: str) -> None:
        Exception.__init__(self, block, hosts, reason)  # a subclass may have other bases
        self.block = block
        self.hosts = hosts
        self.reason = reason

    def __reduce__(self) -> tuple[object, ...]:
        return _manager_lost, self.args

    def __str__(self) -> str:
        return f"block {self.block} (on {self.hosts or 'unknown hosts'}) was lost with this task: {self.reason}"


def _manager_lost(block: str, hosts: str, reason: str) -> ManagerLost:
    return ManagerLost(block=block, hosts=hosts, reason=reason)


class BrokenPool(XseError, BrokenExecutor):
    """The executor can run nothing any more: no block can be started, or the initializer failed."""


class RunStopped(BrokenPool):
    """Somebody has ended the run with ``xse stop``."""


class InterchangeLost(BrokenPool):
    """The interchange process died. All open futures fail with this."""


class RemoteTraceback(Exception):
    """The traceback of the remote side, as the cause of an exception that a task raised."""

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.text = text

    def __str__(self) -> str:
        return "\n" + self.text
