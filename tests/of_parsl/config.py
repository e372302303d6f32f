"""For ``pytest parsl/tests --config``: Parsl's own tests on our executor. See scripts/parsl-tests."""

from parsl.config import Config
from parsl.launchers import SimpleLauncher
from parsl.providers import LocalProvider

from xse import ExtremeScaleExecutor


def fresh_config() -> Config:
    return Config(
        executors=[
            ExtremeScaleExecutor(
                label="xse_local",
                workers_per_rank=2,
                provider=LocalProvider(init_blocks=1, max_blocks=1, launcher=SimpleLauncher()),
            )
        ],
        strategy="none",
        strategy_period=0.5,
    )
