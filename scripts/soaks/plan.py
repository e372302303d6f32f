"""Which faults come when: all of it follows from the seed."""

from __future__ import annotations

import random
from collections.abc import Iterator
from dataclasses import dataclass

HEARTBEAT_PERIOD_S = 3
HEARTBEAT_THRESHOLD_S = 12
MEAN_PAUSE_S = 1.5  # between two faults; a block takes some seconds to start


@dataclass(frozen=True)
class Kind:
    """Of a fault. ``length_s``: of a stop or a cut, from and to; ``ends_block``: its block does not live on."""

    weight: int
    length_s: tuple[float, float] = (0.0, 0.0)
    ends_block: bool = False


SHORT = (0.1, HEARTBEAT_THRESHOLD_S / 4)  # nobody may mind it
LONG = (HEARTBEAT_THRESHOLD_S * 1.3, HEARTBEAT_THRESHOLD_S * 1.6)  # nobody may wait for it

KINDS = {
    "kill worker": Kind(30),
    "crash worker": Kind(6),
    "stop worker": Kind(8, SHORT),
    "kill zygote": Kind(4, ends_block=True),  # the second one of a block does
    "starve rank": Kind(4, LONG, ends_block=True),  # no descriptors: no worker can be started there meanwhile
    "kill rank": Kind(4, ends_block=True),
    "stop rank": Kind(6, SHORT),
    "stop rank long": Kind(2, LONG, ends_block=True),
    "kill mpiexec": Kind(2, ends_block=True),
    "kill block": Kind(3, ends_block=True),
    "end block": Kind(3, ends_block=True),
    "cut link": Kind(6, SHORT),
    "cut link long": Kind(2, LONG, ends_block=True),
    "drop link": Kind(3, ends_block=True),
    "stop interchange": Kind(2, SHORT),
}


@dataclass(frozen=True)
class Fault:
    """``pause_s`` after the one before. ``which``, from 0 to 1, chooses among those that there are then."""

    pause_s: float
    kind: str
    which: float
    length_s: float

    def __str__(self) -> str:
        length = f" for {self.length_s:.1f} s" if self.length_s else ""
        return f"{self.kind}{length}"


def faults(seed: int) -> Iterator[Fault]:
    """Without end; the same for the same seed."""
    dice = random.Random(seed)
    names, weights = list(KINDS), [kind.weight for kind in KINDS.values()]
    while True:
        (name,) = dice.choices(names, weights)
        yield Fault(dice.expovariate(1 / MEAN_PAUSE_S), name, dice.random(), dice.uniform(*KINDS[name].length_s))
