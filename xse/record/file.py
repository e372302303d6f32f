"""The file of a record: bytes go to a thread that appends them, for a shared file system may take its time."""

from __future__ import annotations

import contextlib
import logging
import os
import queue
import threading
from collections.abc import Sequence

logger = logging.getLogger(__name__)

MOST_PENDING = 64 << 20  # bytes that the disk has not taken; beyond them the record ends, and not the run
END_TIMEOUT_S = 5.0  # for the last of it


class RecordFile:
    """Appends to a new file at ``path``, mode 0600. Raises OSError when there can be none; later errors end the record
    with a line in the log."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._queue: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._n_pending = 0
        self._failed = False
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="xse-record", daemon=True)
        self._thread.start()

    def write(self, parts: Sequence[bytes]) -> None:
        """Returns at once."""
        if self._failed or not parts:
            return
        data = b"".join(parts)
        with self._lock:
            self._n_pending += len(data)
        if self._n_pending > MOST_PENDING:
            self._fail(f"{self._n_pending >> 20} MiB wait to be written: its file system is too slow")
            return
        self._queue.put(data)

    def close(self) -> None:
        """Waits for the last bytes, though not for ever."""
        self._queue.put(None)
        self._thread.join(END_TIMEOUT_S)

    def _fail(self, reason: str) -> None:
        if not self._failed:
            self._failed = True
            logger.warning("record_ends path=%s reason=%r", self.path, reason)

    def _run(self) -> None:
        while (data := self._queue.get()) is not None:
            left = memoryview(data)
            try:
                while left and not self._failed:
                    left = left[os.write(self._fd, left) :]
            except OSError as e:
                self._fail(e.strerror or repr(e))
            with self._lock:
                self._n_pending -= len(data)
        with contextlib.suppress(OSError):
            os.close(self._fd)
