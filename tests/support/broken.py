"""Programs that do not work, or not as they say: what a host may have in place of a pool or an mpiexec."""

from __future__ import annotations

import subprocess
from pathlib import Path

from xse import launch


def program(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def pool_that_says(path: Path, this: str, instead: str) -> Path:
    """Of itself, and otherwise what the real one does. It needs no PATH."""
    real = [launch.find_pool().path, "--version"]
    versions = subprocess.run(real, capture_output=True, text=True, check=True).stdout
    said = path.with_suffix(".said")
    said.write_text(versions.replace(this, instead))
    return program(path, f'while read -r line; do echo "$line"; done <{said}')


def pool_without_a_library(path: Path) -> Path:
    """The real one, but for the name of a library that it wants, which no host has."""
    real = Path(launch.find_pool().path).read_bytes()
    assert b"libc.so.6" in real
    path.write_bytes(real.replace(b"libc.so.6", b"libc.so.0"))
    path.chmod(0o755)
    return path


#: Another MPI's mpiexec, by the MPI of the pool.
OTHERS = {
    "mpich": "mpiexec.openmpi --allow-run-as-root --oversubscribe -n 2",
    "openmpi": "mpiexec.mpich -n 2",
}
