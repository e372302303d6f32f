"""A pytest plugin: what asks for HighThroughputExecutor gets ExtremeScaleExecutor. See scripts/parsl-tests."""

import parsl
import parsl.executors
import parsl.executors.high_throughput.executor as htex

import xse

parsl.HighThroughputExecutor = xse.ExtremeScaleExecutor
parsl.executors.HighThroughputExecutor = xse.ExtremeScaleExecutor
htex.HighThroughputExecutor = xse.ExtremeScaleExecutor
