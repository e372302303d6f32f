"""The Extreme-Scale Executor: many small Python tasks on thousands of nodes, through MPI.

``PoolExecutor`` is a ``concurrent.futures.Executor``, ``ExtremeScaleExecutor`` is for Parsl (install ``xse[parsl]``).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from xse.errors import (
    BrokenPool,
    InterchangeLost,
    LaunchError,
    ManagerLost,
    OptionError,
    PayloadTooLarge,
    RemoteTraceback,
    RunStopped,
    SerializationError,
    TaskTimeout,
    WorkerLost,
    XseError,
)
from xse.version import VERSION as __version__

if TYPE_CHECKING:
    from xse.bars.progress import progress
    from xse.client.future import Future
    from xse.parsl.executor import ExtremeScaleExecutor
    from xse.pool.executor import PoolExecutor

__all__ = [
    "BrokenPool",
    "ExtremeScaleExecutor",
    "Future",
    "InterchangeLost",
    "LaunchError",
    "ManagerLost",
    "OptionError",
    "PayloadTooLarge",
    "PoolExecutor",
    "RemoteTraceback",
    "RunStopped",
    "SerializationError",
    "TaskTimeout",
    "WorkerLost",
    "XseError",
    "__version__",
    "progress",
]


def __getattr__(name: str) -> Any:
    """What is large is imported when it is asked for: a worker needs none of it, and Parsl is an extra."""
    if name == "PoolExecutor":
        from xse.pool.executor import PoolExecutor

        return PoolExecutor
    if name == "progress":
        from xse.bars.progress import progress

        return progress
    if name == "Future":
        from xse.client.future import Future

        return Future
    if name == "ExtremeScaleExecutor":
        try:
            from xse.parsl.executor import ExtremeScaleExecutor
        except ModuleNotFoundError as e:
            if e.name and e.name.split(".")[0] in ("parsl", "typeguard", "psutil"):
                raise ImportError("ExtremeScaleExecutor needs Parsl: pip install 'xse[parsl]'") from None
            raise
        return ExtremeScaleExecutor
    raise AttributeError(f"module 'xse' has no attribute {name!r}")


def __dir__() -> list[str]:
    """With what is not imported yet."""
    return sorted({*globals(), *__all__})
