"""Wrong arguments raise an error of one sentence."""

from __future__ import annotations

from typing import Any

import pytest

from xse import ExtremeScaleExecutor, LaunchError, OptionError, PoolExecutor


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"max_workers": 0}, "max_workers=0 is out of range"),
        ({"max_workers": -3}, "max_workers=-3 is out of range"),
        ({"max_workers": 2.5}, "max_workers must be a whole number, not 2.5"),
        ({"max_workers": "4"}, "max_workers must be a whole number, not '4'"),
        ({"max_workers": 3, "ranks": 2}, "cannot be shared evenly"),
        ({"ranks": 0}, "ranks=0 is out of range"),
        ({"initializer": 5}, "initializer must be a callable"),
        ({"heartbeat_period": 10, "heartbeat_threshold": 5}, "below heartbeat_threshold=5"),
        ({"start_timeout": 0}, "start_timeout=0 must be above 0"),
        ({"preload": "numpy"}, "preload must be a sequence of module names"),
        ({"mpi_launcher": "tractor"}, "auto, mpiexec, "),
        ({"port_range": (5, 5)}, "must be (low, high)"),
        ({"launch_cmd": "no-such-launcher -n 1"}, "no command 'no-such-launcher' on PATH"),
        ({"launch_cmd": "mpiexec 'n01"}, "is no command line: No closing quotation"),
    ],
)
def test_a_wrong_argument_of_pool_executor_is_reported(mpi: str, arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises((TypeError, OptionError, LaunchError)) as caught:
        PoolExecutor(**arguments)
    assert expected in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"heartbeat_period": 120}, "heartbeat_period=120 must be above 0 and below heartbeat_threshold=120"),
        ({"ranks_per_node": 0}, "ranks_per_node=0 must be at least 1"),
        ({"max_workers_per_node": 0}, "max_workers_per_node=0 must be at least 1"),
        ({"cores_per_worker": 0.0}, "cores_per_worker=0.0 must be above 0"),
        ({"worker_port_range": (55000, 54000)}, "must be (low, high)"),
        ({"worker_port": 70000}, "port 70000"),
        ({"cpu_affinity": "diagonal"}, "none, block, block-reverse, alternating"),
        ({"cpu_affinity": "list:0-x"}, "no list of cores"),
        ({"mpi_launcher": "tractor"}, "auto, mpiexec, "),
        ({"label": "my executor"}, "no spaces"),
        ({"prefetch_capacity": -1}, "prefetch_capacity=-1 must be at least 0"),
    ],
)
def test_a_wrong_value_of_the_parsl_executor_is_reported(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, any ValueError with these words
        ExtremeScaleExecutor(**arguments)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [{"label": 5}, {"ranks_per_node": "2"}, {"worker_ports": [1, 2]}, {"provider": 3}]
)
def test_a_wrong_type_of_the_parsl_executor_is_reported(arguments: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(arguments))) as caught:
        ExtremeScaleExecutor(**arguments)
    assert type(caught.value).__name__ == "TypeCheckError"
