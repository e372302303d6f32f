"""Pools at sites whose launchers are stand-ins (tests/support/stand_ins.py): each row of the table of launchers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.support.stand_ins import STAND_INS, site
from xse import BrokenPool, PoolExecutor
from xse.launch.launchers import LAUNCHERS


def environment() -> dict[str, str]:
    return dict(os.environ)


def test_each_launcher_of_the_table_has_a_stand_in() -> None:
    assert list(STAND_INS) == [row.name for row in LAUNCHERS]


@pytest.mark.parametrize("name", STAND_INS)
def test_a_pool_starts_by_the_launcher_that_is_there_and_tasks_see_nothing_of_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = site(name, tmp_path, monkeypatch)
    with PoolExecutor(2, ranks=2, start_timeout=30) as pool:
        seen = pool.submit(environment).result(40)
    (line,) = here.lines()
    assert line.startswith(here.launcher.program)
    assert not {variable for variable in here.launcher.exports if variable in seen}
    assert {variable: seen.get(variable) for variable in here.launcher.job} == here.launcher.job


@pytest.mark.parametrize("name", STAND_INS)
def test_words_of_the_users_are_added_to_the_line(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here = site(name, tmp_path, monkeypatch)
    with PoolExecutor(1, mpi_launcher_args=["--what-it-does-not-take"]) as pool, pytest.raises(BrokenPool) as caught:
        pool.submit(abs, 1).result(40)
    assert f"{here.launcher.program}: unrecognized option '--what-it-does-not-take'" in str(caught.value)


@pytest.mark.parametrize("name", STAND_INS)
def test_ranks_that_are_each_alone_are_reported_in_one_sentence_with_a_remedy(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site(name, tmp_path, monkeypatch)
    monkeypatch.setenv("STAND_IN_ALONE", "1")
    with PoolExecutor(4, ranks=2) as pool, pytest.raises(BrokenPool) as caught:
        pool.submit(abs, 1).result(40)
    text = str(caught.value)
    assert "does not speak the PMI of" in text
    assert "it has started 2 pools of one rank in place of one pool" in text
    assert ("mpi_launcher_args" if name in ("srun", "ccc_mprun") else "Start it with the mpiexec beside") in text
