"""Finding xse-pool and its mpiexec, composing the line, and saying in one sentence what is wrong."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

import pytest

from xse import launch
from xse.errors import LaunchError, OptionError
from xse.launch import launchers
from xse.launch.keys import BlockKeys
from xse.launch.options import PoolOptions

MPICH = launch.Executable("/p/xse-pool", "1", "MPICH 4.0.2", "/p/bin/mpicc", launch.PYTHON)
OPENMPI_4 = launch.Executable("/p/xse-pool", "1", "Open MPI 4.1.4", "/p/bin/mpicc.openmpi", launch.PYTHON)
OPENMPI_5 = launch.Executable("/p/xse-pool", "1", "Open MPI 5.0.11", "/p/bin/mpicc", launch.PYTHON)


def program(path: Path, text: str) -> Path:
    """An executable script that prints ``text``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\ncat <<'END'\n{text}\nEND\n")
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def one_sentence(error: BaseException) -> str:
    text = str(error)
    assert "\n" not in text
    assert "Traceback" not in text
    return text


# ---- xse-pool


def test_a_missing_pool_is_told_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        launch.find_pool(str(tmp_path / "xse-pool"))
    assert "pip install" in one_sentence(caught.value)


def test_a_pool_for_another_python_is_told_with_both_versions(tmp_path: Path) -> None:
    fake = program(tmp_path / "xse-pool", "xse-pool 1\nmpi MPICH 4\nmpicc /p/mpicc\nzmq 4\npython 3.2")
    with pytest.raises(LaunchError) as caught:
        launch.find_pool(str(fake))
    text = one_sentence(caught.value)
    assert "built for Python 3.2" in text
    assert f"this is Python {launch.PYTHON}" in text


def test_a_pool_that_does_not_run_is_told(tmp_path: Path) -> None:
    fake = tmp_path / "xse-pool"
    fake.write_text("#!/bin/sh\necho 'libmpi.so.12: cannot open shared object file' >&2\nexit 127\n")
    fake.chmod(0o755)
    with pytest.raises(LaunchError) as caught:
        launch.find_pool(str(fake))
    assert "libmpi.so.12" in one_sentence(caught.value)


def test_the_environment_names_another_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = f"xse-pool 1\nmpi MPICH 4\nmpicc /p/mpicc\nzmq 4\npython {launch.PYTHON}"
    fake = program(tmp_path / "other", text)
    monkeypatch.setenv("XSE_POOL", str(fake))
    assert launch.find_pool().path == str(fake)


# ---- mpiexec


def test_the_mpiexec_beside_its_mpicc_is_taken_before_any_on_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = program(tmp_path / "mine/bin/mpiexec", "HYDRA build details")
    program(tmp_path / "other/bin/mpiexec", "HYDRA build details")
    monkeypatch.setenv("PATH", f"{tmp_path}/other/bin:/usr/bin:/bin")
    pool = launch.Executable("/p", "1", "MPICH 4", str(tmp_path / "mine/bin/mpicc"), launch.PYTHON)
    assert launch.find_mpiexec(pool) == str(mine)


def test_an_mpiexec_of_another_mpi_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "a/mpiexec", "mpiexec (OpenRTE) 4.1.4")
    right = program(tmp_path / "a/mpiexec.mpich", "HYDRA build details")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:/usr/bin:/bin")
    pool = launch.Executable("/p", "1", "MPICH 4", str(tmp_path / "a/mpicc"), launch.PYTHON)
    assert launch.find_mpiexec(pool) == str(right)


def test_no_mpiexec_is_told_with_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "a/mpiexec", "mpiexec (OpenRTE) 4.1.4")
    monkeypatch.setenv("PATH", f"{tmp_path}/a")
    with pytest.raises(LaunchError) as caught:
        launch.find_mpiexec(MPICH)
    text = one_sentence(caught.value)
    assert "no mpiexec for MPICH 4.0.2" in text
    assert f"{tmp_path}/a/mpiexec (of another MPI)" in text
    assert "apt-get install" in text


# ---- the line


def test_each_launcher_gets_its_own_flags(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launchers, "find_mpiexec", lambda pool: "mpiexec")
    monkeypatch.setattr(launchers.shutil, "which", lambda name: name)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    layout = launch.Layout(n_nodes=3, ranks_per_node=2)

    def line(name: str, pool: launch.Executable) -> str:
        return " ".join(launch.launcher(name, pool, layout))

    assert line("auto", MPICH) == "mpiexec -n 6 -ppn 2 -bind-to none"
    assert line("mpiexec", OPENMPI_4) == "mpiexec -n 6 --map-by ppr:2:node --oversubscribe --bind-to none"
    assert line("auto", OPENMPI_5) == "mpiexec -n 6 --map-by ppr:2:node:oversubscribe --bind-to none"
    srun = "srun --nodes=3 --ntasks=6 --ntasks-per-node=2 --mpi={} --cpu-bind=none --kill-on-bad-exit=1"
    assert line("srun", MPICH) == srun.format("pmi2")
    assert line("srun", OPENMPI_4) == srun.format("pmix")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    assert line("auto", OPENMPI_4).endswith("--allow-run-as-root")


def test_an_unknown_launcher_and_a_missing_srun_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError, match="auto, mpiexec, srun"):
        launch.launcher("tractor", MPICH, launch.Layout())
    monkeypatch.setattr(launchers.shutil, "which", lambda name: None)
    with pytest.raises(LaunchError, match="no srun on PATH"):
        launch.launcher("srun", MPICH, launch.Layout())


# ---- what pools are told


def test_a_connect_file_is_private_and_holds_the_options(tmp_path: Path) -> None:
    path = tmp_path / "c"
    options = PoolOptions(workers_per_rank=3, preload=("a", "b"), working_dir="/with space", debug=True)
    keys = BlockKeys("s" * 40, "p" * 40, "q" * 40)
    path.write_text("left by another")
    path.chmod(0o666)
    launch.write_connect_file(
        str(path), run="r", block="7", endpoints=["unix:///s", "tcp://h:1"], keys=keys, options=options
    )
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert path.read_text().splitlines() == [
        "xse-connect 1",
        "run r",
        "block 7",
        "endpoint unix:///s",
        "endpoint tcp://h:1",
        "option --workers-per-rank 3",
        "option --preload a,b",
        "option --working-dir /with space",
        "option --debug",
        f"server_key {'s' * 40}",
        f"public_key {'p' * 40}",
        f"secret_key {'q' * 40}",
    ]


def test_an_option_cannot_smuggle_a_line_in(tmp_path: Path) -> None:
    with pytest.raises(OptionError):
        launch.write_connect_file(
            str(tmp_path / "c"), run="r", block="", endpoints=[], keys=None, options=PoolOptions(path=("a\nblock 1",))
        )


def test_workers_get_the_scripts_own_path_entries_and_not_pythons(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    standard = [p for p in sys.path if p.startswith(sys.base_prefix) and p.endswith("lib-dynload")]
    monkeypatch.setattr(sys, "path", [str(tmp_path), *standard, "/no/such/directory", str(tmp_path)])
    assert launch.script_path() == (str(tmp_path),)
