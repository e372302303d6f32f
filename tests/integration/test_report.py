"""The page of ``xse report`` in a real browser: its charts are drawn, and the browser has nothing to complain of."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.unit import sample
from xse import PoolExecutor
from xse.cli import xse as cli

BROWSER = shutil.which("chromium")
FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking"
    " --disable-component-update --disable-sync --virtual-time-budget=10000"
).split()


def browse(page: Path, profile: Path, *flags: str) -> subprocess.CompletedProcess[str]:
    assert BROWSER, "chromium is not installed: scripts/setup --tests does it"
    command = [BROWSER, *FLAGS, f"--user-data-dir={profile}", *flags, page.as_uri()]
    return subprocess.run(command, check=True, capture_output=True, text=True, timeout=120)


def test_the_page_of_a_run_draws_its_charts_and_leaves_the_console_empty(
    any_mpi: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    with PoolExecutor(2, record="run.xse") as pool:
        list(pool.map(sample.double, range(300)))
        assert pool.submit(os._exit, 3).exception()
    assert cli.run(["report", "run.xse"]) == 0
    assert "301 tasks in" in capsys.readouterr().out
    page = tmp_path / "run.html"
    assert not re.search(r"<(?:script|img|link)[^>]+(?:src|href)=[\"']?http", page.read_text()), "it is not whole"
    log = "--enable-logging=stderr"
    broken = tmp_path / "broken.html"
    broken.write_text("<script>throw Error('seen')</script>")
    assert "CONSOLE" in browse(broken, tmp_path / "profile", log, "--dump-dom").stderr  # this is how it would be seen
    shown = browse(page, tmp_path / "profile", log, "--dump-dom")
    assert "CONSOLE" not in shown.stderr
    assert len(re.findall(r'class="trace scatter', shown.stdout)) >= 4  # two over time, one a function
    assert len(re.findall(r'class="trace bars', shown.stdout)) == 1
    assert "worker lost, exit code 3" in shown.stdout
    picture = tmp_path / "page.png"
    browse(page, tmp_path / "profile", "--window-size=1280,2400", f"--screenshot={picture}")
    assert picture.stat().st_size > 50_000
