"""How far a pool's clock is from ours, from the heartbeats that it answers. Pure; csrc/manager/clock.c is its twin."""

from __future__ import annotations


class Clock:
    """``ahead_us``: the pool's clock minus ours, in microseconds; 0 until an answer has come.

    We say our time, the pool answers with its own, and the answer comes at a third time. Its clock is then known within
    half of the way there and back, so the shortest way is the best answer. An old answer is worth less with each later
    one, for clocks drift by some microseconds a second.
    """

    __slots__ = ("_known", "_way_us", "ahead_us")

    def __init__(self) -> None:
        self.ahead_us = 0
        self._way_us = 0
        self._known = False

    def learn(self, sent_us: int, theirs_us: int, now_us: int) -> None:
        """``sent_us``: by our clock; ``theirs_us``: the answer; ``now_us``: when that came, by our clock."""
        way_us = now_us - sent_us
        if way_us < 0:  # no heartbeat of ours
            return
        if self._known and way_us > self._way_us:
            self._way_us += self._way_us // 4 + 1
            return
        self._known = True
        self._way_us = way_us
        self.ahead_us = theirs_us - (sent_us + way_us // 2)
