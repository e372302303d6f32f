"""ExtremeScaleExecutors with real blocks on this host, of one worker each by default."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import parsl
from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from tests.support.waiting import eventually
from xse import ExtremeScaleExecutor


@contextmanager
def started(directory: Path, blocks: int = 1, **arguments: Any) -> Iterator[ExtremeScaleExecutor]:
    """Without a DataFlowKernel."""
    executor = ExtremeScaleExecutor(**{"workers_per_rank": 1, **arguments})
    executor.run_dir = executor.provider.script_dir = str(directory)
    executor.start()
    try:
        if blocks:
            executor.scale_out(blocks)
            eventually(lambda: len(executor.connected_managers()) == blocks, "the blocks are connected", 30)
        yield executor
    finally:
        executor.scale_in(len(executor.blocks_to_job_id))
        executor.shutdown()


@contextmanager
def loaded(
    directory: Path, blocks: int = 1, *, settings: dict[str, Any] | None = None, **arguments: Any
) -> Iterator[ExtremeScaleExecutor]:
    """With a DataFlowKernel, which starts the blocks. ``settings``: for Parsl's Config."""
    provider = LocalProvider(launcher=SimpleLauncher(), init_blocks=blocks, max_blocks=blocks)
    executor = ExtremeScaleExecutor(**{"provider": provider, "workers_per_rank": 1, **arguments})
    config = Config(
        executors=[executor],
        strategy_period=0.1,
        run_dir=str(directory / "runs"),
        initialize_logging=False,
        **(settings or {}),
    )
    with parsl.load(config):
        yield executor
