"""The environment that a block's launcher runs in, and its record for the workers.

A launcher sets variables for its ranks. In a worker they would mislead a task's own mpiexec, srun or MPI_Init. So the
environment is recorded before the launcher starts, and workers get the launcher's variables as the record has them.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Mapping

from xse.errors import LaunchError
from xse.launch.launchers import BLOCK_ENVIRONMENT, LAUNCHERS, ONE_HOST_ENVIRONMENT

_OF_RANKS = tuple({name for row in LAUNCHERS for name in row.sets})


def outside(environment: Mapping[str, str]) -> dict[str, str]:
    """Without what an MPI launcher around this process has set: the script may be a rank of mpirun or of srun, whose
    variables would make our launcher, or an MPI program of a task, a part of that job."""
    return {name: value for name, value in environment.items() if not name.startswith(_OF_RANKS)}


def for_launcher(environment: Mapping[str, str], *, one_host: bool) -> dict[str, str]:
    """What the launcher of a block is started with. ``one_host``: all ranks run on this host."""
    return {**BLOCK_ENVIRONMENT, **(ONE_HOST_ENVIRONMENT if one_host else {}), **outside(environment)}


def write_record(path: str, environment: Mapping[str, str]) -> None:
    """Write it to a file that is its owner's alone, as ``env -0`` does. Raises LaunchError."""
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with os.fdopen(fd, "wb") as f:
            f.write(b"".join(os.fsencode(f"{name}={value}") + b"\0" for name, value in environment.items()))
    except OSError as e:
        raise LaunchError(
            f"the environment file {path} cannot be written ({e.strerror}): its directory must exist, and have space"
        ) from None


def in_a_script(path: str) -> str:
    """The same in the shell's language, for a batch script: records the environment in ``path``, then sets what the
    launcher needs."""
    defaults = " ".join(f'{name}="${{{name}-{value}}}"' for name, value in BLOCK_ENVIRONMENT.items())
    return f"(umask 077; env -0 > {shlex.quote(path)}); export {defaults}; "
