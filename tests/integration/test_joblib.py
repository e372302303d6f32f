"""joblib's loops, which scikit-learn's are, in a pool."""

from __future__ import annotations

import math
from collections.abc import Iterator

import joblib
import pytest

import xse.joblib
from tests.unit import sample
from xse import PoolExecutor


@pytest.fixture(scope="module")
def registered(mpi: str) -> Iterator[PoolExecutor]:
    xse.joblib.register()
    with PoolExecutor(2) as pool:
        yield pool


def test_a_loop_runs_in_a_given_pool_and_again_after_a_call_has_raised(registered: PoolExecutor) -> None:
    with joblib.parallel_config("xse", executor=registered):
        for _ in range(2):
            roots = joblib.Parallel()(joblib.delayed(math.sqrt)(i) for i in range(300))
            assert roots == [math.sqrt(i) for i in range(300)]
            with pytest.raises(ZeroDivisionError):
                joblib.Parallel()(joblib.delayed(sample.reciprocal)(i) for i in range(5))
    assert registered.submit(abs, -1).result() == 1, "the user's own pool goes on"


def test_a_loop_starts_a_pool_of_its_own_and_replaces_it_after_a_call_has_raised(mpi: str) -> None:
    xse.joblib.register()
    try:
        with joblib.parallel_config("xse", n_jobs=2):
            assert joblib.Parallel()(joblib.delayed(sample.double)(i) for i in range(3)) == [0, 2, 4]
            first = xse.joblib._pools[2]
            assert joblib.Parallel()(joblib.delayed(sample.double)(i) for i in range(3)) == [0, 2, 4]
            assert xse.joblib._pools[2] is first
            with pytest.raises(ZeroDivisionError):
                joblib.Parallel()(joblib.delayed(sample.reciprocal)(i) for i in range(5))
            assert first.closed
            assert joblib.Parallel()(joblib.delayed(sample.double)(i) for i in range(3)) == [0, 2, 4]
    finally:
        for pool in xse.joblib._pools.values():
            pool.shutdown()
        xse.joblib._pools.clear()
