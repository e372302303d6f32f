"""What tests of faults share, beside tests/conftest.py."""

from __future__ import annotations

import os
import random
import socket
import subprocess
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zmq

from tests.support import testbed
from tests.support.by_hand import ByHand
from tests.support.took import Took

#: They need hosts: scripts/test hosts.
collect_ignore = [] if testbed.is_here() else ["hosts"]


@pytest.fixture
def took(request: pytest.FixtureRequest) -> Took:
    return Took(request.node.nodeid, [mark.args[0] for mark in request.node.iter_markers("row")])


@pytest.fixture
def two_taken_ports() -> Iterator[tuple[int, int]]:
    """Ports that lie beside each other and belong to somebody else: the first, and the one after them."""
    for low in random.sample(range(40_000, 50_000, 2), 1000):
        with socket.socket() as a, socket.socket() as b:
            try:
                a.bind(("127.0.0.1", low))
                b.bind(("127.0.0.1", low + 1))
            except OSError:
                continue
            a.listen()
            b.listen()
            yield low, low + 2
            return


@pytest.fixture
def mount() -> Iterator[Callable[..., Path]]:
    """Mounts a file system of this kind on a new directory, whose path is short, as sockets want it."""
    mounted: list[Path] = []

    def mount_it(kind: str, *options: str) -> Path:
        place = Path(tempfile.mkdtemp(prefix="mounted-", dir="/tmp"))
        done = subprocess.run(["mount", "-t", kind, *options, "none", str(place)], capture_output=True, text=True)
        if done.returncode:
            place.rmdir()
            pytest.skip(f"needs to mount a {kind}: {done.stderr.strip()}")
        mounted.append(place)
        return place

    if os.geteuid() != 0:
        pytest.skip("needs root, to mount a small disk")
    yield mount_it
    for place in mounted:
        subprocess.run(["umount", "--lazy", str(place)], check=True)
        place.rmdir()


@pytest.fixture
def by_hand(any_mpi: str, tmp_path: Path) -> Iterator[ByHand]:
    """An executor with a pool of two workers that came by TCP."""
    world = ByHand(tmp_path)
    try:
        world.start_pool()
        yield world
    finally:
        world.end()


@pytest.fixture
def context() -> Iterator[zmq.Context[Any]]:
    context: zmq.Context[Any] = zmq.Context()
    yield context
    context.destroy(linger=0)  # sockets that a failed test left open, too
