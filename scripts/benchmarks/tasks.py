"""What workers run. Every peer's workers import this by name, so it needs nothing but Python."""

from __future__ import annotations

import os
import time


def double(n: int) -> int:
    return n + n


def next_number(n: int) -> int:
    return n + 1


def same(data: bytes) -> bytes:
    return data


def sleep(seconds: float) -> float:
    time.sleep(seconds)
    return seconds


def wait_for(path: str) -> str:
    """Until somebody makes that file."""
    while not os.path.exists(path):
        time.sleep(0.01)
    return path


def where(seconds: float) -> int:
    """Which process runs this."""
    time.sleep(seconds)
    return os.getpid()


def where_with_numpy(seconds: float) -> int:
    import numpy

    if int(numpy.ones((100, 100)).sum()) != 10_000:
        raise AssertionError("numpy cannot count")
    return where(seconds)
