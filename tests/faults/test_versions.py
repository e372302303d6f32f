"""Row 17: a pool of another version, or of another Python, is refused with both in the message."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.by_hand import ByHand
from tests.support.took import Took
from tests.support.waiting import eventually

pytestmark = pytest.mark.row(17)

#: An interchange that takes itself for another's.
CODE = """
import dataclasses, sys
from xse.interchange import __main__ as program
read = program._config
program._config = lambda *message: dataclasses.replace(read(*message), {field}="9.9.9")
sys.exit(program.main())
"""


@pytest.mark.parametrize(
    ("field", "reported"),
    [
        ("xse_version", "xse-pool is version {xse}, and the executor's xse is 9.9.9: install the same in both places"),
        ("python_version", "the block runs Python {python}, and the executor 9.9.9: both must be of one minor version"),
    ],
)
def test_a_block_of_another_version_is_refused_and_reported_both(
    mpi: str, tmp_path: Path, field: str, reported: str, took: Took
) -> None:
    from xse.version import VERSION

    command = [sys.executable, "-c", CODE.format(field=field)]
    world = ByHand(tmp_path, interchange_launch_cmd=command)
    try:
        with took("from its launch to its end"):
            pool = world.spawn_pool(stderr=subprocess.PIPE)
            _, said = pool.communicate(timeout=60)
        reason = reported.format(xse=VERSION, python=".".join(map(str, sys.version_info[:3])))
        assert pool.returncode != 0
        assert reason in said.decode()
        eventually(lambda: world.lines("block_refused", reason), "a line in the log", seen=world.log.read_text)
        assert world.executor.connected_managers() == []
    finally:
        world.executor.shutdown()
