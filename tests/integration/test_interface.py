"""The interface of the first ExtremeScaleExecutor and of HighThroughputExecutor: docs/developers/interface.md."""

from __future__ import annotations

import inspect
import logging
import os
import sys
from pathlib import Path
from typing import Any

import parsl
import pytest
from parsl import python_app
from parsl.config import Config
from parsl.data_provider.data_manager import NoOpFileStaging
from parsl.data_provider.files import File
from parsl.executors import HighThroughputExecutor
from parsl.jobs.states import JobState
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider
from parsl.usage_tracking.api import get_parsl_usage

from tests.support.executors import started
from tests.support.tasks import n_waiting, wait_for
from tests.support.waiting import eventually
from tests.unit import sample
from xse import ExtremeScaleExecutor


def signature_of(executor: type) -> dict[str, inspect.Parameter]:
    parameters = dict(inspect.signature(executor.__init__).parameters)
    del parameters["self"]
    return parameters


# ---- the constructor


def test_arguments_of_1_2_0_come_first_in_their_order_with_their_defaults() -> None:
    positional = {
        name: p.default for name, p in signature_of(ExtremeScaleExecutor).items() if p.kind is not p.KEYWORD_ONLY
    }
    assert positional == {
        "label": "ExtremeScaleExecutor",
        "provider": None,
        "launch_cmd": None,
        "address": None,
        "worker_ports": None,
        "worker_port_range": (54000, 55000),
        "interchange_port_range": (55000, 56000),
        "storage_access": None,
        "working_dir": None,
        "worker_debug": False,
        "ranks_per_node": 1,
        "heartbeat_threshold": 120,
        "heartbeat_period": 30,
        "managed": True,
    }


def test_every_argument_of_todays_htex_is_taken() -> None:
    assert set(signature_of(HighThroughputExecutor)) <= set(signature_of(ExtremeScaleExecutor))


def test_every_argument_is_kept_under_its_own_name_and_shown_by_repr_and_usage() -> None:
    given: dict[str, Any] = {
        "label": "x",
        "worker_ports": (50001, 50002),
        "cores_per_worker": 2.0,
        "preload": ("math",),
    }
    executor = ExtremeScaleExecutor(**given)
    for name, value in given.items():
        assert getattr(executor, name) == value
    for name in signature_of(ExtremeScaleExecutor):
        assert hasattr(executor, name), name
    assert "<unrecorded>" not in repr(executor)
    assert get_parsl_usage(executor)


def test_each_executor_has_a_provider_of_its_own() -> None:
    a, b = ExtremeScaleExecutor(), ExtremeScaleExecutor()
    assert isinstance(a.provider, LocalProvider)
    assert a.provider is not b.provider


def test_label_names_the_directory_and_the_jobs(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, label="mine") as executor:
        assert executor.submit(sample.double, {}, 2).result() == 4
        assert (tmp_path / "mine" / "interchange.log").exists()
        assert list(tmp_path.glob("parsl.mine.block-0.*"))


def test_worker_ports_and_worker_port_are_the_ports(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, blocks=0, worker_ports=(50711, 50712), address="127.0.0.1") as executor:
        assert executor._ports == [50711]
    with started(tmp_path, blocks=0, worker_port=50713, address="127.0.0.1") as executor:
        assert executor._ports == [50713]
    both = "mpiexec x --task_url={task_url} --result_url={result_url}"
    with started(tmp_path, blocks=0, worker_ports=(50711, 50712), address="127.0.0.1", launch_cmd=both) as executor:
        assert executor._ports == [50711, 50712]


def test_worker_port_range_is_kept_to(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, blocks=0, worker_port_range=(50800, 50810), address="127.0.0.1") as executor:
        (port,) = executor._ports
        assert 50800 <= port < 50810


@pytest.mark.parametrize("debug", [False, True])
def test_worker_debug_logs_each_task(mpi: str, tmp_path: Path, debug: bool) -> None:
    with started(tmp_path, worker_debug=debug) as executor:
        executor.submit(sample.double, {}, 2).result()
    (log,) = tmp_path.rglob("manager.log")
    assert ("task_done" in log.read_text()) is debug


def test_worker_logdir_root_is_where_blocks_log(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path / "run", worker_logdir_root=str(tmp_path / "logs")) as executor:
        executor.submit(sample.double, {}, 2).result()
    assert list((tmp_path / "logs").rglob("manager.log"))
    assert not list((tmp_path / "run").rglob("manager.log"))


def test_files_are_staged_by_storage_access(mpi: str, tmp_path: Path) -> None:
    @python_app
    def length(inputs: Any = ()) -> int:
        with open(inputs[0].filepath) as file:
            return len(file.read())

    (tmp_path / "input.txt").write_text("12345")
    executor = ExtremeScaleExecutor(workers_per_rank=1, storage_access=[NoOpFileStaging()])
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path / "runs"), strategy_period=0.1)):
        assert length(inputs=[File(str(tmp_path / "input.txt"))]).result() == 5


def test_without_encryption_the_connect_file_holds_no_key(mpi: str, tmp_path: Path) -> None:
    for encrypted in (True, False):
        with started(tmp_path / str(encrypted), encrypted=encrypted) as executor:
            assert executor.submit(sample.double, {}, 2).result() == 4
            (connect,) = (tmp_path / str(encrypted)).rglob("*.connect")
            assert ("secret_key" in connect.read_text()) is encrypted
            assert connect.stat().st_mode & 0o777 == 0o600


def test_interchange_launch_cmd_starts_the_interchange(mpi: str, tmp_path: Path) -> None:
    script = tmp_path / "interchange"
    script.write_text(f"#!/bin/sh\ntouch {tmp_path}/was-here\nexec {sys.executable} -m xse.interchange\n")
    script.chmod(0o755)
    with started(tmp_path / "run", interchange_launch_cmd=[str(script)]) as executor:
        assert executor.submit(sample.double, {}, 2).result() == 4
    assert (tmp_path / "was-here").exists()


def test_prefetch_capacity_caps_what_a_block_holds(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, prefetch_capacity=3) as executor:
        for future in [executor.submit(sample.double, {}, i) for i in range(200)]:  # so that they are known to be short
            future.result()
        blockers = [executor.submit(wait_for, {}, tmp_path / "go") for _ in range(50)]
        eventually(lambda: executor.connected_managers()[0]["tasks"] >= 1, "one runs")
        most = max(executor.connected_managers()[0]["tasks"] for _ in range(20))
        (tmp_path / "go").touch()
        for future in blockers:
            future.result()
    assert most <= 4


def test_the_block_error_handler_is_called_for_blocks_that_fail(mpi: str, tmp_path: Path) -> None:
    reported: list[Any] = []
    executor = ExtremeScaleExecutor(
        launch_cmd="exit 7", block_error_handler=lambda executor, status: reported.append(dict(status))
    )
    with parsl.load(Config(executors=[executor], run_dir=str(tmp_path), strategy_period=0.1)):
        eventually(lambda: any(s.state == JobState.MISSING for t in reported for s in t.values()), "it is reported")


# ---- methods and attributes


def test_start_may_be_called_again_and_shutdown_too_even_before_start(mpi: str, tmp_path: Path) -> None:
    executor = ExtremeScaleExecutor()
    executor.shutdown()
    with started(tmp_path) as executor:
        executor.start()
        assert executor.submit(sample.double, {}, 2).result() == 4
    executor.shutdown()
    executor.shutdown(True, "all", False)  # as 1.2.0's


def test_hold_worker_takes_no_more_and_what_runs_ends_normally(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, blocks=2) as executor:
        running = [executor.submit(wait_for, {}, tmp_path / "go") for _ in range(2)]
        eventually(lambda: all(m["tasks"] == 1 for m in executor.connected_managers()), "both blocks work")
        held, other = executor.connected_managers()
        executor.hold_worker(held["manager"])
        (tmp_path / "go").touch()
        for future in running:
            future.result(20)
        assert {executor.submit(block_of_mine, {}).result(20) for _ in range(20)} == {other["block_id"]}
        assert {m["block_id"]: m["active"] for m in executor.connected_managers()} == {
            held["block_id"]: False,
            other["block_id"]: True,
        }


def block_of_mine() -> str:
    return os.environ["PARSL_WORKER_BLOCK_ID"]


def test_a_block_that_is_scaled_in_ends_in_order_and_gives_what_it_runs_a_second(mpi: str, tmp_path: Path) -> None:
    """A signal, which is how a job is cancelled, takes Open MPI's mpiexec two seconds; and so it is code 3."""
    with started(tmp_path, blocks=2) as executor:
        go = tmp_path / "go"
        running = executor.submit(wait_for, {}, go)
        eventually(lambda: n_waiting(go), "it runs")
        go.touch()
        assert sorted(executor.scale_in(2)) == ["0", "1"]
        assert running.exception(10) is None
        logs = sorted((tmp_path / "ExtremeScaleExecutor").rglob("manager.log"))
        assert [log.read_text().count("block_over code=0 orderly=1") for log in logs] == [1, 1]


def test_scale_in_takes_named_blocks_and_without_force_only_idle_ones(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, blocks=3) as executor:
        assert executor.scale_in(1, block_ids=["1"]) == ["1"]
        eventually(lambda: len(executor.connected_managers()) == 2, "two are left")
        running = [executor.submit(wait_for, {}, tmp_path / "go") for _ in range(2)]
        eventually(lambda: all(m["tasks"] == 1 for m in executor.connected_managers()), "both work")
        assert executor.scale_in(2, force=False) == []
        assert executor.scale_in(2, max_idletime=0.0) == []
        (tmp_path / "go").touch()
        for future in running:
            future.result(20)
        assert len(executor.scale_in(1, force=False)) == 1
        assert sorted(executor.connected_blocks()) == ["0", "1", "2"]


def test_connected_managers_has_htexs_keys_and_hosts_and_ranks(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path, ranks_per_node=2) as executor:
        (manager,) = executor.connected_managers()
        keys = "manager block_id worker_count tasks idle_duration active parsl_version python_version draining"
        assert set(keys.split()) <= set(manager)
        assert (manager["hosts"], manager["ranks"]) == ([os.uname().nodename], 2)
        eventually(lambda: executor.connected_workers == 2, "both ranks' workers are counted")
        assert isinstance(executor.workers_per_node, int)
        assert executor.workers_per_node == 2


def test_outstanding_and_tasks_and_task_ids(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path) as executor:
        futures = [executor.submit(wait_for, {}, tmp_path / "go") for _ in range(5)]
        assert executor.outstanding() == 5
        assert set(executor.tasks) == {f.parsl_executor_task_id for f in futures}
        (tmp_path / "go").touch()
        for future in futures:
            future.result(20)
        eventually(lambda: executor.outstanding() == 0, "none is left")


def test_a_bad_state_fails_all_open_futures_once_and_every_later_submit(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path) as executor:
        futures = [executor.submit(wait_for, {}, tmp_path / "go") for _ in range(5)]
        reason = RuntimeError("no more")
        executor.set_bad_state_and_fail_all(reason)
        executor.set_bad_state_and_fail_all(RuntimeError("again"))
        assert all("no more" in str(f.exception(20)) for f in futures)
        assert executor.bad_state_is_set
        with pytest.raises(RuntimeError):
            executor.submit(sample.double, {}, 1)
        (tmp_path / "go").touch()


def test_payloads_of_others_are_handed_to_their_own_function(mpi: str, tmp_path: Path) -> None:
    with started(tmp_path) as executor:
        context = {"task_executor": {"f": "tests.unit.sample.joined", "a": ("b",), "k": {"last": "c"}}}
        assert executor.submit_payload(context, b"a").result(20) == "abc"
        packages = executor.connected_managers_packages()
        assert packages[executor.connected_managers()[0]["manager"]]["parsl"]


def test_it_is_an_htex_to_parsls_strategies_and_scales_in_when_idle(mpi: str, tmp_path: Path) -> None:
    assert issubclass(ExtremeScaleExecutor, HighThroughputExecutor)
    provider = LocalProvider(init_blocks=0, min_blocks=0, max_blocks=2, parallelism=1, launcher=SimpleLauncher())
    executor = ExtremeScaleExecutor(workers_per_rank=1, provider=provider)
    config = Config(
        executors=[executor], run_dir=str(tmp_path), strategy="htex_auto_scale", strategy_period=0.1, max_idletime=0.5
    )
    with parsl.load(config):
        futures = [python_app(wait_for)(tmp_path / "go") for _ in range(2)]
        eventually(lambda: len(executor.connected_managers()) == 2, "two blocks for two tasks", 30)
        (tmp_path / "go").touch()
        for future in futures:
            future.result()
        eventually(lambda: not executor.connected_managers(), "idle blocks are gone", 30)


def test_what_parsl_reads_is_there() -> None:
    executor = ExtremeScaleExecutor()
    assert executor.scaling_enabled
    assert executor.error_management_enabled
    assert executor.monitor_resources()
    assert executor.create_monitoring_info({}) == []
    assert executor.hub_address is None
    assert executor.hub_port is None
    assert logging.getLogger("parsl.executors.xse")
