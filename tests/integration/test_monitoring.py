"""Parsl's MonitoringHub with our executor: its tables are filled, and right."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import textwrap
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest


def rows(database: Path, query: str) -> list[tuple[Any, ...]]:
    with closing(sqlite3.connect(database)) as connection:
        return connection.execute(query).fetchall()


SCRIPT = """
    import sys, parsl
    from parsl import python_app
    from parsl.config import Config
    from parsl.monitoring import MonitoringHub
    from xse import ExtremeScaleExecutor

    @python_app
    def square(x):
        return x * x

    @python_app
    def fail():
        raise ValueError("on purpose")

    if __name__ == "__main__":
        directory = sys.argv[1]
        hub = MonitoringHub(resource_monitoring_interval=1, logging_endpoint=f"sqlite:///{directory}/monitoring.db")
        executor = ExtremeScaleExecutor(label="xse", workers_per_rank=2)
        config = Config(executors=[executor], run_dir=directory, strategy_period=0.1, retries=1, monitoring=hub)
        with parsl.load(config):
            print([f.result() for f in [square(i) for i in range(4)]], type(fail().exception()).__name__)
"""


@pytest.fixture(scope="module")
def database(mpi: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of a run with four tasks that work and one that fails twice."""
    directory = tmp_path_factory.mktemp("monitoring")
    (directory / "script.py").write_text(textwrap.dedent(SCRIPT))
    command = [sys.executable, "script.py", str(directory)]
    done = subprocess.run(command, cwd=directory, capture_output=True, text=True, timeout=100)
    assert done.stdout == "[0, 1, 4, 9] ValueError\n", done.stderr
    return directory / "monitoring.db"


def test_every_task_and_try_is_there(database: Path) -> None:
    assert rows(database, "select task_func_name, task_fail_count from task order by task_id") == [
        *[("square", 0)] * 4,
        ("fail", 2),
    ]
    assert len(rows(database, "select * from try where task_executor = 'xse'")) == 6


def test_states_and_resources_of_tasks_come_from_the_workers(database: Path) -> None:
    ((n,),) = rows(database, "select count(*) from status where task_status_name = 'running'")
    assert n == 6
    ((resources,),) = rows(database, "select count(distinct task_id) from resource")
    assert resources >= 4


def test_the_node_is_reported_when_it_comes_and_when_it_goes(database: Path) -> None:
    found = rows(database, "select hostname, block_id, worker_count, active, cpu_count, python_v from node order by id")
    assert [row[:4] for row in found] == [(os.uname().nodename, "0", 2, 1), (os.uname().nodename, "0", 2, 0)]
    assert all(row[4] >= 1 and row[5].startswith("3.") for row in found)


def test_the_block_is_reported_with_its_states(database: Path) -> None:
    states = [state for (state,) in rows(database, "select status from block where block_id = '0' order by rowid")]
    assert states[0] in ("PENDING", "RUNNING")
    assert states[-1] in ("CANCELLED", "SCALED_IN", "COMPLETED")
