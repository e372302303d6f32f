"""How futures fail: a failure record as an exception, and an exception of its own for each future."""

from __future__ import annotations

from xse import errors
from xse.wire import messages as wire


def error_of(
    status: wire.Status,
    failure: wire.Failure,
    *,
    worker_lost: type[errors.WorkerLost] = errors.WorkerLost,
    manager_lost: type[errors.ManagerLost] = errors.ManagerLost,
) -> Exception:
    """A failure record as an exception of ours, or of these subclasses."""
    match status:
        case wire.Status.WORKER_LOST:
            return worker_lost(
                host=failure.host,
                rank=failure.rank,
                pid=failure.pid,
                signal=failure.signal,
                exit_code=failure.exit_code,
                stderr=failure.detail,
            )
        case wire.Status.MANAGER_LOST:
            return manager_lost(block=failure.block, hosts=failure.host, reason=failure.detail)
        case wire.Status.TIMEOUT:
            return errors.TaskTimeout(f"{failure.detail} (pid {failure.pid}, rank {failure.rank} on {failure.host})")
        case wire.Status.TOO_LARGE:
            text = f"the result takes {failure.size} bytes, and a message carries at most {failure.limit}"
            return errors.PayloadTooLarge(text, failure.size, failure.limit)
        case _:
            return errors.BrokenPool(failure.detail)


def another(error: BaseException) -> BaseException:
    """The same exception in another object. Each raise of an object makes its traceback longer, so that one object for
    a thousand futures would have a traceback of a thousand raises."""
    made = type(error).__new__(type(error), *error.args)  # __init__ may take other arguments
    made.__dict__.update(error.__dict__)
    made.__cause__ = error.__cause__
    made.__suppress_context__ = error.__suppress_context__
    return made
