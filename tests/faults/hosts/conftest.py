"""Faults of hosts and of the network between them: only on the testbed's login host."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.support import testbed
from tests.support.on_hosts import binding, go, nothing_is_left_on_any_node, on_the_testbed

__all__ = ["binding", "go", "nothing_is_left_on_any_node", "on_the_testbed"]


@pytest.fixture
def all_nodes_up() -> Iterator[None]:
    """For tests that break one."""
    yield
    for node in testbed.nodes():
        testbed.hosts("boot", node)
