"""Sums over time and over sizes that need little memory, however much is added. Pure."""

from __future__ import annotations

import math

MOST = 600  # bins over time


class OverTime:
    """A sum for each bin of time. The bins become wider as time goes on, so that there are at most MOST."""

    def __init__(self, width_s: float = 0.01) -> None:
        self.width_s = width_s
        self.bins: list[float] = []

    def add(self, at_s: float, amount: float = 1.0) -> None:
        """So much at that time."""
        i = self._reach(at_s)  # may make new bins
        self.bins[i] += amount

    def add_between(self, start_s: float, end_s: float) -> None:
        """One, all the time from start to end: each bin gets the seconds that lie in it."""
        last = self._reach(max(start_s, end_s))
        first = self._reach(start_s)
        if first == last:
            self.bins[first] += max(0.0, end_s - start_s)
            return
        self.bins[first] += (first + 1) * self.width_s - start_s
        for i in range(first + 1, last):
            self.bins[i] += self.width_s
        self.bins[last] += end_s - last * self.width_s

    def _reach(self, at_s: float) -> int:
        at_s = max(0.0, at_s)
        while at_s >= MOST * self.width_s:
            pairs = [*self.bins, 0.0] if len(self.bins) % 2 else self.bins
            self.bins = [pairs[i] + pairs[i + 1] for i in range(0, len(pairs), 2)]
            self.width_s *= 2
        i = int(at_s / self.width_s)
        if i >= len(self.bins):
            self.bins += [0.0] * (i + 1 - len(self.bins))
        return i

    def per_second(self) -> list[float]:
        """Each bin, divided by its width."""
        return [amount / self.width_s for amount in self.bins]


A_DECADE = 20  # bins
LEAST = 1e-6  # seconds


class Sizes:
    """A histogram of durations in bins that are 12 % wide, and what follows from it."""

    def __init__(self) -> None:
        self.bins: dict[int, int] = {}
        self.n = 0
        self.sum_s = 0.0
        self.most_s = 0.0

    def add(self, seconds: float) -> None:
        i = math.floor(math.log10(max(seconds, LEAST)) * A_DECADE)
        self.bins[i] = self.bins.get(i, 0) + 1
        self.n += 1
        self.sum_s += seconds
        self.most_s = max(self.most_s, seconds)

    @staticmethod
    def middle_s(i: int) -> float:
        """Of bin i."""
        return float(10 ** ((i + 0.5) / A_DECADE))

    def percentile_s(self, percent: float) -> float:
        """Within the width of a bin."""
        left = self.n * percent / 100
        for i in sorted(self.bins):
            left -= self.bins[i]
            if left <= 0:
                return min(self.middle_s(i), self.most_s)
        return 0.0
