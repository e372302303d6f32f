"""Row 12, for who looks before: what ``xse doctor`` says of a fault is what an executor says of it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from tests.support.broken import OTHERS, pool_that_says, pool_without_a_library, program
from tests.support.disks import fill
from tests.support.pools import pools
from tests.unit import sample
from xse import PoolExecutor, XseError, launch
from xse.doctor.diagnosis import Level, line_of
from xse.doctor.look import Wishes, look

pytestmark = pytest.mark.row(12)

COMMAND = [str(Path(sys.executable).with_name("xse")), "doctor"]


@dataclass
class Fault:
    """A host on which something is wrong: for both, in their environment or arguments."""

    check: str
    environment: dict[str, str] = field(default_factory=dict)
    arguments: dict[str, Any] = field(default_factory=dict)


def options(arguments: dict[str, Any]) -> list[str]:
    """PoolExecutor's arguments as doctor's."""
    found = []
    for name, value in arguments.items():
        text = ":".join(map(str, value)) if isinstance(value, tuple) else str(value)
        found += ["--" + name.replace("_", "-"), text]
    return found


def reported_by_executor(fault: Fault) -> str:
    with (
        pytest.MonkeyPatch.context() as patch,
        pytest.raises(XseError) as caught,
    ):
        for name, value in fault.environment.items():
            patch.setenv(name, value)
        patch.setattr("tempfile.tempdir", None)  # TMPDIR is asked again
        with PoolExecutor(1, **fault.arguments) as executor:
            executor.submit(sample.double, 1).result(60)
    return str(caught.value)


def wrong_in(said: str) -> list[str]:
    """Lines that say so; what goes on in another line belongs to its first."""
    whole = re.sub(r"\n {21}", "\n ", said)
    return re.findall(r"^wrong .*(?:\n .*)*", whole, re.M)


def same(text: str) -> str:
    """But for what differs from run to run: a port of many, the name of a directory."""
    return re.sub(r":5\d{4}: |/pool-\w+/", "...", text.replace("\n ", "\n"))


# ---- faults


def a_pool_that_is_not_there(directory: Path) -> Fault:
    return Fault("xse-pool", {"XSE_POOL": str(directory / "xse-pool")})


def a_pool_whose_library_is_missing(directory: Path) -> Fault:
    return Fault("xse-pool", {"XSE_POOL": str(pool_without_a_library(directory / "xse-pool"))})


def pool_built_elsewhere(directory: Path) -> Path:
    return pool_that_says(directory / "pool", launch.find_pool().mpicc, "/gone/bin/mpicc")


def no_mpiexec(directory: Path) -> Fault:
    return Fault("launcher", {"XSE_POOL": str(pool_built_elsewhere(directory)), "PATH": str(directory)})


def the_mpiexec_of_another_mpi_alone(directory: Path) -> Fault:
    other = OTHERS[launch.flavour_of(launch.find_pool().mpi)].split()[0]
    (directory / "mpiexec").symlink_to(str(shutil.which(other)))
    return no_mpiexec(directory)


def a_launch_cmd_that_is_not_there(directory: Path) -> Fault:
    return Fault("launcher", {}, {"launch_cmd": str(directory / "srun") + " -n 2"})


def a_launch_cmd_of_another_mpi(directory: Path) -> Fault:
    return Fault("a task", {}, {"launch_cmd": OTHERS[launch.flavour_of(launch.find_pool().mpi)]})


def a_launcher_that_fails(directory: Path) -> Fault:
    script = program(directory / "mpiexec", "echo 'no slots left' >&2", "echo 'ask for more' >&2", "exit 9")
    return Fault("a task", {}, {"launch_cmd": str(script)})


def a_launcher_that_waits_for_ever(directory: Path) -> Fault:
    script = program(directory / "mpiexec", "echo 'waiting for node01' >&2", "exec sleep 1000")
    return Fault("a task", {}, {"launch_cmd": str(script), "start_timeout": 1})


def an_address_of_another_host(directory: Path) -> Fault:
    return Fault("a task", {}, {"address": "203.0.113.1", "run_dir": str(directory)})  # RFC 5737: nobody's


def an_address_that_nobody_knows(directory: Path) -> Fault:
    return Fault("a task", {}, {"address": "no-such-host.invalid", "run_dir": str(directory)})


def a_run_dir_that_cannot_be_written(directory: Path) -> Fault:
    (directory / "file").touch()
    return Fault("a task", {}, {"address": "127.0.0.1", "run_dir": str(directory / "file" / "below")})


@pytest.mark.parametrize(
    "break_it",
    [
        a_pool_that_is_not_there,
        a_pool_whose_library_is_missing,
        no_mpiexec,
        the_mpiexec_of_another_mpi_alone,
        a_launch_cmd_that_is_not_there,
        a_launch_cmd_of_another_mpi,
        a_launcher_that_fails,
        a_launcher_that_waits_for_ever,
        an_address_of_another_host,
        an_address_that_nobody_knows,
        a_run_dir_that_cannot_be_written,
    ],
)
def test_doctor_says_of_a_fault_what_an_executor_says_of_it(
    mpi: str, break_it: Callable[[Path], Fault], tmp_path: Path
) -> None:
    if "another_mpi" in break_it.__name__ and not {"mpich", "openmpi"} <= set(pools()):
        pytest.skip("needs both MPIs")
    assert_both_say_it(break_it(tmp_path))


def assert_both_say_it(fault: Fault) -> None:
    command = [*COMMAND, *options(fault.arguments)]
    done = subprocess.run(command, env={**os.environ, **fault.environment}, capture_output=True, text=True, timeout=60)
    (wrong,) = wrong_in(done.stdout)
    assert same(wrong) == same(f"wrong    {fault.check:<11} {reported_by_executor(fault)}")
    assert done.stdout.endswith("1 check says 'wrong'.\n")
    assert "Traceback" not in done.stderr
    assert done.returncode == 1


def test_doctor_says_of_an_exhausted_port_range_what_an_executor_says_of_it(
    any_mpi: str, two_taken_ports: tuple[int, int], tmp_path: Path
) -> None:
    low, _ = two_taken_ports
    arguments = {"address": "127.0.0.1", "run_dir": str(tmp_path), "port_range": (low, low + 1)}
    assert_both_say_it(Fault("a task", {}, arguments))


def test_doctor_says_of_a_full_run_directory_what_an_executor_says_of_it(
    any_mpi: str, mount: Callable[..., Path]
) -> None:
    disk = mount("tmpfs", "-o", "size=64k")
    fill(disk)
    assert_both_say_it(Fault("a task", {}, {"address": "127.0.0.1", "run_dir": str(disk)}))


def test_doctor_says_of_no_directory_for_sockets_what_an_executor_says_of_it(
    any_mpi: str, mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sockets = str(mount("bpf"))
    monkeypatch.setenv("XDG_RUNTIME_DIR", no_sockets)
    monkeypatch.setattr("tempfile.tempdir", no_sockets)
    monkeypatch.setattr("xse.launch.scratch.LAST_RESORT", no_sockets)
    with pytest.raises(XseError) as caught:
        PoolExecutor(1)
    lines = [line_of(fact) for fact in look(Wishes())]
    wrong = {line.check: line.text for line in lines if line.level is Level.WRONG}
    assert wrong == {"sockets": str(caught.value), "a task": str(caught.value)}


def test_doctor_says_of_a_pool_of_another_version_what_the_interchange_says_of_it(any_mpi: str, tmp_path: Path) -> None:
    from xse.version import VERSION, mismatch

    other = pool_that_says(tmp_path / "pool", f"xse-pool {VERSION}", "xse-pool 9.9.9")
    environment = {**os.environ, "XSE_POOL": str(other)}
    done = subprocess.run([*COMMAND, "--no-run"], env=environment, capture_output=True, text=True, timeout=60)
    assert wrong_in(done.stdout) == [f"wrong    xse-pool    {mismatch('9.9.9', VERSION)} ({other})"]
    assert done.returncode == 1
