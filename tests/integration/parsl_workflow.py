"""A Parsl script that does not know its executor: run it with HighThroughputExecutor and with ExtremeScaleExecutor.

usage: parsl_workflow.py EXECUTOR DIRECTORY N_NOOPS    prints its answers, one JSON object
"""

from __future__ import annotations

import json
import sys
import traceback
from pathlib import Path
from typing import Any

import parsl
from parsl import bash_app, join_app, python_app
from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider


@python_app
def add(a, b=0, *, c=0):  # type: ignore[no-untyped-def]
    return a + b + c


@python_app
def data_of(n):  # type: ignore[no-untyped-def]
    return bytes(n)


@python_app
def fail_until(marks, times):  # type: ignore[no-untyped-def]
    import os

    n = len(os.listdir(marks))
    open(os.path.join(marks, str(n)), "w").close()
    if n < times:
        raise ValueError(f"attempt {n}")
    return n


@python_app
def raise_it(text):  # type: ignore[no-untyped-def]
    def deep(t):  # type: ignore[no-untyped-def]
        raise LookupError(t)

    deep(text)


@bash_app
def shout(text, stdout=None, stderr=None):  # type: ignore[no-untyped-def]
    return f"echo {text}; echo and {text} >&2"


@bash_app
def exit_with(code):  # type: ignore[no-untyped-def]
    return f"exit {code}"


@join_app
def sum_of_squares(n):  # type: ignore[no-untyped-def]
    return add_all(*[square(i) for i in range(n)])


@python_app
def square(x):  # type: ignore[no-untyped-def]
    return x * x


@python_app
def add_all(*numbers):  # type: ignore[no-untyped-def]
    return sum(numbers)


@python_app
def noop(i):  # type: ignore[no-untyped-def]
    return i


def executor(name: str) -> Any:
    if name == "HighThroughputExecutor":
        from parsl.executors import HighThroughputExecutor as Executor
    else:
        from xse import ExtremeScaleExecutor as Executor  # type: ignore[assignment]
    provider = LocalProvider(launcher=SimpleLauncher(), init_blocks=1, max_blocks=1)
    return Executor(label="workers", provider=provider, max_workers_per_node=2, encrypted=True)


def answers(directory: Path, n_noops: int) -> dict[str, Any]:
    got: dict[str, Any] = {}
    got["keywords"] = add(1, b=2, c=3).result()
    link = add(0, 1)
    for _ in range(99):
        link = add(link, 1)
    got["a chain of 100"] = link.result()
    got["sizes"] = [len(data_of(n).result()) for n in (0, 1, 50_000_000)]
    marks = directory / "marks"
    marks.mkdir()
    got["the third attempt"] = fail_until(str(marks), 2).result()
    try:
        raise_it("deep down").result()
    except LookupError as e:
        text = "".join(traceback.format_exception(e))
        got["raised"] = [type(e).__name__, list(e.args), "in deep" in text, "raise LookupError(t)" in text]
    files = [str(directory / name) for name in ("out", "err")]
    shout("loud", stdout=files[0], stderr=files[1]).result()
    got["bash"] = [Path(files[0]).read_text(), "and loud" in Path(files[1]).read_text()]
    try:
        exit_with(7).result()
    except parsl.app.errors.BashExitFailure as e:
        got["bash exit"] = e.exitcode
    got["join"] = sum_of_squares(10).result()
    got["noops"] = sum(f.result() for f in [noop(i) for i in range(n_noops)]) == n_noops * (n_noops - 1) // 2
    return got


if __name__ == "__main__":
    where = Path(sys.argv[2])
    config = Config(
        executors=[executor(sys.argv[1])],
        retries=2,
        strategy_period=0.5,
        run_dir=str(where / "runinfo"),
        initialize_logging=False,
    )
    with parsl.load(config):
        print(json.dumps(answers(where, int(sys.argv[3]))))
