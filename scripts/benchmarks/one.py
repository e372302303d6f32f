"""One measure of one peer, in a process of its own: ``python -m benchmarks.one PEER MEASURE SIZE`` prints JSON."""

from __future__ import annotations

import json
import sys
import time

from .measures import MEASURES
from .peers import PEERS
from .peers.bench import Bench
from .tasks import double


def main() -> None:
    peer, measure, size = sys.argv[1], sys.argv[2], float(sys.argv[3])
    opener = PEERS[peer].opener()
    begin = time.perf_counter()
    with opener() as bench:
        if isinstance(bench, Bench) and bench.submit(double, 21).result() != 42:
            raise AssertionError("the first result is wrong")
        first_s = time.perf_counter() - begin
        figures = MEASURES[measure](bench, size)
    print(json.dumps({"s to first result": first_s, **figures}), flush=True)


if __name__ == "__main__":
    main()
