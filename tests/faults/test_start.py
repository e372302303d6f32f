"""A worker (row 6) or a block (row 12) that cannot start: the error says why, and attempts are limited."""

from __future__ import annotations

import os
import shlex
import socket
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl import python_app
from parsl.jobs.states import JobState

from tests.support.broken import OTHERS, pool_that_says, program
from tests.support.executors import loaded
from tests.support.pools import pools
from tests.support.took import Took
from tests.unit import sample
from xse import BrokenPool, ExtremeScaleExecutor, LaunchError, PoolExecutor, launch


def mpiexec() -> str:
    """What starts a rank, for the shell."""
    return shlex.join(launch.launcher("auto", launch.find_pool(), launch.Layout()))


# ---- row 6: a worker cannot start


def without_its_library(directory: Path) -> dict[str, Any]:
    return {"launch_cmd": f"env PYTHONHOME={directory} {mpiexec()}"}


def without_what_xse_needs(directory: Path) -> dict[str, Any]:
    (directory / "_cffi_backend.py").write_text("raise ImportError('libffi.so.7: cannot open shared object file')")
    return {"launch_cmd": f"env PYTHONPATH={directory} {mpiexec()}"}


def with_nowhere_to_work(directory: Path) -> dict[str, Any]:
    (directory / "file").touch()
    return {"working_dir": str(directory / "file" / "below")}


def with_a_broken_preload(directory: Path) -> dict[str, Any]:
    del directory
    return {"preload": ["no_such_module"]}


def with_workers_that_exit(directory: Path) -> dict[str, Any]:
    def note_and_exit() -> None:
        with open(directory / "starts", "a") as file:
            file.write("start\n")
        os._exit(5)

    return {"initializer": note_and_exit}


@pytest.mark.row(6)
@pytest.mark.parametrize(
    ("how", "reported"),
    [
        (without_its_library, r"Python \(.*\) ended before it could import xse\.worker; .* See stderr"),
        (without_what_xse_needs, r"Python \(.*\) ended before .*; is xse installed in that environment\?"),
        (with_nowhere_to_work, r"cannot work in .*/file/below \(working_dir\): Not a directory"),
        (with_a_broken_preload, r"cannot import 'no_such_module', which is to be preloaded: ModuleNotFoundError"),
        (with_workers_that_exit, r"no worker can be started \(exit code 5\): it wrote nothing to stderr$"),
    ],
)
def test_a_pool_whose_workers_cannot_start_is_broken_for_a_reason_and_not_tried_again(
    mpi: str,
    how: Callable[[Path], dict[str, Any]],
    reported: str,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    took: Took,
) -> None:
    with PoolExecutor(1, **how(tmp_path)) as executor:
        with took("BrokenPool"), pytest.raises(BrokenPool, match=f"could not start: rank 0 on .*: {reported}"):
            executor.submit(sample.double, 1).result(60)
        with pytest.raises(BrokenPool, match=reported):
            executor.submit(sample.double, 1)
        assert len(executor._keeper.blocks) == 1
    if how is with_workers_that_exit:
        assert (tmp_path / "starts").read_text() == "start\n" * 3
    assert "*** Process received signal ***" not in capfd.readouterr().err, "mpiexec was disturbed while it ended"


@pytest.mark.row(6)
def test_an_initializer_that_raises_breaks_the_pool_with_its_exception(mpi: str, took: Took) -> None:
    def initialize() -> None:
        raise LookupError("no licence")

    with PoolExecutor(2, initializer=initialize) as executor:
        with took("BrokenPool"):
            futures = [executor.submit(sample.double, i) for i in range(10)]
            for future in futures:
                with pytest.raises(BrokenPool, match="no licence") as caught:
                    future.result(60)
        assert isinstance(caught.value.__cause__, LookupError)
        with pytest.raises(BrokenPool):
            executor.submit(sample.double, 1)


@pytest.mark.row(6)
def test_with_parsl_the_reason_is_in_the_future_and_in_the_status_of_the_block(any_mpi: str, tmp_path: Path) -> None:
    reported = "cannot import 'no_such_module', which is to be preloaded"
    with loaded(tmp_path, preload=["no_such_module"]) as executor:
        with pytest.raises(parsl.executors.errors.BadStateException, match=reported):
            python_app(sample.double)(1).result()
        assert executor.bad_state_is_set
        (status,) = executor.status().values()
        assert reported in (status.message or "")


# ---- row 12: a pool cannot start


@pytest.mark.row(12)
def test_a_pool_that_is_not_there_is_reported_with_what_to_do(
    any_mpi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: Took
) -> None:
    monkeypatch.setenv("XSE_POOL", str(tmp_path / "xse-pool"))
    reported = r"no xse-pool at .*/xse-pool: install xse .*pip install \."
    with took("LaunchError"), pytest.raises(LaunchError, match=reported):
        PoolExecutor(1)
    executor = ExtremeScaleExecutor()
    executor.run_dir = str(tmp_path)
    with took("LaunchError"), pytest.raises(LaunchError, match=reported):
        executor.start()
    executor.shutdown()


@pytest.mark.row(12)
def test_no_mpiexec_of_the_pools_mpi_is_reported_with_what_to_do(
    mpi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, took: Took
) -> None:
    real = launch.find_pool()
    monkeypatch.setenv("XSE_POOL", str(pool_that_says(tmp_path / "pool", real.mpicc, "/gone/bin/mpicc")))
    monkeypatch.setenv("PATH", str(tmp_path))
    reported = rf"no mpiexec for {real.mpi}, .*apt-get install .*load its module.* or give launch_cmd"
    with took("LaunchError"), pytest.raises(LaunchError, match=reported):
        PoolExecutor(1)
    executor = ExtremeScaleExecutor()
    executor.run_dir = str(tmp_path)
    with took("LaunchError"), pytest.raises(LaunchError, match=reported):
        executor.start()
    executor.shutdown()


@pytest.mark.row(12)
def test_the_mpiexec_of_another_mpi_is_reported_with_the_right_one(mpi: str, took: Took) -> None:
    if not {"mpich", "openmpi"} <= set(pools()):
        pytest.skip("needs both MPIs")
    real = launch.find_pool()
    reported = f"does not speak the PMI of {real.mpi}, .* Start it with the mpiexec beside {real.mpicc}$"
    with (
        PoolExecutor(2, ranks=2, launch_cmd=OTHERS[mpi]) as executor,
        took("BrokenPool"),
        pytest.raises(BrokenPool, match=reported),
    ):
        executor.submit(sample.double, 1).result(60)


@pytest.mark.row(12)
def test_a_launcher_that_fails_is_reported_by_the_future_with_its_last_words(any_mpi: str, tmp_path: Path) -> None:
    script = program(tmp_path / "broken-mpiexec", "echo 'no slots left' >&2", "exit 9")
    with PoolExecutor(1, launch_cmd=str(script)) as executor:
        with pytest.raises(BrokenPool, match="exit code 9 before it came up: no slots left"):
            executor.submit(sample.double, 1).result(60)
        with pytest.raises(BrokenPool):
            executor.submit(sample.double, 1)


@pytest.mark.row(12)
def test_a_launcher_that_waits_for_ever_is_ended_and_reported(any_mpi: str, tmp_path: Path, took: Took) -> None:
    script = program(tmp_path / "patient-mpiexec", "echo 'waiting for node01' >&2", "exec sleep 1000")
    reported = r"not come up after 1 s \(start_timeout\): waiting for node01"
    with (
        PoolExecutor(1, launch_cmd=str(script), start_timeout=1) as executor,
        took("BrokenPool", beyond=("start_timeout", 1)),
        pytest.raises(BrokenPool, match=reported),
    ):
        executor.submit(sample.double, 1).result(60)


@pytest.mark.row(12)
def test_a_block_that_never_connects_is_missing_and_parsl_tells_why(any_mpi: str, tmp_path: Path) -> None:
    with loaded(tmp_path, launch_cmd="echo the licence server is down >&2; exit 3; {connect}") as executor:
        with pytest.raises(parsl.executors.errors.BadStateException, match="licence server is down") as caught:
            python_app(sample.double)(1).result()
        assert "EXIT CODE: 3" in str(caught.value)
        assert executor.bad_state_is_set
        assert [status.state for status in executor.status().values()] == [JobState.MISSING]


def reported_by_both(directory: Path, **arguments: Any) -> list[str]:
    """By ExtremeScaleExecutor when it starts; by PoolExecutor's future."""
    executor = ExtremeScaleExecutor(**arguments)
    executor.run_dir = str(directory)
    with pytest.raises(LaunchError) as raised:
        executor.start()
    if "worker_port_range" in arguments:
        arguments["port_range"] = arguments.pop("worker_port_range")
    with PoolExecutor(1, **arguments, run_dir=str(directory)) as pool, pytest.raises(LaunchError) as reported:
        pool.submit(sample.double, 1).result(60)
    return [str(raised.value), str(reported.value)]


@pytest.mark.row(12)
def test_an_exhausted_port_range_is_reported(any_mpi: str, two_taken_ports: tuple[int, int], tmp_path: Path) -> None:
    low, high = two_taken_ports
    for reported in reported_by_both(tmp_path, address="127.0.0.1", worker_port_range=two_taken_ports):
        assert (
            f"no free port from {low} to {high - 1} on 127.0.0.1 (the last that was tried: cannot listen on" in reported
        )
        assert reported.endswith(": Address already in use). Give a wider range")
        assert "\n" not in reported


@pytest.mark.row(12)
def test_a_port_that_is_taken_is_reported(any_mpi: str, two_taken_ports: tuple[int, int], tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor(address="127.0.0.1", worker_port=two_taken_ports[0])
    executor.run_dir = str(tmp_path)
    with pytest.raises(LaunchError) as raised:
        executor.start()
    assert str(raised.value).endswith(
        f"cannot listen on tcp://127.0.0.1:{two_taken_ports[0]}: Address already in use. Give another port"
    )


@pytest.mark.row(12)
def test_an_address_that_nobody_knows_is_reported(any_mpi: str, tmp_path: Path) -> None:
    for reported in reported_by_both(tmp_path, address="no-such-host.invalid"):
        assert "address='no-such-host.invalid' is not known here" in reported
        assert "\n" not in reported


@pytest.mark.row(12)
def test_an_address_of_another_host_is_reported(any_mpi: str, tmp_path: Path) -> None:
    for reported in reported_by_both(tmp_path, address="203.0.113.1"):  # RFC 5737: nobody's
        assert "cannot listen on tcp://203.0.113.1:" in reported
        assert reported.endswith("Is it an address of this host?")
        assert "\n" not in reported


@pytest.mark.row(12)
def test_a_run_directory_with_a_space_is_reported(any_mpi: str, tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor()
    executor.run_dir = str(tmp_path / "my runs")
    with pytest.raises(LaunchError, match="runs no script in a directory whose path has a space"):
        executor.start()


@pytest.mark.row(12)
def test_a_pool_tries_as_long_as_address_probe_timeout_says(mpi: str, tmp_path: Path, took: Took) -> None:
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
        with took("the pool has ended", beyond=("address_probe_timeout", 1)):
            done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=20)
    assert done.returncode != 0
    assert "cannot reach the interchange" in done.stderr
