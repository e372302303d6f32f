"""How long it takes until a fault is seen, for docs/developers/faults.md alone: no test may pass or fail by it."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

FILE = "XSE_FAULT_TIMES"  # names a file, to which each time is added as a line of JSON: scripts/fault-times


class Took:
    """``with took("its future says so"):`` from the fault, which the block injects first, until that is seen, for which
    it waits last."""

    def __init__(self, test: str, rows: Sequence[int]) -> None:
        """``rows``: of docs/developers/faults.md, those that the test shows."""
        self._test = test
        self._rows = rows

    @contextmanager
    def __call__(self, what: str, *, row: int | None = None, beyond: tuple[str, float] = ("", 0.0)) -> Iterator[None]:
        """``row``: where the test shows several. ``beyond``: what was to be waited for anyhow, and its seconds."""
        start = time.monotonic()
        yield
        name, anyhow_s = beyond
        seconds = time.monotonic() - start - anyhow_s
        (number,) = (n for n in self._rows if row in (None, n))
        path = os.environ.get(FILE)
        if path:
            entry = {"row": number, "what": what, "beyond": name, "seconds": seconds, "test": self._test}
            with open(path, "a") as file:
                file.write(json.dumps(entry) + "\n")
