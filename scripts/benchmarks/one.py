"""One measure of one peer, in a process of its own: ``python -m benchmarks.one PEER MEASURE SIZE`` prints JSON.

It is the script of the measure ``kinds``: what that gives to ``submit`` stands here, in ``__main__``.
"""

from __future__ import annotations

import functools
import json
import sys
import time
from array import array

from .measures import MEASURES
from .peers import PEERS
from .peers.bench import Bench
from .tasks import double, next_number

ARRAY = array("d", range(150_000))  # 1.2 MB
TABLE = {i: str(i) for i in range(20_000)}


class Step:
    def __init__(self, by: int) -> None:
        self.by = by

    def add(self, n: int) -> int:
        return n + self.by

    __call__ = add


STEP = Step(1)


def of_the_script(n: int) -> int:
    return n + 1


def added(by: int, n: int) -> int:
    return n + by


def reads_an_array(n: int) -> int:
    return n + int(ARRAY[1])


def reads_a_table(n: int) -> int:
    return n + len(TABLE[1])


def reads_an_instance(n: int) -> int:
    return n + STEP.by


KINDS = {
    "function of the script": of_the_script,
    "function of a module": next_number,
    "partial": functools.partial(added, 1),
    "bound method": STEP.add,
    "callable instance": STEP,
    "reads an array of 1.2 MB": reads_an_array,
    "reads a dict of 20,000": reads_a_table,
    "reads an instance": reads_an_instance,
}


def main() -> None:
    peer, measure, size = sys.argv[1], sys.argv[2], float(sys.argv[3])
    opener = PEERS[peer].opener()
    begin = time.perf_counter()
    with opener() as bench:
        if isinstance(bench, Bench) and bench.submit(double, 21).result() != 42:
            raise AssertionError("the first result is wrong")
        first_s = time.perf_counter() - begin
        figures = MEASURES[measure](bench, size, KINDS) if measure == "kinds" else MEASURES[measure](bench, size)
    print(json.dumps({"s to first result": first_s, **figures}), flush=True)


if __name__ == "__main__":
    main()
