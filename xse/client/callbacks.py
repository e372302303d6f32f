"""The thread that runs what users attach to futures, and nothing else: a callback may sleep, wait, submit, or raise."""

from __future__ import annotations

import contextlib
import logging

from xse.client.call_thread import CallThread

logger = logging.getLogger(__name__)


def callbacks_thread(name: str) -> CallThread:
    """Not started yet. ``name``: of the executor."""
    return CallThread(f"{name}-callbacks", _log)


def _log(error: BaseException) -> None:
    with contextlib.suppress(BaseException):  # a handler of the user's log is the user's code, too
        logger.error("callback_failed", exc_info=error)
