"""Tests wait for conditions, never for time."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(
    condition: Callable[[], T], what: str, timeout: float = 20.0, seen: Callable[[], object] | None = None
) -> T:
    """What ``condition`` returns, as soon as it is true; after ``timeout`` seconds fail with what it last was, or with
    what ``seen`` sees then."""
    deadline = time.monotonic() + timeout
    while True:
        last = condition()
        if last:
            return last
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not so after {timeout:g} s; last seen: {seen() if seen else last!r}")
        time.sleep(0.01)
