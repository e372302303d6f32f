"""One measure of one peer, in a process of its own: ``python one.py PEER MEASURE SIZE`` prints figures as JSON."""

from __future__ import annotations

import json
import sys
import time

from measures import MEASURES, WORKERS, double
from peers import PEERS


def main() -> None:
    peer, measure, size = sys.argv[1], sys.argv[2], float(sys.argv[3])
    start = time.perf_counter()
    with PEERS[peer](WORKERS) as bench:
        if bench.submit(double, 21).result() != 42:
            raise AssertionError("the first result is wrong")
        first_s = time.perf_counter() - start
        figures = MEASURES[measure](bench, size)
    print(json.dumps({"first result, s": first_s, **figures}))


if __name__ == "__main__":
    main()
