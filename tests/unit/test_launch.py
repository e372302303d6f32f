"""Finding xse-pool and its mpiexec, composing the line, and saying in one sentence what is wrong."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest

from xse import launch
from xse.errors import LaunchError, OptionError
from xse.launch import allocation, launchers
from xse.launch.keys import BlockKeys
from xse.launch.launchers import BLOCK_ENVIRONMENT, LAUNCHERS, Choice, Launcher, recognise
from xse.launch.options import PoolOptions
from xse.worker import entry, environment

MPICH = launch.Executable("/p/xse-pool", "1", "MPICH 4.0.2", "/p/bin/mpicc")
OPENMPI_4 = launch.Executable("/p/xse-pool", "1", "Open MPI 4.1.4", "/p/bin/mpicc.openmpi")
OPENMPI_5 = launch.Executable("/p/xse-pool", "1", "Open MPI 5.0.11", "/p/bin/mpicc")


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


def test_a_missing_pool_is_reported_with_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(LaunchError) as caught:
        launch.find_pool(str(tmp_path / "xse-pool"))
    assert "pip install" in one_sentence(caught.value)


def test_a_pool_that_does_not_run_is_reported(tmp_path: Path) -> None:
    fake = tmp_path / "xse-pool"
    fake.write_text("#!/bin/sh\necho 'libmpi.so.12: cannot open shared object file' >&2\nexit 127\n")
    fake.chmod(0o755)
    with pytest.raises(LaunchError) as caught:
        launch.find_pool(str(fake))
    assert "libmpi.so.12" in one_sentence(caught.value)


def test_the_environment_names_another_pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = "xse-pool 1\nmpi MPICH 4\nmpicc /p/mpicc\nzmq 4"
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
    pool = launch.Executable("/p", "1", "MPICH 4", str(tmp_path / "mine/bin/mpicc"))
    assert launch.find_mpiexec(pool) == str(mine)


def test_an_mpiexec_of_another_mpi_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "a/mpiexec", "mpiexec (OpenRTE) 4.1.4")
    right = program(tmp_path / "a/mpiexec.mpich", "HYDRA build details")
    monkeypatch.setenv("PATH", f"{tmp_path}/a:/usr/bin:/bin")
    pool = launch.Executable("/p", "1", "MPICH 4", str(tmp_path / "a/mpicc"))
    assert launch.find_mpiexec(pool) == str(right)


def test_no_mpiexec_is_reported_with_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "a/mpiexec", "mpiexec (OpenRTE) 4.1.4")
    monkeypatch.setattr(launchers, "recognise", lambda path: next(r for r in LAUNCHERS if r.name == "openmpi4"))
    monkeypatch.setenv("PATH", f"{tmp_path}/a")
    with pytest.raises(LaunchError) as caught:
        launch.find_mpiexec(MPICH)
    text = one_sentence(caught.value)
    assert "no mpiexec for MPICH 4.0.2" in text
    assert f"{tmp_path}/a/mpiexec (Open MPI 4's mpiexec: of another MPI)" in text
    assert "apt-get install" in text


# ---- the line


#: The line of each row of the table: three nodes with two ranks each, first without and then with names of hosts.
LINES = {
    "hydra": ("-n 6 -ppn 2 -bind-to none", "-hosts a,b,c"),
    "intel": ("-n 6 -ppn 2", "-hosts a,b,c"),
    "mvapich": ("-n 6 -ppn 2 -bind-to none", "-hosts a,b,c"),
    "pals": ("-n 6 --ppn 2 --cpu-bind none", "--hosts a,b,c"),
    "openmpi5": ("-n 6 --map-by ppr:2:node:oversubscribe --bind-to none", "--host a:2,b:2,c:2"),
    "openmpi4": ("-n 6 --map-by ppr:2:node --oversubscribe --bind-to none", "--host a:2,b:2,c:2"),
    "parastation": ("-n 6 -ppn 2", None),
    "fujitsu": ("-n 6", None),
    "ibrun": ("", None),
    "ccc_mprun": ("-n 6 -N 3 -E --cpu-bind=none", None),
    "srun": (
        "--nodes=3 --ntasks=6 --ntasks-per-node=2 --cpu-bind=none --kill-on-bad-exit=1 --overlap",
        "--nodelist=a,b,c",
    ),
    "flux": ("run -N 3 -n 6 --exclusive", "--requires=hosts:a,b,c"),
    "jsrun": ("-n 3 -r 1 -a 2 -c ALL_CPUS -g ALL_GPUS -b none", None),
    "aprun": ("-n 6 -N 2 -cc none", "-L a,b,c"),
}


@pytest.mark.parametrize("row", LAUNCHERS, ids=lambda row: row.name)
def test_each_launcher_gets_its_own_words(row: Launcher, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    line, hosts = LINES[row.name]
    choice = Choice(row, "program", "")
    assert " ".join(choice.words(launch.Layout(3, 2))) == f"program {line}".strip()
    assert choice.words(launch.Layout(3, 2), ["-x", "a b"])[-2:] == ["-x", "a b"]
    if hosts:
        assert " ".join(choice.words(launch.Layout(3, 2, ("a", "b", "c")))) == f"program {line} {hosts}"
    else:
        with pytest.raises(LaunchError, match="takes no list of hosts"):
            choice.words(launch.Layout(3, 2, ("a", "b", "c")))


def test_root_may_start_ranks_by_open_mpi(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    asked = {row.name for row in LAUNCHERS if "--allow-run-as-root" in Choice(row, "p", "").words(launch.Layout())}
    assert asked == {"openmpi4", "openmpi5"}


def test_srun_of_old_is_not_given_words_that_it_does_not_know(tmp_path: Path) -> None:
    row = next(row for row in LAUNCHERS if row.name == "srun")
    for version, overlaps in (("slurm 20.02.7", False), ("slurm 20.11.0", True), ("slurm-wlm 22.05.8", True)):
        srun = program(tmp_path / version / "srun", version)
        assert ("--overlap" in Choice(row, str(srun), "").words(launch.Layout())) is overlaps


#: What --version prints.
VERSIONS = {
    "HYDRA build details:\n    Version:                                 4.0.2": "hydra",
    "Intel(R) MPI Library for Linux* OS, Version 2021.19 Build 20260101": "intel",
    "mpiexec version 1.8.0 revision 0123abc": "pals",
    "mpiexec (OpenRTE) 4.1.4": "openmpi4",
    "mpiexec (Open MPI) 5.0.11": "openmpi5",
    "prterun (PRRTE) 3.0.11": "openmpi5",
    "tractor 7": None,
}


@pytest.mark.parametrize("version", VERSIONS)
def test_an_mpiexec_is_known_by_what_it_says_of_itself(version: str, tmp_path: Path) -> None:
    row = recognise(str(program(tmp_path / "mpiexec", version)))
    assert (row.name if row else None) == VERSIONS[version]


@pytest.mark.parametrize(
    ("library", "flavour"),
    [
        ("MPICH 5.0.0", "mpich"),
        ("CRAY MPICH version 8.1.31.9 (ANL base 3.4a2)", "mpich"),
        ("Intel(R) MPI Library 2021.19 for Linux* OS", "mpich"),
        ("MVAPICH2 Version : 2.3.7", "mpich"),
        ("Open MPI 5.0.11", "openmpi"),
        ("IBM Spectrum MPI 10.4", "openmpi"),
        ("FUJITSU MPI Library 4.0.0", "openmpi"),
    ],
)
def test_an_mpi_is_of_one_of_two_kinds(library: str, flavour: str) -> None:
    assert launch.flavour_of(library) == flavour


@pytest.mark.parametrize(
    ("job", "there", "chosen"),
    [
        ({"SLURM_JOB_ID": "7"}, ["srun"], "srun"),
        ({"SLURM_JOB_ID": "7"}, ["srun", "ibrun"], "ibrun"),
        ({"SLURM_JOB_ID": "7", "FLUX_URI": "x"}, ["srun", "flux"], "flux"),
        ({"LSB_JOBID": "7"}, ["jsrun", "srun"], "jsrun"),
        ({"PBS_JOBID": "7"}, ["aprun"], "aprun"),
    ],
)
def test_without_an_mpiexec_the_launcher_of_the_job_is_taken_and_the_log_says_why(
    job: dict[str, str],
    there: list[str],
    chosen: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for variable in allocation.SCHEDULERS.values():
        monkeypatch.delenv(variable, raising=False)
    for name, value in job.items():
        monkeypatch.setenv(name, value)
    for name in there:
        program(tmp_path / name, "1.2")
    monkeypatch.setenv("PATH", str(tmp_path))
    with caplog.at_level("INFO"):
        choice = launch.choose("auto", MPICH)
    assert choice.launcher.name == chosen
    assert "there is no mpiexec for MPICH 4.0.2" in choice.why
    assert f"launcher_chosen launcher={chosen}" in caplog.text


def test_the_pools_own_mpiexec_is_taken_before_the_launcher_of_the_job(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(tmp_path / "srun", "slurm 24.11")
    mpiexec = program(tmp_path / "mpiexec", "HYDRA build details")
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin")
    monkeypatch.setattr(launchers, "recognise", lambda path: LAUNCHERS[0] if path == str(mpiexec) else None)
    monkeypatch.setenv("SLURM_JOB_ID", "7")
    assert launch.choose("mpiexec", MPICH).program == launch.choose("auto", MPICH).program == str(mpiexec)


def test_an_unknown_launcher_and_a_missing_one_are_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(LaunchError, match=f"there are {', '.join(launch.NAMES)}"):
        launch.launcher("tractor", MPICH, launch.Layout())
    monkeypatch.setattr(launchers.shutil, "which", lambda name: None)
    with pytest.raises(LaunchError, match="no srun on PATH"):
        launch.launcher("srun", MPICH, launch.Layout())


def test_words_of_the_users_are_a_text_or_a_list() -> None:
    assert launch.launcher_args(None) == []
    assert launch.launcher_args("-A 'my project' --no-vni") == ["-A", "my project", "--no-vni"]
    assert launch.launcher_args(["-A", "my project"]) == ["-A", "my project"]
    for wrong in ("-A 'my project", ["-n", 3]):
        with pytest.raises(OptionError, match="mpi_launcher_args"):
            launch.launcher_args(wrong)  # type: ignore[arg-type]


# ---- the environment


def test_what_a_launcher_around_the_script_has_set_is_not_handed_on() -> None:
    around = {"PMI_RANK": "0", "OMPI_COMM_WORLD_SIZE": "1", "SLURM_STEP_ID": "3", "PALS_RANKID": "0"}
    users = {"OMPI_MCA_btl": "self,vader", "SLURM_JOB_ID": "7", "I_MPI_FABRICS": "shm", "HOME": "/h"}
    assert launch.outside({**around, **users}) == users


def test_an_mpis_own_pinning_is_switched_off_unless_the_user_has_set_it() -> None:
    assert launch.for_launcher({}, one_host=False)["I_MPI_PIN"] == "off"
    assert launch.for_launcher({"I_MPI_PIN": "on"}, one_host=False)["I_MPI_PIN"] == "on"


def test_open_mpi_looks_for_no_network_cards_where_all_ranks_are_on_one_host() -> None:
    assert launch.for_launcher({}, one_host=True)["OMPI_MCA_pml"] == "ob1"
    assert launch.for_launcher({"OMPI_MCA_pml": "ucx"}, one_host=True)["OMPI_MCA_pml"] == "ucx"
    assert "OMPI_MCA_pml" not in launch.for_launcher({}, one_host=False)


def test_a_batch_script_does_the_same(tmp_path: Path) -> None:
    record = tmp_path / "with space" / "environment"
    record.parent.mkdir()
    script = launch.in_a_script(str(record)) + "env -0"
    given = {"PATH": os.environ["PATH"], "MV2_ENABLE_AFFINITY": "1", "TEXT": "of\ntwo lines"}
    done = subprocess.run(["sh", "-c", script], env=given, capture_output=True, check=True)
    seen = tmp_path / "seen"
    seen.write_bytes(done.stdout)
    now, before = environment.read(str(seen)), environment.read(str(record))
    assert {name: before.get(name) for name in given} == given
    assert not before.keys() & {"I_MPI_PIN", "OMPI_ALLOW_RUN_AS_ROOT"}
    assert {name: now.get(name) for name in BLOCK_ENVIRONMENT} == {**BLOCK_ENVIRONMENT, "MV2_ENABLE_AFFINITY": "1"}
    assert stat.S_IMODE(record.stat().st_mode) == 0o600


def test_a_worker_gets_back_what_a_launcher_has_changed_and_keeps_the_rest(tmp_path: Path) -> None:
    record = tmp_path / "environment"
    launch.write_record(str(record), {"OMPI_MCA_btl": "self", "PATH": "/a", "GONE": "1", "SLURM_NTASKS": "4"})
    rank = {"OMPI_MCA_btl": "tcp", "OMPI_COMM_WORLD_RANK": "1", "PATH": "/module:/a", "NOTE": "x", "SLURM_NTASKS": "1"}
    environment.restore(rank, str(record), launch.VARIABLES)
    assert rank == {"OMPI_MCA_btl": "self", "PATH": "/module:/a", "NOTE": "x", "SLURM_NTASKS": "4"}


def test_a_worker_gets_back_its_paths_where_the_line_is_ours(tmp_path: Path) -> None:
    record = tmp_path / "environment"
    launch.write_record(str(record), {"PATH": "/a", "PATHS_OF_MINE": "/b"})
    rank = {"PATH": "/mpi:/a", "LD_LIBRARY_PATH": "/mpi", "PATHS_OF_MINE": "/c"}
    environment.restore(rank, str(record), launch.PATHS)
    assert rank == {"PATH": "/a", "PATHS_OF_MINE": "/c"}
    environment.restore(rank, "/no/such/file", launch.PATHS)
    assert rank == {"PATH": "/a", "PATHS_OF_MINE": "/c"}


def test_a_worker_of_a_pool_that_was_started_by_hand_has_nothing_of_the_launcher() -> None:
    rank = {"PMI_RANK": "1", "HOME": "/h"}
    environment.restore(rank, "/no/such/file", launch.VARIABLES)
    assert rank == {"HOME": "/h"}


# ---- the options of xse-pool


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
            str(tmp_path / "c"),
            run="r",
            block="",
            endpoints=[],
            keys=None,
            options=PoolOptions(working_dir="a\nblock 1"),
        )


def test_an_entry_of_the_path_comes_out_as_it_was_whatever_its_name(tmp_path: Path) -> None:
    entries = ("/a:b", "/50%", "/line\nbreak", os.fsdecode(b"/donn\xe9es"), "/übung", "/plain dir")
    options = PoolOptions(path=entries)
    launch.write_connect_file(str(tmp_path / "c"), run="r", block="", endpoints=[], keys=None, options=options)
    (line,) = [line for line in (tmp_path / "c").read_text("ascii").splitlines() if line.startswith("option --path ")]
    assert tuple(entry.unquoted(e) for e in line.removeprefix("option --path ").split(":")) == entries
