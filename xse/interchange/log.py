"""The interchange's log: bounded, and no reason not to work when its disk takes no more."""

from __future__ import annotations

import contextlib
import logging
import os
import sys
from logging.handlers import RotatingFileHandler

MOST_BYTES = 64 << 20  # of the file, and as much of the one before it (``.1``)


class BoundedLog(RotatingFileHandler):
    """Appends to the file at ``path``. What cannot be written is lost; the first time is told on stderr."""

    def __init__(self, path: str, most_bytes: int = MOST_BYTES) -> None:
        super().__init__(path, maxBytes=most_bytes, backupCount=1, encoding="utf-8")
        self._told = False

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: ARG002, N802, logging's own name
        """Called in the except clause of what failed."""
        if not self._told:
            self._told = True
            tell(self.baseFilename, sys.exc_info()[1])


def tell(path: str, error: BaseException | None) -> None:
    """To whoever reads stderr, if anybody does."""
    reason = (isinstance(error, OSError) and error.strerror) or repr(error)
    with contextlib.suppress(OSError, ValueError):
        print(f"xse.interchange: no log is written in {os.path.dirname(path)}: {reason}", file=sys.stderr)
