"""The command line of scripts/soak."""

from __future__ import annotations

import argparse
import random
import secrets
import sys

from tests.support.pools import pools
from tests.support.processes import mark_what_is_started


def _say(text: str) -> None:
    print(text, flush=True)


def main() -> int:
    """Returns the exit code."""
    parser = argparse.ArgumentParser(prog="scripts/soak", add_help=False)
    parser.add_argument("--tasks", type=int, default=0)
    parser.add_argument("--minutes", type=float, default=10.0)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--mpi", choices=sorted(pools()))
    parser.add_argument("--cycles", type=int, default=0)
    arguments = parser.parse_args()
    mark_what_is_started()
    mpis = {arguments.mpi: pools()[arguments.mpi]} if arguments.mpi else pools()
    if arguments.cycles:
        from scripts.soaks import cycles

        return 0 if cycles.run(arguments.cycles, mpis, _say) else 1
    from scripts.soaks import soak

    seed = secrets.randbits(32) if arguments.seed is None else arguments.seed
    name = random.Random(seed).choice(sorted(mpis))
    good = soak.run(seed=seed, n_tasks=arguments.tasks, minutes=arguments.minutes, mpi=(name, mpis[name]), say=_say)
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
