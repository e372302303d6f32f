"""Random events for a model, drawn by hypothesis as bytes: that is quick, so there can be millions."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st

T = TypeVar("T")

BYTES = 600  # an example: some two hundred events

#: More than a few seconds' worth: ``XSE_EXAMPLES=10000 pytest tests/unit/test_core_invariants.py``.
thorough = settings(
    max_examples=int(os.environ.get("XSE_EXAMPLES", "100")),
    derandomize="XSE_EXAMPLES" not in os.environ,  # the same events in each scripts/test; new ones for who asks
    deadline=None,
    suppress_health_check=list(HealthCheck),
)
throws = st.binary(min_size=BYTES, max_size=BYTES)


class Dice:
    """Numbers from an example's bytes. Zeros, to which an example shrinks, choose the first of everything."""

    def __init__(self, data: bytes) -> None:
        self._data = iter(data)
        self.left = True

    def below(self, n: int) -> int:
        try:
            return next(self._data) % n
        except StopIteration:
            self.left = False
            return 0

    def one_of(self, things: Sequence[T]) -> T:
        return things[self.below(len(things))]
