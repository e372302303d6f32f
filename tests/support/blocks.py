"""The processes of a block on this host, by what they are."""

from __future__ import annotations

import os
import re
from pathlib import Path

from tests.support.processes import Process, descendants


def ranks(launcher: int) -> list[Process]:
    """Of the block that this mpiexec has started, in their order."""
    found = [p for p in descendants(launcher) if p.title.startswith(os.environ["XSE_POOL"])]
    return sorted(found, key=_rank)


def zygotes(launcher: int) -> list[Process]:
    return [p for p in descendants(launcher) if p.title == "xse-pool: zygote"]


def workers(launcher: int) -> list[Process]:
    return [p for p in descendants(launcher) if p.title.startswith("xse-pool: worker ")]


def _rank(p: Process) -> int:
    environment = Path(f"/proc/{p.pid}/environ").read_text()
    (number,) = set(re.findall(r"(?:PMI_RANK|OMPI_COMM_WORLD_RANK)=(\d+)", environment))
    return int(number)
