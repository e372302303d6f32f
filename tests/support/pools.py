"""The builds of xse-pool that there are to test."""

from __future__ import annotations

import os
from pathlib import Path

from xse.launch import find_pool

ROOT = Path(__file__).parents[2]


def pools() -> dict[str, str]:
    """xse-pool for each MPI, by name: built by scripts/test under build/, or named by XSE_TEST_POOLS=NAME=PATH,...; or
    the one that is installed."""
    named = os.environ.get("XSE_TEST_POOLS")
    if named:
        return dict(entry.split("=", 1) for entry in named.split(","))
    found = {name: str(ROOT / "build" / name / "xse-pool") for name in ("mpich", "openmpi", "site")}
    return {name: path for name, path in found.items() if os.path.exists(path)} or {"installed": find_pool().path}
