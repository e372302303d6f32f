"""How far it is: on a terminal one line that changes, elsewhere a line for each step."""

from __future__ import annotations

import sys
import time


class Progress:
    def __init__(self, total: int) -> None:
        self._total = total
        self._n = 0
        self._begin = time.monotonic()
        self._terminal = sys.stderr.isatty()

    def step(self, what: str) -> None:
        """It begins."""
        elapsed = time.monotonic() - self._begin
        left = f", about {clock(elapsed / self._n * (self._total - self._n))} left" if self._n else ""
        self._n += 1
        text = f"{self._n}/{self._total} {what}{left}"
        if self._terminal:
            print(f"\r\033[K{text}", end="", file=sys.stderr, flush=True)
        else:
            self.say(text)

    def say(self, text: str) -> None:
        self.clear()
        print(f"bench: {text}", file=sys.stderr, flush=True)

    def clear(self) -> None:
        if self._terminal:
            print("\r\033[K", end="", file=sys.stderr, flush=True)


def clock(seconds: float) -> str:
    """5:07"""
    return f"{int(seconds) // 60}:{int(seconds) % 60:02d}"
