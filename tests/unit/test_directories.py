"""Directories of processes that were killed are removed by the next process, and those of others never."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from xse import directories

HOLD = """
import sys, time
from xse import directories
print(directories.make(sys.argv[1]), flush=True)
time.sleep(60)
"""


def test_what_a_killed_process_leaves_is_swept_and_what_a_living_one_has_is_not(tmp_path: Path) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout
        theirs = other.stdout.readline().strip()
        ours = directories.make(str(tmp_path))
        directories.sweep(str(tmp_path))
        assert os.path.isdir(theirs)
        assert os.path.isdir(ours)
        other.send_signal(signal.SIGKILL)
        other.wait()
    directories.sweep(str(tmp_path))
    assert not os.path.exists(theirs)
    assert os.path.isdir(ours)
    directories.remove(ours)
    assert not list(tmp_path.iterdir())


def test_what_another_kernel_or_another_program_has_made_is_left(tmp_path: Path) -> None:
    for name in ("xse-other", "xse-00000000-elsewhere", "mine"):
        (tmp_path / name).mkdir()
    directories.sweep(str(tmp_path))
    assert sorted(p.name for p in tmp_path.iterdir()) == ["mine", "xse-00000000-elsewhere", "xse-other"]


def test_a_directory_that_is_swept_while_it_is_made_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make, made = tempfile.mkdtemp, []

    def make_and_sweep(**where: str) -> str:
        made.append(make(**where))
        if len(made) == 1:
            directories.sweep(str(tmp_path))
        return made[-1]

    monkeypatch.setattr(tempfile, "mkdtemp", make_and_sweep)
    path = directories.make(str(tmp_path))
    assert path == made[1]
    assert [str(p) for p in tmp_path.iterdir()] == [path]
    directories.remove(path)


def test_a_directory_that_is_removed_holds_no_descriptor(tmp_path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        directories.remove(directories.make(str(tmp_path)))
    assert len(os.listdir("/proc/self/fd")) == before
