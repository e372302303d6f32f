"""Log lines about connections that were refused or never registered. Pure.

The first of a kind is logged at once. Others of the same kind within WINDOW_S are counted, and one line has their
number: a thousand connections a second must neither fill a disk nor slow down the interchange.
"""

from __future__ import annotations

WINDOW_S = 10.0


class Refusals:
    """A kind is an address and a reason. ``now`` is in seconds of any monotonic clock."""

    def __init__(self) -> None:
        self._counts: dict[tuple[str, str], int] = {}  # beyond the first, since the window began
        self._window_ends = 0.0

    def note(self, now: float, address: str, reason: str) -> list[str]:
        """Count one refused connection. Returns the lines to log now."""
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
        """The lines to log if the window is over."""
        return self.rest() if now >= self._window_ends else []

    def rest(self) -> list[str]:
        """The lines for what was counted and not logged."""
        counts, self._counts = self._counts, {}
        return [f"peers_refused more={n} from={a} reason={r!r}" for (a, r), n in counts.items() if n]
