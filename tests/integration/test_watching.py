"""What a user sees of a run: its record, its status, and the commands that ask about it, while it runs and after."""

from __future__ import annotations

import json
import os
import signal
import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import xse
from tests.support.tasks import wait_for
from tests.support.waiting import eventually
from tests.unit import sample
from xse import OptionError, PoolExecutor
from xse.cli import dashboard
from xse.cli import xse as cli
from xse.errors import RunStopped
from xse.live.status import status_by_record
from xse.record import open_record
from xse.wire.messages import Status


@pytest.fixture
def place(any_mpi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The working directory; what runs is found there, and no run of others."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NO_COLOR", "1")
    return tmp_path


def said(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """What ``xse ARGUMENTS`` prints."""
    capsys.readouterr()
    code = cli.run(arguments)
    captured = capsys.readouterr()
    assert code == 0, captured.err
    return captured.out


def test_a_record_tells_each_task_with_its_function_its_worker_and_its_times(place: Path) -> None:
    with PoolExecutor(2, record="run.xse") as pool:
        assert list(pool.map(sample.double, range(500))) == [2 * i for i in range(500)]
        lost = pool.submit(os._exit, 3)
        raised = pool.submit(sample.reciprocal, 0)
        assert lost.exception()
        assert raised.exception()
    record = open_record(place / "run.xse")
    tasks = {task.id: task for task in record.tasks()}
    assert record.ended
    assert len(tasks) == 502
    assert sum(task.function == "double" and task.outcome == Status.VALUE for task in tasks.values()) == 500
    assert tasks[raised.task_id].outcome == Status.RAISED
    assert tasks[lost.task_id].outcome == Status.WORKER_LOST
    assert record.failures[lost.task_id]["exit_code"] == 3
    host = os.uname().nodename
    for task in tasks.values():
        assert task.started is not None
        assert task.ended is not None
        assert task.answered is not None
        assert task.ended - task.started >= 0
        assert task.started < task.answered + 0.05
        assert task.worker in (0, 1)
        assert record.blocks[0].host_of(task.worker) == host
    assert os.stat(place / "run.xse").st_mode & 0o777 == 0o600


def test_a_run_answers_from_another_terminal_and_its_record_after_the_end(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    going = place / "go"
    with PoolExecutor(1, record="run.xse") as pool:
        assert pool.submit(sample.double, 1).result() == 2
        futures = [pool.submit(wait_for, going) for _ in range(600)]  # more than a block takes ahead
        eventually(lambda: pool.status().running == 1, "a task runs")
        status = pool.status()
        assert (status.done, status.queued, status.workers, status.workers_idle) == (1, 599, 1, 0)
        assert "600 tasks under way" in repr(pool)
        found = json.loads(said(capsys, "status", "run.xse", "--json"))
        assert (found["state"], found["done"], found["running"], found["queued"]) == ("running", 1, 1, 599)
        assert "running" in said(capsys, "runs", ".")
        assert "1 of 1 busy" in said(capsys, "top", "run.xse", "--once")
        assert "at block 0" in said(capsys, "explain", "run.xse", str(futures[0].task_id))
        assert "It waits in the queue behind" in said(capsys, "explain", "run.xse", str(futures[-1].task_id))
        assert "listening" in said(capsys, "logs", "run.xse")
        going.touch()
    assert "601 done, 0 running, 0 queued" in said(capsys, "status", "run.xse")
    assert "ended" in said(capsys, "runs", ".")
    assert "done; submitted" in said(capsys, "explain", "run.xse", str(futures[0].task_id))


def test_a_run_that_is_stopped_fails_its_tasks_and_says_who_did_it(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PoolExecutor(1, record="run.xse") as pool:
        future = pool.submit(wait_for, place / "never")
        eventually(lambda: pool.status().running == 1, "it runs")
        said(capsys, "stop", "run.xse")
        with pytest.raises(RunStopped, match="xse stop"):
            future.result(20)
        with pytest.raises(RunStopped):
            pool.submit(sample.double, 1)
    record = open_record(place / "run.xse")
    assert [task.id for task in record.tasks()] == [future.task_id]
    assert record.ended


def test_what_names_no_run_is_told_in_one_line(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (place / "other.xse").write_text("something else")
    for arguments, text in [
        (("status", "nowhere"), "'nowhere' is no file, no directory, and no run on this host"),
        (("status", "other.xse"), "other.xse is no record of xse"),
        (("explain", str(place / "sub"), "1"), "is no file, no directory"),
        (("runs", "nowhere"), "nowhere is no directory"),
    ]:
        assert cli.run(arguments) == 1
        assert text in capsys.readouterr().err


@pytest.mark.parametrize(
    ("record", "text"),
    [("there.xse", "exists: a record is a new file"), ("/proc/x/y.xse", "cannot be made"), (5, "must be a path")],
)
def test_a_record_that_cannot_be_is_refused_before_anything_starts(place: Path, record: object, text: str) -> None:
    (place / "there.xse").touch()
    with pytest.raises((OptionError, TypeError), match=text):
        PoolExecutor(1, record=record)  # type: ignore[arg-type]


def test_the_record_of_a_run_whose_interchange_was_killed_is_read_to_its_last_second(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PoolExecutor(1, record="run.xse") as pool:
        assert list(pool.map(sample.double, range(100))) == [2 * i for i in range(100)]
        eventually(lambda: "100 done" in str(status_by_record(open_record("run.xse"))), "the record has them")
        pid = pool._client.interchange_pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        eventually(lambda: pool._client.broken is not None, "it is noticed")
    record = open_record("run.xse")
    assert sum(task.outcome == Status.VALUE for task in record.tasks()) == 100
    assert not record.ended
    assert "broken off" in said(capsys, "status", "run.xse")


def test_a_dashboard_shows_the_page_to_those_who_have_its_token(place: Path) -> None:
    pytest.importorskip("plotly")
    with PoolExecutor(1, record="run.xse") as pool:
        assert pool.submit(sample.double, 1).result() == 2
    with dashboard.server(dashboard.Pages("run.xse"), "secret") as http:
        threading.Thread(target=http.serve_forever, daemon=True).start()
        address = f"http://127.0.0.1:{http.server_address[1]}/"
        with urllib.request.urlopen(f"{address}?token=secret") as answer:
            page = answer.read().decode()
        assert "1</b>tasks ended" in page
        assert "http-equiv=refresh" in page
        for wrong in ("", "?token=", "?token=secre"):
            with pytest.raises(urllib.error.HTTPError, match="403"):
                urllib.request.urlopen(address + wrong)
        http.shutdown()


def test_a_map_with_a_bar_gives_the_same_results_and_shows_nothing_without_a_terminal(
    place: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with PoolExecutor(1) as pool:
        assert list(pool.map(sample.double, range(50), progress=True)) == [2 * i for i in range(50)]
        assert list(pool.map(sample.double, range(50), chunksize=7, progress=True)) == [2 * i for i in range(50)]
        assert list(pool.with_options(priority=1).map(sample.double, [1], progress=True)) == [2]
        assert len(list(xse.progress([pool.submit(sample.double, i) for i in range(5)]))) == 5
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"memory_limit": 100}, "100 bytes are too few for Python itself"),
        ({"run_dir": "/tmp"}, "give both, or none"),
    ],
)
def test_values_that_cannot_be_meant_are_refused(any_mpi: str, options: dict[str, Any], text: str) -> None:
    with pytest.raises(OptionError, match=text):
        PoolExecutor(1, **options)


@pytest.mark.parametrize(
    ("options", "text"),
    [({"max_worker": 2}, "did you mean max_workers"), ({"zzz": 2}, "the options are max_workers, initializer")],
)
def test_an_option_that_there_is_not_is_answered_with_the_most_similar(options: dict[str, Any], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        PoolExecutor(**options)


def test_a_pool_that_ends_says_in_one_line_what_it_did(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with PoolExecutor(1, summary=True) as pool:
        assert list(pool.map(sample.double, range(20))) == [2 * i for i in range(20)]
        assert pool.submit(sample.reciprocal, 0).exception()
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("xse: 21 tasks, 0.00 worker-hours, ")
    assert line.endswith(" in tasks, 1 failed or lost, 0 cancelled")


def test_a_pool_without_a_record_writes_none(place: Path) -> None:
    with PoolExecutor(1) as pool:
        assert pool.submit(sample.double, 1).result() == 2
        assert pool.record is None
    assert list(place.iterdir()) == []
