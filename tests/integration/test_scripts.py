"""PoolExecutor in scripts and at a prompt, run as users run them."""

from __future__ import annotations

import subprocess
import sys
import textwrap
from pathlib import Path


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
