"""Tests with a real Slurm: only on the testbed's login host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import testbed
from tests.support.on_hosts import binding, go, nothing_is_left_on_any_node, on_the_testbed
from tests.support.waiting import eventually

__all__ = ["binding", "go", "nothing_is_left_on_any_node", "on_the_testbed"]


@pytest.fixture
def all_nodes_up() -> Iterator[None]:
    """For tests that break one."""
    yield
    nodes = testbed.nodes()
    for node in nodes:
        testbed.slurm("boot", node)
    eventually(
        lambda: testbed.run(["sinfo", "-h", "-N", "-t", "idle", "-o", "%n"]).split() == nodes, "all nodes are idle", 120
    )
