"""Row 18: a disk that takes no more costs what needs it, and nothing else; and what disks and paths a site may have."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support.disks import fill
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ExtremeScaleExecutor, LaunchError, OptionError, PoolExecutor
from xse.launch.scratch import make_scratch

pytestmark = pytest.mark.row(18)


def test_a_disk_that_fills_up_while_tasks_run_stops_the_logs_and_is_reported_once_by_each_writer(
    mpi: str, mount: Callable[..., Path], capfd: pytest.CaptureFixture[str], took: Took
) -> None:
    disk = mount("tmpfs", "-o", "size=1m")
    with PoolExecutor(2, ranks=2, log_dir=str(disk), debug=True) as pool:
        assert list(pool.map(sample.double, range(10))) == [2 * i for i in range(10)]
        assert list(disk.rglob("manager.log"))
        capfd.readouterr()
        said = [0]

        def reported() -> int:
            said[0] += capfd.readouterr().err.count("No space left on device")
            return said[0]

        fill(disk)
        with took("reported"):
            assert list(pool.map(sample.double, range(1000))) == [2 * i for i in range(1000)]
            eventually(reported, "somebody who logs tells of it")
        assert list(pool.map(sample.double, range(2000))) == [2 * i for i in range(2000)]
        with PoolExecutor(1, log_dir=str(disk)) as another:  # and one that finds it full
            assert another.submit(sample.double, 4).result(60) == 8
        eventually(lambda: reported() >= 2, "both pools' ranks 0 tell of it", seen=reported)
    out, err = capfd.readouterr()
    assert reported() + err.count("No space left on device") <= 4  # two pools, each an interchange and a rank 0
    assert "Traceback" not in out + err


@pytest.mark.parametrize("where", ["a directory below a file", "a disk that is read only"])
def test_a_log_directory_that_cannot_be_written_costs_the_logs_alone(
    mpi: str, where: str, tmp_path: Path, request: pytest.FixtureRequest, capfd: pytest.CaptureFixture[str]
) -> None:
    if where == "a directory below a file":
        (tmp_path / "file").touch()
        log_dir = tmp_path / "file" / "logs"
    else:
        log_dir = request.getfixturevalue("mount")("tmpfs", "-o", "ro")
    with PoolExecutor(1, log_dir=str(log_dir)) as pool:
        assert pool.submit(sample.double, 4).result(60) == 8
    said = capfd.readouterr().err
    assert said.count("no log is written in") == 1
    assert said.count("log_not_written") == 1


def test_a_run_directory_on_a_full_disk_is_reported_in_a_sentence(any_mpi: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    executor = ExtremeScaleExecutor()
    executor.run_dir = str(tmp_path / "file" / "runs")
    with pytest.raises(LaunchError, match=r"which cannot be made \(Not a directory\): give Config\(run_dir=") as caught:
        executor.start()
    assert "\n" not in str(caught.value)


def test_a_run_directory_with_a_long_path_works_and_holds_no_socket(mpi: str, tmp_path: Path) -> None:
    run_dir = tmp_path / ("a" * 100) / ("b" * 100)
    executor = ExtremeScaleExecutor(workers_per_rank=1)
    executor.run_dir = executor.provider.script_dir = str(run_dir)  # type: ignore[union-attr]
    run_dir.mkdir(parents=True)
    executor.start()
    try:
        executor.scale_out(1)
        assert executor.submit(sample.double, {}, 4).result(60) == 8
        assert not [p for p in run_dir.rglob("*") if stat.S_ISSOCK(p.lstat().st_mode)]
    finally:
        executor.scale_in(1)
        executor.shutdown()
    with PoolExecutor(1, address="127.0.0.1", run_dir=str(run_dir), log_dir=str(run_dir / "logs")) as pool:
        assert pool.submit(sample.double, 4).result(60) == 8
        assert not [p for p in run_dir.rglob("*") if stat.S_ISSOCK(p.lstat().st_mode)]


def test_a_directory_for_what_is_temporary_that_takes_no_sockets_or_has_a_long_path_is_passed_over(
    any_mpi: str, mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    no_sockets = mount("bpf")
    long = tmp_path / ("t" * 100)
    long.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(no_sockets))
    monkeypatch.setattr("tempfile.tempdir", str(long))
    with PoolExecutor(1) as pool:
        assert pool.submit(sample.double, 4).result(60) == 8
    assert not list(no_sockets.glob("xse-*"))
    assert not list(long.iterdir())


def test_a_directory_for_what_is_temporary_that_is_full_is_passed_over(
    any_mpi: str, mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = mount("tmpfs", "-o", "size=64k")
    fill(disk)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(disk))
    with PoolExecutor(1) as pool:
        assert pool.submit(sample.double, 4).result(60) == 8
    assert [path.name for path in disk.iterdir()] == ["full"]


def test_files_of_a_block_on_a_full_disk_are_reported_in_a_sentence(any_mpi: str, mount: Callable[..., Path]) -> None:
    disk = mount("tmpfs", "-o", "size=64k")
    fill(disk)
    reported = rf"cannot be launched: the environment file {disk}/.* cannot be written \(No space left on device\): its"
    with (
        PoolExecutor(1, address="127.0.0.1", run_dir=str(disk)) as pool,
        pytest.raises(LaunchError, match=reported) as caught,
    ):
        pool.submit(sample.double, 4).result(60)
    assert "\n" not in str(caught.value)


def test_no_directory_that_takes_sockets_is_reported_in_a_sentence(
    mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_sockets = mount("bpf")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(no_sockets))
    monkeypatch.setattr("tempfile.tempdir", str(no_sockets))
    monkeypatch.setattr("xse.launch.scratch.LAST_RESORT", str(no_sockets))
    with pytest.raises(OptionError, match=rf"no directory for unix sockets; tried {no_sockets} \(Operation .*\)\. Set"):
        make_scratch()
    assert not list(no_sockets.glob("xse-*"))
