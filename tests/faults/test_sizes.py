"""Rows 19 and 20: very large payloads, and very many tasks."""

from __future__ import annotations

import os
import re
import tracemalloc
from pathlib import Path

import pytest

from tests.support.tasks import n_waiting, wait_for
from tests.support.took import Took
from tests.support.waiting import eventually
from tests.unit import sample
from xse import PayloadTooLarge, PoolExecutor
from xse.wire import commands
from xse.wire import messages as wire

GIB = 1 << 30


def available() -> int:
    """Bytes of memory on this host."""
    (found,) = re.findall(r"MemAvailable:\s+(\d+) kB", Path("/proc/meminfo").read_text())
    return int(found) << 10


def needs(n_gib: int) -> None:
    if available() < n_gib * GIB:
        pytest.skip(f"needs {n_gib} GiB of memory, and {available() / GIB:.1f} are available")


def ends(data: bytes) -> tuple[int, bytes, bytes]:
    return len(data), data[:8], data[-8:]


def make(n: int) -> bytes:
    return b"begins.." + bytes(n - 16) + b"....ends"


@pytest.mark.row(19)
def test_a_gibibyte_passes_each_way(mpi: str) -> None:
    needs(8)
    with PoolExecutor(1) as pool:
        assert pool.submit(ends, make(GIB)).result(300) == (GIB, b"begins..", b"....ends")
        assert ends(pool.submit(make, GIB).result(300)) == (GIB, b"begins..", b"....ends")


@pytest.mark.row(19)
def test_more_than_a_message_may_carry_is_reported_with_size_and_limit_and_the_next_task_runs(
    any_mpi: str, took: Took
) -> None:
    needs(8)
    with PoolExecutor(1) as pool:
        pid = pool.submit(os.getpid).result(60)
        for fn, argument in ((len, bytes(wire.MAX_ITEM)), (bytes, wire.MAX_ITEM)):
            with took("PayloadTooLarge of 2 GiB"), pytest.raises(PayloadTooLarge) as caught:
                pool.submit(fn, argument).result(300)
            assert caught.value.limit == wire.MAX_ITEM == 2**31 - 1
            assert wire.MAX_ITEM < caught.value.size < wire.MAX_ITEM + 1000
            assert str(caught.value.size) in str(caught.value)
        assert pool.submit(os.getpid).result(60) == pid


def resident(pid: int) -> int:
    """Bytes that this process has of its own."""
    text = Path(f"/proc/{pid}/status").read_text()
    return sum(int(n) << 10 for n in re.findall(r"Rss(?:Anon|Shmem):\s+(\d+) kB", text))


N_TASKS = 100_000
#: Bytes a waiting task takes beyond its arguments: docs/guide/failure.md.
CLIENT_BYTES = 600
INTERCHANGE_BYTES = 150


@pytest.mark.row(20)
def test_far_more_tasks_than_workers_take_the_documented_memory_and_no_heartbeat_is_missed(
    mpi: str, tmp_path: Path
) -> None:
    with PoolExecutor(2, ranks=2, heartbeat_period=1, heartbeat_threshold=20, log_dir=str(tmp_path)) as pool:
        running = [pool.submit(wait_for, tmp_path / "go") for _ in range(2)]
        eventually(lambda: n_waiting(tmp_path / "go") == 2, "the workers are busy")
        interchange = pool._client.interchange_pid
        assert interchange
        before = resident(interchange)
        tracemalloc.start()
        futures = [pool.submit(sample.double, i) for i in range(N_TASKS)]
        pool._client.request(commands.Status()).result(60)  # all have come there
        client = tracemalloc.get_traced_memory()[0] / N_TASKS
        tracemalloc.stop()
        there = (resident(interchange) - before) / N_TASKS
        print(f"a task that waits takes {client:.0f} bytes in the client and {there:.0f} in the interchange")
        assert client < CLIENT_BYTES
        assert there < INTERCHANGE_BYTES
        (tmp_path / "go").touch()
        assert sum(f.result(120) for f in futures) == N_TASKS * (N_TASKS - 1)
        assert all(f.result(20) for f in running)
    assert "block_down" in (tmp_path / "interchange.log").read_text()
    assert "code=-1" not in (tmp_path / "interchange.log").read_text()
    assert "heartbeat_threshold" not in (tmp_path / "interchange.log").read_text()


@pytest.mark.row(20)
def test_results_that_come_faster_than_they_are_taken_miss_no_heartbeat(mpi: str, tmp_path: Path) -> None:
    """Megabytes that nobody looks at, while the script's own thread holds the interpreter."""
    needs(8)
    with PoolExecutor(2, heartbeat_period=1, heartbeat_threshold=20, log_dir=str(tmp_path)) as pool:
        futures = [pool.submit(bytes, 1 << 20) for _ in range(200)]
        while not futures[-1].done():
            sorted(range(1_000_000), reverse=True)  # one long call that lets no other thread in
        assert sum(len(f.result(60)) for f in futures) == 200 << 20
    assert "code=-1" not in (tmp_path / "interchange.log").read_text()
