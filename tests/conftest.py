"""What holds for all tests: the pools they run on, and that nothing is left behind."""

from __future__ import annotations

import signal
from collections.abc import Iterator

import pytest

from tests.support.pools import pools
from tests.support.processes import mark_what_is_started, ours, ours_but
from tests.support.waiting import eventually

mark_what_is_started()
# A shell starts what is to run behind it with SIGINT ignored, and scripts of tests would inherit that.
signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """A test that asks for ``mpi`` runs once with each."""
    if "mpi" in metafunc.fixturenames:
        metafunc.parametrize("mpi", sorted(pools()), indirect=True, scope="module")


@pytest.fixture(scope="module")
def mpi(request: pytest.FixtureRequest) -> Iterator[str]:
    """The MPI that pools are built with and launched by in this test."""
    name: str = request.param
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSE_POOL", pools()[name])
        yield name


@pytest.fixture(scope="module")
def any_mpi() -> Iterator[str]:
    """For what lies before MPI: pools of one MPI, whichever."""
    name = sorted(pools())[0]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XSE_POOL", pools()[name])
        yield name


@pytest.fixture(autouse=True, scope="module")
def nothing_is_left() -> Iterator[None]:
    """After the tests of a file every process they started is gone."""
    before = {p.pid for p in ours()}
    yield
    eventually(lambda: not ours_but(before), "nothing is left running", seen=lambda: ours_but(before))
