"""Where the ranks of a pool run: this host, the nodes of a job, or hosts that the user names."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import pytest

from xse.errors import OptionError
from xse.launch.launchers import LAUNCHERS, Choice, Layout
from xse.launch.placement import Placement, find

HERE = os.uname().nodename
SLURM = {"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": f"{HERE},b,c,d"}


def place(environment: dict[str, str], **options: Any) -> Placement:
    given = dict.fromkeys(("ranks", "nodes", "max_workers", "hosts", "launch_cmd"))
    return find(**{**given, "mpi_launcher": "auto", **options}, environment=environment)


def test_outside_of_a_job_a_pool_is_on_this_host() -> None:
    assert place({}) == Placement(1, 1)
    assert place({}, ranks=3) == Placement(1, 3)


def test_in_a_job_a_pool_has_all_nodes_with_one_rank_on_each() -> None:
    assert place(SLURM) == Placement(4, 1, (HERE, "b", "c", "d"), scheduler="Slurm", beyond=True)
    assert place(SLURM, ranks=8).ranks_per_node == 2


def test_in_a_job_whose_nodes_are_not_known_a_pool_is_on_this_host() -> None:
    assert place({"SLURM_JOB_ID": "7"}, ranks=2) == Placement(1, 2, scheduler="Slurm")


def test_fewer_ranks_than_nodes_are_on_so_many_nodes() -> None:
    assert place(SLURM, ranks=1) == Placement(1, 1, (HERE,), named=True, scheduler="Slurm")
    assert place(SLURM, ranks=2) == Placement(2, 1, (HERE, "b"), named=True, scheduler="Slurm", beyond=True)


def test_workers_are_on_as_many_nodes_as_can_share_them_evenly() -> None:
    assert [place(SLURM, max_workers=n).n_nodes for n in (1, 2, 5, 6, 8)] == [1, 2, 1, 2, 4]


def test_a_job_on_another_host_than_the_scripts_is_beyond_it() -> None:
    assert place({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "other"}).beyond


def test_nodes_say_how_many_of_the_job() -> None:
    assert place(SLURM, nodes=2) == Placement(2, 1, (HERE, "b"), named=True, scheduler="Slurm", beyond=True)
    assert place(SLURM, nodes=2, ranks=4).ranks_per_node == 2


def test_hosts_are_named_by_the_user(tmp_path: Path) -> None:
    assert place({}, hosts=["a", "b"]) == Placement(2, 1, ("a", "b"), named=True, beyond=True)
    file = tmp_path / "hosts"
    file.write_text("a\nb slots=4\n")
    assert place({}, hosts=str(file), ranks=4) == Placement(2, 2, ("a", "b"), named=True, beyond=True)
    assert not place({}, hosts=["localhost"]).beyond


def test_srun_outside_of_a_job_asks_for_one() -> None:
    assert place({}, mpi_launcher="srun", nodes=4) == Placement(4, 1, beyond=True)


def test_with_a_launch_cmd_the_options_say_what_is_expected() -> None:
    assert place(SLURM, launch_cmd="mpiexec -n 4", nodes=4) == Placement(4, 1, scheduler="Slurm", beyond=True)
    assert place(SLURM, launch_cmd="mpiexec") == Placement(1, 1, scheduler="Slurm")


@pytest.mark.parametrize(
    ("environment", "options", "reported"),
    [
        (SLURM, {"ranks": 6}, "ranks=6 cannot be shared evenly by 4 nodes"),
        (SLURM, {"nodes": 5}, "nodes=5, and this job of Slurm has 4: ask for salloc or sbatch with --nodes=5"),
        ({}, {"nodes": 2}, "this is no job that has nodes"),
        ({}, {"nodes": 3, "hosts": ["a", "b"]}, "nodes=3, and hosts= names 2"),
        ({}, {"hosts": ["a"], "launch_cmd": "mpiexec"}, "name the hosts in launch_cmd"),
    ],
)
def test_what_cannot_be_is_reported(environment: dict[str, str], options: dict[str, Any], reported: str) -> None:
    with pytest.raises(OptionError, match=reported):
        place(environment, **options)


def test_a_launcher_is_reported_the_hosts_that_it_does_not_find_by_itself() -> None:
    rows = {row.name: Choice(row, "p", "") for row in LAUNCHERS}
    grid_engine = Placement(2, 1, ("a", "b"), scheduler="Grid Engine", beyond=True)
    assert grid_engine.layout(rows["hydra"]) == Layout(2, 1)
    assert grid_engine.layout(rows["openmpi5"]) == Layout(2, 1, ("a", "b"))
    assert place({}, hosts=["a", "b"]).layout(rows["hydra"]) == Layout(2, 1, ("a", "b"))
    assert place(SLURM).on(["b", "c"]).layout(rows["srun"]) == Layout(2, 1, ("b", "c"))


@pytest.mark.parametrize(
    ("hosts", "n_workers", "asked", "reported"),
    [
        (["a", "b"], 8, 8, None),
        (["a", "b"], 8, None, None),
        (["a", "b"], 7, 8, "7 workers came up, and 8 were asked for"),
        (["a", "a"], 8, 8, r"1 node \(a\) came up, and 2 were asked for: ask for a job with .*--nodes=2"),
        (["a"], 4, 8, r"1 node \(a\) came up, and 2 were asked for"),
    ],
)
def test_what_came_up_is_compared_with_what_was_asked(
    hosts: list[str], n_workers: int, asked: int | None, reported: str | None
) -> None:
    found = Placement(2, 1, ("a", "b"), scheduler="Slurm").shortfall(hosts, n_workers, asked)
    if reported is None:
        assert found is None
    else:
        assert found is not None
        assert re.match(reported, found)
