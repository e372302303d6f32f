"""What a user may get wrong is told in one sentence."""

from __future__ import annotations

import os
import random
import shlex
import signal
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.support.waiting import eventually
from tests.unit import sample
from xse import BrokenPool, ExtremeScaleExecutor, LaunchError, OptionError, PoolExecutor, launch

# ---- arguments


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
        ({"mpi_launcher": "tractor"}, "auto, mpiexec, srun"),
        ({"port_range": (5, 5)}, "must be (low, high)"),
        ({"launch_cmd": "no-such-launcher -n 1"}, "no command 'no-such-launcher' on PATH"),
    ],
)
def test_a_wrong_argument_of_pool_executor_is_told(mpi: str, arguments: dict[str, Any], expected: str) -> None:
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
        ({"mpi_launcher": "tractor"}, "auto, mpiexec, srun"),
        ({"label": "my executor"}, "no spaces"),
        ({"prefetch_capacity": -1}, "prefetch_capacity=-1 must be at least 0"),
    ],
)
def test_a_wrong_value_of_the_parsl_executor_is_told(arguments: dict[str, Any], expected: str) -> None:
    with pytest.raises(ValueError) as caught:  # noqa: PT011, any ValueError with these words
        ExtremeScaleExecutor(**arguments)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    "arguments", [{"label": 5}, {"ranks_per_node": "2"}, {"worker_ports": [1, 2]}, {"provider": 3}]
)
def test_a_wrong_type_of_the_parsl_executor_is_told(arguments: dict[str, Any]) -> None:
    with pytest.raises(Exception, match=next(iter(arguments))) as caught:
        ExtremeScaleExecutor(**arguments)
    assert type(caught.value).__name__ == "TypeCheckError"


# ---- surroundings


def test_a_pool_that_cannot_start_is_told_by_the_future(mpi: str, tmp_path: Path) -> None:
    with PoolExecutor(1, preload=["no_such_module"]) as executor:
        with pytest.raises(BrokenPool) as caught:
            executor.submit(sample.double, 1).result()
        assert "cannot import 'no_such_module', which is to be preloaded" in str(caught.value)


def test_a_launcher_that_fails_is_told_by_the_future_with_its_last_words(mpi: str, tmp_path: Path) -> None:
    script = tmp_path / "broken-mpiexec"
    script.write_text("#!/bin/sh\necho 'no slots left' >&2\nexit 9\n")
    script.chmod(0o755)
    with PoolExecutor(1, launch_cmd=str(script)) as executor:
        with pytest.raises(BrokenPool, match="exit code 9 before it came up: no slots left"):
            executor.submit(sample.double, 1).result()
        with pytest.raises(BrokenPool):
            executor.submit(sample.double, 1)


def test_a_launcher_that_waits_for_ever_is_ended_and_told(mpi: str, tmp_path: Path) -> None:
    script = tmp_path / "patient-mpiexec"
    script.write_text("#!/bin/sh\necho 'waiting for node01' >&2\nexec sleep 1000\n")
    script.chmod(0o755)
    told = r"not come up after 1 s \(start_timeout\): waiting for node01"
    with PoolExecutor(1, launch_cmd=str(script), start_timeout=1) as executor, pytest.raises(BrokenPool, match=told):
        executor.submit(sample.double, 1).result(60)


def test_a_pool_whose_node_comes_back_goes_on(mpi: str, tmp_path: Path) -> None:
    """The first block works and is lost; the next two attempts fail; the third finds the node again."""
    script = tmp_path / "mpiexec"
    mpiexec = shlex.join(launch.launcher("auto", launch.find_pool(), launch.Layout(ranks_per_node=1)))
    lines = [
        "#!/bin/sh",
        f"echo >> {tmp_path}/starts",
        f"[ -e {tmp_path}/down ] && exit 255",
        f'exec {mpiexec} "$@"',
        "",
    ]
    script.write_text("\n".join(lines))
    script.chmod(0o755)
    with PoolExecutor(1, launch_cmd=str(script)) as executor:
        zygote = executor.submit(os.getppid).result(60)
        rank = int(Path(f"/proc/{zygote}/stat").read_text().rpartition(")")[2].split()[1])
        (tmp_path / "down").touch()
        os.kill(rank, signal.SIGKILL)
        eventually(lambda: (tmp_path / "starts").read_text().count("\n") >= 2, "another block was tried", 30)
        (tmp_path / "down").unlink()
        assert executor.submit(sample.double, 21).result(60) == 42


def test_a_working_directory_that_cannot_be_made_is_told(mpi: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with (
        PoolExecutor(1, working_dir=str(tmp_path / "file" / "below")) as executor,
        pytest.raises(BrokenPool, match="working_dir"),
    ):
        executor.submit(sample.double, 1).result()


@pytest.fixture
def two_taken_ports() -> Iterator[tuple[int, int]]:
    """Ports that lie beside each other and belong to somebody else."""
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


def test_an_exhausted_port_range_is_told(mpi: str, two_taken_ports: tuple[int, int], tmp_path: Path) -> None:
    low, high = two_taken_ports
    executor = ExtremeScaleExecutor(worker_port_range=two_taken_ports, address="127.0.0.1")
    executor.run_dir = str(tmp_path)
    with pytest.raises(LaunchError) as caught:
        executor.start()
    assert f"no free port from {low} to {high - 1} on 127.0.0.1" in str(caught.value)
    with (
        PoolExecutor(1, address="127.0.0.1", port_range=two_taken_ports) as pool,
        pytest.raises(LaunchError, match="no free port"),
    ):
        pool.submit(sample.double, 1).result()


def test_an_address_that_nobody_knows_is_told(mpi: str, tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor(address="no-such-host.invalid")
    executor.run_dir = str(tmp_path)
    with pytest.raises(LaunchError, match=r"address='no-such-host\.invalid' is not known here"):
        executor.start()
    with (
        PoolExecutor(1, address="no-such-host.invalid", run_dir=str(tmp_path)) as pool,
        pytest.raises(LaunchError, match="is not known here"),
    ):
        pool.submit(sample.double, 1).result()


def test_an_address_of_another_host_is_told(mpi: str, tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor(address="203.0.113.1")  # RFC 5737: nobody's
    executor.run_dir = str(tmp_path)
    with pytest.raises(
        LaunchError, match=r"cannot listen on tcp://203\.0\.113\.1:\d+: .* Is it an address of this host\?"
    ):
        executor.start()


def test_a_run_directory_with_a_space_is_told(mpi: str, tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor()
    executor.run_dir = str(tmp_path / "my runs")
    with pytest.raises(LaunchError, match="runs no script in a directory whose path has a space"):
        executor.start()


def test_a_pool_tries_as_long_as_address_probe_timeout_says(mpi: str, tmp_path: Path) -> None:
    """A second here; it would be 30 by default, which the limit of this test is below."""
    executor = ExtremeScaleExecutor(managed=False, address="127.0.0.1", address_probe_timeout=1, workers_per_rank=1)
    executor.run_dir = str(tmp_path)
    executor.start()
    executor.shutdown()
    with socket.create_server(("127.0.0.1", 0)) as silent:
        connect = tmp_path / "ExtremeScaleExecutor" / "blocks" / "pool.connect"
        lines = [line for line in connect.read_text().splitlines() if not line.startswith("endpoint")]
        connect.write_text("\n".join([*lines, f"endpoint tcp://127.0.0.1:{silent.getsockname()[1]}"]) + "\n")
        pool = launch.find_pool()
        command = [*launch.launcher("auto", pool, launch.Layout()), pool.path, "--connect", str(connect)]
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "cannot reach the interchange" in done.stderr
