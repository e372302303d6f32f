"""PoolExecutor in scripts and at a prompt, run as users run them; and what is left when one is killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from tests.support.processes import ours, ours_but
from tests.support.waiting import eventually


def run_script(directory: Path, text: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    """As ``python script.py`` in its directory."""
    path = directory / "script.py"
    path.write_text(textwrap.dedent(text))
    command = [sys.executable, str(path), *arguments]
    return subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=60, check=False)


GUARDED = """
    from dataclasses import dataclass
    from xse import PoolExecutor

    scale = 3

    @dataclass
    class Point:
        x: int

    def grow(p):
        return Point(p.x * scale)

    if __name__ == "__main__":
        with PoolExecutor(2) as pool:
            grown = list(pool.map(grow, [Point(1), Point(2)]))
            print(grown == [Point(3), Point(6)], type(grown[0]) is Point)
            print(pool.submit(lambda: scale + 1).result())
    """


def test_a_script_with_a_main_guard(mpi: str, tmp_path: Path) -> None:
    done = run_script(tmp_path, GUARDED)
    assert (done.stdout, done.stderr) == ("True True\n4\n", "")


def test_a_script_without_a_main_guard(mpi: str, tmp_path: Path) -> None:
    text = textwrap.dedent(GUARDED).replace('if __name__ == "__main__":', "if True:")
    done = run_script(tmp_path, text)
    assert (done.stdout, done.stderr) == ("True True\n4\n", "")


def test_a_module_beside_the_script_is_found_by_the_workers(mpi: str, tmp_path: Path) -> None:
    (tmp_path / "beside.py").write_text("def triple(x):\n    return 3 * x\n")
    text = """
        import beside
        from xse import PoolExecutor
        with PoolExecutor(1) as pool:
            print(pool.submit(beside.triple, 5).result())
        """
    done = run_script(tmp_path, text)
    assert (done.stdout, done.stderr) == ("15\n", "")


def test_at_an_interactive_prompt(mpi: str, tmp_path: Path) -> None:
    """As in a notebook: each line is code of its own, and there is no file to import."""
    lines = """
        from xse import PoolExecutor
        pool = PoolExecutor(2)
        def square(x): return x * x

        def outer(x): return square(x) + offset

        offset = 1
        class Box:
            def __init__(self, v): self.v = v

        print(list(pool.map(outer, range(4))))
        offset = 100
        print(pool.submit(outer, 2).result(), pool.submit(lambda b: type(b.v), Box(3)).result())
        def square(x): return -x

        print(pool.submit(outer, 2).result())
        pool.shutdown()
        """
    command = [sys.executable, "-i", "-q", "-c", "import sys; sys.ps1 = sys.ps2 = ''"]
    done = subprocess.run(
        command, input=textwrap.dedent(lines), cwd=tmp_path, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.stdout == "[1, 2, 5, 10]\n104 <class 'int'>\n98\n", done.stderr


def test_a_script_that_just_ends_leaves_nothing(mpi: str, tmp_path: Path) -> None:
    text = """
        import time
        from xse import PoolExecutor
        pool = PoolExecutor(2)
        print(pool.submit(abs, -1).result())
        running = [pool.submit(time.sleep, 60) for _ in range(10)]
        """
    before = {p.pid for p in ours()}
    done = run_script(tmp_path, text)
    assert done.stdout == "1\n"
    assert done.stderr == (
        "xse: the script ends with 10 tasks under way, now cancelled; 'with' or shutdown() waits for them\n"
    )
    assert done.returncode == 0
    eventually(lambda: not ours_but(before), "nothing is left", timeout=5, seen=lambda: ours_but(before))


KILLED = """
    import sys, time
    from xse import PoolExecutor
    pool = PoolExecutor(2, ranks=2)
    def run():
        import subprocess
        subprocess.run(["sleep", "100"])
    [pool.submit(run) for _ in range(4)]
    time.sleep(60)
    """


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_a_script_that_is_killed_leaves_nothing(mpi: str, tmp_path: Path, number: int) -> None:
    """Not even the children of its tasks."""
    (tmp_path / "script.py").write_text(textwrap.dedent(KILLED))
    before = {p.pid for p in ours()}
    with subprocess.Popen(
        [sys.executable, "-u", str(tmp_path / "script.py")], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as script:
        eventually(lambda: sum(p.title == "sleep 100" for p in ours()) == 2, "both tasks have a child")
        os.kill(script.pid, number)
        script.communicate()
    eventually(lambda: not ours_but(before), "nothing is left", timeout=5, seen=lambda: ours_but(before))


def test_a_forked_child_does_not_harm_its_parents_pool(mpi: str, tmp_path: Path) -> None:
    text = """
        import os, sys
        from xse import PoolExecutor
        with PoolExecutor(1) as pool:
            pool.submit(abs, 1).result()
            child = os.fork()
            if child == 0:
                try:
                    pool.submit(abs, 1)
                except RuntimeError as e:
                    print("child:", e, flush=True)
                sys.exit(3)
            print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
            print(pool.submit(abs, -5).result())
        """
    done = run_script(tmp_path, text)
    child, code, value = done.stdout.splitlines()
    assert "belongs to the process that made it" in child
    assert (code, value) == ("3", "5"), done.stderr
