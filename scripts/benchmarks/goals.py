"""A goal: what a figure must reach, as a number or as so many times what a peer reaches. Pure."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from operator import truediv

#: by peer and by the figure's name: its value in each turn
Figures = Mapping[tuple[str, str], Sequence[float]]


@dataclass(frozen=True)
class Goal:
    """``subject``'s ``figure`` is to be at least (or, with ``at_most``, at most) ``bound``, or ``bound`` times that of
    the peer ``of``."""

    subject: str
    figure: str
    bound: float
    of: str = ""
    at_most: bool = False

    @property
    def text(self) -> str:
        """As a person would say it: ``25 x HighThroughputExecutor``, ``at most 0.8 ms (p99)``."""
        word = "at most " if self.at_most else ""
        return f"{word}{number(self.bound)} {f'x {self.of}' if self.of else self.figure}"


@dataclass(frozen=True)
class Verdict:
    """``actual``: what the bound is to be compared with: the figure, or how many times the other's it is. None: it was
    not measured."""

    goal: Goal
    actual: float | None

    @property
    def reached(self) -> bool | None:
        if self.actual is None:
            return None
        return self.actual <= self.goal.bound if self.goal.at_most else self.actual >= self.goal.bound

    @property
    def text(self) -> str:
        if self.actual is None:
            return "not measured"
        times = " x" if self.goal.of else ""
        return f"{'yes' if self.reached else '**no**'}: {number(self.actual)}{times}"


def judge(goal: Goal, figures: Figures) -> Verdict:
    """By the median of the turns; of a ratio, by the median of the ratios of each turn, for a machine may be half as
    fast again in one turn as in the next. A peer that failed, or was not asked for, leaves it open; so does a figure of
    0: of nothing there is no ratio."""
    values = figures.get((goal.subject, goal.figure))
    if not values:
        return Verdict(goal, None)
    if not goal.of:
        return Verdict(goal, statistics.median(values))
    others = figures.get((goal.of, goal.figure))
    if not others or not all(others) or len(others) != len(values):
        return Verdict(goal, None)
    return Verdict(goal, statistics.median(map(truediv, values, others)))


def number(value: float) -> str:
    """With three digits or so: 72,472; 12.3; 0.44. Two numbers that differ by a per cent look different."""
    if value >= 1000:
        return f"{value:,.0f}"
    if value and abs(value) < 0.01:
        return f"{value:.1g}"
    text = f"{value:.1f}" if value >= 100 else f"{value:.2f}" if value >= 1 else f"{value:.3f}"
    return text.rstrip("0").rstrip(".") if "." in text else text
