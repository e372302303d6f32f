"""Private directories that live as long as a process, and what is left of processes that were killed.

The process that makes a directory holds a lock on it (flock), which the kernel releases when the process ends, however
it ends. So the next process of the same user finds which directories are dead, and removes them.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import tempfile
from pathlib import Path

PREFIX = "xse-"
ATTEMPTS = 100
_locks: dict[str, int] = {}  # descriptors, by directory


def make(parent: str) -> str:
    """A new directory in ``parent``, mode 0700. Raises OSError."""
    for _ in range(ATTEMPTS):
        path = tempfile.mkdtemp(prefix=_prefix(), dir=parent)
        try:
            lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
            _locks[path] = lock
            fcntl.flock(lock, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if os.path.isdir(path):
                return path
        except (BlockingIOError, FileNotFoundError):  # who sweeps took it for a dead one, before it was locked
            pass
        except BaseException:
            remove(path)
            raise
        remove(path)
    raise FileExistsError(f"no directory can be locked in {parent}")


def remove(path: str) -> None:
    """With all that is in it. It may be gone."""
    shutil.rmtree(path, ignore_errors=True)
    lock = _locks.pop(path, None)
    if lock is not None:
        os.close(lock)


def sweep(parent: str) -> None:
    """Remove the directories in ``parent`` that processes of this user have left, who were killed."""
    with contextlib.suppress(OSError):
        for entry in os.scandir(parent):
            if entry.name.startswith(_prefix()) and entry.path not in _locks:
                with contextlib.suppress(OSError):
                    _remove_if_dead(entry.path)


def _remove_if_dead(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid == os.geteuid():
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)  # raises where its owner lives
            shutil.rmtree(path, ignore_errors=True)
    finally:
        os.close(fd)


def _prefix() -> str:
    """Names the kernel, too: another host may see the directory, but no lock on it."""
    return f"{PREFIX}{Path('/proc/sys/kernel/random/boot_id').read_text()[:8]}-"
