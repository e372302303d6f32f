"""The two tables of options say the same."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields
from typing import Any

import pytest

from tests.conftest import pools
from xse.errors import OptionError
from xse.launch.options import PoolOptions, bytes_of


def test_the_executable_knows_every_option_and_has_the_same_defaults() -> None:
    path = next(iter(pools().values()))
    said = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    reported = dict(re.findall(r"^  (--[\w-]+) .*?(?:\[([^\]]*)\])?$", said, re.MULTILINE))
    ours = {f.metadata["flag"]: f.default for f in fields(PoolOptions)}
    assert set(reported) - {"--help", "--version"} == set(ours)
    for flag, default in ours.items():
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(reported[flag].split(":")[0]) == float(default), flag


def test_only_what_differs_from_its_default_is_said() -> None:
    assert PoolOptions().pairs() == []
    assert PoolOptions(mem_per_worker=0.5, accelerators=("0,1", "2")).pairs() == [
        ("--mem-per-worker", "0.5"),
        ("--accelerators", "0,1;2"),
    ]


@pytest.mark.parametrize(
    ("value", "n"), [(None, 0), (1000, 1000), ("2 GB", 2**31), ("1.5gb", 3 << 29), ("500 MB", 500 << 20), ("7", 7)]
)
def test_memory_is_given_in_bytes_or_with_a_unit(value: Any, n: int) -> None:
    assert bytes_of("memory_limit", value) == n


@pytest.mark.parametrize("value", [0, -1, "", "2 G", "two GB", "1.2.3 GB", True, 2**63, [1]])
def test_what_is_no_amount_of_memory_is_reported(value: Any) -> None:
    with pytest.raises(OptionError, match="memory_limit="):
        bytes_of("memory_limit", value)
