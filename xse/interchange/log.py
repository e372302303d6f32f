"""The interchange's log file. Its size is bounded. When the disk is full, the interchange works on without it."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from logging.handlers import RotatingFileHandler

MOST_BYTES = 64 << 20  # of the file, and as much of the one before it (``.1``)


class BoundedLog(RotatingFileHandler):
    """Appends to the file at ``path``. Lines that cannot be written are lost; the first failure is printed to
    stderr."""

    def __init__(self, path: str, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(path, maxBytes=most_bytes, backupCount=1, encoding="utf-8")
        self._reported = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802, logging's own name
        """Called by logging in the except clause of the failed write."""
        if not self._reported:
            self._reported = True
            report(self.baseFilename, sys.exc_info()[1])


def report(path: str, error: BaseException | None) -> None:
    """Print to stderr why there is no log. Never raises."""
    reason = (isinstance(error, OSError) and error.strerror) or repr(error)
    with contextlib.suppress(OSError, ValueError):
        print(f"xse.interchange: no log is written in {os.path.dirname(path)}: {reason}", file=sys.stderr)
