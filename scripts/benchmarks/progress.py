"""How far it is: on a terminal one line that changes, elsewhere a line for each step."""

from __future__ import annotations

import sys
import time

_CLEAR = "\r\033[K"  # the line that the cursor is in


class Progress:
    def __init__(self, total: int) -> None:
        self._total = total
        self._n = 0
        self._begin = time.monotonic()

    def step(self, what: str) -> None:
        """It begins."""
        elapsed = time.monotonic() - self._begin
        left = f", about {clock(elapsed / self._n * (self._total - self._n))} left" if self._n else ""
        self._n += 1
        text = f"{self._n}/{self._total} {what}{left}"
        if sys.stderr.isatty():
            print(f"{_CLEAR}{text}", end="", file=sys.stderr, flush=True)
        else:
            say(text)

    def clear(self) -> None:
        """It is over: the next line stands where this was."""
        if sys.stderr.isatty():
            print(_CLEAR, end="", file=sys.stderr, flush=True)


def say(text: str) -> None:
    """What stays, in a line of its own."""
    print(f"{_CLEAR if sys.stderr.isatty() else ''}bench: {text}", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """5:07"""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
