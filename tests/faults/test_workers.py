"""Row 3: a worker that is lost costs the task that it ran, and no other; another takes its place."""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, wait
from pathlib import Path
from typing import Any

import pytest
from parsl import python_app
from parsl.executors.high_throughput.errors import WorkerLost as ParslWorkerLost

from tests.support.executors import loaded
from tests.support.processes import ours
from tests.support.tasks import run_now
from tests.support.took import Took
from tests.unit import sample
from xse import PoolExecutor, WorkerLost

pytestmark = pytest.mark.row(3)


@pytest.fixture(scope="module")
def pool(mpi: str) -> Iterator[PoolExecutor]:
    """One worker, behind whose task others wait."""
    with PoolExecutor(1) as executor:
        yield executor


ENDS: dict[str, tuple[Callable[[], Any], int, int]] = {  # with which signal, or exit code
    "segfault": (lambda: ctypes.string_at(0), signal.SIGSEGV, -1),
    "kill -9": (lambda: os.kill(os.getpid(), signal.SIGKILL), signal.SIGKILL, -1),
    "os._exit": (lambda: os._exit(7), 0, 7),
    "sys.exit": (lambda: sys.exit(3), 0, 3),
    "sys.exit, with words": (lambda: sys.exit("enough"), 0, 1),
}


@pytest.mark.parametrize("how", ENDS)
def test_a_task_that_ends_its_worker_costs_itself_alone(pool: PoolExecutor, how: str, took: Took) -> None:
    task, expected_signal, expected_code = ENDS[how]
    pid = pool.submit(os.getpid).result(20)
    before = [pool.submit(sample.double, i) for i in range(50)]
    with took("WorkerLost"):
        lost = pool.submit(task)
        after = [pool.submit(sample.double, i) for i in range(50)]
        with pytest.raises(WorkerLost) as caught:
            lost.result(20)
    reported = caught.value
    assert (reported.signal, reported.exit_code) == (expected_signal, expected_code)
    assert (reported.host, reported.rank, reported.pid) == (os.uname().nodename, 0, pid)
    assert [f.result(20) for f in before + after] == [2 * i for i in range(50)] * 2
    assert pool.submit(os.getpid).result(20) != pid


def test_a_worker_of_another_rank_that_is_killed_costs_what_it_ran(mpi: str, tmp_path: Path, took: Took) -> None:
    with PoolExecutor(2, ranks=2) as executor:
        running = run_now(executor, 2, tmp_path / "go")
        waiting = [executor.submit(sample.double, i) for i in range(50)]
        victim = next(p for p in ours() if p.title == "xse-pool: worker 0 of rank 1")
        with took("WorkerLost"):
            os.kill(victim.pid, signal.SIGKILL)
            (lost,), (other,) = wait(running, 20, FIRST_COMPLETED)
        reported = lost.exception()
        assert isinstance(reported, WorkerLost)
        assert (reported.signal, reported.rank, reported.pid) == (signal.SIGKILL, 1, victim.pid)
        assert [f.result(20) for f in waiting] == [2 * i for i in range(50)]
        (tmp_path / "go").touch()
        assert other.result(20)


@pytest.fixture
def little_memory() -> Iterator[Path]:
    """A file: a process whose number is written there has 100 MB, or is killed by the kernel."""
    if os.geteuid() != 0:
        pytest.skip("needs root, to limit the memory of a group of processes")
    for parent, limits in (
        (Path("/sys/fs/cgroup/memory"), {"memory.limit_in_bytes": 100 << 20, "memory.memsw.limit_in_bytes": 100 << 20}),
        (Path("/sys/fs/cgroup"), {"memory.max": 100 << 20, "memory.swap.max": 0}),
    ):
        group = parent / f"xse-test-{os.getpid()}"
        if not (parent / "cgroup.procs").exists():
            continue
        group.mkdir()
        there = [name for name in limits if (group / name).exists()]  # of swap: only where there is some
        for name in there:
            (group / name).write_text(str(limits[name]))
        if there:
            yield group / "cgroup.procs"
        group.rmdir()
        if there:
            return
    pytest.skip("needs a control group for memory")


def test_a_worker_that_the_kernel_kills_for_its_memory_costs_what_it_ran(
    pool: PoolExecutor, little_memory: Path, took: Took
) -> None:
    def take_more_than_there_is() -> int:
        little_memory.write_text(str(os.getpid()))
        return len(bytearray(os.urandom(1)) * (300 << 20))

    with took("WorkerLost"):
        lost = pool.submit(take_more_than_there_is)
        after = [pool.submit(sample.double, i) for i in range(50)]
        with pytest.raises(WorkerLost) as caught:
            lost.result(20)
    assert caught.value.signal == signal.SIGKILL
    assert [f.result(20) for f in after] == [2 * i for i in range(50)]


def test_the_last_words_of_a_lost_worker_are_reported(pool: PoolExecutor) -> None:
    def speak_and_die() -> None:
        for line in ("first", "I saw it coming"):
            os.write(2, f"{line}\n".encode())
        os.abort()

    with pytest.raises(WorkerLost, match="first\nI saw it coming") as caught:
        pool.submit(speak_and_die).result(20)
    assert "SIGABRT" in str(caught.value)
    assert caught.value.stderr.endswith("first\nI saw it coming\n")


def test_a_worker_lost_in_a_chunk_is_reported_and_the_next_map_works(pool: PoolExecutor) -> None:
    with pytest.raises(WorkerLost):
        list(pool.map(os._exit, [3], chunksize="auto"))
    assert list(pool.map(sample.double, [1, 2], chunksize="auto")) == [2, 4]


def test_a_task_that_writes_to_its_own_pipe_costs_its_worker_and_not_the_rank(mpi: str) -> None:
    def scribble_at(i: int, when: int) -> int:
        if i == when:
            import socket
            import stat

            for fd in range(3, 64):
                try:
                    if stat.S_ISSOCK(os.fstat(fd).st_mode):
                        socket.socket(fileno=os.dup(fd)).send(b"rubbish " * 8)
                except OSError:
                    continue
        return i

    with PoolExecutor(1) as executor:
        futures = [executor.submit(scribble_at, i, 100) for i in range(200)]
        failures = [f.exception(20) for f in futures if f.exception(20)]
        assert 1 <= len(failures) < 100
        assert {type(e) for e in failures} == {WorkerLost}
        assert executor.submit(sample.double, 2).result(20) == 4


# ---- with Parsl


@python_app
def die(number: int) -> None:
    import os

    os.kill(os.getpid(), number)


def test_a_lost_worker_is_parsls_and_ours_and_the_next_app_runs(mpi: str, tmp_path: Path) -> None:
    with loaded(tmp_path):
        with pytest.raises(ParslWorkerLost) as caught:
            die(signal.SIGSEGV).result()
        assert isinstance(caught.value, WorkerLost)
        assert (caught.value.signal, caught.value.rank, caught.value.hostname) == (11, 0, os.uname().nodename)
        assert python_app(sample.double)(2).result() == 4


def test_a_retry_handler_sees_the_loss(mpi: str, tmp_path: Path) -> None:
    seen: list[BaseException] = []

    def handler(error: BaseException, task_record: Any) -> float:
        seen.append(error)
        return 1.0

    with loaded(tmp_path, settings={"retries": 2, "retry_handler": handler}):
        with pytest.raises(ParslWorkerLost):
            die(signal.SIGKILL).result()
        assert [type(e).__name__ for e in seen] == ["WorkerLost"] * 3
