"""What tests of faults share, beside tests/conftest.py."""

from __future__ import annotations

from collections.abc import Iterator
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
