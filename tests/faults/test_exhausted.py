"""Row 26: the system gives no thread, no process, or no descriptor."""

from __future__ import annotations

import resource
import subprocess
import threading
from pathlib import Path
from typing import Any

import pytest

from tests.support.processes import ours, ours_but
from tests.support.waiting import eventually
from xse import LaunchError, PoolExecutor, XseError

pytestmark = pytest.mark.row(26)

LARGE = 400_000


def use(launch_cmd: str) -> str:
    """What a script sees of a pool that cannot start."""
    try:
        with PoolExecutor(1, launch_cmd=launch_cmd, start_timeout=1) as pool:
            return repr(pool.submit(abs, -1).result(60))
    except (XseError, RuntimeError) as e:
        return str(e)


@pytest.mark.parametrize("launch_cmd", ["sh -c 'exit 1' x", "sh -c 'exec sleep 300' x"], ids=["fails", "never starts"])
def test_whichever_thread_is_refused_the_script_is_told_and_nothing_is_left(
    any_mpi: str, monkeypatch: pytest.MonkeyPatch, launch_cmd: str
) -> None:
    before = {p.pid for p in ours()}
    start = threading.Thread.start
    for number in range(1, 20):
        n = 0

        def refuse(thread: threading.Thread) -> None:
            nonlocal n
            n += 1
            if n == number:
                raise RuntimeError("can't start new thread")
            start(thread)

        with monkeypatch.context() as patch:
            patch.setattr(threading.Thread, "start", refuse)
            told = use(launch_cmd)
        assert told
        eventually(lambda: not ours_but(before), "nothing is left", seen=lambda: ours_but(before))
        if n < number:
            break
    assert number > 3


def test_where_no_process_can_be_had_the_constructor_says_so(any_mpi: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = threading.active_count()

    def refuse(*_: Any, **__: Any) -> Any:
        raise BlockingIOError(11, "Resource temporarily unavailable")

    PoolExecutor(1, launch_cmd="false").shutdown()  # asks xse-pool for its version
    monkeypatch.setattr(subprocess, "Popen", refuse)
    with pytest.raises(LaunchError, match=r"Resource temporarily unavailable.*ulimit -u"):
        PoolExecutor(1, launch_cmd="false")
    eventually(lambda: threading.active_count() == before, "its threads have ended")


def test_more_large_results_are_held_than_there_are_descriptors(mpi: str, tmp_path: Path) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (256, hard))
        with PoolExecutor(2) as pool:
            held = [future.result() for future in [pool.submit(bytes, LARGE) for _ in range(300)]]
            assert {len(result) for result in held} == {LARGE}
            (tmp_path / "file").write_text("a file can be opened")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
