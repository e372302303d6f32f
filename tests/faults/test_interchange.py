"""Row 10: the interchange is lost. Every open future says so, and blocks end themselves."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from parsl import python_app

from tests.support.by_hand import ByHand
from tests.support.executors import loaded
from tests.support.processes import ours, ours_but
from tests.support.tasks import n_waiting, run_now, wait_for
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import InterchangeLost, PoolExecutor

pytestmark = pytest.mark.row(10)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_every_open_future_is_reported_how_it_ended_and_the_last_lines_of_its_log_and_nothing_is_left(
    mpi: str, number: signal.Signals, tmp_path: Path, took: Took
) -> None:
    before = {p.pid for p in ours()}
    with PoolExecutor(2, ranks=2, log_dir=str(tmp_path)) as executor:
        open_futures = run_now(executor, 2, tmp_path / "go")
        open_futures += [executor.submit(sample.double, i) for i in range(100)]
        pid = executor._client.interchange_pid
        assert pid
        with took("its pools have ended"):
            with took("InterchangeLost"):
                os.kill(pid, number)
                errors = [future.exception(20) for future in open_futures]
            eventually(lambda: not ours_but(before), "its pools have ended", seen=lambda: ours_but(before))
        assert {type(error) for error in errors} == {InterchangeLost}
        log = (tmp_path / "interchange.log").read_text().splitlines()
        assert str(errors[0]).startswith(f"the interchange (pid {pid}) was killed by {number.name}; the last lines of ")
        assert str(errors[0]).endswith(log[-1])
        with pytest.raises(InterchangeLost):
            executor.submit(sample.double, 1)
        assert len(executor._keeper.blocks) == 1, "another block was launched"


#: One that comes to grief by itself.
MORTAL = """
import os, sys, threading, time
from xse.interchange import __main__ as program
def die():
    while not os.path.exists(sys.argv[1]):
        time.sleep(0.01)
    os._exit(7)
threading.Thread(target=die, daemon=True).start()
sys.exit(program.main())
"""


def test_its_exit_code_is_reported_and_a_pool_that_came_by_tcp_ends_itself(
    mpi: str, tmp_path: Path, took: Took
) -> None:
    world = ByHand(tmp_path, interchange_launch_cmd=[sys.executable, "-c", MORTAL, str(tmp_path / "die")])
    world.start_pool()
    future = world.executor.submit(wait_for, {}, tmp_path / "go")
    eventually(lambda: n_waiting(tmp_path / "go"), "it runs")
    with took("its pools have ended"):
        (tmp_path / "die").touch()
        with pytest.raises(InterchangeLost, match="ended with exit code 7"):
            future.result(20)
        (code,) = [pool.wait(20) for pool in world.pools]
    assert code != 0
    world.end()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_with_parsl_every_app_fails_and_the_executor_is_in_a_bad_state(
    mpi: str, number: signal.Signals, tmp_path: Path
) -> None:
    with loaded(tmp_path) as executor:
        future = python_app(wait_for)(tmp_path / "go")
        eventually(lambda: n_waiting(tmp_path / "go"), "it runs", 60)
        pid = executor._client.interchange_pid  # type: ignore[union-attr]
        assert pid
        os.kill(pid, number)
        with pytest.raises(InterchangeLost, match=f"was killed by {number.name}"):
            future.result()
        assert executor.bad_state_is_set

        def pools() -> list[str]:
            return [p.title for p in ours() if str(tmp_path) in p.title and "xse-pool" in p.title]

        eventually(lambda: not pools(), "its pools have ended", seen=pools)
