"""A script that is killed (row 11), or that ends with work under way (row 22), leaves nothing: see test_cycles, too."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.support.processes import ours, ours_but
from tests.support.tasks import run_now
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import PoolExecutor

POOL = """
    import subprocess
    from xse import PoolExecutor
    pool = PoolExecutor(2, ranks=2)
    futures = [pool.submit(subprocess.run, ["sleep", "100"]) for _ in range(4)]
    """

PARSL = """
    import subprocess
    import parsl
    from parsl.config import Config
    from xse import ExtremeScaleExecutor
    parsl.load(Config(executors=[ExtremeScaleExecutor(max_workers_per_node=2)], strategy_period=0.1))
    futures = [parsl.python_app(subprocess.run)(["sleep", "100"]) for _ in range(4)]
    """


@contextmanager
def script_with_work(directory: Path, beginning: str, end: str) -> Iterator[subprocess.Popen[str]]:
    """The script, once two of its tasks run, with a child each; it goes on when it reads a line."""
    path = directory / "script.py"
    path.write_text(textwrap.dedent(beginning) + "input()\n" + textwrap.dedent(end))
    command = [sys.executable, "-u", str(path)]
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, cwd=directory, stdin=pipe, stdout=pipe, stderr=pipe, text=True, start_new_session=True
    ) as script:
        eventually(lambda: sum(p.title == "sleep 100" for p in ours()) == 2, "both tasks have a child", 60)
        yield script


def nothing_is_left(before: set[int]) -> None:
    eventually(lambda: not ours_but(before), "nothing is left", seen=lambda: ours_but(before))


# ---- row 11: it is killed


@pytest.mark.row(11)
@pytest.mark.parametrize("executor", [POOL, PARSL], ids=["PoolExecutor", "Parsl"])
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_a_script_that_is_killed_leaves_nothing(
    mpi: str, tmp_path: Path, executor: str, number: int, took: Took
) -> None:
    """Not even the children of its tasks."""
    before = {p.pid for p in ours()}
    with script_with_work(tmp_path, executor, "") as script:
        with took("nothing is left"):
            script.send_signal(number)
            script.communicate()
            nothing_is_left(before)
        assert script.returncode == -number


# ---- row 22: it ends with work under way

SAID = "xse: the script failed; its 4 open tasks are cancelled\n"

#: Those that two tasks keep waiting are cancelled; the two are answered. Functions run at exit in the reverse order of
#: their registration: this one when the pool has ended.
TELL = """
    import atexit
    atexit.register(lambda: print(sum(f.cancelled() for f in futures), sum(f.done() for f in futures)))
    """
TOLD = "2 4\n"


@pytest.mark.row(22)
@pytest.mark.parametrize("before_it", ["", "pool.shutdown(wait=False)"], ids=["raises", "shutdown(wait=False), raises"])
def test_a_script_that_ends_by_an_exception_cancels_its_work_and_says_so(
    mpi: str, tmp_path: Path, before_it: str, took: Took
) -> None:
    before = {p.pid for p in ours()}
    with script_with_work(tmp_path, TELL + POOL, before_it + "\nraise KeyError('x')") as script:
        with took("nothing is left"):
            out, err = script.communicate("go on\n")
            nothing_is_left(before)
        assert out == TOLD
        assert err.endswith("KeyError: 'x'\n" + SAID)
        assert script.returncode == 1


@pytest.mark.row(22)
@pytest.mark.parametrize("end", ["", "pool.shutdown(wait=False)", "del pool"])
def test_a_script_that_reaches_its_end_waits_for_its_work(mpi: str, tmp_path: Path, end: str) -> None:
    before = {p.pid for p in ours()}
    (tmp_path / "script.py").write_text(
        textwrap.dedent(
            """
            import pathlib, time
            from xse import PoolExecutor
            def work(i):
                time.sleep(0.1)
                pathlib.Path(f"done-{i}").touch()
            pool = PoolExecutor(1)
            for i in range(4):
                pool.submit(work, i)
            """
        )
        + end
    )
    command = [sys.executable, "script.py"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert len(list(tmp_path.glob("done-*"))) == 4
    nothing_is_left(before)


@pytest.mark.row(22)
def test_ctrl_c_cancels_all_and_leaves_nothing(mpi: str, tmp_path: Path, took: Took) -> None:
    """As a terminal sends it: to the script and to what it has started and not put aside."""
    wait = """
        with pool:
            print("waits")
            futures[0].result()
        """
    before = {p.pid for p in ours()}
    with script_with_work(tmp_path, TELL + POOL, wait) as script:
        assert script.stdin
        assert script.stdout
        script.stdin.write("go on\n")
        script.stdin.flush()
        assert script.stdout.readline() == "waits\n"
        with took("nothing is left"):
            os.killpg(script.pid, signal.SIGINT)
            out, err = script.communicate()
            nothing_is_left(before)
        assert out == TOLD
        assert err.endswith("KeyboardInterrupt\n")
        assert script.returncode == -signal.SIGINT


@pytest.mark.row(22)
def test_with_left_by_an_exception_ends_at_once_and_cancels(mpi: str, tmp_path: Path, took: Took) -> None:
    executor = PoolExecutor(1)
    (running,) = run_now(executor, 1, tmp_path / "never")
    waiting = [executor.submit(sample.double, i) for i in range(100)]
    with took("nothing is left"), pytest.raises(KeyError), executor:
        raise KeyError("out")
    assert running.done()
    assert all(future.cancelled() for future in waiting)
