"""Who came and did not become a pool, and why, as lines for the log. Pure.

The first of a kind is told at once; others like it within a while are counted and told in one line, so that a thousand
connections a second fill no disk and hold nobody up.
"""

from __future__ import annotations

WINDOW_S = 10.0


class Refusals:
    """A kind is an address and a reason. ``now``: seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}  # beyond the first, since the window began
        self._window_ends = 0.0

    def note(self, now: float, address: str, reason: str) -> list[str]:
        """One was turned away, or went. Returns what is to be told now."""
        lines = self.due(now)
        kind = (address, reason)
        if kind in self._counts:
            self._counts[kind] += 1
            return lines
        if not self._counts:
            self._window_ends = now + WINDOW_S
        self._counts[kind] = 0
        return [*lines, f"peer_refused from={address} reason={reason!r}"]

    def due(self, now: float) -> list[str]:
        """What is to be told when the window is over."""
        return self.rest() if now >= self._window_ends else []

    def rest(self) -> list[str]:
        """What has been counted and not told."""
        counts, self._counts = self._counts, {}
        return [f"peers_refused more={n} from={a} reason={r!r}" for (a, r), n in counts.items() if n]
