"""The two tables of options say the same."""

from __future__ import annotations

import re
import subprocess
from dataclasses import fields

from tests.conftest import pools
from xse.options import PoolOptions


def test_the_executable_knows_every_option_and_has_the_same_defaults() -> None:
    path = next(iter(pools().values()))
    said = subprocess.run([path, "--help"], capture_output=True, text=True, check=True).stdout
    told = dict(re.findall(r"^  (--[\w-]+) .*?(?:\[([^\]]*)\])?$", said, re.MULTILINE))
    ours = {f.metadata["flag"]: f.default for f in fields(PoolOptions)}
    assert set(told) - {"--help", "--version"} == set(ours)
    for flag, default in ours.items():
        if isinstance(default, int | float) and not isinstance(default, bool):
            assert float(told[flag].split(":")[0]) == float(default), flag


def test_only_what_differs_from_its_default_is_said() -> None:
    assert PoolOptions().pairs() == []
    assert PoolOptions(mem_per_worker=0.5, accelerators=("0,1", "2")).pairs() == [
        ("--mem-per-worker", "0.5"),
        ("--accelerators", "0,1;2"),
    ]
