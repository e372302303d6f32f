"""``xse doctor`` on a host on which nothing is wrong. What it says where something is: tests/faults/test_doctor.py."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from pathlib import Path

import pytest

from xse import launch

COMMAND = [str(Path(sys.executable).with_name("xse")), "doctor"]


def doctor(*options: str) -> list[str]:
    """Its lines. It must find nothing wrong, and no pool writes between them."""
    done = subprocess.run([*COMMAND, *options], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr) == (0, ""), done.stdout + done.stderr
    lines = done.stdout.splitlines()
    levels = ("ok ", "warning ", "- ")
    assert [line for line in lines[:-1] if not line.startswith(levels)] == []
    return lines


def test_a_task_is_answered_in_a_pool_that_it_starts(mpi: str) -> None:
    lines = doctor()
    pool = launch.find_pool()
    assert f"ok       xse-pool    {pool.version} for {pool.mpi}, {pool.path}" in lines
    reported = rf"ok       a task      was answered on {os.uname().nodename} in [0-9.]+ s, .* a unix socket"
    assert re.fullmatch(reported, lines[-2])


def test_with_an_address_its_pool_comes_by_encrypted_tcp(mpi: str, tmp_path: Path) -> None:
    lines = doctor("--address", "127.0.0.1", "--run-dir", str(tmp_path))
    assert lines[-2].endswith("its block connected by encrypted TCP at 127.0.0.1")
    assert not list(tmp_path.iterdir())


def test_with_a_launch_cmd_that_starts_its_pool(mpi: str, tmp_path: Path) -> None:
    pool = launch.find_pool()
    line = " ".join(launch.launcher("auto", pool, launch.Layout(ranks_per_node=2)))
    lines = doctor("--launch-cmd", f"env NOTE={tmp_path} {line}")
    assert f"ok       launcher    env NOTE={tmp_path} {line} (as given)" in lines
    assert lines[-2].startswith("ok       a task ")


def test_without_a_run_it_only_looks(any_mpi: str) -> None:
    assert doctor("--no-run")[-2] == "-        a task      not run (--no-run)"


def test_parsls_version_and_the_addresses_of_the_host_are_reported(any_mpi: str) -> None:
    lines = doctor("--no-run")
    assert any(re.fullmatch(r"ok       Parsl       [0-9.]+", line) for line in lines)
    assert any(re.match(r"\S+ +addresses +\S", line) for line in lines)


@pytest.mark.parametrize("no_color", ["", "1"])
def test_it_has_colours_on_a_terminal_unless_they_are_not_wanted(any_mpi: str, no_color: str) -> None:
    ours, theirs = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "NO_COLOR": no_color}
    with open(ours, "rb", 0) as terminal:
        with subprocess.Popen([*COMMAND, "--no-run"], stdout=theirs, env=environment) as process:
            os.close(theirs)
            said = b""
            try:
                while part := terminal.read(4096):
                    said += part
            except OSError:  # EIO: nobody has its other end open any more
                pass
        assert process.returncode == 0
    assert (b"\x1b[32mok" in said) is (no_color == "")
