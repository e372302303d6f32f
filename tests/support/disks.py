"""Disks that take no more."""

from __future__ import annotations

from pathlib import Path


def fill(disk: Path) -> None:
    with open(disk / "full", "wb", 0) as file:
        try:
            while file.write(bytes(4096)):
                pass
        except OSError:
            pass
