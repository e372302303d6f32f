"""The job that a process runs in, read from what each scheduler sets; and the hosts that a user names."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from xse.errors import OptionError
from xse.launch import allocation
from xse.launch.allocation import Allocation, expand, hosts_of


@pytest.mark.parametrize(
    ("hostlist", "hosts"),
    [
        ("", []),
        ("node07", ["node07"]),
        ("node[08-10,12],login", ["node08", "node09", "node10", "node12", "login"]),
        ("r[1-2]n[1,3]", ["r1n1", "r1n3", "r2n1", "r2n3"]),
        ("a[1-2]-ib,b", ["a1-ib", "a2-ib", "b"]),
    ],
)
def test_a_hostlist_is_expanded(hostlist: str, hosts: list[str]) -> None:
    assert expand(hostlist) == hosts


def test_outside_of_a_job_there_is_no_allocation() -> None:
    assert allocation.find({"HOME": "/h"}) is None


def test_each_schedulers_job_tells_its_nodes_once_each(tmp_path: Path) -> None:
    nodes, slots = tmp_path / "nodes", tmp_path / "slots"
    nodes.write_text("a\na\nb\nb\n")
    slots.write_text("a 4 all.q@a UNDEFINED\nb 4 all.q@b UNDEFINED\n")
    jobs = {
        "Slurm": {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "[a-b]", "SLURM_NODELIST": "a"},
        "PBS": {"PBS_JOBID": "7", "PBS_NODEFILE": str(nodes)},
        "LSF": {"LSB_JOBID": "7", "LSB_MCPU_HOSTS": "a 4 b 4"},
        "Grid Engine": {"JOB_ID": "7", "PE_HOSTFILE": str(slots)},
        "PJM": {"PJM_JOBID": "7", "PJM_O_NODEINF": str(nodes)},
    }
    jobs["Slurm"]["SLURM_JOB_NODELIST"] = "a,b"
    assert {name: allocation.find(job) for name, job in jobs.items()} == {
        name: Allocation(name, "7", ("a", "b")) for name in jobs
    }


def test_flux_is_asked_for_its_nodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flux = tmp_path / "flux"
    flux.write_text('#!/bin/sh\n[ "$*" = "getattr hostlist" ] && echo "n[1-2]"\n')
    flux.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    assert allocation.find({"FLUX_URI": "local:///x"}) == Allocation("Flux", "local:///x", ("n1", "n2"))


def test_nodes_that_cannot_be_known_are_none() -> None:
    assert allocation.find({"SLURM_JOB_ID": "7"}) == Allocation("Slurm", "7", ())
    assert allocation.find({"PBS_JOBID": "7", "PBS_NODEFILE": "/no/such/file"}) == Allocation("PBS", "7", ())


def test_hosts_are_a_list_or_a_host_file(tmp_path: Path) -> None:
    assert hosts_of(["a", "b", "a"]) == ("a", "b")
    file = tmp_path / "hosts"
    file.write_text("# my workstations\na\nb:4\nc slots=8  # the large one\n\nfe80::1\n")
    assert hosts_of(str(file)) == ("a", "b", "c", "fe80::1")


@pytest.mark.parametrize(
    ("value", "reported"),
    [
        ("a,b", "is read as the path of a host file"),
        ([], "names no host"),
        (["a,b"], "no name of a host"),
        (["--x"], "no name of a host"),
        ([3], "must be a list of names"),
    ],
)
def test_hosts_that_are_none_are_reported(value: object, reported: str) -> None:
    with pytest.raises(OptionError, match=reported):
        hosts_of(value)  # type: ignore[arg-type]


def test_a_host_is_this_one_by_any_of_its_names() -> None:
    mine = socket.gethostname().partition(".")[0]
    assert all(allocation.is_here(name) for name in (mine, f"{mine}.domain.org", "localhost"))
    assert not allocation.is_here(f"{mine}-other")


def test_each_scheduler_has_a_line_that_asks_for_nodes() -> None:
    assert allocation.REMEDIES.keys() == allocation.SCHEDULERS.keys()
    assert "--nodes=4" in allocation.remedy("Slurm", 4, 1)
    assert allocation.remedy(None, 4, 1) == ""
