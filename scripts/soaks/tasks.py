"""What the soak's tasks do: each notes that it has begun and that it has ended, in files that outlive its worker."""

from __future__ import annotations

import os
import signal
import struct
import time
import zlib

BEGUN, ENDED = "begun", "ended"

_files: dict[str, int] = {}  # of this worker


class Meant(Exception):
    """Raised by a task that is to raise; its argument is the task's number."""


def _note(directory: str, name: str, number: int) -> None:
    """One write of eight bytes to a file opened with O_APPEND: whole or not at all, whoever is killed."""
    path = os.path.join(directory, name)
    if path not in _files:
        _files[path] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    os.write(_files[path], struct.pack("<Q", number))


def answer_of(number: int, data: bytes) -> tuple[int, int, int]:
    """What the task with this number returns for this data."""
    return number, zlib.crc32(data, number & 0xFFFFFFFF), len(data)


def task(directory: str, number: int, does: str, seconds: float, data: bytes) -> tuple[int, int, int]:
    _note(directory, BEGUN, number)
    if seconds:
        time.sleep(seconds)
    if does == "exits":
        os._exit(7)
    if does == "crashes":
        os.kill(os.getpid(), signal.SIGSEGV)
    _note(directory, ENDED, number)
    if does == "raises":
        raise Meant(number)
    return answer_of(number, data)
