"""The thread that takes note of what happened: blocks that come and go, chunks that are answered, futures that
``concurrent.futures.wait`` looks at. No code of users runs in it."""

from __future__ import annotations

import logging
from collections.abc import Callable

from xse import errors
from xse.client.call_thread import CallThread

logger = logging.getLogger(__name__)


def events_thread(name: str, fail_all: Callable[[Exception], None]) -> CallThread:
    """Not started yet. ``name``: of the executor. ``fail_all`` is told of a mistake of ours, for then somebody would
    wait for an event that is lost."""

    def failed(error: BaseException) -> None:
        logger.error("event_failed", exc_info=error)
        broken = errors.BrokenPool(f"the pool is broken by a fault in xse itself: {error!r}")
        broken.__cause__ = error
        fail_all(broken)

    return CallThread(f"{name}-events", failed)
