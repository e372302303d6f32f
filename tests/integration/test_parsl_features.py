"""What Parsl's users switch on beside an executor works with ours, too."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import parsl
from parsl import python_app
from parsl.app.errors import AppTimeout
from parsl.config import Config
from parsl.dataflow.memoization import BasicMemoizer
from parsl.launchers import SimpleLauncher
from parsl.logconfigs.file import FileLogging
from parsl.logconfigs.json import JSONLogging
from parsl.providers import LocalProvider

from tests.support.tasks import n_waiting, wait_for
from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor


@contextmanager
def loaded(directory: Path, executor: ExtremeScaleExecutor | None = None, **settings: Any) -> Iterator[Any]:
    settings = {"run_dir": str(directory), "strategy_period": 0.1, "initialize_logging": False, **settings}
    with parsl.load(Config(executors=[executor or ExtremeScaleExecutor(workers_per_rank=1)], **settings)) as kernel:
        yield kernel


def mark(directory: str, value: int) -> int:
    """A file for each run."""
    import tempfile

    tempfile.mkstemp(dir=directory)
    return value * value


def spin(seconds: float, walltime: float = 0.2) -> None:
    import time

    end = time.monotonic() + seconds
    while time.monotonic() < end:
        time.sleep(0.01)


def test_walltime_ends_an_app_and_the_worker_lives_on(any_mpi: str, tmp_path: Path) -> None:
    with loaded(tmp_path):
        app = python_app(spin)
        before = python_app(os.getpid)().result()
        assert isinstance(app(60).exception(), AppTimeout)
        assert python_app(os.getpid)().result() == before


def test_memoised_apps_run_once_and_checkpoints_spare_the_next_run(any_mpi: str, tmp_path: Path) -> None:
    marks = tmp_path / "marks"
    marks.mkdir()
    app = python_app(mark, cache=True)
    with loaded(tmp_path, memoizer=BasicMemoizer(checkpoint_mode="task_exit")) as kernel:
        assert [app(str(marks), 7).result() for _ in range(3)] == [49] * 3
        assert len(list(marks.iterdir())) == 1
        checkpoint = os.path.join(kernel.run_dir, "checkpoint")
    memoizer = BasicMemoizer(checkpoint_files=[checkpoint])
    with loaded(tmp_path, memoizer=memoizer):
        assert app(str(marks), 7).result() == 49
        assert len(list(marks.iterdir())) == 1
        assert app(str(marks), 8).result() == 64
        assert len(list(marks.iterdir())) == 2


def test_strategy_simple_adds_blocks_for_the_tasks_there_are(any_mpi: str, tmp_path: Path) -> None:
    provider = LocalProvider(init_blocks=0, min_blocks=0, max_blocks=3, parallelism=1, launcher=SimpleLauncher())
    executor = ExtremeScaleExecutor(workers_per_rank=1, provider=provider)
    with loaded(tmp_path, executor, strategy="simple", max_idletime=0.5):
        app, go = python_app(wait_for), tmp_path / "go"
        futures = [app(go) for _ in range(3)]
        eventually(lambda: n_waiting(go) == 3, "three blocks run three tasks at once", 30)
        go.touch()
        for future in futures:
            future.result()
        eventually(lambda: not executor.connected_managers(), "blocks that idle are gone", 30)
        assert python_app(mark)(str(tmp_path), 3).result() == 9  # and come again when there is work


def test_without_a_strategy_the_first_blocks_are_all_there_is(any_mpi: str, tmp_path: Path) -> None:
    provider = LocalProvider(init_blocks=2, max_blocks=4, launcher=SimpleLauncher())
    executor = ExtremeScaleExecutor(workers_per_rank=1, provider=provider)
    with loaded(tmp_path, executor, strategy="none"):
        app, go = python_app(wait_for), tmp_path / "go"
        futures = [app(go) for _ in range(6)]
        eventually(lambda: n_waiting(go) == 2, "two blocks run two tasks", 30)
        go.touch()
        for future in futures:
            future.result()
        assert len(executor.blocks_to_job_id) == 2


def test_a_log_config_writes_the_interchanges_log(any_mpi: str, tmp_path: Path) -> None:
    with loaded(tmp_path, initialize_logging=FileLogging(format_string="TOKEN %(message)s")) as kernel:
        python_app(mark)(str(tmp_path), 3).result()
        log = Path(kernel.run_dir, "ExtremeScaleExecutor", "interchange.log")
    lines = log.read_text().splitlines()
    assert lines
    assert all(line.startswith("TOKEN ") for line in lines)
    with loaded(tmp_path, initialize_logging=JSONLogging(level=logging.INFO)) as kernel:
        python_app(mark)(str(tmp_path), 3).result()
        log = Path(kernel.run_dir, "ExtremeScaleExecutor", "interchange.jsonlog")
    events = [json.loads(line)["formatted"] for line in log.read_text().splitlines()]
    assert any(event.startswith("block_up") for event in events)


WITH_PROXYSTORE = """
    import sys
    import parsl
    from parsl import python_app
    from parsl.config import Config
    from parsl.serialize import facade
    from parsl.serialize.proxystore import ProxyStoreSerializer
    from proxystore.connectors.file import FileConnector
    from proxystore.store import Store, register_store
    from xse import ExtremeScaleExecutor

    @python_app
    def kind_of(value):
        return type(value).__name__, len(value)

    if __name__ == "__main__":
        store = Store("texts", FileConnector(sys.argv[1]))
        register_store(store)
        serializer = ProxyStoreSerializer(store=store, should_proxy=lambda value: isinstance(value, frozenset))
        facade.additional_methods_for_deserialization.update(facade.methods_for_data)  # for results
        facade.methods_for_data.clear()  # as Parsl's own tests do: the first that can, does
        facade.register_method_for_data(serializer)
        with parsl.load(Config(executors=[ExtremeScaleExecutor(workers_per_rank=1)], strategy_period=0.1)):
            print(*kind_of(frozenset(range(1000))).result())
"""


def test_a_serializer_plug_in_is_used_for_arguments(any_mpi: str, tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(textwrap.dedent(WITH_PROXYSTORE))
    command = [sys.executable, "script.py", str(tmp_path / "store")]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=100)
    assert done.stdout == "Proxy 1000\n", done.stderr
    assert list((tmp_path / "store").iterdir())
