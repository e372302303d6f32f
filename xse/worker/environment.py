"""A worker's environment: that of its rank, without what the launcher of the block has set there.

So a task's own mpiexec, srun or MPI_Init finds what it would find in the script.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping, Sequence


def restore(environment: MutableMapping[str, str], before: str, variables: Sequence[str]) -> None:
    """Give the launcher's variables the values that they had before the launcher ran.

    ``before``: the file with the environment of that time, as ``env -0`` writes it. ``variables``: beginnings of the
    variables' names; with ``=`` at its end it is a whole name. Without the file (a pool that was started by hand) the
    former are removed, and the latter stay.
    """
    if not variables:
        return
    record = read(before)
    theirs = tuple(name for name in variables if record or not name.endswith("="))
    for name in [name for name in environment if f"{name}=".startswith(theirs)]:
        del environment[name]
    for name, value in record.items():
        if f"{name}=".startswith(theirs):
            environment[name] = value


def read(path: str) -> dict[str, str]:
    """The variables in such a file; none if it cannot be read."""
    try:
        with open(path, "rb") as file:
            entries = file.read().split(b"\0")
    except OSError:
        return {}
    pairs = (os.fsdecode(entry).partition("=") for entry in entries)
    return {name: value for name, equals, value in pairs if name and equals}
