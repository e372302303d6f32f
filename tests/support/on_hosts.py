"""Fixtures of tests that run on the login host of tests/testbed; their conftest.py imports them."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import testbed
from tests.support.waiting import eventually


def over_ssh(mpi: str, hosts: str) -> str:
    """What a user types to start ranks there."""
    if mpi == "mpich":
        return f"mpiexec.mpich -hosts {hosts} -n {hosts.count(',') + 1} -ppn 1"
    return f"mpiexec.openmpi --host {hosts} -n {hosts.count(',') + 1} --bind-to none"


@pytest.fixture(autouse=True)
def on_the_testbed() -> None:
    if not testbed.is_here():
        pytest.fail("run these with scripts/test hosts or cluster: they need the hosts of tests/testbed")


@pytest.fixture(autouse=True)
def nothing_is_left_on_any_node(on_the_testbed: None) -> Iterator[None]:
    yield
    for node in testbed.nodes():
        eventually(
            lambda node=node: not testbed.processes_on(node),
            f"{node} is clean",
            seen=lambda node=node: testbed.processes_on(node),
        )


@pytest.fixture(autouse=True)
def binding(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each host of the testbed has the same cores: Open MPI would bind the first rank of each to the same one."""
    for name in ("OMPI_ALLOW_RUN_AS_ROOT", "OMPI_ALLOW_RUN_AS_ROOT_CONFIRM"):
        monkeypatch.setenv(name, "1")
    monkeypatch.setenv("OMPI_MCA_hwloc_base_binding_policy", "none")


@pytest.fixture
def go(tmp_path: Path) -> Path:
    """Tasks that wait for it go on when it exists."""
    return tmp_path / "go"
